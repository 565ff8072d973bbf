//! Does a request that lies whole in the receive buffer cost an allocation? It must not.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kern_mcp::http::{Decoded, HttpLimits, RequestDecoder, encode};
use kern_mcp::{lines, sse};

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

fn allocations(mut work: impl FnMut()) -> usize {
    work();
    let before = COUNT.with(Cell::get);
    for _ in 0..100 {
        work();
    }
    COUNT.with(Cell::get) - before
}

#[test]
fn a_whole_request_is_read_and_answered_without_allocating() {
    let input = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json, \
        text/event-stream\r\nContent-Type: application/json\r\nAuthorization: Bearer x\r\n\
        MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n\
        Content-Length: 17\r\n\r\n{\"jsonrpc\":\"2.0\"}";
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let mut out = Vec::new();
    let count = allocations(|| {
        let Ok(Decoded::Complete { request, consumed }) = decoder.decode(input) else {
            panic!("a whole request")
        };
        assert_eq!(consumed, input.len());
        assert!(request.headers.accepts("text/event-stream"));
        assert_eq!(request.body.as_ptr(), input[input.len() - 17..].as_ptr(), "not copied");
        out.clear();
        encode::json_response(&mut out, 200, &[("mcp-session-id", b"s")], true, &[request.body]);
    });
    assert_eq!(count, 0);
}

#[test]
fn a_chunked_request_reuses_its_buffers() {
    let input =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let mut decoder = RequestDecoder::new(HttpLimits::DEFAULT);
    let count = allocations(|| {
        assert!(matches!(decoder.decode(input), Ok(Decoded::Complete { .. })));
    });
    assert_eq!(count, 0);
}

#[test]
fn whole_events_and_lines_are_read_without_allocating() {
    let mut events = sse::Decoder::new(1024);
    let mut lines = lines::Decoder::new(1024);
    let count = allocations(|| {
        let mut seen = 0;
        events
            .push(b"event: message\nid: 7\ndata: {\"a\":1}\n\n: ping\n\n", |event| {
                seen += event.data.len();
            })
            .expect("a small event");
        assert_eq!(seen, 7);
        let mut found = lines.push(b"{\"a\":1}\n{\"b\":2}\n");
        while let Some(line) = found.next() {
            assert_eq!(line.expect("a short line").len(), 7);
        }
    });
    assert_eq!(count, 0);
}
