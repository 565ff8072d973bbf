//! Can an event stream make its decoder panic, hold more than its limit, or give other events
//! when it is split another way?
#![no_main]

use kern_mcp::sse::{Decoder, encode};
use libfuzzer_sys::fuzz_target;

const EVENT_BYTES_MAX: usize = 64;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = run(stream, stream.len().max(1));
    let split = run(stream, usize::from(step) + 1);
    assert_eq!(split.0, whole.0, "the split changed the events");
    assert_eq!(split.1 > 0, whole.1 > 0, "the split changed whether one was too large");
    round_trip(stream);
});

/// The events as text, and how many pushes met one too large.
fn run(stream: &[u8], step: usize) -> (Vec<String>, usize) {
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    let mut too_large = 0;
    for piece in stream.chunks(step) {
        let outcome = decoder.push(piece, |event| events.push(format!("{event:?}")));
        too_large += usize::from(outcome.is_err());
        assert!(decoder.pending_bytes() <= EVENT_BYTES_MAX);
    }
    (events, too_large)
}

/// Whatever is written as data reads back as one event, its line ends as LF.
fn round_trip(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let mut out = Vec::new();
    encode::event(&mut out, None, None, &[first, second]);
    let mut expected = Vec::new();
    let mut rest = data;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'\r' {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        expected.push(if *byte == b'\r' { b'\n' } else { *byte });
    }
    let mut count = 0;
    let mut decoder = Decoder::new(usize::MAX / 2);
    let outcome = decoder.push(&out, |event| {
        assert_eq!(event.data, expected);
        count += 1;
    });
    assert!(outcome.is_ok() && count == 1);
}
