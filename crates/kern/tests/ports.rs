//! Do two processes ever answer on one port?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MANY: usize = 6;
const SERVING: &str = "serving at http://";

fn start(home: &Path, address: SocketAddr) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kern"));
    command.args(["serve", "--cores=2", "--listen", &address.to_string(), "--config", "kern.toml"]);
    command.env_clear().env("HOME", home).current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Whether it says that it serves; `false` once it has ended.
fn serves(child: &mut Child) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.map_while(Result::ok).any(|line| line.contains(SERVING))
}

#[test]
fn of_many_that_start_at_once_on_one_port_one_serves() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("kern.toml"), "[upstream.echo]\nbuiltin = \"echo\"\n").unwrap();
    for _ in 0..3 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut all: Vec<_> = (0..MANY).map(|_| start(home.path(), address)).collect();
        let serving = all.iter_mut().filter_map(|child| serves(child).then_some(())).count();
        for child in &mut all {
            let _ = child.kill();
            let _ = child.wait();
        }
        assert_eq!(serving, 1, "each would answer some of the others' clients");
    }
}
