//! Do large answers pass unchanged, in bounded memory, at the cost of nobody else?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::bulk::{Bulk, parts};
use harness::client::Client;
use harness::http::{Conn, Head};
use harness::lines::Lines;
use harness::{Kern, Setup, both, eventually, process, remote, within};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(120);
const JSON: &str = "application/json, text/event-stream";
const SSE: &str = "text/event-stream";
const MB: usize = 1_000_000;

/// Sends a call of `bulk` that takes its answer as `accept` says.
fn ask(kern: &Kern, client: &Client, path: &str, accept: &str, arguments: &Value) -> Conn {
    ask_over(Conn::tcp(kern.address()), client, path, accept, arguments)
}

fn ask_over(mut conn: Conn, client: &Client, path: &str, accept: &str, arguments: &Value) -> Conn {
    let params = json!({ "name": "bulk", "arguments": arguments });
    let body = client.body("tools/call", params, "id-of-mine");
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: {accept}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in client.headers(&body) {
        head += &format!("{name}: {value}\r\n");
    }
    assert!(conn.send(format!("{head}\r\n{body}")));
    conn
}

/// The answer, if it comes to its end in order: what a JSON body or the last event holds.
fn answer(conn: &mut Conn) -> Option<Vec<u8>> {
    let head = conn.head(LONG).expect("an answer begins");
    rest(conn, &head)
}

fn rest(conn: &mut Conn, head: &Head) -> Option<Vec<u8>> {
    assert_eq!(head.status, 200, "{head:?}");
    let body = conn.body(head, LONG)?;
    if head.get("content-type") == Some("application/json") {
        return Some(body);
    }
    let end = body.strip_suffix(b"\n\n").expect("a whole event");
    let start = memchr::memmem::rfind(end, b"\n\n").map_or(0, |at| at + 2);
    let mut data = Vec::with_capacity(body.len());
    let mut lines = 0;
    for line in end[start..].split(|byte| *byte == b'\n') {
        if let Some(line) = line.strip_prefix(b"data: ") {
            if lines > 0 {
                data.push(b'\n');
            }
            lines += 1;
            data.extend_from_slice(line);
        }
    }
    Some(data)
}

/// Line ends between tokens, in the way of an event's lines.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\r', rest) {
        plain.extend_from_slice(&rest[..at]);
        plain.push(b'\n');
        rest = rest[at + 1..].strip_prefix(b"\n").unwrap_or(&rest[at + 1..]);
    }
    plain.extend_from_slice(rest);
    plain
}

fn report(kern: &Kern) -> Value {
    let mut conn = Conn::tcp(kern.address());
    conn.send(harness::http::bare("GET", "/status", &[]));
    conn.response().json()["core"].clone()
}

/// Nothing of any call is left.
#[track_caller]
fn is_quiet(kern: &Kern, bulk: &Bulk) {
    // Any core may answer.
    eventually("every call is over", || (0..6).all(|_| report(kern)["requests"] == 0));
    eventually("nothing is written for nobody", || bulk.writing() == 0);
}

/// One combination of eras, framings and member orders.
#[track_caller]
fn passes(kern: &Kern, client: &Client, modern: (bool, bool), accept: &str, arguments: &Value) {
    let (client_modern, server_modern) = modern;
    let (head, text, end) = parts(arguments, server_modern, "\"id-of-mine\"");
    let mut expected = (head + &text + &end).into_bytes();
    if client_modern && !server_modern {
        let whole = String::from_utf8(expected).unwrap();
        expected =
            whole.replacen("{ \"content\"", "{\"resultType\":\"complete\", \"content\"", 1).into();
    }
    let came = answer(&mut ask(kern, client, "/mcp/far", accept, arguments));
    let came = came.unwrap_or_else(|| panic!("{arguments} {accept} did not end"));
    let by_event = accept == SSE || arguments["by"] == "sse" || arguments["by"] == "stream";
    let (came, expected) = match by_event {
        true => (plain(&came), plain(&expected)),
        false => (came, expected),
    };
    if came.trim_ascii() != expected.trim_ascii() {
        let at = came.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let near = |all: &[u8]| {
            let (from, to) = (at.saturating_sub(80), (at + 80).min(all.len()));
            String::from_utf8_lossy(&all[from.min(to)..to]).into_owned()
        };
        panic!(
            "{arguments} {accept}: {} of {} bytes, from {at} on: {:?} for {:?}",
            came.len(),
            expected.len(),
            near(&came),
            near(&expected)
        );
    }
}

fn client(kern: &Kern, modern: bool) -> Client {
    match modern {
        true => Client::modern(kern, "/mcp/far"),
        false => Client::legacy(kern, "/mcp/far", json!({})),
    }
}

#[test]
fn answers_of_every_size_are_the_same_bytes_whatever_carries_them() {
    both(|driver| {
        for (client_modern, server_modern) in
            [(true, false), (false, false), (true, true), (false, true)]
        {
            let bulk = Bulk::start(server_modern);
            let kern = Setup::new(driver, remote("far", &bulk.url(), "")).cores(2).start();
            let client = client(&kern, client_modern);
            client.clone().tools();
            for by in ["json", "chunked", "sse", "stream"] {
                for (accept, order) in
                    [(JSON, "first"), (JSON, "last"), (SSE, "first"), (SSE, "last")]
                {
                    if (client_modern, server_modern) == (false, true) {
                        continue;
                    }
                    for bytes in [1_000, 64_000, 262_000, 700_000] {
                        let arguments = json!({ "bytes": bytes, "by": by, "order": order });
                        passes(&kern, &client, (client_modern, server_modern), accept, &arguments);
                    }
                }
            }
            is_quiet(&kern, &bulk);
        }
    });
}

/// Resident memory of `kern` above what it was, while `work` runs: the most, KiB.
fn peak_kib<R>(kern: &Kern, work: impl FnOnce() -> R) -> (u64, R) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let before = process::resident_kib(kern.pid());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(process::resident_kib(kern.pid()));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let end = Over(&over);
        let result = work();
        drop(end);
        (watch.join().unwrap().saturating_sub(before), result)
    })
}

/// Held of an answer before it begins, its send queue, and what comes in a turn; twice, since buffers
/// grow by doubling.
const EACH_KIB: u64 = 2 * (256 + 256 + 256);
/// Buffers that a core keeps to receive in, and what an allocator does not give back.
const CORE_KIB: u64 = 16 << 10;

#[test]
fn a_hundred_megabytes_pass_in_bounded_memory_to_fast_and_slow_readers() {
    both(|driver| {
        let bulk = Bulk::start(false);
        let kern = Setup::new(driver, remote("far", &bulk.url(), "")).start();
        let client = client(&kern, true);
        client.clone().tools();
        for (by, accept, order, bytes) in
            [("json", JSON, "last", 100 * MB), ("sse", SSE, "first", 30 * MB)]
        {
            let arguments = json!({ "bytes": bytes, "by": by, "order": order });
            let (peak, ()) = peak_kib(&kern, || {
                passes(&kern, &client, (true, false), accept, &arguments);
            });
            assert!(peak < EACH_KIB + CORE_KIB, "{peak} KiB for one of {by}");
        }
        // A slow reader: what it does not take stays with the server.
        let arguments = json!({ "bytes": 30 * MB });
        let (peak, mut conn) = peak_kib(&kern, || {
            let mut conn = ask(&kern, &client, "/mcp/far", JSON, &arguments);
            conn.head(LONG).unwrap();
            std::thread::sleep(SECOND * 2);
            assert_eq!((bulk.writing(), bulk.refused()), (1, 0), "the server has to wait");
            conn
        });
        assert!(peak < EACH_KIB + CORE_KIB, "{peak} KiB for a slow reader");
        // It reads on after all, and loses nothing.
        let head =
            Head { status: 200, headers: vec![("content-type".into(), "application/json".into())] };
        let whole = rest(&mut conn, &head).expect("an end in order");
        assert!(whole.len() > 29 * MB && whole.ends_with(b"}} \r\n"));
        is_quiet(&kern, &bulk);
    });
}

#[test]
fn seventy_readers_that_hang_cost_bounded_memory_and_nobody_else_time() {
    both(|driver| {
        let bulk = Bulk::start(false);
        let config = remote("far", &bulk.url(), "") + "[upstream.echo]\nbuiltin = \"echo\"\n";
        let kern = Setup::new(driver, config).start();
        let mut client = client(&kern, true);
        client.tools();
        let small = |client: &mut Client| {
            let started = Instant::now();
            assert_eq!(client.call("bulk", json!({ "bytes": 100 }))["isError"], false);
            started.elapsed()
        };
        for _ in 0..20 {
            small(&mut client);
        }
        let arguments = json!({ "bytes": 100 * MB });
        let (peak, (slow, mut waits)) = peak_kib(&kern, || {
            // More than connections may be open to one server; over a Unix socket, where the system
            // itself takes little for who does not read.
            let slow: Vec<Conn> = (0..70)
                .map(|at| {
                    let accept = if at % 2 == 0 { JSON } else { SSE };
                    ask_over(Conn::unix(&kern.unix), &client, "/mcp/far", accept, &arguments)
                })
                .collect();
            within(LONG, "all of them are being answered", || bulk.writing() == 70);
            let mut before = 0;
            within(LONG, "nothing moves", || {
                std::thread::sleep(SECOND);
                let now = bulk.written();
                std::mem::replace(&mut before, now) == now
            });
            let waits: Vec<_> = (0..200).map(|_| small(&mut client)).collect();
            (slow, waits)
        });
        assert_eq!(bulk.writing(), 70, "they are still there");
        assert!(peak < 70 * EACH_KIB + CORE_KIB, "{peak} KiB for seventy");
        waits.sort();
        let (p50, p99) = (waits[100], waits[198]);
        println!("{driver}: {peak} KiB, others {p50:?} (p99 {p99:?})");
        assert!(p99 < SECOND * 5, "another client waited {p99:?}");
        drop(slow);
        is_quiet(&kern, &bulk);
    });
}

/// An answer that begins and does not end: the connection is closed without its end.
#[track_caller]
fn is_cut(conn: &mut Conn, what: &Value) {
    let head = conn.head(LONG).expect("an answer begins");
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    let body = conn.body(&head, harness::PATIENCE);
    let shown = |body: &Vec<u8>| String::from_utf8_lossy(&body[body.len() - 200..]).into_owned();
    assert!(body.is_none(), "{what} ended in order: {:?}", body.as_ref().map(shown));
    assert!(conn.is_closed(harness::PATIENCE), "the connection is still open");
}

#[test]
fn an_answer_that_goes_wrong_half_way_never_ends_in_order() {
    both(|driver| {
        for server_modern in [false, true] {
            let bulk = Bulk::start(server_modern);
            let kern = Setup::new(driver, remote("far", &bulk.url(), "timeout = \"2s\"")).start();
            let client = client(&kern, true);
            client.clone().tools();
            let faults = [
                json!({ "fault": "die" }),
                json!({ "fault": "stall" }),
                json!({ "tail": "\n\"}]}" }),
                json!({ "tail": "\\x\"}]}" }),
                json!({ "tail": "\"}]]}" }),
                json!({ "tail": "\"}]}}" }),
                json!({ "tail": "\"}], \"isError\":1, \"isErro\\u0072\":1}" }),
                json!({ "tail": "\"}]}, \"method\":\"x\"" }),
                json!({ "tail": "\"}]}, \"Id\":1" }),
                json!({ "tail": "\"}], \"resultType\":\"task\"}" }),
                json!({ "order": "last", "id": "12345" }),
                json!({ "order": "last", "id": "{}" }),
                json!({ "order": "last", "id": "\"a\", \"id\":1" }),
            ];
            for (mut arguments, by) in
                faults.into_iter().zip(["json", "sse", "chunked"].iter().cycle())
            {
                // What ends within a string is not told from the text by an event's lines.
                let by = if arguments["tail"] == "\n\"}]}" { "json" } else { by };
                arguments["by"] = json!(by);
                arguments["bytes"] = json!(900_000);
                for accept in [JSON, SSE] {
                    let mut conn = ask(&kern, &client, "/mcp/far", accept, &arguments);
                    is_cut(&mut conn, &arguments);
                }
            }
            is_quiet(&kern, &bulk);
            passes(&kern, &client, (true, server_modern), JSON, &json!({ "bytes": 400_000 }));
        }
    });
}

#[test]
fn a_client_that_leaves_half_way_leaves_nothing_behind() {
    both(|driver| {
        for modern in [true, false] {
            let bulk = Bulk::start(false);
            let kern = Setup::new(driver, remote("far", &bulk.url(), "")).cores(2).start();
            let client = client(&kern, modern);
            client.clone().tools();
            for accept in [JSON, SSE] {
                let before = bulk.refused();
                let arguments = json!({ "bytes": 60 * MB });
                let mut conn = ask(&kern, &client, "/mcp/far", accept, &arguments);
                conn.head(LONG).expect("an answer begins");
                drop(conn);
                let what = format!("{modern} {accept}: the server hears that nobody reads");
                eventually(&what, || bulk.refused() == before + 1);
                is_quiet(&kern, &bulk);
            }
            if !modern {
                // A client of the old era withdraws with a message of its own.
                let arguments = json!({ "bytes": 60 * MB });
                let mut conn = ask(&kern, &client, "/mcp/far", JSON, &arguments);
                eventually("it begins", || bulk.writing() == 1);
                client.notify("notifications/cancelled", json!({ "requestId": "id-of-mine" }));
                is_cut(&mut conn, &arguments);
                is_quiet(&kern, &bulk);
                eventually("its server is told", || bulk.cancelled() > 0);
            }
        }
    });
}

#[test]
fn who_takes_nothing_is_given_up_like_a_server_that_says_nothing() {
    both(|driver| {
        let bulk = Bulk::start(false);
        let kern = Setup::new(driver, remote("far", &bulk.url(), "timeout = \"2s\"")).start();
        let client = client(&kern, true);
        client.clone().tools();
        let started = Instant::now();
        let held = ask(&kern, &client, "/mcp/far", JSON, &json!({ "bytes": 60 * MB }));
        eventually("it begins", || bulk.writing() == 1);
        let took = within(SECOND * 15, "it is given up", || bulk.writing() == 0);
        assert!(took + started.elapsed() > SECOND, "too soon: {took:?}");
        is_quiet(&kern, &bulk);
        drop(held);
    });
}

#[test]
fn an_answer_that_can_be_asked_for_again_is_kept_as_before_and_a_larger_one_fails_for_whoever_asks()
{
    both(|driver| {
        let bulk = Bulk::start(false);
        let kern = Setup::new(driver, remote("far", &bulk.url(), "")).cores(2).start();
        let client = client(&kern, false);
        client.clone().tools();
        // 3 MB: lost on the way, and whole for the one who resumes.
        let lost = |bytes: usize| {
            let arguments = json!({ "bytes": bytes });
            let mut conn = ask(&kern, &client, "/mcp/far", SSE, &arguments);
            let head = conn.head(LONG).unwrap();
            assert_eq!(head.get("content-type"), Some("text/event-stream"));
            let first = conn.event(harness::PATIENCE).expect("an event without data");
            drop(conn);
            first.id.expect("a place to resume from")
        };
        let resumed = |place: &str| {
            let (mut conn, head) = client.get("/mcp/far", Some(place));
            rest(&mut conn, &head).expect("a whole stream")
        };
        let place = lost(3 * MB);
        eventually("the server has said all", || bulk.writing() == 0);
        let whole = resumed(&place);
        assert!(whole.len() > 2 * MB, "{} bytes", whole.len());
        let place = lost(60 * MB);
        is_quiet(&kern, &bulk);
        let error: Value = serde_json::from_slice(&resumed(&place)).unwrap();
        let why = error["error"]["message"].as_str().unwrap_or_default();
        assert!(why.contains("too large to be kept"), "{error}");
        assert_eq!(error["id"], "id-of-mine");
        is_quiet(&kern, &bulk);
    });
}

#[test]
fn what_is_larger_than_results_may_be_fails() {
    both(|driver| {
        let bulk = Bulk::start(false);
        let limits = "[limits]\nmessage_bytes = \"1MiB\"\nresult_bytes = \"4MiB\"\n";
        let config = limits.to_owned() + &remote("far", &bulk.url(), "");
        let kern = Setup::new(driver, config).start();
        let mut client = client(&kern, true);
        client.tools();
        passes(&kern, &client, (true, false), JSON, &json!({ "bytes": 3 * MB, "by": "sse" }));
        // Known before it begins, or not.
        let why = client.error("bulk", json!({ "bytes": 5 * MB }));
        assert!(why.contains("too large"), "{why}");
        for by in ["sse", "chunked"] {
            let arguments = json!({ "bytes": 5 * MB, "by": by });
            is_cut(&mut ask(&kern, &client, "/mcp/far", JSON, &arguments), &arguments);
        }
        // Lines carry whole messages.
        let mut line = Lines::unix(&kern);
        line.initialize(json!({}));
        for (bytes, fits) in [(900_000, true), (2 * MB, false)] {
            let arguments = json!({ "bytes": bytes });
            let answer =
                line.request("tools/call", json!({ "name": "bulk", "arguments": arguments }));
            assert_eq!(answer["result"].is_object(), fits, "{bytes}: {}", answer["error"]);
        }
        is_quiet(&kern, &bulk);
    });
}
