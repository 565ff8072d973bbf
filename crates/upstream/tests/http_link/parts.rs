//! Does a large answer come in pieces where that was allowed, and only there?

use crate::rig::{Asked, JSON, LIMITS, Rig, STREAM};

/// What the server sends, `step` bytes at a time, comes to: the pieces joined, their number, and what
/// else was told.
fn told(answer: &str, step: usize, parts: bool) -> (String, usize, Vec<String>) {
    let mut rig = Rig::new();
    let exchange = rig.post(1, false).expect("an empty queue");
    if parts {
        rig.link.hand_parts(exchange);
    }
    rig.connected(1);
    for piece in answer.as_bytes().chunks(step) {
        rig.received(1, std::str::from_utf8(piece).expect("tests send ASCII"));
    }
    let (mut joined, mut count, mut rest) = (String::new(), 0, Vec::new());
    for told in rig.told() {
        match told.strip_prefix("1 part ") {
            Some(part) if !part.contains(" last ") => {
                count += 1;
                joined += part;
                assert!(part.len() <= LIMITS.parts_from_bytes + step, "{} bytes held", part.len());
            }
            _ => rest.push(told),
        }
    }
    (joined, count, rest)
}

fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn events(data: &str) -> String {
    let event = format!("id: 3\ndata: {data}\n\n");
    format!("{STREAM}{:x}\r\n{event}\r\n0\r\n\r\n", event.len())
}

#[test]
fn a_large_answer_comes_as_it_arrives_and_is_the_same() {
    let body = "{\"a\":\"".to_owned() + &"0123456789".repeat(15) + "\"}";
    for step in [1, 7, 19, 40] {
        let (joined, count, rest) = told(&json(&body), step, true);
        assert_eq!((joined.as_str(), count > 2), (&*body, true), "by {step}");
        assert_eq!(rest, ["1 head 200", "1 part  last None None", "1 complete 200"], "by {step}");
        let (joined, count, rest) = told(&events(&body), step, true);
        assert_eq!((joined.as_str(), count > 2), (&*body, true), "by {step}");
        let last = "1 part  last Some(\"3\") None";
        assert_eq!(rest, ["1 head 200 stream", last, "1 complete 200"], "by {step}");
    }
    // One that is small comes whole.
    let (_, count, rest) = told(JSON, 1, true);
    assert_eq!((count, rest.len()), (0, 3));
}

#[test]
fn without_leave_or_beyond_the_limit_it_fails_as_before() {
    let (medium, large) = ("x".repeat(100), "x".repeat(201));
    for step in [1, 30, 1000] {
        let refused = "1 failed sent=true: HTTP response too large: body".to_owned();
        assert_eq!(told(&json(&medium), step, false).2, [&*refused]);
        assert_eq!(told(&json(&large), step, true).2, [&*refused]);
        let chunked = json(&large).replace("Content-Length: 201", "Transfer-Encoding: chunked");
        let chunked = chunked.replace("\r\n\r\n", "\r\n\r\nc9\r\n");
        assert_eq!(told(&chunked, step, true).2, ["1 head 200", &*refused]);
        for (events, parts, most) in [(events(&medium), false, 64), (events(&large), true, 200)] {
            // What came in one chunk is not cut into pieces.
            let most = if step == 1000 { 64 } else { most };
            let why = format!("1 failed sent=true: an event is larger than {most} bytes");
            assert_eq!(told(&events, step, parts).2.last(), Some(&why), "by {step}");
        }
    }
}

#[test]
fn an_answer_whose_reading_is_stopped_takes_nobody_s_place() {
    let mut rig = Rig::new();
    let slow = rig.post(1, false).expect("an empty queue");
    rig.link.hand_parts(slow);
    rig.connected(1);
    rig.received(1, &json(&"x".repeat(150))[..120]);
    rig.post(2, false).expect("room");
    rig.connected(2);
    rig.post(3, false).expect("room");
    rig.asked();
    rig.link.read(&mut rig.wire, slow, false);
    assert_eq!(rig.asked(), [Asked::Read(1, false), Asked::Connect(3)]);
    rig.link.read(&mut rig.wire, slow, true);
    assert_eq!(rig.asked(), [Asked::Read(1, true)]);
    rig.received(1, &json(&"x".repeat(150))[120..]);
    // It carries no other request.
    assert_eq!(rig.asked(), [Asked::Close(1)]);
    rig.link.read(&mut rig.wire, slow, false);
    assert_eq!(rig.asked(), []);
    // Nobody wants the rest: it is not read over.
    let mut rig = Rig::new();
    let given_up = rig.post(4, false).expect("room");
    rig.link.hand_parts(given_up);
    rig.connected(1);
    rig.received(1, &json(&"x".repeat(150))[..90]);
    rig.received(1, &json(&"x".repeat(150))[90..120]);
    rig.asked();
    rig.link.abort(&mut rig.wire, given_up);
    assert_eq!(rig.asked(), [Asked::Abort(1)]);
}
