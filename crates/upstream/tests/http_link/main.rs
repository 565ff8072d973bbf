//! Does a link keep its promises to its owner, whatever the server does?

mod parts;
mod random;
mod rig;

use std::time::Duration;

use kern_upstream::http::LinkError;

use rig::{ACCEPTED, Asked, JSON, LIMITS, Rig, STREAM, answered, show};

#[track_caller]
fn check(answer: &str, expected: &[&str]) {
    for step in 1..=answer.len().max(1) {
        assert_eq!(answered(answer, step), expected, "{answer:?} by {step}");
    }
}

#[test]
fn each_kind_of_answer_reaches_the_owner() {
    check(JSON, &["1 head 200", "1 says {}", "1 complete 200"]);
    check(ACCEPTED, &["1 head 202", "1 complete 202"]);
    check("HTTP/1.1 204 No Content\r\n\r\n", &["1 head 204", "1 complete 204"]);
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &["1 head 200", "1 complete 200"]);
    check(
        "HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\nAccepted",
        &["1 head 202", "1 complete 202"],
    );
    check(
        "HTTP/1.1 200 OK\r\nMcp-Session-Id: s-1\r\nContent-Type: Application/JSON;x\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        &["1 head 200 s-1", "1 says {}", "1 complete 200"],
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"until\":\"close\"}",
        &["1 head 200", "1 says {\"until\":\"close\"}", "1 complete 200"],
    );
    check(
        &format!(
            "{STREAM}e\r\ndata: {{}}\nid: 7\r\n2\r\n\n\n\r\n1b\r\nevent: x\nretry: 5\ndata: a\n\n\r\n0\r\n\r\n"
        ),
        &["1 head 200 stream", "1 says {} 7", "1 says a x 5ms", "1 complete 200"],
    );
}

#[test]
fn a_refusal_carries_what_the_owner_needs_to_react() {
    check(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer x\r\nContent-Length: 2\r\n\r\nno",
        &["1 head 401", "1 refused 401 no Some(\"Bearer x\") None"],
    );
    check(
        "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        &["1 head 503", "1 refused 503  None Some(7)"],
    );
    check(
        "HTTP/1.1 307 Moved\r\nLocation: http://evil/\r\nRetry-After: Fri\r\n\r\n",
        &["1 head 307", "1 refused 307  None None"],
    );
}

#[test]
fn a_misbehaving_server_fails_its_own_exchange_with_a_reason() {
    let cut = "1 failed sent=true: the server closed the connection before its answer was complete";
    check("", &[cut]);
    check("HTTP/1.1 200 OK\r\nConte", &[cut]);
    check(&JSON[..JSON.len() - 1], &["1 head 200", cut]);
    check(&format!("{STREAM}5\r\ndata:"), &["1 head 200 stream", cut]);
    let http = "1 failed sent=true: malformed HTTP response: ";
    check("SSH-2.0-OpenSSH\r\n", &[&format!("{http}not an HTTP response")]);
    check("HTTP/1.1 2000 OK\r\n\r\n", &[&format!("{http}malformed status line")]);
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        &[&format!("{http}both Content-Length and Transfer-Encoding")],
    );
    let odd = "1 failed sent=true: the answer is neither JSON nor an event stream, but of content \
               type ";
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        &["1 head 200", &format!("{odd}text/html")],
    );
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", &["1 head 200", &format!("{odd}none")]);
    let large = "1 failed sent=true: HTTP response too large: body";
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 65\r\n\r\n",
        &[large],
    );
    check(
        &format!("{STREAM}46\r\ndata: {}\r\n", "x".repeat(64)),
        &["1 head 200 stream", "1 failed sent=true: an event is larger than 64 bytes"],
    );
    check(
        "HTTP/1.1 200 OK\r\nMcp-Session-Id: a b\r\nContent-Length: 0\r\n\r\n",
        &["1 head 200", "1 complete 200"],
    );
}

#[test]
fn a_connection_is_reused_and_closed_when_it_was_idle_long_enough() {
    let mut rig = Rig::new();
    rig.post(1, false).unwrap();
    rig.connected(1);
    assert_eq!(rig.asked(), [Asked::Connect(1), Asked::Send(1, "m1".to_owned())]);
    rig.received(1, JSON);
    assert_eq!(rig.link.next_deadline(), Some(rig.now + LIMITS.idle_close));
    rig.tick(Duration::from_secs(3));
    rig.post(2, false).unwrap();
    assert_eq!(rig.asked(), [Asked::Send(1, "m2".to_owned())]);
    assert_eq!(rig.link.next_deadline(), None);
    rig.tick(Duration::from_secs(100));
    rig.received(1, JSON);
    rig.tick(Duration::from_secs(4));
    assert_eq!(rig.asked(), [Asked::Close(1)]);
    assert_eq!(rig.link.open_connections(), 0);
}

#[test]
fn connections_and_queue_are_bounded_and_the_queue_is_served_in_order() {
    let mut rig = Rig::new();
    for tag in 1..=4 {
        rig.post(tag, false).unwrap();
    }
    assert_eq!(rig.post(5, false), Err(LinkError::QueueFull));
    assert_eq!(rig.asked(), [Asked::Connect(1), Asked::Connect(2)]);
    rig.connected(2);
    rig.connected(1);
    assert_eq!(rig.asked(), [Asked::Send(2, "m1".to_owned()), Asked::Send(1, "m2".to_owned())]);
    rig.received(1, ACCEPTED);
    rig.received(2, ACCEPTED);
    assert_eq!(rig.asked(), [Asked::Send(1, "m3".to_owned()), Asked::Send(2, "m4".to_owned())]);
    rig.received(1, "HTTP/1.1 202 A\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rig.asked(), [Asked::Close(1)]);
    assert_eq!(rig.link.open_exchanges(), 1);
}

#[test]
fn a_request_crossing_an_idle_close_is_sent_again_only_if_that_is_allowed() {
    let lost = "failed sent=true: the server closed the connection before its answer was complete";
    for (replayable, partial, told) in [
        (true, "", vec!["2 head 202".to_owned(), "2 complete 202".to_owned()]),
        (false, "", vec![format!("2 {lost}")]),
        (true, "H", vec![format!("2 {lost}")]),
    ] {
        let mut rig = Rig::new();
        rig.post(1, false).unwrap();
        rig.connected(1);
        rig.received(1, ACCEPTED);
        rig.told();
        rig.post(2, replayable).unwrap();
        rig.asked();
        rig.received(1, partial);
        rig.finished(1);
        if rig.link.open_exchanges() > 0 {
            assert_eq!(rig.asked(), [Asked::Close(1), Asked::Connect(2)]);
            rig.connected(2);
            assert_eq!(rig.asked(), [Asked::Send(2, "m2".to_owned())]);
            rig.received(2, ACCEPTED);
        }
        assert_eq!(rig.told(), told, "replayable {replayable}, partial {partial:?}");
        assert_eq!(rig.link.open_exchanges(), 0);
    }
}

#[test]
fn a_request_is_sent_a_second_time_but_never_a_third() {
    let mut rig = Rig::new();
    rig.post(1, true).unwrap();
    rig.connected(1);
    rig.received(1, ACCEPTED);
    rig.post(2, true).unwrap();
    rig.closed(1);
    rig.connected(2);
    rig.told();
    rig.closed(2);
    assert_eq!(rig.told(), ["2 failed sent=true: reset"]);
    let mut fresh = Rig::new();
    fresh.post(1, true).unwrap();
    fresh.connected(1);
    fresh.closed(1);
    assert_eq!(fresh.told(), ["1 failed sent=true: reset"]);
}

#[test]
fn a_server_that_is_down_fails_all_who_wait_at_once() {
    let mut rig = Rig::new();
    for tag in 1..=3 {
        rig.post(tag, false).unwrap();
    }
    rig.closed(1);
    let failed = |tag: u64| format!("{tag} failed sent=false: reset");
    assert_eq!(rig.told(), [failed(1), failed(2), failed(3)]);
    rig.closed(2);
    assert_eq!((rig.link.open_connections(), rig.told()), (0, Vec::new()));
}

#[test]
fn a_server_that_allows_few_connections_serves_all_through_those() {
    let mut rig = Rig::new();
    rig.post(1, false).unwrap();
    rig.post(2, false).unwrap();
    rig.connected(1);
    rig.closed(2);
    assert!(rig.told().is_empty());
    rig.asked();
    rig.received(1, ACCEPTED);
    assert_eq!(rig.asked(), [Asked::Send(1, "m2".to_owned())]);
    // When what is open only streams, waiting would have no end.
    rig.received(1, STREAM);
    rig.post(3, false).unwrap();
    rig.told();
    rig.closed(3);
    assert_eq!(rig.told(), ["3 failed sent=false: reset"]);
}

#[test]
fn an_aborted_exchange_says_nothing_more() {
    let mut rig = Rig::new();
    let first = rig.post(1, true).unwrap();
    rig.post(2, false).unwrap();
    let third = rig.post(3, false).unwrap();
    rig.connected(1);
    rig.connected(2);
    rig.asked();
    rig.link.abort(&mut rig.wire, third);
    assert_eq!(rig.asked(), []);
    rig.post(4, false).unwrap();
    rig.link.abort(&mut rig.wire, first);
    assert_eq!(rig.asked(), [Asked::Close(1), Asked::Connect(3)]);
    rig.received(1, JSON);
    rig.closed(1);
    rig.link.abort(&mut rig.wire, first);
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.connected(3);
    assert_eq!(rig.asked(), [Asked::Send(3, "m4".to_owned())]);
}

#[test]
fn bytes_nobody_asked_for_end_a_connection() {
    let mut rig = Rig::new();
    rig.post(1, false).unwrap();
    rig.connected(1);
    rig.received(1, &format!("{JSON}HTTP/1.1 408 Timeout\r\n"));
    assert_eq!(rig.told(), ["1 head 200", "1 says {}", "1 complete 200"]);
    assert_eq!(rig.link.open_connections(), 0);
    rig.post(2, false).unwrap();
    rig.connected(2);
    rig.received(2, JSON);
    rig.asked();
    rig.received(2, "HTTP/1.1 408 Timeout\r\n");
    assert_eq!(rig.asked(), [Asked::Close(2)]);
    assert_eq!((rig.link.next_deadline(), rig.link.open_connections()), (None, 0));
}

#[test]
fn the_event_stream_has_its_own_connection() {
    let mut rig = Rig::new();
    rig.post(1, false).unwrap();
    rig.connected(1);
    rig.received(1, JSON);
    rig.told();
    let headers: &[(&str, &[u8])] = &[("mcp-session-id", b"s")];
    rig.link.get_stream(&mut rig.wire, rig.now, None, headers, Some("9"), 7).unwrap();
    rig.connected(2);
    assert_eq!(rig.asked()[2..], [Asked::Connect(2), Asked::Send(2, String::new())]);
    rig.received(2, STREAM);
    rig.received(2, "3\r\n:\n\n\r\n9\r\ndata: a\n\n\r\n");
    assert_eq!(rig.told(), ["7 head 200 stream", "7 says a"]);
    rig.closed(2);
    assert_eq!(rig.told(), ["7 failed sent=true: reset"]);
    // A server without streams says so, and the connection does not join the pool.
    rig.link.get_stream(&mut rig.wire, rig.now, None, &[], None, 8).unwrap();
    rig.connected(3);
    rig.received(3, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rig.told(), ["8 head 405", "8 refused 405  None None"]);
    assert_eq!(rig.link.open_connections(), 1);
    for tag in 0..2 {
        rig.link.get_stream(&mut rig.wire, rig.now, None, &[], None, tag).unwrap();
    }
    let refused = rig.link.get_stream(&mut rig.wire, rig.now, None, &[], None, 9);
    assert_eq!(refused, Err(LinkError::QueueFull));
}

#[test]
fn closing_a_link_ends_everything_once() {
    let mut rig = Rig::new();
    for tag in 1..=3 {
        rig.post(tag, true).unwrap();
    }
    rig.connected(1);
    let mut out = Vec::new();
    rig.link.close_all(&mut rig.wire, &mut out);
    let told: Vec<String> = out.iter().map(|happening| show(happening, b"")).collect();
    let failed = |tag: u64, sent| format!("{tag} failed sent={sent}: the link was closed");
    assert_eq!(told, [failed(1, true), failed(2, false), failed(3, false)]);
    assert_eq!((rig.link.open_exchanges(), rig.link.open_connections()), (0, 0));
}
