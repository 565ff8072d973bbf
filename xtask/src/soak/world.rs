//! The world of a soak: one `kern`, its upstreams, and what the system says of all of them.
//!
//! Invariants: everything here has the world's folder as its home, so that no process can hide;
//! what was started ends when the world is dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wire::Wire;

/// Longest time until `kern` says where it serves and all upstreams are up.
const START: Duration = Duration::from_secs(60);
/// Configuration of everything; short times, so that what is left behind goes within the run.
const LIMITS: &str = "[limits]\nsession_idle_timeout = \"10s\"\nidle_timeout = \"10s\"\n\
                      grace = \"2s\"\ninstances = 256\n\n";
/// Given to the upstream that is killed now and then; finds it by its command line.
const VICTIM_PAGE: &str = "7";

/// A running `kern` and its upstream over HTTP.
pub(super) struct World {
    kern: Child,
    remote: Child,
    remote_url: String,
    fixture: PathBuf,
    home: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) unix: PathBuf,
}

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) kern_kib: u64,
    pub(super) keepers_kib: u64,
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    /// All but `kern` itself and the server over HTTP.
    pub(super) processes: usize,
    pub(super) sessions: u64,
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) listens: u64,
    pub(super) asks: u64,
}

impl World {
    pub(super) fn start(
        kern: &Path,
        fixture: &Path,
        home: &Path,
        driver: &str,
    ) -> Result<World, String> {
        let says = |error: std::io::Error| format!("{}: {error}", home.display());
        fs::create_dir_all(home).map_err(says)?;
        let home = home.canonicalize().map_err(says)?;
        let mut command = Command::new(fixture);
        command.args(["--listen", "127.0.0.1:0", "--until-eof"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut remote = command.spawn().map_err(|error| format!("the fixture: {error}"))?;
        let remote_url = match first_url(remote.stdout.take()) {
            Ok(url) => url,
            Err(why) => {
                let _ = remote.kill();
                return Err(why);
            }
        };
        let config = home.join("kern.toml");
        fs::write(&config, configuration(fixture, &remote_url, 0)).map_err(says)?;
        let unix = home.join("kern.sock");
        let log = File::create(home.join("kern.log")).map_err(says)?;
        let mut command = Command::new(kern);
        command.args(["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--driver", driver]);
        command.arg("--config").arg(&config).arg("--unix").arg(&unix);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let kern = command.spawn().map_err(|error| format!("{}: {error}", kern.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let fixture = fixture.to_owned();
        let mut world = World { kern, remote, remote_url, fixture, home, address, unix };
        world.wait_ready()?;
        Ok(world)
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + START;
        let mut all_up = false;
        while self.address.port() == 0 || !all_up {
            if let Ok(Some(status)) = self.kern.try_wait() {
                return Err(format!("kern ended with {status}:\n{}", self.log_tail()));
            }
            if Instant::now() > until {
                return Err(format!("the upstreams are not up:\n{}", self.log_tail()));
            }
            sleep(Duration::from_millis(50));
            let log = fs::read_to_string(self.home.join("kern.log")).unwrap_or_default();
            let told = log.split("serving at http://").nth(1);
            if let Some(address) = told.and_then(|rest| rest.split_once("/mcp")) {
                self.address = address.0.parse().map_err(|_| format!("address {address:?}"))?;
                all_up = self.all_up();
            }
        }
        Ok(())
    }

    /// Whether every upstream is ready.
    pub(super) fn all_up(&self) -> bool {
        let Ok(status) = self.status() else { return false };
        let upstreams = status["upstreams"].as_array().cloned().unwrap_or_default();
        let up = |one: &Value| one["state"] == "up" || one["state"] == "builtin";
        upstreams.len() == 5 && upstreams.iter().all(up)
    }

    fn status(&self) -> Result<Value, String> {
        let mut wire = Wire::tcp(self.address)?;
        wire.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let (_, body) = wire.response(|_| Ok(()))?;
        Ok(body)
    }

    /// Replaces the configuration as editors do. Another `round` means other settings for the
    /// upstream `extra`, and nothing else.
    pub(super) fn configure(&self, round: u64) -> Result<(), String> {
        let text = configuration(&self.fixture, &self.remote_url, round);
        let next = self.home.join("kern.toml.next");
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, self.home.join("kern.toml")))
            .map_err(|error| format!("the configuration: {error}"))
    }

    /// Kills all processes of the upstream `victim`; how many.
    pub(super) fn kill_victims(&self) -> usize {
        let wanted = format!("--page {VICTIM_PAGE}");
        let its = |pid: &u32| {
            let line = read(*pid, "cmdline").replace('\0', " ");
            line.contains(&wanted) && !line.contains("__keep")
        };
        let victims: Vec<String> =
            self.processes().iter().filter(|pid| its(pid)).map(u32::to_string).collect();
        if !victims.is_empty() {
            // Whoever is gone already is fine.
            let _ = Command::new("kill").arg("-9").args(&victims).stderr(Stdio::null()).status();
        }
        victims.len()
    }

    /// Living processes of this world, without `kern` itself.
    fn processes(&self) -> Vec<u32> {
        let wanted = format!("HOME={}", self.home.display());
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            *pid != self.kern.id()
                && read(*pid, "environ").split('\0').any(|entry| entry == wanted)
                && !read(*pid, "stat").contains(") Z ")
        };
        numbers.filter(ours).collect()
    }

    /// Looks at everything.
    pub(super) fn look(&self) -> Result<Look, String> {
        let pid = self.kern.id();
        let count =
            |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        let processes = self.processes();
        let keeper = |pid: &&u32| read(**pid, "cmdline").contains("__keep");
        let keepers_kib = processes.iter().filter(keeper).map(|pid| resident_kib(*pid)).sum();
        let (kern_kib, descriptors, threads) = (resident_kib(pid), count("fd"), count("task"));
        let status = self.status().map_err(|why| format!("GET /status: {why}"))?;
        let of = |what: &str| status["core"][what].as_u64().unwrap_or(u64::MAX);
        Ok(Look {
            kern_kib,
            keepers_kib,
            descriptors,
            threads,
            processes: processes.len(),
            sessions: of("sessions"),
            requests: of("requests"),
            // Without the one that asks.
            connections: of("connections").saturating_sub(1),
            listens: of("listens"),
            asks: of("asks"),
        })
    }

    /// What the open descriptors are, for whoever has to find the leak.
    pub(super) fn descriptor_kinds(&self) -> String {
        let folder = format!("/proc/{}/fd", self.kern.id());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut kinds: Vec<String> = entries
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.display().to_string())
            .collect();
        kinds.sort();
        kinds.join("\n  ")
    }

    /// Where the samples of memory go, for whoever wants to see all of them.
    pub(super) fn samples_file(&self) -> PathBuf {
        self.home.join("samples.tsv")
    }

    /// The command lines of all processes.
    pub(super) fn command_lines(&self) -> String {
        let line = |pid: &u32| format!("{pid} {}", read(*pid, "cmdline").replace('\0', " "));
        self.processes().iter().map(line).collect::<Vec<_>>().join("\n  ")
    }

    /// The last lines of the log.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.home.join("kern.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Asks `kern` to end; `Err` if it does not do so in order, or leaves anybody.
    pub(super) fn end(&mut self) -> Result<(), String> {
        let pid = self.kern.id().to_string();
        let asked = Command::new("kill").arg(pid).status();
        asked.map_err(|error| format!("kill: {error}"))?;
        let until = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.kern.try_wait() {
                Ok(Some(status)) => break status,
                _ if Instant::now() > until => return Err("kern does not end".to_owned()),
                _ => sleep(Duration::from_millis(20)),
            }
        };
        let left = self.command_lines();
        match (status.success(), left.is_empty()) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("kern ended with {status}:\n{}", self.log_tail())),
            _ => Err(format!("kern left processes behind:\n  {left}")),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.kern, &mut self.remote] {
            // It may have ended by itself; either way it is gone after this.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `victim` is killed now and then, `extra` changes with each reload, `old` gives every able
/// session a process of its own; `echo` and `web` must always answer.
fn configuration(fixture: &Path, remote_url: &str, round: u64) -> String {
    let program = fixture.display().to_string();
    format!(
        "{LIMITS}[upstream.echo]\nbuiltin = \"echo\"\n\n\
         [upstream.web]\nurl = {remote_url:?}\n\n\
         [upstream.victim]\ncommand = {program:?}\n\
         args = [\"--stdio\", \"--page\", \"{VICTIM_PAGE}\"]\n\n\
         [upstream.old]\ncommand = {program:?}\nargs = [\"--stdio\", \"--era\", \"legacy\"]\n\n\
         [upstream.extra]\ncommand = {program:?}\nargs = [\"--stdio\", \"--page\", \"0\"]\n\
         env = {{ ROUND = \"{round}\" }}\n"
    )
}

fn first_url(output: Option<impl Read>) -> Result<String, String> {
    let mut line = String::new();
    let read = BufReader::new(output.ok_or("no stdout")?).read_line(&mut line);
    read.map_err(|error| format!("the fixture said nothing: {error}"))?;
    let at = line.find("http://").ok_or_else(|| format!("no address in {line:?}"))?;
    Ok(line[at..].split_whitespace().next().unwrap_or_default().to_owned())
}

fn read(pid: u32, what: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resident_kib(pid: u32) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
