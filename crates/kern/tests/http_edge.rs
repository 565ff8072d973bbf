//! Is every malformed HTTP request answered exactly, and every well-formed one understood?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use harness::client::Client;
use harness::http::{Conn, bare, post};
use harness::{Setup, both};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// What a row expects: the status, the JSON-RPC code (0: no JSON-RPC error), and whether the
/// connection ends.
type Expected = (u16, i64, bool);

#[track_caller]
fn check(address: SocketAddr, name: &str, bytes: &[u8], (status, code, closes): Expected) {
    let mut conn = Conn::tcp(address);
    conn.send(bytes);
    let response = conn.try_response(SECOND * 10);
    let response = response.unwrap_or_else(|| panic!("{name}: no answer"));
    let body = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!((response.status(), response.code()), (status, code), "{name}: {body}");
    if closes {
        assert!(conn.is_closed(SECOND * 8), "{name}: the connection stays open");
        assert!(conn.rest().is_empty(), "{name}: a second answer came");
    } else {
        conn.send(bare("GET", "/healthz", &[]));
        assert_eq!(conn.response().status(), 200, "{name}: the connection is of no more use");
    }
}

fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

fn body(headers: &str, body: &str) -> Vec<u8> {
    let line = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream";
    format!("{line}\r\n{headers}\r\n{body}").into_bytes()
}

#[test]
fn bytes_that_readers_could_split_differently_are_refused_and_the_connection_ends() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let length = PING.len();
        let smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let rows: &[(&str, Vec<u8>, u16)] = &[
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
            ("JSON without HTTP", format!("{PING}\r\n\r\n").into_bytes(), 400),
            ("two lengths", body("Content-Length: 5\r\nContent-Length: 6\r\n", smuggled), 400),
            ("a list of lengths", body("Content-Length: 5, 6\r\n", smuggled), 400),
            ("a signed length", body("Content-Length: +5\r\n", smuggled), 400),
            ("a negative length", body("Content-Length: -5\r\n", smuggled), 400),
            ("a huge length", body("Content-Length: 99999999999999999999\r\n", smuggled), 413),
            (
                "length and chunks",
                body("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                400,
            ),
            ("chunked twice", body("Transfer-Encoding: chunked, chunked\r\n", smuggled), 400),
            ("chunked, then more", body("Transfer-Encoding: chunked, gzip\r\n", smuggled), 400),
            ("an obscured name", body("Transfer-Encoding : chunked\r\n", smuggled), 400),
            ("an unknown coding", body("Transfer-Encoding: xchunked\r\n", smuggled), 501),
            ("a bad chunk size", body("Transfer-Encoding: chunked\r\n", "5x\r\nhello\r\n"), 400),
            ("a bad chunk end", body("Transfer-Encoding: chunked\r\n", "5\r\nhelloXX"), 400),
            ("a bare LF", b"GET /healthz HTTP/1.1\nHost: localhost\n\n".to_vec(), 400),
            ("a folded line", head("GET /healthz HTTP/1.1", "X: a\r\n b\r\n"), 400),
            ("a space in front", head(" GET /healthz HTTP/1.1", ""), 400),
            ("a NUL in a value", head("GET /healthz HTTP/1.1", "X: a\0b\r\n"), 400),
            ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n".to_vec(), 400),
            ("two Hosts", head("GET /healthz HTTP/1.1", "Host: localhost\r\n"), 400),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
            ("a long target", head(&format!("GET /{} HTTP/1.1", "x".repeat(9000)), ""), 414),
            (
                "a long header",
                head("GET / HTTP/1.1", &format!("X: {}\r\n", "x".repeat(40_000))),
                431,
            ),
            ("many headers", head("GET / HTTP/1.1", &"X: y\r\n".repeat(200)), 431),
            ("a large body", body("Content-Length: 5000000\r\n", ""), 413),
            ("a large chunk", body("Transfer-Encoding: chunked\r\n", "fffffff\r\n"), 413),
            ("an unknown expectation", body("Expect: nothing\r\nContent-Length: 2\r\n", "{}"), 417),
        ];
        for (name, bytes, status) in rows {
            check_closing(kern.address(), name, bytes, *status);
        }
        let whole = body(&format!("Content-Length: {length}\r\n"), PING);
        check(kern.address(), "and a good one", &whole, (200, 0, false));
    });
}

/// As `check` for what closes; whatever the body says.
#[track_caller]
fn check_closing(address: SocketAddr, name: &str, bytes: &[u8], status: u16) {
    let mut conn = Conn::tcp(address);
    conn.send(bytes);
    let response = conn.try_response(SECOND * 10);
    let response = response.unwrap_or_else(|| panic!("{name}: no answer"));
    assert_eq!(response.status(), status, "{name}");
    assert!(conn.is_closed(SECOND * 8), "{name}: the connection stays open");
    assert!(conn.rest().is_empty(), "{name}: a second answer came");
}

/// A greeting with these headers; an empty one is left out.
fn typed(accept: &str, kind: &str, host: &str, more: &str) -> Vec<u8> {
    let line = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{name}: {value}\r\n"),
    };
    let (kind, accept) = (line("Content-Type", kind), line("Accept", accept));
    let length = PING.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\n{kind}{accept}{more}\
         Content-Length: {length}\r\n\r\n{PING}"
    )
    .into_bytes()
}

#[test]
fn what_is_http_but_not_mcp_gets_its_status_and_says_why() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let json = [("Content-Type", "application/json")];
        let request = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let mut all = vec![("Content-Length", "0")];
            all.extend_from_slice(headers);
            bare(method, path, &all)
        };
        let (both_kinds, kind) = ("application/json, text/event-stream", "application/json");
        let origin =
            |origin: &str| typed(both_kinds, kind, "localhost", &format!("Origin: {origin}\r\n"));
        let rows: &[(&str, Vec<u8>, Expected)] = &[
            ("an unknown path", request("POST", "/", &json), (404, -32600, false)),
            ("a path below", request("POST", "/mcp/echo/x", &json), (404, -32600, false)),
            ("an unknown upstream", post("/mcp/nobody", &[], PING), (404, -32600, false)),
            ("PUT", request("PUT", "/mcp", &json), (405, 0, false)),
            ("OPTIONS", request("OPTIONS", "/mcp", &json), (405, 0, false)),
            ("GET without a session", bare("GET", "/mcp", &[]), (405, 0, false)),
            ("DELETE without a session", bare("DELETE", "/mcp", &[]), (405, 0, false)),
            ("no content type", typed(both_kinds, "", "localhost", ""), (415, -32600, false)),
            ("text", typed(both_kinds, "text/plain", "localhost", ""), (415, -32600, false)),
            (
                "JSON of a kind",
                typed(both_kinds, "application/jsonx", "localhost", ""),
                (415, -32600, false),
            ),
            (
                "a charset",
                typed(both_kinds, "Application/JSON; charset=utf-8", "localhost", ""),
                (200, 0, false),
            ),
            ("HTML wanted", typed("text/html", kind, "localhost", ""), (406, -32600, false)),
            ("nothing said", typed("", kind, "localhost", ""), (200, 0, false)),
            (
                "JSON refused",
                typed("application/json;q=0", kind, "localhost", ""),
                (406, -32600, false),
            ),
            ("a foreign host", typed(both_kinds, kind, "evil.example", ""), (403, -32600, false)),
            (
                "a rebound host",
                typed(both_kinds, kind, "127.0.0.1.evil.example", ""),
                (403, -32600, false),
            ),
            ("a foreign page", origin("https://evil.example"), (403, -32600, false)),
            ("a sandboxed page", origin("null"), (403, -32600, false)),
            ("a page of this machine", origin("http://localhost:3000"), (200, 0, false)),
            (
                "two origins",
                typed(
                    both_kinds,
                    kind,
                    "localhost",
                    "Origin: http://localhost\r\nOrigin: https://evil.example\r\n",
                ),
                (400, 0, true),
            ),
        ];
        for (name, bytes, expected) in rows {
            // What refuses the whole request may close as well; what matters is the answer.
            let mut conn = Conn::tcp(kern.address());
            conn.send(bytes);
            let response = conn.response();
            let shown = String::from_utf8_lossy(&response.body).into_owned();
            let got = (response.status(), response.code());
            assert_eq!(got, (expected.0, expected.1), "{name}: {shown}");
        }
    });
}

#[test]
fn the_answer_to_head_has_no_body() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        for path in ["/healthz", "/mcp/echo", "/nowhere"] {
            let mut conn = Conn::tcp(kern.address());
            conn.send(bare("HEAD", path, &[]));
            let head = conn.head(SECOND * 5).unwrap();
            assert!([200, 404, 405].contains(&head.status), "{path}: {head:?}");
            std::thread::sleep(SECOND / 5);
            conn.send(bare("GET", "/healthz", &[]));
            let next = conn.head(SECOND * 5);
            assert_eq!(next.map(|head| head.status), Some(200), "HEAD {path} had a body");
        }
    });
}

#[test]
fn a_card_is_read_once_and_then_only_asked_for_when_it_changed() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let get = |path: &str, more: &[(&str, &str)]| {
            let mut conn = Conn::tcp(kern.address());
            conn.send(bare("GET", path, more));
            conn.response()
        };
        for (path, kind) in [
            ("/mcp/server-card", "application/mcp-server-card+json"),
            ("/mcp/echo/server-card", "application/mcp-server-card+json"),
            ("/.well-known/ai-catalog.json", "application/ai-catalog+json"),
            ("/.well-known/mcp/catalog.json", "application/ai-catalog+json"),
        ] {
            let first = get(path, &[]);
            assert_eq!(first.status(), 200, "{path}: {first:?}");
            assert_eq!(first.head.get("content-type"), Some(kind), "{path}");
            assert_eq!(first.head.get("access-control-allow-origin"), Some("*"), "{path}");
            assert!(first.json().is_object(), "{path}");
            let tag = first.head.get("etag").unwrap().to_owned();
            for (known, status) in [(&*tag, 304), ("\"other\"", 200), ("*", 304)] {
                assert_eq!(get(path, &[("If-None-Match", known)]).status(), status, "{path}");
            }
            // A page of a foreign origin learns nothing.
            assert_eq!(get(path, &[("Origin", "https://evil.example")]).status(), 403, "{path}");
        }
        assert_eq!(get("/mcp/nobody/server-card", &[]).status(), 404);
        assert_eq!(get("/mcp/echo/server-card/more", &[]).status(), 404);
    });
}

#[test]
fn what_is_json_but_no_message_gets_its_code() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let rows: &[(&str, &str, u16, i64)] = &[
            ("nothing", "", 400, -32700),
            ("no JSON", "hello", 400, -32700),
            ("cut off", r#"{"jsonrpc":"2.0","id":1"#, 400, -32700),
            ("two", r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#, 400, -32700),
            ("a trailing comma", r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#, 400, -32700),
            ("a lone surrogate", r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#, 400, -32600),
            ("a batch", &format!("[{PING}]"), 400, -32600),
            ("an empty batch", "[]", 400, -32600),
            ("null", "null", 400, -32600),
            ("a number", "42", 400, -32600),
            ("an empty object", "{}", 400, -32600),
            ("no version", r#"{"id":1,"method":"ping"}"#, 400, -32600),
            ("version 1", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, -32600),
            ("an id that is null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600),
            ("an id with parts", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, 400, -32600),
            ("a method that is none", r#"{"jsonrpc":"2.0","id":1,"method":1}"#, 400, -32600),
            (
                "params that are none",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":1}"#,
                400,
                -32602,
            ),
            ("two ids", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32600),
            (
                "two methods",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}"#,
                400,
                -32600,
            ),
            ("no session", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, 400, -32600),
            ("too deep", &deep, 400, -32600),
        ];
        for (name, body, status, code) in rows {
            let mut conn = Conn::tcp(kern.address());
            conn.send(post("/mcp", &[], body));
            let response = conn.response();
            let shown = String::from_utf8_lossy(&response.body).into_owned();
            let (got, expected) = ((response.status(), response.code()), (*status, *code));
            // Depth may be called either way.
            let deep = *name == "too deep" && got == (400, -32700);
            assert!(got == expected || deep, "{name}: {got:?} {shown}");
        }
    });
}

/// One modern request: its headers and its body.
fn modern(headers: &[(&str, &str)], method: &str, params: &str) -> Vec<u8> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":"m","method":"{method}","params":{params}}}"#);
    post("/mcp", headers, &body)
}

#[test]
fn modern_requests_that_lack_or_contradict_get_the_code_of_their_mistake() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let (version, method, name) = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name");
        let list = [(version, "2026-07-28"), (method, "tools/list")];
        let call = [(version, "2026-07-28"), (method, "tools/call"), (name, "echo")];
        let meta = format!("{{{META}}}");
        let told = format!(r#"{{"name":"echo","arguments":{{"text":"x"}},{META}}}"#);
        let future = meta.replace("2026-07-28", "2099-01-01");
        let only = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        let level = meta.replace("{}", r#"{},"io.modelcontextprotocol/logLevel":"loud""#);
        let rows: &[(&str, Vec<u8>, u16, i64)] = &[
            ("good", modern(&list, "tools/list", &meta), 200, 0),
            ("no headers", modern(&[], "tools/list", &meta), 400, -32020),
            ("no method", modern(&list[..1], "tools/list", &meta), 400, -32020),
            ("no version", modern(&list[1..], "tools/list", &meta), 400, -32020),
            ("another method", modern(&list, "prompts/list", &meta), 400, -32020),
            (
                "another version",
                modern(&[(version, "2025-11-25"), list[1]], "tools/list", &meta),
                400,
                -32020,
            ),
            ("no name", modern(&call[..2], "tools/call", &told), 400, -32020),
            (
                "another name",
                modern(&[call[0], call[1], (name, "sleep")], "tools/call", &told),
                400,
                -32020,
            ),
            (
                "a name of other case",
                modern(&[call[0], call[1], (name, "Echo")], "tools/call", &told),
                400,
                -32020,
            ),
            (
                "a bad sentinel",
                modern(&[call[0], call[1], (name, "=?base64?!?=")], "tools/call", &told),
                400,
                -32020,
            ),
            (
                "a sentinel",
                modern(&[call[0], call[1], (name, "=?base64?ZWNobw==?=")], "tools/call", &told),
                200,
                0,
            ),
            (
                "the future",
                modern(&[(version, "2099-01-01"), list[1]], "tools/list", &future),
                400,
                -32022,
            ),
            ("no capabilities", modern(&list, "tools/list", only), 400, -32602),
            ("a bad log level", modern(&list, "tools/list", &level), 400, -32602),
            ("a removed method", modern(&[list[0], (method, "ping")], "ping", &meta), 404, -32601),
            (
                "initialize",
                modern(&[list[0], (method, "initialize")], "initialize", &meta),
                404,
                -32601,
            ),
            ("an unknown method", modern(&[list[0], (method, "x/y")], "x/y", &meta), 404, -32601),
        ];
        for (label, bytes, status, code) in rows {
            check(kern.address(), label, bytes, (*status, *code, false));
        }
    });
}

#[test]
fn a_revision_of_the_future_is_told_which_are_spoken() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let mut conn = Conn::tcp(kern.address());
        let list = [("MCP-Protocol-Version", "2099-01-01"), ("Mcp-Method", "tools/list")];
        let future = format!("{{{META}}}").replace("2026-07-28", "2099-01-01");
        conn.send(modern(&list, "tools/list", &future));
        let error = conn.response().json();
        assert_eq!(error["id"], "m");
        assert_eq!(error["error"]["data"]["requested"], "2099-01-01", "{error}");
        let supported = error["error"]["data"]["supported"].as_array().unwrap();
        assert!(supported.contains(&json!("2026-07-28")), "{error}");
        let now = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
        conn.send(modern(&now, "tools/list", "{}"));
        assert_eq!(conn.response().code(), -32602, "no meta");
        conn.send(post("/mcp", &now, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        assert_eq!(conn.response().status(), 400, "a modern client sends no responses");
    });
}

#[test]
fn fifty_requests_in_one_breath_are_answered_in_their_order() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let client = Client::modern(&kern, "/mcp");
        let bytes: Vec<u8> = (0..50)
            .flat_map(|at| {
                let params = json!({ "name": "echo", "arguments": { "text": at.to_string() } });
                let body = client.body("tools/call", params, at);
                let headers = client.headers(&body);
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                post("/mcp", &headers, &body)
            })
            .collect();
        // Whole, byte by byte at first, and in odd pieces.
        for piece in [bytes.len(), 7, 1013] {
            let mut conn = Conn::tcp(kern.address());
            for part in bytes.chunks(piece) {
                assert!(conn.send(part));
            }
            for at in 0..50 {
                let answer = conn.response().json();
                assert_eq!(answer["id"], at, "pieces of {piece}: {answer}");
            }
        }
    });
}

#[test]
fn every_way_to_send_a_body_is_understood() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let mut conn = Conn::tcp(kern.address());
        let chunks: String = PING
            .as_bytes()
            .chunks(10)
            .map(|part| format!("{:x};x=y\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
            .collect();
        for _ in 0..2 {
            conn.send(body(
                "Transfer-Encoding: chunked\r\n",
                &format!("{chunks}0\r\nX: y\r\n\r\n"),
            ));
            assert!(conn.response().json()["result"].is_object());
        }
        conn.send(body(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", PING.len()), ""));
        assert_eq!(conn.head(SECOND * 5).unwrap().status, 100);
        conn.send(PING);
        assert!(conn.response().json()["result"].is_object());
        conn.send(body(&format!("Connection: close\r\nContent-Length: {}\r\n", PING.len()), PING));
        assert!(conn.response().json()["result"].is_object());
        assert!(conn.is_closed(SECOND * 3));
        let mut old = Conn::tcp(kern.address());
        old.send(format!(
            "POST /mcp HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{PING}",
            PING.len()
        ));
        let response = old.response();
        assert!(response.json()["result"].is_object());
        assert_ne!(response.head.get("transfer-encoding"), Some("chunked"));
        assert!(old.is_closed(SECOND * 3), "HTTP/1.0 ends with its answer");
        // A client that says it will send no more still gets its answer.
        let mut half = Conn::tcp(kern.address());
        half.send(body(&format!("Content-Length: {}\r\n", PING.len()), PING));
        half.finish();
        assert!(half.response().json()["result"].is_object());
    });
}
