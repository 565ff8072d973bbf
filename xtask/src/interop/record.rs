//! `cargo xtask record`: what do other people's clients and servers say to each other?
//!
//! The clients and servers of the matrix, without `kern`: every line between a client and the server
//! it starts, and every request, answer and event between a client and a server behind HTTP, is
//! written down. `crates/kern/tests/differential` plays it again with `kern` between the two.
//! Invariants: what stands between them changes nothing but what belongs to a hop; what is of this
//! machine (a folder, a port) gets a neutral name; what could not be used is told.

mod corpus;
mod event;
mod exchange;
mod hosts;
mod pipe;
mod proxy;
mod spans;
mod takes;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::install::Place;
use super::rows::{Client, How};
use super::{follow, inspector, page, rows, scene, servers, talk};
use crate::build::{self, Profile};
use corpus::Corpus;
use hosts::Host;
pub(crate) use pipe::{PipeArgs, pipe};
use takes::Take;

/// Records what other people's clients and servers say to each other.
#[derive(clap::Args, Debug)]
pub(crate) struct RecordArgs {
    /// Only clients whose name contains this; the rest is then not in what is written
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where to write it instead of beside the test that plays it
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Records all conversations.
///
/// # Errors
/// When something cannot be installed, built or started, and when a client fails.
pub(crate) fn run(root: &Path, args: &RecordArgs) -> Result<(), String> {
    let place = Place::ready(&root.join("target").join("interop"))?;
    let bench = root.join("bench");
    let rmcp = build::program(&bench, "rmcp-client", Profile::Debug)?;
    let echo = build::program(&bench, "rmcp-server", Profile::Debug)?;
    let world = place.folder.join("world");
    let (scene, page) = (scene::Scene::ready(&world)?, page::Page::serve()?);
    let mut servers = servers::all(&place, &scene, &page)?;
    servers.iter_mut().try_for_each(talk::ask)?;
    let hosts = Host::start_all(&place, &echo)?;
    let port = page.url.strip_suffix("/knots.txt").unwrap_or(&page.url).to_owned();
    let names = vec![
        (world.display().to_string(), "/scene".to_owned()),
        (port, "http://localhost".to_owned()),
    ];
    let mut corpus = Corpus::new(names);
    for client in rows::clients(&place, Some(rmcp))? {
        if args.only.as_ref().is_some_and(|only| !client.name.contains(only.as_str())) {
            continue;
        }
        record(&place, &client, takes::takes(&place, &client, &servers, &hosts)?, &mut corpus)?;
    }
    let recorded = Path::new("crates").join("kern").join("tests").join("differential");
    let out = args.out.clone().unwrap_or_else(|| root.join(recorded).join("recorded"));
    let size = corpus.write(&out)?;
    println!("{} exchanges, {size} bytes, in {}", corpus.exchanges, out.display());
    Ok(())
}

/// Runs one client through its conversations.
fn record(
    place: &Place,
    client: &Client,
    takes: Vec<Take>,
    corpus: &mut Corpus,
) -> Result<(), String> {
    match &client.how {
        How::Plan(program, script) => {
            let runs: Vec<_> = takes.iter().map(Take::run).collect();
            let mut failed = Vec::new();
            follow(place, client.name, (program, script.as_deref()), &runs, |line| {
                failed.extend(line["failed"].as_str().map(|why| format!("{}: {why}", line["id"])));
            })?;
            for why in failed {
                eprintln!("record: {}, run {why}", client.name);
            }
        }
        How::Inspector => {
            for take in &takes {
                for step in take.steps.iter().filter(|step| step.list().is_none()) {
                    // Some steps are there to be refused.
                    let _ = inspector::ask(place, &take.connect, take.era, step);
                }
            }
        }
    }
    for take in takes {
        let (deeds, left) = exchange::deeds(&take.seen(), take.asked);
        let (client, era, server) = (client.name, take.era.word(), take.server);
        eprintln!(
            "record: {client}, {era}, {server} over {}: {} things done, {} left out",
            take.carry,
            deeds.len(),
            left.len()
        );
        for why in left.iter().filter(|why| !why.starts_with("by itself")) {
            eprintln!("    {}", why.chars().take(200).collect::<String>());
        }
        let about = json!({ "client": client, "era": era, "server": server, "carry": take.carry,
                            "asked": take.asked });
        corpus.add(&about, &deeds);
    }
    Ok(())
}

/// A new, empty file.
fn emptied(path: PathBuf) -> Result<PathBuf, String> {
    fs::write(&path, "").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
