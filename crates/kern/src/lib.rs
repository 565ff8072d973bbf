//! The pipeline and the command line of `kern`: the order in which the rooms are walked, and how
//! they are wired.
//!
//! A library so that the simulation can run the very same cores; the program is `main.rs`.
//!
//! Reading order: `cli` (what a person types), `pipeline` (the way of a request), `core` (the
//! state of one event loop).

pub mod cli;
pub mod core;
pub mod pipeline;
