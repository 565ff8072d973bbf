//! Does a request on an idle connection cost an allocation? It must not, where the answer is JSON
//! in one piece.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use kern_terms::{Instant, Key};
use kern_upstream::http::{HttpLink, HttpTarget, LinkLimits, Post, Wire};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STREAM: Key = Key { slot: 1, generation: 0 };

/// A wire with one stream, which swallows everything.
struct Sink;

impl Wire for Sink {
    fn connect(&mut self) -> Key {
        STREAM
    }

    fn send(&mut self, _stream: Key, parts: &[&[u8]]) {
        assert!(parts.iter().any(|part| part.starts_with(b"POST ")));
    }

    fn close(&mut self, _stream: Key) {
        panic!("the connection stays");
    }

    fn abort(&mut self, stream: Key) {
        self.close(stream);
    }

    fn read(&mut self, _stream: Key, _on: bool) {}
}

#[test]
fn a_request_on_an_idle_connection_allocates_nothing() {
    let target = HttpTarget {
        tls: true,
        host: "h".to_owned(),
        port: 443,
        path: "/mcp".to_owned(),
        headers: vec![("authorization".to_owned(), b"Bearer x".to_vec())],
    };
    let mut link = HttpLink::new(Arc::new(target), LinkLimits::DEFAULT);
    let mut out = Vec::new();
    let now = Instant::ZERO;
    let mut exchange = |connect: bool, replayable: bool| {
        let headers: &[(&str, &[u8])] = &[("mcp-method", b"tools/call"), ("mcp-name", b"echo")];
        let post = Post { path: None, headers, body: &[b"{\"a\":", b"1}"], replayable, tag: 7 };
        link.post(&mut Sink, now, post).expect("an empty queue");
        if connect {
            link.connected(&mut Sink, now, STREAM);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
            content-length: 7\r\n\r\n{\"b\":2}";
        link.received(&mut Sink, now, STREAM, answer, &mut out);
        assert_eq!(out.len(), 3);
        out.clear();
    };
    exchange(true, true);
    exchange(false, true);
    let before = COUNT.with(Cell::get);
    for round in 0..100 {
        exchange(false, round % 2 == 0);
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}
