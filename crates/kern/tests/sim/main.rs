//! The whole gateway in a simulated world: is every request answered, refused or cancelled exactly
//! once, whatever happens around it?
//!
//! Everything follows from a seed. A failing run prints its seed; to replay it:
//! `KERN_SIM_SEED=<seed> cargo test -p kern --test sim -- --nocapture`. `KERN_SIM_SEEDS=<n>` runs more
//! seeds than the few of every day.

#![allow(unreachable_pub)] // A test has no outside.

mod ask_http;
mod ask_lines;
mod backend;
mod brain;
mod catalog;
mod direct;
mod gateway;
mod http;
mod ledger;
mod serve_http;
mod serve_lines;
mod whole;
mod words;
