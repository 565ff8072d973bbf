//! Checks, conformance runs and benchmarks.
fn main() {}
