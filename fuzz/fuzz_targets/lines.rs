//! Can a stream of lines make its decoder panic, hold more than its limit, or give other lines
//! when it is split another way?
#![no_main]

use kern_mcp::lines::{Decoder, LineTooLong};
use kern_mcp::outline::Scan;
use libfuzzer_sys::fuzz_target;

const LINE_BYTES_MAX: usize = 32;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = run(stream, stream.len().max(1));
    assert_eq!(run(stream, usize::from(step) + 1), whole, "the split changed the lines");
    let mut expected = Vec::new();
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if bare.len() > LINE_BYTES_MAX {
            let bytes_max = LINE_BYTES_MAX;
            expected.push(Err(LineTooLong { bytes_max, outline: None }));
            let mut scan = Scan::default();
            scan.push(line);
            if let Some(outline) = scan.finish().filter(|_| ended) {
                expected.push(Err(LineTooLong { bytes_max, outline: Some(outline) }));
            }
        } else if ended && !bare.is_empty() {
            expected.push(Ok(bare.to_vec()));
        }
    }
    assert_eq!(whole, expected, "a plain reading gives other lines");
});

fn run(stream: &[u8], step: usize) -> Vec<Result<Vec<u8>, LineTooLong>> {
    let mut decoder = Decoder::new(LINE_BYTES_MAX);
    let mut out = Vec::new();
    for piece in stream.chunks(step) {
        let mut lines = decoder.push(piece);
        while let Some(line) = lines.next() {
            out.push(line.map(<[u8]>::to_vec));
        }
        drop(lines);
        assert!(decoder.pending_bytes() <= LINE_BYTES_MAX + 1);
    }
    out
}
