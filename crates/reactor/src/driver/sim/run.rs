//! In which order do cores and world move?
//!
//! One thread turns every core. While several cores could run, or a core could run and something
//! else is due, the seed decides who goes first. Invariants: time advances only when no core has
//! anything to do, and by the cost of each turn, so a core that never sleeps cannot stop the clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kern_terms::{CoreId, Instant};

use super::world::{Due, World};
use crate::errands::Job;
use crate::event::App;
use crate::lanes::{Directory, Envelope};
use crate::turn::Core;

/// A core that can be turned.
pub trait Turn {
    /// One turn of the event loop, which does not sleep. False when the core has left; it is
    /// dropped then.
    fn turn(&mut self) -> bool;

    /// When it must be turned though nothing reached its driver: at once if in the past, never if
    /// `None`.
    fn wants_turn(&self) -> Option<Instant> {
        None
    }
}

impl<A: App> Turn for Core<A> {
    fn turn(&mut self) -> bool {
        !Core::turn(self).expect("the simulated driver never fails")
    }

    fn wants_turn(&self) -> Option<Instant> {
        Core::wants_turn(self)
    }
}

/// A core that whoever runs the simulation looks into between its turns.
impl<T: Turn> Turn for Rc<RefCell<T>> {
    fn turn(&mut self) -> bool {
        self.borrow_mut().turn()
    }

    fn wants_turn(&self) -> Option<Instant> {
        self.borrow().wants_turn()
    }
}

/// The cost of a turn, ns: from a cheap one to one that did a lot.
const TURN_NS: (u64, u64) = (500, 60_000);

/// How long an errand takes, ns.
const ERRAND_NS: (u64, u64) = (10_000, 30_000_000);

/// Turns cores and world until something is so.
pub struct Runner {
    world: World,
    cores: Vec<(usize, Box<dyn Turn>)>,
    errands: Option<Box<dyn Fn() -> Vec<Job>>>,
}

impl Runner {
    /// A runner without cores.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), cores: Vec::new(), errands: None }
    }

    /// Runs the errands of these cores, each after a seeded while.
    pub fn errands_of<P: 'static>(&mut self, directory: &Arc<Directory<P>>) {
        let directory = Arc::clone(directory);
        self.errands = Some(Box::new(move || directory.errands.take()));
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Adds a core whose driver is a [`SimDriver`](super::SimDriver) of that id.
    pub fn add(&mut self, core: CoreId, turn: impl Turn + 'static) {
        self.cores.push((core.0 as usize, Box::new(turn)));
    }

    /// Cores that have not left.
    pub fn core_count(&self) -> usize {
        self.cores.len()
    }

    /// Drops every core as a crash would: nothing is said to anybody.
    pub fn crash(&mut self) {
        self.cores.clear();
    }

    /// Does the next thing. False when there is nothing left that could happen.
    pub fn step(&mut self) -> bool {
        self.step_before(Instant::FAR)
    }

    /// As [`Runner::step`]; false also when the next thing lies after `deadline`.
    fn step_before(&mut self, deadline: Instant) -> bool {
        let (now, runnable, next_wake) = self.survey();
        let due = self.world.next_due();
        let is_due = due.is_some_and(|at| at <= now);
        if is_due && (runnable.is_empty() || self.draw(4) != 0) {
            self.world.happen();
            return true;
        }
        if !runnable.is_empty() {
            let index = runnable[self.draw(runnable.len() as u64) as usize];
            self.turn(index);
            return true;
        }
        match due.into_iter().chain(next_wake).min() {
            Some(at) if at <= deadline.as_nanos() => {
                self.world.advance(at);
                true
            }
            _ => false,
        }
    }

    fn survey(&self) -> (u64, Vec<usize>, Option<u64>) {
        let state = self.world.state.borrow();
        let wishes = || self.cores.iter().map(|(_, core)| core.wants_turn());
        let runnable = |(id, wish): (usize, Option<Instant>)| {
            let due = wish.is_some_and(|at| at.as_nanos() <= state.now);
            due || state.cores[id].has_news()
        };
        let ids = self.cores.iter().map(|(id, _)| *id);
        let all = ids.zip(wishes()).enumerate();
        let indices = all.filter(|(_, core)| runnable(*core)).map(|(at, _)| at).collect();
        let next = wishes().flatten().map(Instant::as_nanos).min();
        (state.now, indices, next)
    }

    fn draw(&self, end: u64) -> u64 {
        self.world.state.borrow_mut().scheduling.below(end)
    }

    fn turn(&mut self, index: usize) {
        let id = self.cores[index].0;
        self.world.state.borrow_mut().note(super::trace::TURN, id as u64, 0);
        if !self.cores[index].1.turn() {
            self.cores.remove(index);
        }
        for job in self.errands.iter().flat_map(|take| take()) {
            self.world.later(CoreId(id as u8), job);
        }
        let mut state = self.world.state.borrow_mut();
        state.now += state.scheduling.size(TURN_NS.0, TURN_NS.1);
    }

    /// Lets time pass, also where nothing happens in it.
    pub fn run_for(&mut self, time: Duration) {
        let deadline = self.world.now() + time;
        while self.world.now() < deadline && self.step_before(deadline) {}
        if self.world.now() < deadline {
            self.world.advance(deadline.as_nanos());
        }
    }

    /// Runs until `done`, which is asked after every step. False if it is not so by `deadline`, or
    /// cannot become so because nothing is left that could happen.
    pub fn run_until(&mut self, deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
        while !done() {
            if self.world.now() >= deadline || !self.step_before(deadline) {
                return done();
            }
        }
        true
    }
}

/// Posts to a core from outside all of them. False if it is not there.
pub fn post<P>(directory: &Directory<P>, core: CoreId, message: P) -> bool {
    let lane = directory.lane(core);
    lane.is_some_and(|lane| lane.deliver(Envelope::Post { from: None, message }))
}

/// Asks a core to end. False if it is not there.
pub fn retire<P>(directory: &Directory<P>, core: CoreId) -> bool {
    directory.lane(core).is_some_and(|lane| lane.deliver(Envelope::Retire))
}

impl World {
    /// Runs `work` after a seeded delay, on this thread: how errands run here.
    pub fn later(&self, core: CoreId, work: impl FnOnce() + 'static) {
        let mut state = self.state.borrow_mut();
        let at = state.now + state.scheduling.size(ERRAND_NS.0, ERRAND_NS.1);
        state.schedule(at, Due::Work { core: core.0 as usize, work: Box::new(work) });
    }
}
