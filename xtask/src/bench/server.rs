//! A server process under test.
//!
//! Invariants: it is killed when its guard drops; where `setpriv` exists also when this process is
//! killed. Its process id is that of the server itself: what stands before it on the command line
//! replaces itself.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::stage::Launch;

/// Longest time a server may take until it accepts connections.
const START: Duration = Duration::from_secs(240);

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Whether it shares the load generator's processor.
    pub(super) behind: bool,
    log: PathBuf,
}

impl Server {
    /// Starts it on the processors `cores` and waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with its last words.
    pub(super) fn start(
        machine: &Machine,
        cores: Option<&str>,
        launch: &Launch,
        address: SocketAddr,
        log: PathBuf,
    ) -> Result<Self, String> {
        let mut command = bound(machine, cores, &launch.program);
        command.args(&launch.arguments);
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        let logs = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (one, two) =
            logs.map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(one).stderr(two);
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", launch.program.display()))?;
        let mut server = Self { child, address, behind: launch.behind, log };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended ({status}):\n{}", self.tail()));
            }
            if Instant::now() > until {
                return Err(format!("nothing listens at {}:\n{}", self.address, self.tail()));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines it wrote.
    pub(super) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command for `program` on some processors (a list such as `0-2`), ended with this process.
pub(super) fn bound(machine: &Machine, cores: Option<&str>, program: &Path) -> Command {
    let mut words: Vec<std::ffi::OsString> = Vec::new();
    if let (Some(cores), Some(_)) = (cores, machine.cores) {
        words.extend(["taskset".into(), "--cpu-list".into(), cores.into()]);
    }
    if machine.setpriv {
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(Into::into));
    }
    words.push(program.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// An address that was free a moment ago.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
