//! The gateway under test: its real pipeline on simulated cores.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kern_control::{
    CommandLaunch, Endpoint, Instances, Launch, Plan, Remote, ToolFilter, Transport,
};
use kern_reactor::driver::sim::{Rng, Runner, SimDriver, World, post, retire};
use kern_reactor::{Core as EventLoop, Directory, Errands, Listen};
use kern_terms::CoreId;

use kern::core::words::{Post, Setup, Spec, UpstreamId};
use kern::core::{Core, Start};

/// Where HTTP clients connect.
pub fn tcp() -> Listen {
    Listen::Tcp { address: ([127, 0, 0, 1], 7331).into(), shared: true }
}

/// Where line clients connect (and HTTP ones may).
pub fn unix() -> Listen {
    Listen::Unix(PathBuf::from("/run/kern.sock"))
}

/// How a simulated server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Child,
    Http,
}

/// The path under which the world knows a child's program.
pub fn program(name: &str) -> String {
    format!("/bin/{name}")
}

/// The name and port under which the world knows an HTTP server.
pub fn host(name: &str) -> Listen {
    Listen::Simulated(format!("{name}.test:80"))
}

fn launch(name: &str, reach: Reach) -> Launch {
    match reach {
        Reach::Child => Launch::Command(CommandLaunch {
            program: program(name).into(),
            argument_zero: name.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            ring: false,
        }),
        Reach::Http => Launch::Remote(Remote {
            endpoint: Endpoint::parse(&format!("http://{name}.test/mcp")).expect("a URL"),
            headers: Vec::new(),
            transport: Transport::Http,
        }),
    }
}

/// The gateway on its cores.
pub struct Gateway {
    pub runner: Runner,
    directory: Arc<Directory<Post>>,
    cores: Vec<CoreId>,
    servers: Vec<(String, Reach)>,
    /// The id of each server in the configuration in force, if it is in it.
    ids: Vec<Option<u32>>,
    next_id: u32,
}

fn setup(servers: &[(String, Reach)], ids: &[Option<u32>], cores: &[CoreId]) -> Arc<Setup> {
    let mut plan = Plan::default();
    plan.limits.session_idle_timeout_ms = 60_000;
    let spec = |(id, (name, reach)): (&Option<u32>, &(String, Reach))| {
        let id = UpstreamId((*id)?);
        let spec = Spec {
            id,
            name: name.as_str().into(),
            instances: Instances::Auto,
            timeout: Duration::from_secs(20),
            start_timeout: Duration::from_secs(10),
            tools: ToolFilter::default(),
            unix: None,
            launch: Ok(launch(name, *reach)),
        };
        Some((id, Arc::new(spec)))
    };
    let upstreams = ids.iter().zip(servers).filter_map(spec).collect();
    Arc::new(Setup { plan: Arc::new(plan), upstreams, keeper: None, cores: cores.to_vec() })
}

impl Gateway {
    /// Starts `cores` cores in front of the named servers.
    pub fn start(world: &World, cores: u8, servers: &[(String, Reach)], stdio: bool) -> Self {
        let cores: Vec<CoreId> = (0..cores).map(CoreId).collect();
        let next_id = servers.len() as u32;
        let ids: Vec<Option<u32>> = (0..next_id).map(Some).collect();
        let setup = setup(servers, &ids, &cores);
        let directory = Directory::new(Errands::queued());
        let mut runner = Runner::new(world);
        runner.errands_of(&directory);
        let (ready, _) = channel();
        for id in &cores {
            let first = id.0 == 0;
            let start = Start {
                setup: Arc::clone(&setup),
                listen: if first { vec![tcp(), unix()] } else { vec![tcp()] },
                stdio: stdio && first,
                ready: ready.clone(),
                stdio_done: None,
                pair: Arc::new(Mutex::new(None)),
            };
            let driver = Box::new(SimDriver::new(world, *id));
            let core = Core::new(*id, start);
            let event_loop = EventLoop::new(*id, driver, Arc::clone(&directory), core);
            runner.add(*id, Rc::new(RefCell::new(event_loop)));
        }
        Self { runner, directory, cores, servers: servers.to_vec(), ids, next_id }
    }

    /// Takes another configuration while everything runs: each server stays, changes, goes or
    /// comes back.
    pub fn reload(&mut self, rng: &mut Rng) {
        for id in &mut self.ids {
            let fresh = match (rng.below(4), *id) {
                (0, Some(_)) => None,
                (1, Some(_)) | (_, None) => Some(self.next_id),
                (_, same) => same,
            };
            self.next_id += 1;
            *id = fresh;
        }
        let setup = setup(&self.servers, &self.ids, &self.cores);
        for core in &self.cores {
            post(&self.directory, *core, Post::Setup(Arc::clone(&setup)));
        }
    }

    /// What the cores hold for clients, core by core: whatever there is of it.
    pub fn held(&mut self) -> Vec<(CoreId, &'static str, usize)> {
        let mut held = Vec::new();
        for core in self.cores.clone() {
            let (to, from) = channel();
            post(&self.directory, core, Post::Report(to));
            self.runner.run_for(Duration::from_millis(50));
            let Ok(report) = from.try_recv() else {
                held.push((core, "no report", 1));
                continue;
            };
            let there = report.for_clients().into_iter().filter(|(_, count)| *count > 0);
            held.extend(there.map(|(name, count)| (core, name, count)));
        }
        held
    }

    /// Asks every core to end. False if one has not after a minute.
    pub fn stop(&mut self) -> bool {
        for core in &self.cores {
            retire(&self.directory, *core);
        }
        let end = self.runner.world().now() + Duration::from_secs(60);
        while self.runner.core_count() > 0 && self.runner.world().now() < end {
            self.runner.run_for(Duration::from_secs(1));
        }
        self.runner.core_count() == 0
    }
}
