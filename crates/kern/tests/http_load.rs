//! Do slow, idle, deaf or too many HTTP clients cost others anything?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::http::{Conn, bare};
use harness::{Kern, Setup, both, process};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

#[test]
fn a_request_that_never_arrives_whole_is_cut_off() {
    both(|driver| {
        let config = format!("{ECHO}[limits]\nidle_timeout = \"2s\"\n");
        let kern = Setup::new(driver, config).start();
        let started = Instant::now();
        let beginnings: [&[u8]; 5] = [
            b"",
            b"POST /mc",
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: ",
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        ];
        let mut slow: Vec<Conn> = beginnings
            .iter()
            .map(|bytes| {
                let mut conn = Conn::tcp(kern.address());
                conn.send(bytes);
                conn
            })
            .collect();
        // A byte now and then is no reason to wait for ever.
        let mut open = vec![true; slow.len()];
        while open.iter().any(|open| *open) && started.elapsed() < SECOND * 40 {
            for (at, conn) in slow.iter_mut().enumerate().skip(1) {
                if open[at] {
                    open[at] = conn.send(b"1") && !conn.is_closed(SECOND / 20);
                }
            }
            open[0] = open[0] && !slow[0].is_closed(SECOND / 20);
            std::thread::sleep(SECOND / 2);
        }
        assert!(!open.contains(&true), "after {:?} still open: {open:?}", started.elapsed());
        let mut conn = Conn::tcp(kern.address());
        conn.send(bare("GET", "/healthz", &[]));
        assert_eq!(conn.response().status(), 200);
    });
}

/// Holds `count` idle connections and measures the memory and the answers of others.
fn idle_connections(driver: &str, count: usize) {
    let config = format!("{ECHO}[limits]\nconnections = {}\n", count + 50);
    let kern = Setup::new(driver, config).start();
    let mut client = Client::modern(&kern, "/mcp");
    client.text("echo", json!({ "text": "x" }));
    let before = process::resident_kib(kern.pid());
    let works = |conn: &mut Conn| {
        conn.send(bare("GET", "/healthz", &[]));
        conn.try_response(SECOND * 10).is_some_and(|response| response.status() == 200)
    };
    let fill = || {
        let mut held: Vec<Conn> = (0..count).map(|_| Conn::tcp(kern.address())).collect();
        let served = held.iter_mut().filter_map(|conn| works(conn).then_some(())).count();
        assert_eq!(served, count, "{driver}: some were refused");
        held
    };
    let held = fill();
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let started = Instant::now();
        client.text("echo", json!({ "text": "x" }));
        worst = worst.max(started.elapsed());
    }
    let kib = process::resident_kib(kern.pid()) - before;
    assert!(worst < SECOND * 2, "{driver}: {worst:?} beside {count} idle connections");
    assert!(kib < 4 * count as u64 + 4096, "{driver}: {kib} KiB for {count} connections");
    drop(held);
    std::thread::sleep(SECOND);
    // Were any of them still counted, these would not all be served.
    drop(fill());
    let more = process::resident_kib(kern.pid()) - before;
    assert!(more < kib + 2048, "{driver}: {kib} KiB the first time, {more} KiB the second");
}

#[test]
fn two_thousand_idle_connections_harm_nobody() {
    for driver in ["portable", "uring"] {
        idle_connections(driver, 2000);
    }
}

#[test]
#[ignore = "long: needs 20,000 descriptors"]
fn nine_thousand_idle_connections_harm_nobody() {
    for driver in ["portable", "uring"] {
        idle_connections(driver, 9000);
    }
}

#[test]
fn the_limit_of_connections_is_kept_and_lets_go() {
    both(|driver| {
        let config = format!("{ECHO}[limits]\nconnections = 10\n");
        let kern = Setup::new(driver, config).start();
        let works = |conn: &mut Conn| {
            conn.send(bare("GET", "/healthz", &[]));
            conn.try_response(SECOND * 3).is_some_and(|response| response.status() == 200)
        };
        let mut held: Vec<Conn> = (0..10).map(|_| Conn::tcp(kern.address())).collect();
        assert!(held.iter_mut().all(works));
        assert!(!works(&mut Conn::tcp(kern.address())), "an eleventh was served");
        held.truncate(5);
        harness::eventually("there is room again", || works(&mut Conn::tcp(kern.address())));
        assert!(held.iter_mut().all(works), "those within the limit were harmed");
    });
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_in_bounded_memory() {
    both(|driver| {
        let config = harness::fixture_child("fix", "both", "");
        let kern: Kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp");
        client.tools();
        let before = process::resident_kib(kern.pid());
        let held: Vec<_> = (0..8)
            .map(|_| {
                let arguments = json!({ "bytes": 4_000_000 });
                let params: Value = json!({ "name": "test_large_text", "arguments": arguments });
                client.begin("tools/call", params)
            })
            .collect();
        std::thread::sleep(SECOND * 3);
        let kib = process::resident_kib(kern.pid()) - before;
        assert!(kib < 80 << 10, "{kib} KiB are kept for clients that do not read");
        client.text("test_simple_text", json!({}));
        drop(held);
        harness::eventually("their memory is given back", || {
            process::resident_kib(kern.pid()) < before + (24 << 10)
        });
    });
}
