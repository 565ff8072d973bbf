//! What does a tool call cost through `kern`, over a ring and over a Unix socket?
//!
//! `cargo run --release -p kern-shm --example ring_calls RING UNIX TOOL`, against a running
//! `kern serve --ring RING --unix UNIX` whose tool takes `{"message": "…"}`. Each line is one way to
//! wait: round trips a second, their median and 99th percentile, and calls with 16 in flight.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("rings exist on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use kern_shm::{Client, Options, Spin, WakeBy};

    const RUN: Duration = Duration::from_secs(1);
    const IN_FLIGHT: usize = 16;

    /// A way to send lines and to get lines.
    trait Way {
        fn push(&mut self, message: &[u8]);
        fn flush(&mut self);
        /// Waits for one answer and takes what else is there: how many.
        fn answers(&mut self) -> usize;
    }

    impl Way for Client {
        fn push(&mut self, message: &[u8]) {
            Client::push(self, message).expect("room");
        }

        fn flush(&mut self) {
            Client::flush(self);
        }

        fn answers(&mut self) -> usize {
            let mut answer = Vec::new();
            self.recv_into(&mut answer, None).expect("an answer");
            let mut count = 1;
            while self.try_recv_into(&mut answer).expect("a ring") {
                count += 1;
            }
            assert!(!answer.windows(8).any(|part| part == b"\"error\":"), "no error");
            count
        }
    }

    /// A socket, and what waits to be written to it.
    struct Socket(BufReader<UnixStream>, Vec<u8>);

    impl Way for Socket {
        fn push(&mut self, message: &[u8]) {
            self.1.extend_from_slice(message);
            self.1.push(b'\n');
        }

        fn flush(&mut self) {
            self.0.get_mut().write_all(&self.1).expect("room");
            self.1.clear();
        }

        fn answers(&mut self) -> usize {
            let mut answer = Vec::new();
            let mut count = 0;
            loop {
                answer.clear();
                self.0.read_until(b'\n', &mut answer).expect("an answer");
                count += 1;
                if !self.0.buffer().contains(&b'\n') {
                    return count;
                }
            }
        }
    }

    pub(super) fn main() {
        let args: Vec<String> = std::env::args().collect();
        let [_, ring, unix, tool] = &args[..] else {
            eprintln!("give RING UNIX TOOL");
            std::process::exit(2);
        };
        println!("| | round trips/s | p50 µs | p99 µs | 16 in flight/s |");
        println!("|---|---|---|---|---|");
        for (name, spin, wake_by) in [
            ("ring, sleeps on the socket", Spin::Never, WakeBy::Socket),
            ("ring, sleeps on a futex", Spin::Never, WakeBy::Futex),
            ("ring, spins while it pays", Spin::Auto, WakeBy::Socket),
        ] {
            let open = || {
                let socket = UnixStream::connect(ring).expect("kern serves rings there");
                let options = Options { spin, wake_by, ..Options::default() };
                Client::from_socket(socket, options).expect("a ring")
            };
            measure(name, tool, open(), open());
        }
        let open = || {
            let socket = UnixStream::connect(unix).expect("kern serves there");
            Socket(BufReader::new(socket), Vec::new())
        };
        measure("Unix socket", tool, open(), open());
    }

    fn call(tool: &str, id: u64) -> Vec<u8> {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"message":"hello"}},{meta}}}}}"#
        )
        .into_bytes()
    }

    fn measure(name: &str, tool: &str, mut one: impl Way, mut many: impl Way) {
        let mut id = 0;
        let mut next = || {
            id += 1;
            call(tool, id)
        };
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < RUN {
            let message = next();
            let sent = Instant::now();
            one.push(&message);
            one.flush();
            assert_eq!(one.answers(), 1);
            times.push(sent.elapsed().as_nanos() as f64 / 1000.0);
        }
        let trips = times.len() as f64 / start.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        for _ in 0..IN_FLIGHT {
            many.push(&next());
        }
        many.flush();
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < RUN {
            let answers = many.answers();
            for _ in 0..answers {
                many.push(&next());
            }
            many.flush();
            done += answers;
        }
        let rate = done as f64 / start.elapsed().as_secs_f64();
        println!("| {name} | {trips:.0} | {p50:.1} | {p99:.1} | {rate:.0} |");
    }
}
