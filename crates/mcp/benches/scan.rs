//! How long does one scan take?
//!
//! `cargo bench -p kern-mcp --bench scan`. Prints the median and the best of many rounds, in
//! nanoseconds for one message, for messages full of text and messages full of structure, beside
//! `serde_json` skipping the same bytes.

use std::hint::black_box;
use std::time::Instant;

use kern_mcp::{ScanLimits, scan};

const ROUNDS: usize = 41;

/// A `tools/call` whose arguments hold one long text with an escape now and then.
fn text_heavy(bytes: usize) -> String {
    let line =
        "The quick brown fox jumps over the lazy dog while the rest of the sentence goes on; \\n";
    let mut text = String::new();
    let frame = call("").len();
    while text.len() + frame < bytes {
        text += &line[..line.len().min((bytes - frame - text.len()).max(2))];
        if text.ends_with('\\') {
            text.push('n');
        }
    }
    call(&format!("\"text\":\"{text}\""))
}

/// A `tools/call` whose arguments are many small members.
fn structure_heavy(bytes: usize) -> String {
    let mut items = String::from("\"list\":[");
    let frame = call("").len();
    let mut index = 0;
    while items.len() + frame < bytes {
        if index > 0 {
            items.push(',');
        }
        items += &format!(
            "{{\"id\":{index},\"name\":\"item\",\"tags\":[\"a\",\"b\"],\"ok\":true,\"w\":0.5}}"
        );
        index += 1;
    }
    items.push(']');
    call(&items)
}

/// A `tools/list` result, the message a gateway reads most that is long.
fn tools_list(bytes: usize) -> String {
    let mut tools = String::new();
    let mut index = 0;
    while tools.len() < bytes {
        if index > 0 {
            tools.push(',');
        }
        tools += &format!(
            "{{\"name\":\"read_file_{index}\",\"description\":\"Reads the complete contents of one file from the disk. Handles several encodings and reports errors in detail.\",\
             \"inputSchema\":{{\"type\":\"object\",\"properties\":{{\"path\":{{\"type\":\"string\",\"description\":\"Where the file is\"}},\
             \"head\":{{\"type\":\"number\",\"description\":\"Only the first lines\"}}}},\"required\":[\"path\"],\"additionalProperties\":false}}}}"
        );
        index += 1;
    }
    format!("{{\"jsonrpc\":\"2.0\",\"id\":17,\"result\":{{\"tools\":[{tools}]}}}}")
}

fn call(arguments: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{{arguments}}},\
         \"_meta\":{{\"progressToken\":\"tok\",\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
    )
}

/// The median and the best round.
fn measure_ns(mut once: impl FnMut()) -> (f64, f64) {
    let start = Instant::now();
    let mut warm = 0u32;
    while start.elapsed().as_millis() < 20 {
        once();
        warm += 1;
    }
    // One round lasts about two milliseconds.
    let batch = (warm / 10).max(1);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..batch).for_each(|_| once());
            start.elapsed().as_nanos() as f64 / f64::from(batch)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], rounds[0])
}

fn main() {
    let limits = ScanLimits::default();
    println!(
        "{:<12}{:>8}{:>12}{:>12}{:>16}",
        "message", "bytes", "median ns", "best ns", "skip best ns"
    );
    for (name, make) in [
        ("text", text_heavy as fn(usize) -> String),
        ("structure", structure_heavy),
        ("tools/list", tools_list),
    ] {
        for bytes in [300, 4 << 10, 64 << 10] {
            let text = make(bytes);
            let message = text.as_bytes();
            scan(message, &limits).expect("a valid message");
            let (median, best) = measure_ns(|| {
                let _ = black_box(scan(black_box(message), &limits));
            });
            let (_, skip) = measure_ns(|| {
                let _ =
                    black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(message)));
            });
            println!("{name:<12}{:>8}{median:>12.0}{best:>12.0}{skip:>16.0}", message.len());
        }
    }
}
