//! Can bytes from a client make the request decoder panic, hold more than its limits, or give
//! another verdict when they are split another way?
#![no_main]

use kern_mcp::http::{Decoded, HttpError, HttpLimits, RequestDecoder};
use libfuzzer_sys::fuzz_target;

const LIMITS: HttpLimits = HttpLimits {
    head_bytes_max: 512,
    headers_max: 12,
    target_bytes_max: 64,
    body_bytes_max: 128,
    chunk_extension_bytes_max: 16,
    trailer_bytes_max: 64,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = run(stream, stream.len().max(1));
    assert_eq!(run(stream, usize::from(step) + 1), whole, "the split changed the verdict");
});

/// Each request as text, and the error that ended them.
fn run(stream: &[u8], step: usize) -> (Vec<String>, Option<HttpError>) {
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let consumed = match decoder.decode(&buffer) {
                Err(error) => {
                    assert!(error.close && (400..=505).contains(&error.status));
                    return (requests, Some(error));
                }
                Ok(Decoded::Incomplete { consumed, head_done, .. }) => {
                    buffer.drain(..consumed);
                    assert!(buffer.len() <= LIMITS.message_bytes_max());
                    assert_eq!(decoder.head(&buffer).is_some(), head_done);
                    break;
                }
                Ok(Decoded::Complete { request, consumed }) => {
                    assert!(request.body.len() <= LIMITS.body_bytes_max);
                    assert!(request.http10 || request.headers.host.is_some());
                    assert!(request.headers.iter().all(|(_, value)| no_line_end(value)));
                    let _ = request.headers.accepts("application/json");
                    requests.push(format!("{request:?}"));
                    consumed
                }
            };
            assert!(consumed > 0, "a request takes bytes");
            buffer.drain(..consumed);
        }
    }
    (requests, None)
}

fn no_line_end(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
