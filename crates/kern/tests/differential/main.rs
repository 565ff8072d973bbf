//! Does a client see through the gateway what it sees without it, and does its server? Exchanges
//! of real clients and servers, generated ones and some written by hand, compared byte for byte but for what ARCHITECTURE.md says is rewritten.
//!
//! `KERN_DIFFERENTIAL=N` runs N times as many exchanges, `KERN_SEED` from another seed.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod channel;
mod corpus;
mod fixture;
#[path = "../harness/mod.rs"]
mod harness;
mod json;
mod malformed;
mod mirror;
mod recorded;
mod wire;

use std::process::Command;

use harness::{Kern, Remote, Setup, both, child, fixture_child, python, remote, script};
use wire::Wire;

/// The two eras of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub fn word(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }
}

/// One `kern` before servers of both eras, over lines and HTTP, and the same servers without it.
pub struct World {
    pub kern: Kern,
    /// The servers behind HTTP, by era.
    remotes: Vec<(String, Remote)>,
}

impl World {
    fn mirrors(driver: &str) -> World {
        let mut config = String::new();
        let mut remotes = Vec::new();
        for era in ["legacy", "modern"] {
            let tag = format!("m-{era}-lines");
            config +=
                &child(&tag, python(), &["-SEB", &script("mirror.py"), "lines", era, &tag], "");
            let tag = format!("m-{era}-http");
            let mut command = Command::new(python());
            command.args(["-SEB", &script("mirror.py"), "http", era, &tag]);
            let server = Remote::start(command);
            config += &remote(&tag, &server.url("/mcp"), "");
            remotes.push((era.to_owned(), server));
        }
        World::start(driver, config, remotes)
    }

    fn fixtures(driver: &str) -> World {
        let mut config = String::new();
        let mut remotes = Vec::new();
        for era in ["legacy", "modern"] {
            config += &fixture_child(&format!("f-{era}-lines"), era, "");
            let server = Remote::fixture(&["--era", era]);
            config += &remote(&format!("f-{era}-http"), &server.url("/mcp"), "");
            remotes.push((era.to_owned(), server));
        }
        World::start(driver, config, remotes)
    }

    fn start(driver: &str, config: String, remotes: Vec<(String, Remote)>) -> World {
        let kern = Setup::new(driver, config).cores(2).start();
        harness::eventually("all are ready", || kern.log.count(" ready upstream=") == 4);
        World { kern, remotes }
    }

    /// The server behind HTTP without a gateway.
    pub fn far(&self, era: Era) -> Wire {
        let (_, server) = self.remotes.iter().find(|(of, _)| of == era.word()).unwrap();
        Wire::http(server.address, "/mcp", era)
    }

    /// The fixture without a gateway.
    pub fn fixture_itself(&self, era: Era, carry: &str) -> Wire {
        if carry == "http" {
            return self.far(era);
        }
        let program = harness::fixture().display().to_string();
        Wire::child(&program, &["--stdio", "--era", era.word()], era)
    }

    /// The mirror without a gateway.
    pub fn mirror_itself(&self, era: Era, carry: &str) -> Wire {
        let word = era.word();
        if carry == "lines" {
            let tag = format!("m-{word}-lines");
            let mirror = script("mirror.py");
            return Wire::child(python(), &["-SEB", &mirror, "lines", word, &tag], era);
        }
        self.far(era)
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn times() -> usize {
    usize::try_from(number("KERN_DIFFERENTIAL", 1)).unwrap()
}

fn seed() -> u64 {
    number("KERN_SEED", 0x6b65_726e)
}

#[test]
fn both_sides_get_each_others_bytes() {
    both(|driver| {
        let world = World::mirrors(driver);
        let count = mirror::run(&world, seed(), 12 * times());
        println!("{driver}: {count} generated exchanges arrived byte for byte, both ways");
    });
}

#[test]
fn every_method_answers_as_without_a_gateway() {
    both(|driver| {
        let world = World::fixtures(driver);
        let written = fixture::run_written(&world);
        let count = fixture::run(&world, seed(), 12 * times());
        println!("{driver}: {written} written and {count} generated exchanges were answered alike");
    });
}

#[test]
fn what_breaks_a_rule_is_refused_with_the_same_code() {
    both(|driver| {
        let world = World::fixtures(driver);
        let rows = malformed::run_table(&world);
        let count = malformed::run_spoiled(&world, seed(), 25 * times());
        println!("{driver}: {rows} wrong and {count} broken messages were refused alike");
    });
}

#[test]
fn what_real_clients_and_servers_said_arrives_byte_for_byte() {
    let all = corpus::conversations();
    both(|driver| {
        for carry in ["lines", "http", "sse"] {
            for asked in [false, true] {
                let count = recorded::run(driver, &all, carry, asked);
                println!("{driver}: {count} recorded exchanges over {carry}, asked: {asked}");
            }
        }
    });
}
