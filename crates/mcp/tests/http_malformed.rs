//! Is every malformed request refused with the status it deserves, however it arrives?
//!
//! Each row is fed whole, byte by byte and cut in two at every place. All must agree: a verdict
//! that depends on packet borders is a way around it.

use kern_mcp::http::{Decoded, HttpLimits, RequestDecoder};

/// Small, so that rows about limits stay readable.
const LIMITS: HttpLimits = HttpLimits {
    head_bytes_max: 1024,
    headers_max: 8,
    target_bytes_max: 64,
    body_bytes_max: 32,
    chunk_extension_bytes_max: 16,
    trailer_bytes_max: 32,
};

/// What a stream of pieces comes to: the bodies of the requests in it, then perhaps a status.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<u16>) {
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut buffer = Vec::new();
    let mut bodies = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer) {
                Ok(Decoded::Incomplete { consumed, .. }) => {
                    buffer.drain(..consumed);
                    break;
                }
                Ok(Decoded::Complete { request, consumed }) => {
                    bodies.push(request.body.to_vec());
                    buffer.drain(..consumed);
                }
                Err(error) => {
                    assert!(error.close, "a fault of framing must close: {error}");
                    assert_eq!(
                        decoder.decode(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").err(),
                        Some(error)
                    );
                    return (bodies, Some(error.status));
                }
            }
        }
    }
    (bodies, None)
}

#[track_caller]
fn check(input: &[u8], status: u16) {
    let shown = input[..input.len().min(100)].escape_ascii();
    let whole = run(std::iter::once(input));
    assert_eq!(whole, (Vec::new(), Some(status)), "whole: {shown}");
    assert_eq!(run(input.chunks(1)), whole, "byte by byte: {shown}");
    for cut in 1..input.len() {
        let (first, second) = input.split_at(cut);
        assert_eq!(run([first, second].into_iter()), whole, "cut at {cut}: {shown}");
    }
}

fn check_all(rows: &[(&str, u16)]) {
    for (input, status) in rows {
        check(input.as_bytes(), *status);
    }
}

#[test]
fn a_request_line_that_readers_could_split_differently_is_refused() {
    check_all(&[
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u{b}HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\rHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("{\"jsonrpc\":\"2.0\"}\r\n\r\n", 400),
    ]);
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn a_version_this_side_does_not_speak_is_not_guessed() {
    check_all(&[
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / FTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn a_target_that_could_reach_another_host_is_refused() {
    check_all(&[
        ("GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /#frag HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n", 400),
    ]);
}

#[test]
fn a_header_line_that_readers_could_understand_differently_is_refused() {
    check_all(&[
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nNo-Colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(Y: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x07\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nK\u{212a}: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\nOrigin: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nauthorization: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nMcp-Name: a\r\nMCP-NAME: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nMcp-Session-Id: a\r\nMcp-Session-Id: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nMcp-Session-Id: \u{e4}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", 417),
    ]);
}

#[test]
fn a_length_that_readers_could_measure_differently_is_refused() {
    let rows = [
        ("Content-Length: 3\r\nContent-Length: 4", 400),
        ("Content-Length: 3\r\nContent-Length: 3", 400),
        ("Content-Length: 3, 3", 400),
        ("Content-Length: 3, 4", 400),
        ("Content-Length:", 400),
        ("Content-Length: +3", 400),
        ("Content-Length: -3", 400),
        ("Content-Length: 0x3", 400),
        ("Content-Length: 3a", 400),
        ("Content-Length: 3 3", 400),
        ("Content-Length: 3.0", 400),
        ("Content-Length: \"3\"", 400),
        ("Content-Length: \u{663}", 400),
        ("Content-Length : 3", 400),
        ("Content-Length: 33", 413),
        ("Content-Length: 18446744073709551615", 413),
        ("Content-Length: 18446744073709551619", 413),
        ("Content-Length: 99999999999999999999999999", 413),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
        ("Transfer-Encoding: identity\r\nContent-Length: 3", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: ,chunked", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding: chunked;q=1", 400),
        ("Transfer-Encoding: \u{b}chunked", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding\t: chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip", 501),
        ("Transfer-Encoding: identity", 501),
        ("Transfer-Encoding: xchunked", 501),
        ("Transfer-Encoding: chunked-x", 501),
    ];
    for (headers, status) in rows {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\nabc");
        check(input.as_bytes(), status);
    }
    check(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

#[test]
fn a_chunk_that_readers_could_measure_differently_is_refused() {
    let rows = [
        ("g\r\nabc\r\n0\r\n\r\n", 400),
        ("\r\n", 400),
        (";x\r\nabc", 400),
        (" 3\r\nabc\r\n0\r\n\r\n", 400),
        ("3 \r\nabc\r\n0\r\n\r\n", 400),
        ("+3\r\nabc\r\n0\r\n\r\n", 400),
        ("-3\r\nabc\r\n0\r\n\r\n", 400),
        ("0x3\r\nabc\r\n0\r\n\r\n", 400),
        ("3\nabc\r\n0\r\n\r\n", 400),
        ("3\r\rabc\r\n0\r\n\r\n", 400),
        ("3\r\nabcd\r\n0\r\n\r\n", 400),
        ("3\r\nabc0\r\n\r\n", 400),
        ("3\r\nabc\n0\r\n\r\n", 400),
        ("3\r\nab\r\n0\r\n\r\n", 400),
        ("3;x\nabc\r\n0\r\n\r\n", 400),
        ("3;x\0\r\nabc\r\n0\r\n\r\n", 400),
        ("3;x\r\r\nabc\r\n0\r\n\r\n", 400),
        ("3;12345678901234567\r\nabc\r\n0\r\n\r\n", 400),
        ("1;12345678\r\na\r\n1;123456789\r\na\r\n0\r\n\r\n", 400),
        ("00000000000000003\r\nabc\r\n0\r\n\r\n", 400),
        ("10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
        ("ffffffffffffffff\r\nabc", 413),
        ("21\r\nabc", 413),
        ("10\r\n0123456789abcdef\r\n11\r\n0", 413),
        ("0\r\n\n", 400),
        ("0\r\n\rx", 400),
        ("0\r\nx\r\n\r\n", 400),
        ("0\r\nx : y\r\n\r\n", 400),
        ("0\r\n x: y\r\n\r\n", 400),
        ("0\r\nx: y\r\n z\r\n\r\n", 400),
        ("0\r\nx: y\n\r\n", 400),
        ("0\r\nx: \0\r\n\r\n", 400),
        ("0\r\n: y\r\n\r\n", 400),
        ("0\r\nx: 0123456789\r\ny: 0123456789\r\nz: 0\r\n\r\n", 431),
    ];
    for (body, status) in rows {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(format!("{head}{body}").as_bytes(), status);
    }
}

#[test]
fn a_head_beyond_its_limits_is_refused_before_it_is_held() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len));
    check(target(64).as_bytes(), 414);
    check(target(900).as_bytes(), 414);
    check(format!("GET /{}", "x".repeat(2000)).as_bytes(), 414);
    check("X".repeat(200).as_bytes(), 414);
    let header =
        |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    check(header(1000).as_bytes(), 431);
    check(header(3000).as_bytes(), 431);
    check(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1100)).as_bytes(), 431);
    let lines = "X: 1\r\n".repeat(8);
    check(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes(), 431);
    let within = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(63));
    assert_eq!(run(std::iter::once(within.as_bytes())), (vec![Vec::new()], None));
    let seven = "X: 1\r\n".repeat(7);
    let within = format!("GET / HTTP/1.1\r\nHost: a\r\n{seven}\r\n");
    assert_eq!(run(std::iter::once(within.as_bytes())), (vec![Vec::new()], None));
}

#[test]
fn a_request_after_a_refused_one_is_never_read() {
    let good = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let bad =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    let stream = format!("{good}{bad}0\r\n\r\n{good}");
    for step in 1..stream.len() {
        let (bodies, status) = run(stream.as_bytes().chunks(step));
        assert_eq!((bodies, status), (vec![b"hi".to_vec()], Some(400)), "by {step}");
    }
}
