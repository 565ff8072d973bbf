//! The gateway on this thread, a client in front of it and a server behind.
//!
//! Invariant: a message takes the turns it needs and no other, so its count does not depend on the
//! machine's speed; the server behind a proxy runs on a thread or in a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern::core::words::{Post, Setup, Spec, UpstreamId};
use kern::core::{Core, Start};
use kern_control::{
    Builtin, CommandLaunch, Endpoint, Instances, Launch, Plan, Remote, Secret, ToolFilter,
    Transport,
};
use kern_reactor::driver::{Choice, choose};
use kern_reactor::{Cluster, Core as EventLoop, Directory, Errands, Listen, Local, Options};
use kern_terms::CoreId;

use crate::talk::{Client, Era};
use crate::{Case, measured};

/// Longest wait for a gateway to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server that just started is asked besides calls (its lists, once it tells of changes) is over
/// by then.
const SETTLED: Duration = Duration::from_secs(1);

/// What answers behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The gateway itself.
    Builtin,
    /// Another gateway, over HTTP.
    Http,
    /// Another gateway, as a child process.
    Pipe,
}

/// A call of about 300 bytes.
pub fn call(upstream: Upstream, era: Era) -> Box<dyn Case> {
    conversation(upstream, era, 64)
}

/// A call of about 64 KiB.
pub fn long_call(upstream: Upstream, era: Era) -> Box<dyn Case> {
    conversation(upstream, era, 64 << 10)
}

fn conversation(upstream: Upstream, era: Era, text_bytes: usize) -> Box<dyn Case> {
    let mut gateway = Gateway::start(upstream);
    let mut client = Client::new(gateway.address, "/mcp/up", era, text_bytes);
    if client.greet() {
        gateway.turns_until(|| client.answered());
        client.greeted();
        gateway.turns_until(|| client.answered());
    }
    let started = Instant::now();
    loop {
        client.call();
        gateway.turns_until(|| client.answered());
        if client.is_right() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}", client.shown());
    }
    let right = Instant::now();
    gateway.turns_until(|| upstream == Upstream::Builtin || right.elapsed() >= SETTLED);
    Box::new(move |counts: bool| {
        client.call();
        while !client.answered() {
            let mut turn = || gateway.event_loop.turn().expect("the driver works");
            if counts {
                measured(turn)
            } else {
                turn()
            };
        }
        assert!(client.is_right(), "{}", client.shown());
    })
}

struct Gateway {
    event_loop: EventLoop<Core>,
    address: SocketAddr,
    /// Ends the upstream's thread with the process.
    _upstream: Option<Cluster<Post>>,
}

impl Gateway {
    fn start(upstream: Upstream) -> Self {
        let (launch, cluster) = match upstream {
            Upstream::Builtin => (Launch::Builtin(Builtin::Echo), None),
            Upstream::Http => {
                let (cluster, address) = echo_server();
                let url = format!("http://{address}/mcp/up");
                let endpoint = Endpoint::parse(&url).expect("a URL");
                let transport = Transport::Http;
                (Launch::Remote(Remote { endpoint, headers: Vec::new(), transport }), Some(cluster))
            }
            Upstream::Pipe => (child(), None),
        };
        let (start, listening) = start_of(launch);
        let driver = choose(Choice::Portable).expect("a driver");
        let directory = Directory::new(Errands::threads());
        let core = Core::new(CoreId(0), start);
        let mut event_loop = EventLoop::new(CoreId(0), driver, directory, core);
        event_loop.turn().expect("the driver works");
        Self { event_loop, address: address_of(&listening), _upstream: cluster }
    }

    fn turns_until(&mut self, mut done: impl FnMut() -> bool) {
        while !done() {
            self.event_loop.turn().expect("the driver works");
        }
    }
}

fn address_of(listening: &Receiver<Result<Local, String>>) -> SocketAddr {
    match listening.recv_timeout(PATIENCE) {
        Ok(Ok(Local::Tcp(address))) => address,
        other => panic!("not listening: {other:?}"),
    }
}

/// A gateway with the built-in tools, on a thread of its own.
fn echo_server() -> (Cluster<Post>, SocketAddr) {
    let (start, listening) = start_of(Launch::Builtin(Builtin::Echo));
    let options = Options { driver: Choice::Portable, ..Options::default() };
    let cluster = Cluster::start(options, move |core| Core::new(core, start.clone()));
    (cluster.expect("a cluster"), address_of(&listening))
}

/// The same in a child process, on its stdin and stdout.
fn child() -> Launch {
    let folder = std::env::temp_dir().join(format!("kern-bench-{}", std::process::id()));
    let config = folder.join("kern.toml");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    std::fs::write(&config, "[upstream.up]\nbuiltin = \"echo\"\n").expect("a temporary file");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_kern"));
    let config = config.display().to_string();
    let args = ["serve", "--stdio", "--driver", "portable", "--config", &config];
    Launch::Command(CommandLaunch {
        argument_zero: "kern".into(),
        program,
        args: args.into_iter().map(|text| Secret::new(text.to_owned())).collect(),
        env: Vec::new(),
        cwd: folder,
        ring: false,
    })
}

fn start_of(launch: Launch) -> (Start, Receiver<Result<Local, String>>) {
    let spec = Spec {
        id: UpstreamId(0),
        name: "up".into(),
        instances: Instances::Auto,
        timeout: Duration::from_secs(60),
        start_timeout: PATIENCE,
        tools: ToolFilter::default(),
        unix: None,
        launch: Ok(launch),
    };
    let setup = Arc::new(Setup {
        plan: Arc::new(Plan::default()),
        upstreams: [(spec.id, Arc::new(spec))].into(),
        keeper: None,
        cores: vec![CoreId(0)],
    });
    let (ready, listening) = channel();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let start = Start {
        setup,
        listen: vec![Listen::Tcp { address, shared: false }],
        stdio: false,
        ready,
        stdio_done: None,
        pair: Arc::new(Mutex::new(None)),
    };
    (start, listening)
}
