//! The whole: clients of both eras, the gateway, servers of both eras, and a world that fails.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kern_reactor::driver::sim::{Faults, Rng, World};

use crate::ask_http::HttpClient;
use crate::ask_lines::LineClient;
use crate::backend::Backend;
use crate::brain::Brain;
use crate::catalog::TOOLS;
use crate::gateway::{self, Gateway, Reach};
use crate::ledger::{Ledger, Shared as Books, Tally};
use crate::serve_http::HttpServer;
use crate::serve_lines::LineServer;
use crate::words::{LEGACY, MODERN};

type Shared<T> = Rc<RefCell<T>>;

/// Seeds of every day.
const SEEDS: u64 = 200;
/// Longest a run may take, simulated.
const RUN_MAX: Duration = Duration::from_secs(1800);

/// What came of one seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub hash: u64,
    pub tally: Tally,
    pub violations: Vec<String>,
    /// Full answers by what was asked.
    answers: BTreeMap<String, usize>,
    /// Updates of resources that reached those who wanted them.
    updates: usize,
    /// What else happened.
    saw: BTreeMap<&'static str, usize>,
}

/// What a seed decides about the scene.
struct Scene {
    world: World,
    rng: Rng,
    books: Books,
    strict: bool,
    lines: Vec<Shared<LineClient>>,
    http: Vec<Shared<HttpClient>>,
    servers: Vec<(String, Reach)>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        // Every fourth world is one where nothing fails: there, every answer must be right.
        let strict = seed.is_multiple_of(4);
        let faults =
            if strict { Faults::none() } else { Faults::swarm(&mut Rng::new(seed ^ 0x5EED)) };
        let world = World::new(seed, faults);
        let (rng, books) = (world.rng(), Ledger::new(strict));
        let (lines, http, servers) = (Vec::new(), Vec::new(), Vec::new());
        Self { world, rng, books, strict, lines, http, servers }
    }

    fn legacy(&mut self) -> &'static str {
        LEGACY[self.rng.below(4) as usize]
    }

    /// One to four servers: children and HTTP, of both eras.
    fn add_servers(&mut self) {
        for index in 0..self.rng.within(1, 4) {
            let name = format!("s{index}");
            let reach = if self.rng.below(2) == 0 { Reach::Child } else { Reach::Http };
            let legacy = match reach {
                Reach::Child => self.legacy(),
                // HTTP of the first revision is another transport.
                Reach::Http => LEGACY[1 + self.rng.below(3) as usize],
            };
            let revision = if self.rng.below(2) == 0 { MODERN } else { legacy };
            let (page, silent) = (self.rng.within(1, 9) as usize, self.rng.below(4) == 0);
            let careless = self.rng.below(2) == 0;
            let mortal = !self.strict && self.rng.below(3) == 0;
            let (books, title) = (self.books.clone(), name.clone());
            let backend = move || {
                let mut backend = Backend::new(&title, revision, page, &books);
                backend.silent_to_probes = silent;
                (backend.careless, backend.mortal) = (careless, mortal);
                backend
            };
            match reach {
                Reach::Child => self.world.program(&gateway::program(&name), move |_| {
                    Rc::new(RefCell::new(LineServer::new(backend())))
                }),
                Reach::Http => {
                    let mut server = HttpServer::new(backend());
                    server.forgets_ppm = if self.strict { 0 } else { 20_000 };
                    server.backend.forgetful = !self.strict;
                    self.world.serve(&gateway::host(&name), server);
                }
            }
            self.servers.push((name, reach));
        }
    }

    fn brain(&mut self, name: &str) -> Brain {
        let legacy = self.legacy();
        let revision = if self.rng.below(2) == 0 { MODERN } else { legacy };
        let budget = self.rng.within(10, 60) as usize;
        let mut brain = Brain::new(name, revision, budget, &self.books);
        brain.servers = self.servers.iter().map(|(name, _)| name.clone()).collect();
        brain
    }

    fn add_clients(&mut self) {
        let stdio = self.brain("stdio");
        self.lines.push(self.world.console(LineClient::new(stdio, None)));
        for index in 0..self.rng.within(1, 3) {
            let brain = self.brain(&format!("line{index}"));
            let mut client = LineClient::new(brain, Some(gateway::unix()));
            client.restless = self.rng.below(2) == 0;
            self.lines.push(self.world.actor(client));
        }
        for index in 0..self.rng.within(1, 4) {
            let mut brain = self.brain(&format!("http{index}"));
            if brain.revision == LEGACY[0] {
                brain.revision = LEGACY[1];
            }
            let at = if self.rng.below(4) == 0 { gateway::unix() } else { gateway::tcp() };
            let mut client = HttpClient::new(brain, at, "/mcp");
            client.restless = self.rng.below(2) == 0;
            client.wilful = true;
            if self.rng.below(2) == 0 {
                client.authorize();
            }
            self.http.push(self.world.actor(client));
        }
    }

    fn start(&mut self, stdio: bool) -> Gateway {
        let cores = self.rng.within(1, 3) as u8;
        Gateway::start(&self.world, cores, &self.servers, stdio)
    }

    /// How often the gateway ends in the middle of everything.
    fn interruptions(&mut self) -> u64 {
        if self.strict { 0 } else { self.rng.below(6).saturating_sub(3) }
    }

    /// How often the configuration changes under everything.
    fn reloads(&mut self) -> u64 {
        if self.strict { 0 } else { self.rng.below(8).saturating_sub(3) }
    }

    /// Ends the gateway after a while, in order or not, and starts another.
    fn interrupt(&mut self, mut gateway: Gateway) -> Gateway {
        let pauses = [self.rng.size(1, 5_000), self.rng.size(1, 5_000)].map(Duration::from_millis);
        gateway.runner.run_for(pauses[0]);
        if self.rng.below(2) == 0 {
            gateway.runner.crash();
        } else if !gateway.stop() {
            self.books.borrow_mut().violation("it was asked to end in mid-work, and did not");
        }
        gateway.runner.run_for(pauses[1]);
        if self.world.core_streams() > 0 {
            self.books.borrow_mut().violation("streams are left of a gateway that ended");
        }
        self.start(false)
    }

    fn all_done(&self) -> bool {
        self.lines.iter().all(|client| client.borrow().done)
            && self.http.iter().all(|client| client.borrow().done)
    }
}

/// Runs one seed to its end.
pub fn run(seed: u64) -> Outcome {
    let mut scene = Scene::new(seed);
    scene.add_servers();
    scene.add_clients();
    let mut gateway = scene.start(true);
    for _ in 0..scene.interruptions() {
        gateway = scene.interrupt(gateway);
    }
    let end = scene.world.now() + RUN_MAX;
    let reloads = scene.reloads();
    let mut reloaded = 0;
    while !scene.all_done() && scene.world.now() < end {
        gateway.runner.run_for(Duration::from_secs(1));
        if reloaded < reloads && scene.rng.below(3) == 0 {
            gateway.reload(&mut scene.rng);
            reloaded += 1;
        }
    }
    scene.books.borrow_mut().close(scene.world.now().as_nanos() / 1_000_000);
    // Sessions that nobody ended are forgotten after a minute, idle connections after five; what a
    // client was asked before it left, after ten.
    gateway.runner.run_for(Duration::from_secs(700));
    let held = gateway.held();
    if !held.is_empty() {
        scene.books.borrow_mut().violation(format!("still held when all clients left: {held:?}"));
    }
    let ended = gateway.stop();
    gateway.runner.run_for(Duration::from_secs(5));
    let counts = (scene.world.processes(), scene.world.core_streams());
    if !ended || counts != (0, 0) {
        let text = format!("after the stop: ended {ended}, (children, streams) {counts:?}");
        scene.books.borrow_mut().violation(text);
    }
    let books = scene.books.borrow();
    let violations = books.violations.clone();
    if !violations.is_empty() && std::env::var("KERN_SIM_TRACE").is_ok() {
        println!("{}", scene.world.trace_tail());
    }
    let (hash, tally, answers) = (scene.world.trace_hash(), books.tally, books.answers.clone());
    let heard = |sum, brain: &Brain| sum + brain.updates;
    let updates = scene.lines.iter().fold(0, |sum, it| heard(sum, &it.borrow().brain));
    let updates = scene.http.iter().fold(updates, |sum, it| heard(sum, &it.borrow().brain));
    Outcome { hash, tally, violations, answers, updates, saw: books.saw.clone() }
}

/// What clients ask besides calls of tools.
const METHODS: [&str; 9] = [
    "initialize",
    "ping",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/read",
    "prompts/get",
    "resources/subscribe",
    "resources/unsubscribe",
];

/// What else must have happened in a run of many seeds.
const EVENTS: [&str; 16] = [
    "answers left out",
    "answers that are none",
    "answers too late",
    "answers too many",
    "calls left running",
    "cuts",
    "own streams closed",
    "servers died in a call",
    "sessions deleted in mid-call",
    "states abandoned",
    "states forged",
    "states kept for later",
    "states raced",
    "states replayed",
    "states stolen",
    "streams resumed",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a seed; a panic is a violation too.
fn attempt(seed: u64) -> Outcome {
    std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| Outcome {
        hash: 0,
        tally: Tally::default(),
        violations: vec!["it panicked".to_owned()],
        answers: BTreeMap::new(),
        updates: 0,
        saw: BTreeMap::new(),
    })
}

/// Runs seeds on all processors; what came of each, as they end.
fn run_all(first: u64, count: u64, mut ended: impl FnMut(u64, Outcome)) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count as usize);
    let next = std::sync::atomic::AtomicU64::new(first);
    let (to, from) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (to, next) = (to.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= first + count || to.send((seed, attempt(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(to);
        from.iter().for_each(|(seed, outcome)| ended(seed, outcome));
    });
}

#[test]
fn what_cannot_be_replayed_cannot_be_mended() {
    for seed in 0..4 {
        assert_eq!(run(seed), run(seed), "seed {seed} differs from itself");
    }
}

#[test]
fn every_request_is_answered_refused_or_cancelled_once() {
    let (first, count) = match (number("KERN_SIM_SEED"), number("KERN_SIM_SEEDS")) {
        (Some(seed), None) => (seed, 1),
        (seed, count) => (seed.unwrap_or(0), count.unwrap_or(SEEDS)),
    };
    let began = std::time::Instant::now();
    let (mut failed, mut done) = (Vec::new(), 0);
    let mut sum = Tally::default();
    let (mut answers, mut updates, mut saw) = (BTreeMap::new(), 0, BTreeMap::new());
    run_all(first, count, |seed, outcome| {
        if count == 1 {
            println!("seed {seed}: {outcome:#?}");
        }
        if !outcome.violations.is_empty() {
            println!("seed {seed} failed: {:#?}", outcome.violations);
            println!("replay: KERN_SIM_SEED={seed} cargo test -p kern --test sim -- --nocapture");
            failed.push(seed);
        }
        sum.asked += outcome.tally.asked;
        sum.answered += outcome.tally.answered;
        updates += outcome.updates;
        for (what, count) in outcome.answers {
            *answers.entry(what).or_insert(0) += count;
        }
        for (what, count) in outcome.saw {
            *saw.entry(what).or_insert(0) += count;
        }
        done += 1;
        if done % 1_000 == 0 {
            println!("{done} seeds, {} failed, {:?}", failed.len(), began.elapsed());
        }
    });
    println!("{count} seeds, {} requests, {} answered in full", sum.asked, sum.answered);
    println!("{answers:?}, {updates} updates");
    println!("{saw:?}");
    failed.sort_unstable();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    let kinds = TOOLS.iter().copied().chain(METHODS).filter(|it| !answers.contains_key(*it));
    let idle: Vec<_> = kinds.chain(EVENTS.into_iter().filter(|it| !saw.contains_key(it))).collect();
    assert!(count < 100 || idle.is_empty() && updates > 0, "never exercised: {idle:?}");
}
