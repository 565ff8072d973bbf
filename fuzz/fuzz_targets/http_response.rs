//! Can bytes from a server make the response decoder panic, loop, or give another verdict when
//! they are split another way?
#![no_main]

use kern_mcp::http::{HttpLimits, Piece, ResponseDecoder, ResponseError};
use libfuzzer_sys::fuzz_target;

const LIMITS: HttpLimits = HttpLimits {
    head_bytes_max: 512,
    headers_max: 12,
    target_bytes_max: 64,
    body_bytes_max: 128,
    chunk_extension_bytes_max: 16,
    trailer_bytes_max: 64,
};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, no_body, stream) = input;
    let whole = run(stream, stream.len().max(1), no_body);
    assert_eq!(run(stream, usize::from(step) + 1, no_body), whole, "the split changed the verdict");
});

/// The responses as text, and the error that ended them.
fn run(stream: &[u8], step: usize, no_body: bool) -> (String, Option<ResponseError>) {
    let mut decoder = ResponseDecoder::new(LIMITS);
    if no_body {
        decoder.expect_no_body();
    }
    let mut buffer = Vec::new();
    let mut seen = String::new();
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let (consumed, piece) = match decoder.decode(&buffer) {
                Err(error) => return (seen, Some(error)),
                Ok(step) => step,
            };
            let more = match piece {
                Piece::NeedMore => false,
                Piece::Head(head) => {
                    seen += &format!("{head:?}");
                    true
                }
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    seen += &data.escape_ascii().to_string();
                    true
                }
                Piece::End { keep_alive } => {
                    seen += &format!(" end {keep_alive}\n");
                    true
                }
            };
            buffer.drain(..consumed);
            assert!(more || buffer.len() <= LIMITS.head_bytes_max);
            if !more {
                break;
            }
        }
    }
    (seen, decoder.close().err())
}
