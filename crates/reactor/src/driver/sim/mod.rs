//! What would happen if network, children, clock and chance all came from one seed?
//!
//! A [`World`] owns virtual time, a network, processes and entropy. [`SimDriver`] is the driver of a
//! core that lives in it; [`Actor`]s are the peers and children outside the cores. Nothing here
//! sleeps, blocks or reads anything of the machine below.
//!
//! Invariants: the same seed and the same program give the same history ([`World::trace_hash`]);
//! nothing is iterated in hash order; an actor or a core is never called from within another's call.
//!
//! Reading order: [`World`], `network` (bytes between two ends), `process`, [`Actor`], [`SimDriver`],
//! [`Runner`], [`Faults`].

mod actor;
mod deliver;
mod driver;
mod faults;
mod network;
mod process;
mod queue;
mod rng;
mod run;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use actor::{Actor, Context, Gone, Link};
pub use driver::SimDriver;
pub use faults::Faults;
pub use rng::Rng;
pub use run::{Runner, Turn, post, retire};
pub use trace::Trace;
pub use world::World;
