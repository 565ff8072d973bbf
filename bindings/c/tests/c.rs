//! Does a C program reach a ring through the header and the static library?
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kern_shm::{Client, Error, Link, Options, Sizes};

const OWN: &str = env!("CARGO_MANIFEST_DIR");
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));
const SIZES: Sizes = Sizes { ring_bytes: 16 << 10, slab_bytes: 16 << 10, slabs: 2 };

/// The static library: testing does not build it by itself.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--manifest-path"])
            .arg(Path::new(OWN).join("Cargo.toml"))
            .status();
        assert!(status.unwrap().success());
        let me = std::env::current_exe().unwrap();
        me.ancestors().nth(2).unwrap().join("libkernmantle.a")
    })
}

/// A C program of this folder, compiled with all warnings and linked with the static library.
fn compiled(source: &str, folder: &Path) -> PathBuf {
    let own = Path::new(OWN);
    let program = folder.join("program");
    let status = Command::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"])
        .arg("-I")
        .arg(own.join("include"))
        .arg(own.join(source))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .status();
    assert!(status.unwrap().success());
    program
}

fn host(socket: &UnixStream) -> Client {
    Client::from_link(Link::host(socket, SIZES).unwrap(), Options::default())
}

#[test]
fn a_c_client_connects_and_misuse_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring");
    let listener = UnixListener::bind(&path).unwrap();
    let mut peer =
        Command::new(compiled("tests/peer.c", folder.path())).arg("client").arg(&path).spawn();
    let (socket, _) = listener.accept().unwrap();
    let mut host = host(&socket);
    let message = host.recv(PATIENCE).unwrap();
    assert_eq!(message, b"hello");
    host.send(&message).unwrap();
    assert!(matches!(host.recv(PATIENCE), Err(Error::Gone)), "it finished");
    host.finish();
    assert!(peer.as_mut().unwrap().wait().unwrap().success());
}

#[test]
fn a_c_server_echoes_messages_of_all_sizes_and_sees_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut peer = Command::new(compiled("tests/peer.c", folder.path()))
        .args(["server", "-"])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .env("KERN_RING_FD", "0")
        .spawn()
        .unwrap();
    let mut host = host(&ours);
    let messages: Vec<Vec<u8>> = [1, 7, 8, 300, 2040, 2041, 16 << 10, 70_000, 300_000, 1]
        .map(|len| vec![len as u8; len])
        .into();
    for message in &messages {
        host.send(message).unwrap();
        assert!(host.recv(PATIENCE).unwrap() == *message, "{} bytes", message.len());
    }
    for message in &messages {
        host.push(message).unwrap();
    }
    host.flush();
    for message in &messages {
        assert!(host.recv(PATIENCE).unwrap() == *message, "{} bytes", message.len());
    }
    drop((host, ours));
    assert!(peer.wait().unwrap().success());
}

#[test]
fn the_example_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled("examples/call.c", folder.path());
    let run = |arguments: &[&str]| Command::new(&program).args(arguments).output().unwrap();
    assert_eq!(run(&[]).status.code(), Some(2));
    let nowhere = run(&["/nowhere/at/all", "echo", "{}"]);
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(said.contains("/nowhere/at/all") && said.contains("No such file"), "{said}");
}
