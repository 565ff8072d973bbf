//! Are the simulated peers themselves sound? Clients and servers of one era, without a gateway.
//!
//! What fails here is a fault of the simulation; what fails only with the gateway between is the
//! gateway's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kern_reactor::Listen;
use kern_reactor::driver::sim::{Faults, Rng, World};

use crate::ask_http::HttpClient;
use crate::ask_lines::LineClient;
use crate::backend::Backend;
use crate::brain::Brain;
use crate::ledger::{Ledger, Tally};
use crate::serve_http::HttpServer;
use crate::serve_lines::LineServer;
use crate::words::{LEGACY, MODERN};

type Shared<T> = Rc<RefCell<T>>;

/// Four pairs: both eras over lines and over HTTP, two clients each.
fn run(seed: u64, faults: Faults) -> (u64, Tally) {
    let strict = faults == Faults::none();
    let world = World::new(seed, faults);
    let mut rng = world.rng();
    let ledger = Ledger::new(strict);
    let (mut lines, mut http): (Vec<Shared<LineClient>>, Vec<Shared<HttpClient>>) =
        Default::default();
    for (index, modern) in [false, true, false, true].into_iter().enumerate() {
        let legacy = LEGACY[1 + rng.below(3) as usize];
        let revision = if modern { MODERN } else { legacy };
        let name = format!("s{index}");
        let backend = Backend::new(&name, revision, 1 + rng.below(9) as usize, &ledger);
        let at = Listen::Simulated(name.clone());
        for client in 0..2 {
            let mut brain = Brain::new(&format!("c{index}{client}"), revision, 40, &ledger);
            brain.servers.insert(name.clone());
            if index < 2 {
                let mut client = LineClient::new(brain, Some(at.clone()));
                client.restless = true;
                lines.push(world.actor(client));
            } else {
                let mut client = HttpClient::new(brain, at.clone(), "/mcp");
                client.restless = true;
                http.push(world.actor(client));
            }
        }
        if index < 2 {
            world.serve(&at, LineServer::new(backend));
        } else {
            let mut server = HttpServer::new(backend);
            server.forgets_ppm = if strict { 0 } else { 20_000 };
            world.serve(&at, server);
        }
    }
    let all_done = || {
        lines.iter().all(|client| client.borrow().done)
            && http.iter().all(|client| client.borrow().done)
    };
    let end = world.now() + Duration::from_secs(600);
    while !all_done() && world.now() < end {
        world.run_actors(world.now() + Duration::from_secs(1));
    }
    world.run_actors(world.now() + Duration::from_secs(60));
    let mut books = ledger.borrow_mut();
    books.close(world.now().as_nanos() / 1_000_000);
    if strict {
        assert!(books.violations.is_empty(), "seed {seed}: {:#?}", books.violations);
        assert_eq!(world.connections(), 0, "seed {seed}: connections are left");
    }
    (world.trace_hash(), books.tally)
}

#[test]
fn peers_understand_each_other_where_nothing_fails() {
    let mut answered = 0;
    for seed in 0..5 {
        let (hash, tally) = run(seed, Faults::none());
        assert_eq!((hash, tally), run(seed, Faults::none()), "seed {seed} differs from itself");
        assert_eq!((tally.refused, tally.lost), (0, 0), "seed {seed}: {tally:?}");
        answered += tally.answered;
    }
    assert!(answered > 1_000, "only {answered} answers: the peers do nothing");
}

#[test]
fn faults_reach_the_peers_and_history_repeats() {
    let mut lost = 0;
    for seed in 100..105 {
        let faults = Faults::swarm(&mut Rng::new(seed));
        let first = run(seed, faults.clone());
        assert_eq!(first, run(seed, faults), "seed {seed} differs from itself");
        lost += first.1.lost;
    }
    assert!(lost > 10, "only {lost} requests were hurt");
}
