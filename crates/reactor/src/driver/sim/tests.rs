//! Does the world keep what its driver's contract promises, and is it the same twice?

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use kern_terms::{CoreId, Instant, Key};

use super::*;
use crate::driver::{Batch, Completion, Driver, Piece, Socket};
use crate::event::{ChildExit, Command, Listen, Signal};

/// A core that sends back what it gets, written on the bare driver.
struct Echo {
    driver: SimDriver,
    next_key: u32,
    streams: BTreeMap<Key, Stream>,
    completions: Vec<Completion>,
    log: Rc<RefCell<Log>>,
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<u8>,
    sending: bool,
    ended: bool,
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Log {
    exits: Vec<ChildExit>,
    signals: Vec<Signal>,
    output: Vec<u8>,
    refused: usize,
}

const CHILD: Key = Key { slot: 900, generation: 0 };
const PIPES: Key = Key { slot: 901, generation: 0 };
const ERRORS: Key = Key { slot: 902, generation: 0 };

impl Echo {
    fn new(world: &World, core: u8, listens: &[Listen]) -> (Self, Rc<RefCell<Log>>) {
        let mut driver = SimDriver::new(world, CoreId(core));
        for (slot, at) in listens.iter().enumerate() {
            driver.listen(Key { slot: slot as u32, generation: 7 }, at).expect("listens");
        }
        let log = Rc::new(RefCell::new(Log::default()));
        let echo = Self {
            driver,
            next_key: 0,
            streams: BTreeMap::new(),
            completions: Vec::new(),
            log: log.clone(),
        };
        (echo, log)
    }

    fn on(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { socket, .. } => self.adopt(socket),
            Completion::Received { stream: PIPES, chunk } => {
                self.log.borrow_mut().output.extend_from_slice(&chunk);
            }
            Completion::Received { stream: ERRORS, chunk } => assert_eq!(&*chunk, b"read\n"),
            Completion::Received { stream, chunk } => {
                let known = self.streams.get_mut(&stream).expect("a stream that was adopted");
                known.queue.extend(&*chunk);
                self.flush(stream);
            }
            Completion::ReadEnded { stream, result } => {
                if let Some(known) = self.streams.get_mut(&stream) {
                    known.ended = true;
                    if result.is_err() {
                        known.queue.clear();
                        known.sending = false;
                    }
                    self.flush(stream);
                } else {
                    self.driver.close(stream);
                }
            }
            Completion::Sent { stream, result, .. } => self.sent(stream, result.is_ok()),
            Completion::Exited { child: CHILD, exit } => self.log.borrow_mut().exits.push(exit),
            Completion::Exited { .. } => unreachable!("one child"),
            Completion::Signal(signal) => self.log.borrow_mut().signals.push(signal),
            Completion::Connected { result, .. } => {
                self.log.borrow_mut().refused += usize::from(result.is_err());
            }
        }
    }

    fn adopt(&mut self, socket: Socket) {
        let stream = Key { slot: self.next_key, generation: 1 };
        self.next_key += 1;
        if self.driver.adopt(stream, socket).is_ok() {
            self.streams.insert(stream, Stream::default());
        }
    }

    fn sent(&mut self, stream: Key, ok: bool) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        known.sending = false;
        if !ok {
            known.queue.clear();
            known.ended = true;
        }
        self.flush(stream);
    }

    fn flush(&mut self, stream: Key) {
        let known = self.streams.get_mut(&stream).expect("a stream that was adopted");
        if known.sending {
            return;
        }
        if known.queue.is_empty() {
            if known.ended {
                self.driver.finish(stream);
                self.driver.close(stream);
                self.streams.remove(&stream);
            }
            return;
        }
        known.sending = true;
        let bytes: Vec<u8> = known.queue.drain(..).collect();
        let batch = Batch { pieces: vec![Piece::Owned(bytes)] };
        if let Some((_, result)) = self.driver.send(stream, batch, true) {
            self.sent(stream, result.is_ok());
        }
    }
}

impl Turn for Echo {
    fn turn(&mut self) -> bool {
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(None, &mut completions).expect("the simulation never fails to wait");
        for completion in completions.drain(..) {
            self.on(completion);
        }
        self.completions = completions;
        true
    }
}

/// A client that sends a few random messages and wants all of it back.
struct Asker {
    to: Listen,
    rounds: usize,
    sent: Vec<u8>,
    got: Vec<u8>,
    outcome: Option<Option<Gone>>,
}

impl Asker {
    fn new(to: &Listen, rounds: usize) -> Self {
        Self { to: to.clone(), rounds, sent: Vec::new(), got: Vec::new(), outcome: None }
    }

    fn speak(&mut self, context: &mut Context<'_>, link: Link) {
        let bytes: Vec<u8> = context.rng(|rng| {
            let words = rng.size(1, 4_000);
            (0..words).flat_map(|_| rng.bits().to_le_bytes()).collect()
        });
        self.sent.extend_from_slice(&bytes);
        context.send(link, &bytes);
        self.rounds -= 1;
        if self.rounds == 0 {
            context.finish(link);
        }
    }
}

impl Actor for Asker {
    fn started(&mut self, context: &mut Context<'_>) {
        context.connect(&self.to);
    }

    fn opened(&mut self, context: &mut Context<'_>, link: Link) {
        self.speak(context, link);
    }

    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        self.got.extend_from_slice(bytes);
        assert!(self.sent.starts_with(&self.got), "bytes are lost, changed or out of order");
        if self.got.len() == self.sent.len() && self.rounds > 0 {
            self.speak(context, link);
        }
    }

    fn finished(&mut self, context: &mut Context<'_>, link: Link) {
        self.outcome = Some(None);
        context.close(link);
    }

    fn gone(&mut self, _: &mut Context<'_>, _: Link, why: Gone) {
        assert!(self.outcome.replace(Some(why)).is_none(), "told twice");
    }
}

/// `cat`, which also says on standard error what it read.
struct Cat;

impl Actor for Cat {
    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        context.stderr(b"read\n");
        context.send(link, bytes);
    }
}

fn far(world: &World, seconds: u64) -> Instant {
    world.now() + Duration::from_secs(seconds)
}

fn everything(seed: u64) -> (u64, u64, usize) {
    let faults = if seed.is_multiple_of(5) {
        Faults::none()
    } else {
        Faults::swarm(&mut Rng::new(seed ^ 0xFA))
    };
    let orderly = faults == Faults::none();
    let world = World::new(seed, faults);
    let names =
        [Listen::Simulated("echo".into()), Listen::Unix("/run/echo".into()), "10.1.1.1:80".into()];
    let mut runner = Runner::new(&world);
    let shared = [names[0].clone(), names[2].clone()];
    runner.add(CoreId(0), Echo::new(&world, 0, &names).0);
    runner.add(CoreId(1), Echo::new(&world, 1, &shared).0);
    let askers: Vec<_> =
        (0..6).map(|index| world.actor(Asker::new(&names[index % 3], 1 + index))).collect();
    let done = || askers.iter().all(|asker| asker.borrow().outcome.is_some());
    let all_told = runner.run_until(far(&world, 20_000), done);
    assert!(all_told, "seed {seed}: a client waits for ever\n{}", world.trace_tail());
    for asker in &askers {
        let asker = asker.borrow();
        let whole = asker.outcome == Some(None) && asker.got == asker.sent;
        assert!(whole || !orderly, "seed {seed}: bytes are missing though nothing fails");
    }
    runner.run_for(Duration::from_secs(60));
    let whole = askers.iter().filter(|asker| asker.borrow().got == asker.borrow().sent).count();
    assert_eq!(world.core_streams(), 0, "seed {seed}\n{}", world.trace_tail());
    (world.trace_hash(), world.trace_events(), whole)
}

impl From<&str> for Listen {
    fn from(address: &str) -> Self {
        Listen::Tcp { address: address.parse().expect("an address"), shared: true }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let mut hashes = std::collections::BTreeSet::new();
    let mut whole = 0;
    for seed in 0..50 {
        let first = everything(seed);
        assert_eq!(first, everything(seed), "seed {seed} differs from itself");
        hashes.insert(first.0);
        whole += first.2;
    }
    assert_eq!(hashes.len(), 50, "different seeds give different histories");
    assert!((60..300).contains(&whole), "{whole} of 300 conversations went well");
}

#[test]
fn a_slow_reader_holds_the_writer_up() {
    struct Slow {
        link: Option<Link>,
        got: usize,
    }
    impl Actor for Slow {
        fn opened(&mut self, context: &mut Context<'_>, link: Link) {
            self.link = Some(link);
            context.receive(link, false);
            context.after(Duration::from_secs(5), 0);
        }
        fn timer(&mut self, context: &mut Context<'_>, _: u64) {
            context.receive(self.link.expect("it was opened"), true);
        }
        fn received(&mut self, _: &mut Context<'_>, _: Link, bytes: &[u8]) {
            self.got += bytes.len();
        }
    }
    let world = World::new(3, Faults::none());
    let slow = world.serve(&Listen::Simulated("slow".into()), Slow { link: None, got: 0 });
    let mut driver = SimDriver::new(&world, CoreId(0));
    let stream = Key { slot: 0, generation: 0 };
    let address = driver.resolve("slow", 1).expect("the world resolves");
    assert!(matches!(&address[..], [crate::driver::Address::Simulated(name)] if name == "slow:1"));
    let to = crate::driver::Address::Simulated("slow".into());
    driver.connect(stream, &to).expect("connecting starts");
    let length = 3 << 20;
    let batch = Batch { pieces: vec![Piece::Owned(vec![b'x'; length])] };
    assert!(driver.send(stream, batch, true).is_none());
    let mut completions = Vec::new();
    let mut wait_until = |seconds: u64, driver: &mut SimDriver| {
        let end = Instant::from_nanos(seconds * 1_000_000_000);
        let world = world.clone();
        while world.next_due().is_some_and(|at| at < end.as_nanos()) {
            world.advance(world.next_due().expect("just seen"));
            world.happen();
            driver.wait(None, &mut completions).expect("never fails");
        }
        completions.iter().any(|completion| matches!(completion, Completion::Sent { .. }))
    };
    assert!(!wait_until(5, &mut driver), "sent though nobody read");
    assert_eq!(slow.borrow().got, 0);
    assert!(wait_until(60, &mut driver), "not sent though everything was read");
    assert_eq!(slow.borrow().got, length);
}

/// A core that may be dropped from outside.
struct Maybe(Shared<Option<Echo>>);

impl Turn for Maybe {
    fn turn(&mut self) -> bool {
        self.0.borrow_mut().as_mut().is_some_and(Turn::turn)
    }
}

type Shared<T> = Rc<RefCell<T>>;

fn start_cat(world: &World) -> (Runner, Shared<Log>, Shared<Option<Echo>>) {
    world.program("cat", |_| Rc::new(RefCell::new(Cat)));
    let (mut echo, log) = Echo::new(world, 0, &[]);
    let command = Command { program: "cat".into(), args: Vec::new(), env: Vec::new(), cwd: None };
    echo.driver.spawn(CHILD, PIPES, ERRORS, &command).expect("cat starts");
    let missing = Command { program: "dog".into(), ..command };
    assert!(echo.driver.spawn(CHILD, PIPES, ERRORS, &missing).is_err());
    let echo = Rc::new(RefCell::new(Some(echo)));
    let mut runner = Runner::new(world);
    let turned = echo.clone();
    runner.add(CoreId(0), Maybe(turned));
    (runner, log, echo)
}

#[test]
fn a_child_answers_and_ends_with_its_input() {
    let world = World::new(5, Faults::none());
    let (mut runner, log, echo) = start_cat(&world);
    let batch = Batch { pieces: vec![Piece::Owned(b"meow".to_vec())] };
    if let Some(echo) = echo.borrow_mut().as_mut() {
        assert!(echo.driver.send(PIPES, batch, true).is_none_or(|(_, result)| result.is_ok()));
    }
    runner.run_for(Duration::from_secs(1));
    assert_eq!(log.borrow().output, b"meow");
    assert_eq!(world.processes(), 1);
    if let Some(echo) = echo.borrow_mut().as_mut() {
        echo.driver.finish(PIPES);
    }
    runner.run_for(Duration::from_secs(1));
    assert_eq!(log.borrow().exits, [ChildExit { code: Some(0), signal: None }]);
    assert_eq!((world.processes(), world.core_streams()), (0, 0));
}

#[test]
fn only_a_kill_ends_a_deaf_child_and_a_dropped_driver_kills() {
    let deaf = Faults { deaf_ppm: 1_000_000, ..Faults::none() };
    for how in ["kill", "drop"] {
        let world = World::new(5, deaf.clone());
        let (mut runner, log, echo) = start_cat(&world);
        let signal = |signal| {
            let mut echo = echo.borrow_mut();
            let echo = echo.as_mut().expect("the core lives");
            echo.driver.signal(CHILD, signal).is_ok()
        };
        assert!(signal(Signal::Terminate));
        if let Some(echo) = echo.borrow_mut().as_mut() {
            echo.driver.finish(PIPES);
        }
        runner.run_for(Duration::from_secs(9));
        assert_eq!(world.processes(), 1, "{how}");
        if how == "kill" {
            assert!(signal(Signal::Kill));
            runner.run_for(Duration::from_secs(1));
            assert_eq!(log.borrow().exits, [ChildExit { code: None, signal: Some(9) }]);
            assert!(!signal(Signal::Kill), "its key is dead");
        } else {
            *echo.borrow_mut() = None;
            runner.run_for(Duration::from_secs(1));
        }
        assert_eq!(world.processes(), 0, "{how}");
    }
}

#[test]
fn the_process_hears_signals_once_and_refusals_are_told() {
    let world = World::new(8, Faults::none());
    let (mut echo, log) = Echo::new(&world, 0, &[]);
    let (mut second, other) = Echo::new(&world, 1, &[]);
    echo.driver.watch_signals().expect("signals are watched");
    second.driver.watch_signals().expect("signals are watched");
    let to = crate::driver::Address::Simulated("nobody".into());
    echo.driver.connect(PIPES, &to).expect("connecting starts");
    let mut runner = Runner::new(&world);
    runner.add(CoreId(0), echo);
    runner.add(CoreId(1), second);
    world.signal(Signal::Hangup);
    runner.run_for(Duration::from_secs(1));
    assert_eq!(log.borrow().signals, [Signal::Hangup]);
    assert_eq!(log.borrow().refused, 1);
    assert_eq!(*other.borrow(), Log::default());
    assert_eq!((world.core_streams(), world.connections()), (0, 0));
    assert!(!runner.step(), "nothing is left to happen");
}

#[test]
fn an_errand_comes_back_after_a_while() {
    let world = World::new(8, Faults::none());
    let done = Rc::new(RefCell::new(None));
    let (noted, clock) = (done.clone(), world.clone());
    world.later(CoreId(0), move || *noted.borrow_mut() = Some(clock.now()));
    let before = world.now();
    Runner::new(&world).run_for(Duration::from_secs(1));
    assert!(done.borrow().is_some_and(|at| at > before));
}
