//! Starts the real program in a world of its own and speaks with it: what all end-to-end tests
//! share.
//!
//! Invariants: every test has its own folder, which is also the home of `kern` and of all it
//! starts, so its processes can be found by their environment; what a test starts is killed when
//! it ends.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod bulk;
pub mod client;
pub mod http;
pub mod lines;
pub mod parks;
pub mod process;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test once with each driver, both at the same time.
pub fn both(test: impl Fn(&'static str) + Sync) {
    let drivers: &[&str] = if uring_works() { &["portable", "uring"] } else { &["portable"] };
    std::thread::scope(|scope| {
        let test = &test;
        let runs: Vec<_> =
            drivers.iter().map(|driver| (driver, scope.spawn(move || test(driver)))).collect();
        for (driver, run) in runs {
            assert!(run.join().is_ok(), "failed with the driver {driver}");
        }
    });
}

/// Whether this machine allows io_uring; if not, the tests run with the portable driver alone.
fn uring_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let report = Command::new(env!("CARGO_BIN_EXE_kern")).arg("doctor").output().unwrap();
        String::from_utf8_lossy(&report.stdout)
            .lines()
            .any(|line| line.contains("event loop") && line.contains("io_uring"))
    })
}

/// The independent MCP server; built once if it is older than its source.
pub fn fixture() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let place = Path::new(env!("CARGO_BIN_EXE_kern")).parent().unwrap();
        let binary = place.join(format!("kern-fixture{}", std::env::consts::EXE_SUFFIX));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixture/src");
        let built = binary.metadata().and_then(|known| known.modified()).ok();
        if built.is_none_or(|built| newest(&source) > built) {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            cargo.args(["build", "--quiet", "--package", "kern-fixture", "--target-dir"]);
            cargo.arg(place.parent().unwrap());
            if place.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success(), "the fixture does not build");
        }
        binary
    })
}

fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let times = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The interpreter itself, past any launcher.
pub fn python() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut asked = Command::new("python3");
        let said = asked.args(["-c", "import sys; print(sys.executable)"]).output();
        String::from_utf8(said.expect("python3 is on PATH").stdout).unwrap().trim().to_owned()
    })
}

/// A script of the harness.
pub fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness");
    folder.join(name).display().to_string()
}

/// An upstream that is a child process.
pub fn child(name: &str, program: &str, args: &[&str], more: &str) -> String {
    let args: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
    let args = args.join(", ");
    format!("[upstream.{name}]\ncommand = {program:?}\nargs = [{args}]\n{more}\n")
}

/// The server that misbehaves as told (`harness/server.py`).
pub fn odd(name: &str, mode: &str, more: &str) -> String {
    child(name, python(), &["-SEB", &script("server.py"), mode], more)
}

/// The fixture over stdio.
pub fn fixture_child(name: &str, era: &str, more: &str) -> String {
    child(name, &fixture().display().to_string(), &["--stdio", "--era", era], more)
}

/// An upstream behind a URL.
pub fn remote(name: &str, url: &str, more: &str) -> String {
    format!("[upstream.{name}]\nurl = {url:?}\n{more}\n")
}

/// Waits until `holds`; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// Waits until `holds`; panics with `what` after `limit`. How long it took.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(15));
    }
    started.elapsed()
}

/// How a `kern` is to be started.
pub struct Setup {
    config: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdio: bool,
    listen: bool,
}

impl Setup {
    /// One core, on a free port.
    pub fn new(driver: &str, config: impl Into<String>) -> Setup {
        let args = ["--driver", driver].map(str::to_owned).to_vec();
        let setup =
            Setup { config: config.into(), args, env: Vec::new(), stdio: false, listen: true };
        setup.cores(1)
    }

    pub fn cores(mut self, count: usize) -> Setup {
        self.args.retain(|arg| !arg.starts_with("--cores"));
        self.args.push(format!("--cores={count}"));
        self
    }

    /// With a client on stdin and stdout, and no port.
    pub fn stdio(mut self) -> Setup {
        self.stdio = true;
        self.listen = false;
        self.args.push("--stdio".to_owned());
        self
    }

    /// With a port after all.
    pub fn and_port(mut self) -> Setup {
        self.listen = true;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn start(self) -> Kern {
        let folder = tempfile::tempdir().unwrap();
        self.start_in(folder)
    }

    pub fn start_in(self, folder: tempfile::TempDir) -> Kern {
        let home = folder.path().canonicalize().unwrap();
        let config = home.join("kern.toml");
        std::fs::write(&config, &self.config).unwrap();
        let unix = home.join("kern.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kern"));
        command.arg("serve").arg("--config").arg(&config).args(&self.args);
        if self.listen {
            command.args(["--listen", "127.0.0.1:0", "--unix"]).arg(&unix);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
        command.env("XDG_CONFIG_HOME", home.join("config")).env("RUST_BACKTRACE", "1");
        command.envs(self.env).current_dir(&home).stderr(Stdio::piped());
        if self.stdio {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        let mut child = command.spawn().unwrap();
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        let mut kern = Kern { child, log, folder, home, address: None, unix };
        if self.listen {
            kern.address = Some(kern.told_address());
        }
        kern
    }
}

/// What a process wrote to stderr so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    fn follow(&self, from: impl std::io::Read + Send + 'static) {
        let to = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let mut text = to.lock().unwrap();
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
                // A flood must not make the test itself grow.
                if text.len() > 8 << 20 {
                    let keep = text.floor_char_boundary(text.len() - (4 << 20));
                    text.drain(..keep);
                }
            }
        });
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    pub fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().contains(what)
    }

    pub fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().matches(what).count()
    }
}

/// A running `kern`.
pub struct Kern {
    pub child: Child,
    pub log: Log,
    folder: tempfile::TempDir,
    home: PathBuf,
    address: Option<SocketAddr>,
    pub unix: PathBuf,
}

impl Kern {
    fn told_address(&mut self) -> SocketAddr {
        let mut found = None;
        let log = self.log.clone();
        within(PATIENCE, "kern says where it serves", || {
            let text = log.text();
            let told = text.split("serving at http://").nth(1);
            found = told.and_then(|rest| rest.split_once("/mcp")?.0.parse().ok());
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("kern ended with {status}:\n{}", log.text());
            }
            found.is_some()
        });
        found.unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("started with a port")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of this `kern` and of all it starts.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Replaces the configuration as editors do: another file takes its name.
    pub fn configure(&self, text: &str) {
        let next = self.home.join("kern.toml.next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.home.join("kern.toml")).unwrap();
    }

    /// Waits for a line in the log.
    #[track_caller]
    pub fn logs(&self, what: &str) {
        eventually(&format!("{what:?} in the log"), || self.log.has(what));
    }

    /// The ids of all processes of this world but `kern` itself.
    pub fn processes(&self) -> Vec<u32> {
        let mut all = process::with_home(&self.home);
        all.retain(|pid| *pid != self.pid());
        all
    }

    /// The servers whose command line holds `what`, without their keepers.
    pub fn servers(&self, what: &str) -> Vec<u32> {
        let mut all = self.processes();
        all.retain(|pid| {
            process::command_line(*pid)
                .is_some_and(|line| line.contains(what) && !line.contains("__keep"))
        });
        all
    }

    pub fn terminate(&self) {
        process::signal(self.pid(), rustix::process::Signal::TERM);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        within(limit, "kern ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// No process of this world is left, `limit` from now at the latest.
    #[track_caller]
    pub fn leaves_nobody(&self, limit: Duration) {
        let started = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            let lines: Vec<_> = left.iter().filter_map(|pid| process::command_line(*pid)).collect();
            assert!(started.elapsed() < limit, "still there: {left:?} {lines:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Kern {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.log.text();
            let lines: Vec<&str> = text.lines().collect();
            let shown = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the last of kern's log ---\n{shown}\n---");
        }
    }
}

/// The fixture behind HTTP, outside any `kern`.
pub struct Remote {
    child: Child,
    pub address: SocketAddr,
}

impl Remote {
    pub fn fixture(args: &[&str]) -> Remote {
        let mut command = Command::new(fixture());
        command.args(["--listen", "127.0.0.1:0", "--until-eof"]).args(args);
        Remote::start(command)
    }

    /// The script's server behind HTTP (`harness/server_http.py`), with `home` for its files.
    pub fn odd(home: &Path) -> Remote {
        let mut command = Command::new(python());
        command.args(["-SEB", &script("server_http.py")]).env("HOME", home);
        Remote::start(command)
    }

    /// A server that prints `http://ADDRESS` in its first line and ends with its stdin.
    pub fn start(mut command: Command) -> Remote {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("//").nth(1).and_then(|rest| rest.split(['/', '\n']).next());
        let address = address.and_then(|address| address.parse().ok());
        Remote { child, address: address.unwrap_or_else(|| panic!("it said {line:?}")) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
