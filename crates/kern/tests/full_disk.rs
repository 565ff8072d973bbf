//! Does a disk without a free byte stop anybody?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::process::{Command, Stdio};

use harness::http::{Conn, post};
use harness::{both, eventually, odd, process};

/// Runs in a mount namespace of its own: the home is a disk of 64 KiB that takes not a byte more.
/// The configuration and the socket lie elsewhere.
const FULL: &str = r#"
mount -t tmpfs -o size=64k tmpfs "$HOME" || exit 77
mkdir "$HOME/state"
cat /dev/zero > "$HOME/filler" 2>/dev/null
if echo more > "$HOME/state/more" 2>/dev/null; then exit 78; fi
rm -f "$HOME/state/more"
exec "$@"
"#;

#[test]
fn a_full_disk_stops_nobody() {
    let allowed = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine allows no mount namespaces, so no disk can be full");
        return;
    }
    both(|driver| {
        let outside = tempfile::tempdir().unwrap();
        let home = outside.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let (config, socket) = (outside.path().join("kern.toml"), outside.path().join("s"));
        std::fs::write(&config, odd("plain", "plain", "")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", FULL, "sh", env!("CARGO_BIN_EXE_kern"), "serve"]);
        command.args(["--driver", driver, "--cores=1", "--listen", "off", "--unix"]).arg(&socket);
        command.arg("--config").arg(&config);
        command.env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        eventually("it serves", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: 77 no mount, 78 the disk is not full");
            socket.exists()
        });
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",
            "arguments":{"a":1},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let headers = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "echo"),
        ];
        eventually("calls are answered", || {
            let mut conn = Conn::unix(&socket);
            conn.send(post("/mcp/plain", &headers, call));
            conn.response().json()["result"]["content"][0]["text"] == r#"{"a": 1}"#
        });
        process::signal(child.id(), rustix::process::Signal::TERM);
        eventually("it ends", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    });
}
