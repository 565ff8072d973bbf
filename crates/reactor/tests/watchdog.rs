//! Is a turn that takes too long reported while it runs and when it ends, with what it was doing?

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern_reactor::{App, Cluster, Event, Io, Options};
use kern_terms::CoreId;

struct Slow;

impl App for Slow {
    type Post = u64;

    fn start(&mut self, _io: &mut Io<u64>) {}

    fn event(&mut self, io: &mut Io<u64>, event: Event<u64>) {
        match event {
            Event::Post { message, .. } => {
                io.track("outer work", 1);
                io.track("inner work", message);
                io.track("short work", 3);
                io.untrack();
                std::thread::sleep(Duration::from_millis(message));
            }
            Event::Retire => io.leave(),
            _ => {}
        }
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn a_long_turn_is_reported_by_the_watchdog_and_at_its_end() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let cluster = Cluster::start(Options::default(), |_| Slow).unwrap();
    let handle = cluster.handle();
    // The machine itself may make a turn long; only what is tracked is looked for.
    handle.post(CoreId(0), 400);
    let patience = Instant::now() + Duration::from_secs(20);
    while !log.text().contains("a long turn ended") {
        assert!(Instant::now() < patience, "{}", log.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.stop();
    cluster.join().unwrap();
    let text = log.text();
    let doing = r#"doing=[("outer work", 1), ("inner work", 400)]"#;
    for what in ["a turn takes long", "a long turn ended"] {
        let line = text.lines().find(|line| line.contains(what) && line.contains(doing));
        assert!(line.is_some_and(|line| line.contains("core=0")), "{what}: {text}");
    }
}
