//! Does a core that has warmed up work without allocating, and does it take what another core posts in
//! one go?
//!
//! Everything runs on the test's own thread, so the counts are exact.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kern_reactor::driver::{Choice, choose};
use kern_reactor::{App, Core, Directory, Errands, Event, Io, Listen, Local};
use kern_terms::CoreId;

struct Counting;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    if ON.get() {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: every call goes on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    ON.set(true);
    work();
    ON.set(false);
    COUNT.get() - before
}

/// Echoes, and counts posts.
#[derive(Default)]
struct Echo {
    posts: usize,
}

impl App for Echo {
    type Post = u64;

    fn start(&mut self, _io: &mut Io<u64>) {}

    fn event(&mut self, io: &mut Io<u64>, event: Event<u64>) {
        match event {
            Event::Received { stream, chunk } => io.send(stream, &chunk),
            Event::Post { .. } => self.posts += 1,
            _ => {}
        }
    }
}

/// A core on this thread, unless the system does not offer the driver.
fn core(number: u8, driver: Choice, directory: &Arc<Directory<u64>>) -> Option<Core<Echo>> {
    match choose(driver) {
        Ok(driver) => {
            Some(Core::new(CoreId(number), driver, Arc::clone(directory), Echo::default()))
        }
        Err(why) => {
            eprintln!("SKIPPED: {driver:?}: {why}");
            None
        }
    }
}

/// One turn that does not sleep; how often it allocated.
fn turn(core: &mut Core<Echo>) -> u64 {
    core.io().next_turn(0);
    allocations(|| assert!(!core.turn().unwrap(), "the core goes on"))
}

const DRIVERS: [Choice; 2] = [Choice::Portable, Choice::Uring];

/// Sends `message` and takes turns until it has come back.
fn exchange(core: &mut Core<Echo>, client: &mut TcpStream, message: &[u8]) -> u64 {
    let (mut heard, mut count) = (0, 0);
    let mut buffer = [0; 4096];
    client.write_all(message).unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    while heard < message.len() {
        assert!(Instant::now() < limit, "no answer");
        count += turn(core);
        match client.read(&mut buffer) {
            Ok(got) => heard += got,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    count
}

#[test]
fn messages_of_a_client_cost_no_allocation_once_pools_are_warm() {
    for driver in DRIVERS {
        let directory = Directory::new(Errands::threads());
        let Some(mut core) = core(0, driver, &directory) else { continue };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (_, local) = core.io().listen(&Listen::Tcp { address, shared: false }).unwrap();
        let Local::Tcp(address) = local else { panic!("{local:?}") };
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nonblocking(true).unwrap();
        for message in [&[1; 300][..], &[2; 4000]] {
            for _ in 0..100 {
                exchange(&mut core, &mut client, message);
            }
            let count: u64 = (0..100).map(|_| exchange(&mut core, &mut client, message)).sum();
            assert_eq!(count, 0, "{driver:?}, {} bytes", message.len());
        }
    }
}

#[test]
fn what_a_turn_posts_to_another_core_is_taken_in_one_turn_without_allocating() {
    const POSTS: u64 = 500;
    for driver in DRIVERS {
        let directory = Directory::new(Errands::threads());
        let Some(mut from) = core(0, driver, &directory) else { continue };
        let Some(mut to) = core(1, driver, &directory) else { continue };
        for round in 0..20 {
            for post in 0..POSTS {
                from.io().post(CoreId(1), post);
            }
            let count = turn(&mut from) + turn(&mut to);
            assert_eq!(std::mem::take(&mut to.app().posts), POSTS as usize, "all in one turn");
            assert!(round < 10 || count == 0, "{driver:?}: {count} allocations");
        }
    }
}
