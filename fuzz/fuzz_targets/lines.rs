//! Can a stream of lines make its decoder panic, hold more than its limit, or give other lines
//! when it is split another way?
#![no_main]

use kern_mcp::lines::{Decoder, LineTooLong};
use libfuzzer_sys::fuzz_target;

const LINE_BYTES_MAX: usize = 32;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = run(stream, stream.len().max(1));
    assert_eq!(run(stream, usize::from(step) + 1), whole, "the split changed the lines");
    let expected: Vec<_> = stream
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| {
            let ended = line.ends_with(b"\n");
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line.len() {
                0 => None,
                len if len > LINE_BYTES_MAX => Some(Err(LineTooLong { bytes_max: LINE_BYTES_MAX })),
                _ => ended.then(|| Ok(line.to_vec())),
            }
        })
        .collect();
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
