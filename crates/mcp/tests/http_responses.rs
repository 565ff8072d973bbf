//! Is an upstream's answer read the same way however it arrives, and a broken one refused?

use kern_mcp::http::{HttpLimits, Piece, ResponseDecoder, ResponseError};
use proptest::prelude::*;

const LIMITS: HttpLimits = HttpLimits {
    head_bytes_max: 256,
    headers_max: 8,
    target_bytes_max: 0,
    body_bytes_max: 32,
    chunk_extension_bytes_max: 16,
    trailer_bytes_max: 32,
};

/// One response, or how the stream broke; the last text is for the end of the connection.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, no_body: bool) -> Vec<String> {
    let mut decoder = ResponseDecoder::new(LIMITS);
    if no_body {
        decoder.expect_no_body();
    }
    let mut out = Vec::new();
    let mut body = String::new();
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (consumed, piece) = match decoder.decode(&buffer) {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(decoder.decode(b"").err(), Some(error), "errors stay");
                    out.extend((!body.is_empty()).then_some(body));
                    out.push(show(error));
                    return out;
                }
            };
            match piece {
                Piece::NeedMore => {
                    buffer.drain(..consumed);
                    break;
                }
                Piece::Head(head) => out.push(format!("{} {:?}", head.status, head.body_bytes)),
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    body.push_str(&String::from_utf8_lossy(data));
                }
                Piece::End { keep_alive } => {
                    out.push(format!("{}{}", std::mem::take(&mut body), ending(keep_alive)));
                }
            }
            buffer.drain(..consumed);
        }
    }
    match decoder.close() {
        Ok(_) if decoder.is_idle() && body.is_empty() && out.len() % 2 == 0 => {}
        Ok(_) => out.push(format!("{body} till close")),
        Err(error) => out.push(show(error)),
    }
    out
}

fn ending(keep_alive: bool) -> &'static str {
    if keep_alive { " keep" } else { " close" }
}

fn show(error: ResponseError) -> String {
    match error {
        ResponseError::Malformed(_) => "malformed".to_owned(),
        ResponseError::TooLarge(what) => format!("large {what}"),
        ResponseError::Truncated => "truncated".to_owned(),
    }
}

#[track_caller]
fn check(input: &str, expected: &[&str]) {
    let input = input.as_bytes();
    for step in 1..=input.len() {
        let shown = input.escape_ascii();
        assert_eq!(run(input.chunks(step), false), expected, "{shown} by {step}");
    }
}

#[test]
fn each_way_to_frame_a_body_is_understood() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", &["200 Some(2)", "hi keep"]);
    check("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", &["200 Some(2)", "hi keep"]);
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &["200 Some(0)", " keep"]);
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\nA: b\r\n\r\n",
        &["200 None", "hi keep"],
    );
    check("HTTP/1.1 200 OK\r\n\r\nhi", &["200 None", "hi till close"]);
    check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", &["200 Some(2)", "hi close"]);
    check(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        &["200 Some(2)", "hi close"],
    );
    check("HTTP/1.1 204 No Content\r\n\r\n", &["204 Some(0)", " keep"]);
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", &["304 Some(0)", " keep"]);
    check(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 202 Accepted\r\n\
         Content-Length: 0\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
        &["202 Some(0)", " keep", "204 Some(0)", " keep"],
    );
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(run(head.chunks(7), true), ["200 Some(0)", " keep"], "an answer to HEAD");
}

#[test]
fn a_response_cut_short_is_not_taken_for_whole() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", &["200 Some(3)", "truncated"]);
    check("HTTP/1.1 200 OK\r\nContent-Le", &["truncated"]);
    check("HTTP/1.1 100 Continue\r\n\r\n", &["truncated"]);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for rest in ["", "2\r\nh", "2\r\nhi\r\n", "2\r\nhi\r\n0\r\n"] {
        check(&format!("{chunked}{rest}"), &["200 None", "truncated"]);
    }
}

#[test]
fn an_answer_that_readers_could_frame_differently_is_refused() {
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: x",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "A: b\r\n c",
        "A: b\nC: d",
        "A: \0",
    ] {
        check(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nhi"), &["malformed"]);
    }
    for start in [
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 101 Switching Protocols",
        "ICY 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "SSH-2.0-x",
    ] {
        check(&format!("{start}\r\nContent-Length: 0\r\n\r\n"), &["malformed"]);
    }
    check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["malformed"]);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", &["200 None", "malformed"]);
}

#[test]
fn an_upstream_cannot_make_us_hold_more_than_the_limits() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n", &["large body"]);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&format!("{chunked}21\r\n"), &["200 None", "large body"]);
    let long = "x".repeat(300);
    check(&format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n"), &["large head"]);
    let lines = "A: b\r\n".repeat(9);
    check(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), &["large too many headers"]);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    check(&interim, &["large interim responses"]);
    let body = "x".repeat(33);
    check(&format!("HTTP/1.1 200 OK\r\n\r\n{body}"), &["200 None", &body[1..], "large body"]);
}

#[test]
fn an_event_stream_may_go_on_for_ever() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n";
    let body = "x".repeat(100);
    check(&format!("{head}\r\n{body}"), &["200 None", &format!("{body} till close")]);
    check(
        &format!("{head}Transfer-Encoding: chunked\r\n\r\n64\r\n{body}\r\n0\r\n\r\n"),
        &["200 None", &format!("{body} keep")],
    );
}

#[test]
fn the_kind_of_body_is_told_from_the_content_type() {
    for (value, json, stream) in [
        ("application/json", true, false),
        ("Application/JSON; charset=utf-8", true, false),
        ("text/event-stream", false, true),
        ("application/jsonx", false, false),
    ] {
        let input = format!("HTTP/1.1 200 OK\r\nContent-Type: {value}\r\n\r\n");
        let mut decoder = ResponseDecoder::new(LIMITS);
        let Ok((_, Piece::Head(head))) = decoder.decode(input.as_bytes()) else {
            panic!("a whole head")
        };
        assert_eq!((head.is_json(), head.is_event_stream()), (json, stream), "{value}");
    }
}

proptest! {
    #[test]
    fn hostile_answers_neither_panic_nor_depend_on_their_split(
        chunked in any::<bool>(),
        harm in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3),
        step in 1..40_usize,
    ) {
        let mut stream = if chunked {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 204 X\r\n\r\n".to_vec()
        };
        for (place, byte) in harm {
            let place = place % stream.len();
            stream[place] = byte;
        }
        prop_assert_eq!(run(stream.chunks(step), false), run(std::iter::once(&stream[..]), false));
    }
}
