//! Does an app see exactly the events it is promised, in the promised order?
//!
//! One core takes turns on the test's own thread, over each real driver.

#![allow(clippy::unwrap_used)]

mod closing;
mod connecting;
mod rig;
mod sending;
mod turns;

use std::sync::Arc;

use kern_reactor::driver::{Choice, choose, probe_uring};
use kern_reactor::{Directory, Errands};

use rig::Rig;

/// Runs a case over every driver there is.
fn check(case: fn(&mut Rig)) {
    let mut choices = vec![Choice::Portable];
    if probe_uring().is_ok() {
        choices.push(Choice::Uring);
    }
    for choice in choices {
        println!("{choice:?}");
        let directory = Directory::new(Errands::threads());
        case(&mut Rig::new(choose(choice).unwrap(), Arc::clone(&directory)));
        assert!(directory.cores().is_empty(), "a core that is dropped is gone");
    }
}
