//! Can what is written be read in one way only, whatever the values hold?

use kern_mcp::http::{
    Decoded, HttpError, HttpLimits, Method, Piece, RequestDecoder, ResponseDecoder, encode,
};
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("tests write text")
}

#[test]
fn the_bytes_on_the_wire_are_these() {
    assert_eq!(
        written(|out| encode::json_response(out, 200, &[("x", b"y")], true, &[b"{\"a\":", b"1}"])),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\nx: y\r\n\r\n\
         {\"a\":1}"
    );
    assert_eq!(
        written(|out| encode::empty_response(out, 202, &[], true)),
        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        written(|out| encode::empty_response(out, 405, &[("allow", b"POST")], false)),
        "HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\ncontent-length: 0\r\n\
         allow: POST\r\n\r\n"
    );
    assert_eq!(
        written(|out| encode::empty_response(out, 204, &[], true)),
        "HTTP/1.1 204 No Content\r\n\r\n"
    );
    assert_eq!(
        written(|out| encode::empty_response(out, 402, &[], true)),
        "HTTP/1.1 402 \r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        written(|out| encode::error_response(out, &HttpError::closing(400, "missing Host"))),
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\r\nmissing Host\n"
    );
    assert_eq!(
        written(|out| {
            encode::sse_head(out, &[("mcp-session-id", b"s")], true);
            encode::chunk(out, &[b"data: ", b"0123456789", b"\n\n"]);
            encode::chunk(out, &[b"", b""]);
            encode::last_chunk(out);
        }),
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
         cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n\
         transfer-encoding: chunked\r\nmcp-session-id: s\r\n\r\n\
         12\r\ndata: 0123456789\n\n\r\n0\r\n\r\n"
    );
    assert_eq!(
        written(|out| encode::request_head(
            out,
            "POST",
            "/mcp?a=b",
            "h:1",
            &[("accept", b"application/json"), ("Host", b"evil")],
            Some(12)
        )),
        "POST /mcp?a=b HTTP/1.1\r\nhost: h:1\r\naccept: application/json\r\n\
         content-length: 12\r\n\r\n"
    );
}

#[test]
fn a_value_cannot_add_a_header_or_a_message() {
    let evil: &[u8] = b"x\r\nSet-Cookie: a\r\n\r\nHTTP/1.1 200 OK\0\n\x07";
    let extra = [
        ("mcp-name", evil),
        ("bad name", b"v".as_slice()),
        ("bad\r\nname", b"v"),
        ("", b"v"),
        ("Content-Length", b"0"),
        ("TRANSFER-ENCODING", b"chunked"),
        ("Connection", b"close"),
    ];
    let text = written(|out| encode::json_response(out, 200, &extra, true, &[b"{}"]));
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
         mcp-name: x  Set-Cookie: a    HTTP/1.1 200 OK   \r\n\r\n{}"
    );
    let text = written(|out| {
        encode::request_head(out, "GET", "/a b\r\nX: y\u{e4}", "h\r\nX: y", &[], None)
    });
    assert_eq!(text, "GET /a%20b%0D%0AX:%20y%C3%A4 HTTP/1.1\r\nhost: h  X: y\r\n\r\n");
}

proptest! {
    #[test]
    fn any_request_written_is_one_request_read(
        target in "/.{0,20}",
        headers in proptest::collection::vec((".{0,8}", proptest::collection::vec(any::<u8>(), 0..20)), 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        prop_assume!(!target.contains('#'));
        let extra: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let mut out = Vec::new();
        encode::request_head(&mut out, "POST", &target, "h", &extra, Some(body.len() as u64));
        out.extend_from_slice(&body);
        let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
        let Ok(Decoded::Complete { request, consumed }) = decoder.decode(&out) else {
            panic!("not one request: {}", out.escape_ascii())
        };
        prop_assert_eq!(consumed, out.len());
        prop_assert_eq!(request.method, Method::Post);
        prop_assert_eq!(request.body, &body[..]);
        prop_assert!(request.headers.iter().count() <= headers.len() + 2);
    }

    #[test]
    fn any_stream_written_in_chunks_is_read_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5000), 0..6),
    ) {
        let mut out = Vec::new();
        encode::sse_head(&mut out, &[], true);
        for chunk in &chunks {
            let (first, second) = chunk.split_at(chunk.len() / 2);
            match chunk.len() % 2 {
                0 => encode::chunk(&mut out, &[first, second]),
                _ => encode::chunk_with(&mut out, |out| out.extend_from_slice(chunk)),
            }
        }
        encode::last_chunk(&mut out);
        let mut decoder = ResponseDecoder::new(HttpLimits::DEFAULT);
        let mut at = 0;
        let mut body = Vec::new();
        loop {
            let (consumed, piece) = decoder.decode(&out[at..]).expect("our own output");
            at += consumed;
            match piece {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::End { keep_alive } => {
                    prop_assert!(keep_alive);
                    break;
                }
                Piece::Head(head) => prop_assert!(head.is_event_stream()),
                Piece::NeedMore => panic!("the stream is whole"),
            }
        }
        prop_assert_eq!(at, out.len());
        prop_assert_eq!(body, chunks.concat());
    }
}
