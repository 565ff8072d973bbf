//! Are valid requests read the same way, however they arrive?

use kern_mcp::http::{Decoded, HttpLimits, Method, Request, RequestDecoder};
use proptest::prelude::*;

/// A request with all it borrows copied, to compare runs.
#[derive(Debug, PartialEq)]
struct Owned {
    method: Method,
    target: String,
    http10: bool,
    keep_alive: bool,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Owned {
    fn of(request: &Request<'_>) -> Self {
        let headers = request.headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
        Self {
            method: request.method,
            target: request.target.to_owned(),
            http10: request.http10,
            keep_alive: request.keep_alive,
            headers,
            body: request.body.to_vec(),
        }
    }
}

/// Decodes pieces; gives the requests and how often `100 Continue` was asked for.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Owned>, usize) {
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    let mut continues = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer).expect("a valid stream") {
                Decoded::Incomplete { consumed, send_continue, head_done } => {
                    continues += usize::from(send_continue);
                    buffer.drain(..consumed);
                    assert_eq!(decoder.head(&buffer).is_some(), head_done);
                    break;
                }
                Decoded::Complete { request, consumed } => {
                    requests.push(Owned::of(&request));
                    buffer.drain(..consumed);
                }
            }
        }
    }
    assert!(buffer.is_empty(), "a valid stream leaves nothing over");
    (requests, continues)
}

#[track_caller]
fn check(input: &str, with: impl Fn(&Owned)) {
    let (whole, _) = decode(std::iter::once(input.as_bytes()));
    assert_eq!(whole.len(), 1, "{input:?}");
    with(&whole[0]);
    for step in 1..input.len() {
        assert_eq!(decode(input.as_bytes().chunks(step)).0, whole, "{input:?} by {step}");
    }
}

#[test]
fn what_clients_really_send_is_understood() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", |r| {
        assert_eq!((r.method, r.target.as_str(), r.keep_alive), (Method::Get, "/", true));
    });
    check("POST /mcp?x=1 HTTP/1.1\r\nhost:a:80\r\ncontent-length: 2 \r\n\r\nhi", |r| {
        assert_eq!((r.target.as_str(), r.body.as_slice()), ("/mcp?x=1", b"hi".as_slice()));
    });
    check("GET http://A.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", |r| {
        assert_eq!(r.target, "/x");
    });
    check("GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n", |r| assert_eq!(r.target, "/"));
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", |r| {
        assert_eq!((r.method, r.target.as_str()), (Method::Options, "*"));
    });
    check("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", |r| {
        assert_eq!(r.method, Method::Other);
    });
    check("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", |r| assert_eq!(r.method, Method::Other));
    check("\r\n\r\nDELETE / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", |r| {
        assert_eq!(r.method, Method::Delete);
    });
    check("GET / HTTP/1.0\r\n\r\n", |r| assert!(r.http10 && !r.keep_alive));
    check("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", |r| assert!(!r.keep_alive));
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo,  Close\r\n\r\n", |r| {
        assert!(!r.keep_alive);
    });
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", |r| {
        assert!(!r.keep_alive);
    });
    check("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\nMcp-Name: \u{e4}\r\n\r\n", |r| {
        assert_eq!(r.headers[1].1, "\u{e4}".as_bytes());
    });
}

#[test]
fn chunks_extensions_and_trailers_leave_only_the_body() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
    for body in [
        "b\r\nhello world\r\n0\r\n\r\n",
        "B\r\nhello world\r\n0\r\n\r\n",
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "05;a=b\r\nhello\r\n6;\"q\"\r\n world\r\n00;z\r\nX: y\r\nEmpty:\r\n\r\n",
    ] {
        check(&format!("{head}{body}"), |r| assert_eq!(r.body, b"hello world"));
    }
    check(&format!("{head}0\r\n\r\n"), |r| assert_eq!(r.body, b""));
}

#[test]
fn a_client_that_waits_for_continue_is_told_once() {
    let input = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(decode(std::iter::once(input.as_bytes())).1, 0, "the body is here already");
    for cut in 1..input.len() {
        let (first, second) = input.as_bytes().split_at(cut);
        let waits = usize::from(cut >= input.len() - 2);
        assert_eq!(decode([first, second].into_iter()).1, waits, "cut at {cut}");
    }
    assert_eq!(decode(input.as_bytes().chunks(1)).1, 1);
    let chunked =
        input.replace("Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(decode(chunked.as_bytes().chunks(1)).1, 1);
    let old = input.replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(decode(old.as_bytes().chunks(1)).1, 0);
}

#[test]
fn the_headers_the_gateway_needs_are_at_hand() {
    let input = b"POST / HTTP/1.1\r\nHOST: h\r\nOrigin: o\r\nAccept: application/json\r\n\
        ACCEPT: text/*;q=0.5, image/png;q=0\r\nContent-Type: c\r\nAuthorization: z\r\n\
        Mcp-Session-Id: s\r\nMCP-Protocol-Version: v\r\nMcp-Method: m\r\nMcp-Name: n\r\n\
        Last-Event-ID: l\r\nMcp-Param-X: p\r\n\r\n";
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let Ok(Decoded::Complete { request, .. }) = decoder.decode(input) else { panic!("not whole") };
    let headers = request.headers;
    assert_eq!(headers.host, Some("h"));
    assert_eq!(headers.origin, Some("o"));
    assert_eq!(headers.accept, Some("application/json"));
    assert_eq!(headers.content_type, Some("c"));
    assert_eq!(headers.authorization, Some("z"));
    assert_eq!(headers.mcp_session_id, Some("s"));
    assert_eq!(headers.mcp_protocol_version, Some("v"));
    assert_eq!(headers.mcp_method, Some(b"m".as_slice()));
    assert_eq!(headers.mcp_name, Some(b"n".as_slice()));
    assert_eq!(headers.last_event_id, Some("l"));
    assert_eq!(headers.get("mcp-param-x"), Some(b"p".as_slice()));
    assert_eq!(headers.get("absent"), None);
    assert_eq!(headers.get_all("accept").count(), 2);
    for (media_type, admitted) in [
        ("application/json", true),
        ("text/event-stream", true),
        ("image/png", false),
        ("application/xml", false),
    ] {
        assert_eq!(headers.accepts(media_type), admitted, "{media_type}");
    }
    assert!(!format!("{headers:?}").contains("\"z\""), "secrets stay out of logs");
}

#[test]
fn a_body_on_its_way_can_be_refused_by_its_head() {
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let input = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc";
    let Ok(Decoded::Incomplete { consumed, head_done: true, .. }) = decoder.decode(input) else {
        panic!("the head is whole, the body is not")
    };
    let head = decoder.head(&input[consumed..]).unwrap();
    assert_eq!((head.target, head.body), ("/x", b"".as_slice()));
    assert_eq!(decoder.wanted_bytes(), input.len() - 2 - 3 + 1000);
}

/// One valid request as bytes.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..300);
    let header = ("[A-Za-z0-9-]{1,12}", "[ -~]{0,20}");
    let headers = proptest::collection::vec(header, 0..6);
    let shape = prop_oneof![Just(0_usize), Just(1), 2..40_usize];
    (0..3_usize, "/[a-z0-9/?=]{0,30}", headers, body, shape, any::<bool>()).prop_map(
        |(empty_lines, target, headers, body, shape, trailers)| {
            let mut out = b"\r\n".repeat(empty_lines);
            out.extend(format!("POST {target} HTTP/1.1\r\nHost: a.example:1\r\n").bytes());
            for (name, value) in headers {
                out.extend(format!("X-{name}: {value}\r\n").bytes());
            }
            match shape {
                0 => out.extend_from_slice(b"\r\n"),
                1 => {
                    out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                    out.extend_from_slice(&body);
                }
                piece => {
                    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(piece) {
                        out.extend(format!("{:x};ext\r\n", chunk.len()).bytes());
                        out.extend_from_slice(chunk);
                        out.extend_from_slice(b"\r\n");
                    }
                    let end: &[u8] = if trailers { b"0\r\nA: b\r\n\r\n" } else { b"0\r\n\r\n" };
                    out.extend_from_slice(end);
                }
            }
            out
        },
    )
}

/// Cuts `bytes` at the given places, taken modulo its length.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|p| p % bytes.len().max(1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn every_split_of_pipelined_requests_gives_the_same_requests(
        requests in proptest::collection::vec(request(), 1..5),
        places in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let stream = requests.concat();
        let (whole, _) = decode(std::iter::once(stream.as_slice()));
        prop_assert_eq!(whole.len(), requests.len());
        let (split, _) = decode(cut(&stream, &places).into_iter());
        prop_assert_eq!(&split, &whole);
        let (bytewise, _) = decode(stream.chunks(1));
        prop_assert_eq!(&bytewise, &whole);
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_depend_on_their_split(
        requests in proptest::collection::vec(request(), 1..3),
        harm in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        places in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut stream = requests.concat();
        for (place, byte) in harm {
            let place = place % stream.len();
            stream[place] = byte;
        }
        let whole = verdict(&[&stream]);
        prop_assert_eq!(verdict(&cut(&stream, &places)), whole);
    }
}

/// The number of requests, and the error that ended them.
fn verdict(pieces: &[&[u8]]) -> (usize, Option<kern_mcp::http::HttpError>) {
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let mut buffer = Vec::new();
    let mut count = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let consumed = match decoder.decode(&buffer) {
                Err(error) => return (count, Some(error)),
                Ok(Decoded::Incomplete { consumed, .. }) => {
                    buffer.drain(..consumed);
                    break;
                }
                Ok(Decoded::Complete { consumed, .. }) => consumed,
            };
            count += 1;
            buffer.drain(..consumed);
        }
    }
    (count, None)
}
