//! What does one message cost, in instructions and in allocations?
//!
//! The real pipeline on the real portable driver, one client, one message at a time, all on one
//! thread: the work of two runs is the same. `cargo xtask bench message|session|route` builds this,
//! runs it as it is for the allocations and under callgrind for the instructions, and compares both
//! with the figures committed. By hand: `cargo bench -p kern --bench path -- CASE`.
//!
//! Invariant: only what [`measured`] calls is counted, on this thread alone; what clients, servers
//! and the warm-up do is not.

#![allow(unreachable_pub)] // A program has no outside.

mod count;
mod gateway;
mod rooms;
mod talk;

use gateway::Upstream;
use talk::Era;

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

/// Messages before counting: pools fill, tables grow, servers are greeted.
const WARM_UP: u32 = 300;
/// Messages counted.
const MESSAGES: u32 = 1_000;

/// Something that takes one message after another.
pub trait Case {
    /// Handles one message; counts it where `counts`.
    fn message(&mut self, counts: bool);
}

impl<F: FnMut(bool)> Case for F {
    fn message(&mut self, counts: bool) {
        self(counts);
    }
}

/// Runs what is to be counted. The name is what callgrind looks for.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    count::on();
    let result = work();
    count::off();
    result
}

/// Every case, by the name it is asked for.
type Make = fn() -> Box<dyn Case>;
const CASES: [(&str, Make); 12] = [
    ("message/builtin-modern", || gateway::call(Upstream::Builtin, Era::Modern)),
    ("message/builtin-session", || gateway::call(Upstream::Builtin, Era::Session)),
    ("message/builtin-modern-64k", || gateway::long_call(Upstream::Builtin, Era::Modern)),
    ("message/http-modern", || gateway::call(Upstream::Http, Era::Modern)),
    ("message/http-session", || gateway::call(Upstream::Http, Era::Session)),
    ("message/pipe-modern", || gateway::call(Upstream::Pipe, Era::Modern)),
    ("message/pipe-session", || gateway::call(Upstream::Pipe, Era::Session)),
    ("message/scan-300", || rooms::scan_of(300)),
    ("message/scan-64k", || rooms::scan_of(64 << 10)),
    ("session/find", rooms::session),
    ("route/tool", rooms::tool),
    ("route/missing", rooms::missing),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(name) = arguments.next() else {
        for (name, _) in CASES {
            println!("{name} {MESSAGES}");
        }
        return;
    };
    let Some((_, make)) = CASES.iter().find(|(known, _)| *known == name) else {
        eprintln!("there is no case {name:?}");
        std::process::exit(2);
    };
    let mut case = make();
    (0..WARM_UP).for_each(|_| case.message(false));
    (0..MESSAGES).for_each(|_| case.message(true));
    println!("allocations {}", count::allocations());
    // Not dropped: nobody counts how a gateway ends.
    std::process::exit(0);
}
