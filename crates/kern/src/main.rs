//! The `kern` program.
fn main() {}
