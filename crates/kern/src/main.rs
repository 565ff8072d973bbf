//! The `kern` program.

mod core;
mod pipeline;

fn main() {}
