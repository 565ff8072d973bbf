//! What the tests of the io_uring driver share: small rings, pumping, counting descriptors.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use kern_reactor::driver::uring::{Settings, Uring, probe};
use kern_reactor::driver::{Batch, Completion, Driver, Piece, Socket};
use kern_reactor::{Listen, Local};
use kern_terms::Key;

/// Descriptors are counted, so tests that open some must not overlap.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn key(slot: u32) -> Key {
    Key { slot, generation: 0 }
}

pub(crate) fn small() -> Settings {
    Settings { submissions: 8, completions: 16, buffers: 8, buffer_bytes: 512, files: 4 }
}

/// Runs `body` with a driver of each size, unless there is no io_uring.
pub(crate) fn with_driver(body: impl Fn(&mut Uring)) {
    with_sizes(|driver, _| body(driver));
}

/// As [`with_driver`]; tells the bytes that all buffers together hold.
pub(crate) fn with_sizes(body: impl Fn(&mut Uring, usize)) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Err(why) = probe() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    for settings in [Settings::default(), small()] {
        let bytes = usize::from(settings.buffers) * settings.buffer_bytes as usize;
        body(&mut Uring::with(settings).unwrap(), bytes);
    }
}

/// Waits until `done` says so; panics after ten seconds.
pub(crate) fn pump(driver: &mut Uring, mut done: impl FnMut(&mut Uring, Completion) -> bool) {
    let limit = driver.now() + Duration::from_secs(10);
    let mut completions = Vec::new();
    loop {
        driver.wait(Some(limit), &mut completions).unwrap();
        assert!(driver.now() < limit, "nothing happened for too long");
        let mut over = false;
        for completion in completions.drain(..) {
            over |= done(driver, completion);
        }
        if over {
            return;
        }
    }
}

/// Lets the driver run for a while.
pub(crate) fn idle(driver: &mut Uring, time: Duration) -> Vec<Completion> {
    let until = driver.now() + time;
    let mut all = Vec::new();
    loop {
        driver.wait(Some(until), &mut all).unwrap();
        if driver.now() >= until {
            return all;
        }
    }
}

pub(crate) fn owned(bytes: &[u8]) -> Batch {
    Batch { pieces: vec![Piece::Owned(bytes.to_vec())] }
}

pub(crate) fn listen(driver: &mut Uring, name: Key) -> SocketAddr {
    let address = "127.0.0.1:0".parse().unwrap();
    match driver.listen(name, &Listen::Tcp { address, shared: false }).unwrap() {
        Local::Tcp(address) => address,
        other => panic!("{other:?}"),
    }
}

/// A stream of the driver and the other end of it.
pub(crate) fn pair(driver: &mut Uring, name: Key) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    driver.adopt(name, Socket::Unix(ours)).unwrap();
    theirs
}

pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Descriptors go when the kernel gets round to it.
pub(crate) fn settles_at(expected: usize) {
    let limit = Instant::now() + Duration::from_secs(5);
    while descriptors() != expected {
        assert!(Instant::now() < limit, "{} descriptors, not {expected}", descriptors());
        thread::sleep(Duration::from_millis(5));
    }
}
