//! Do the process's own stdin and stdout work as a stream, whatever they are?
//!
//! The test starts itself again as a program that echoes its input in capitals.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use kern_reactor::driver::Choice;
use kern_reactor::{App, Cluster, Event, Io, Options};
use kern_terms::Key;

const ROLE: &str = "KERN_TEST_STDIO_DRIVER";

struct Shout {
    stream: Option<Key>,
}

impl App for Shout {
    type Post = ();

    fn start(&mut self, io: &mut Io<()>) {
        self.stream = Some(io.stdio().unwrap());
    }

    fn event(&mut self, io: &mut Io<()>, event: Event<()>) {
        match event {
            Event::Received { stream, chunk } => io.send(stream, &chunk.to_ascii_uppercase()),
            Event::Finished { stream } => {
                io.send(stream, b"[end]");
                io.close(stream, Duration::from_secs(5));
                io.leave();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn shout_child() {
    let driver = match std::env::var(ROLE).as_deref() {
        Ok("Portable") => Choice::Portable,
        Ok(_) => Choice::Auto,
        // The ordinary run of the tests.
        Err(_) => return,
    };
    let options = Options { driver, ..Options::default() };
    Cluster::start(options, |_| Shout { stream: None }).unwrap().join().unwrap();
}

fn shout(driver: &str, stdin: Stdio, stdout: Stdio) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shout_child", "--nocapture", "--test-threads=1"])
        .env(ROLE, driver)
        .stdin(stdin)
        .stdout(stdout)
        .spawn()
        .unwrap()
}

fn check_output(driver: &str, output: &[u8], wanted: &str) {
    let output = String::from_utf8_lossy(output);
    assert!(output.contains(wanted), "{driver}: {output:?} lacks {wanted:?}");
}

#[test]
fn pipes_files_sockets_and_nothing_work_as_stdin_and_stdout() {
    for driver in ["Portable", "Auto"] {
        let mut child = shout(driver, Stdio::piped(), Stdio::piped());
        child.stdin.take().unwrap().write_all(b"through pipes").unwrap();
        let output = child.wait_with_output().unwrap();
        check_output(driver, &output.stdout, "THROUGH PIPES[end]");

        let mut input = tempfile::tempfile().unwrap();
        input.write_all(&b"from a file ".repeat(10_000)).unwrap();
        input.rewind().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let stdout = Stdio::from(file.try_clone().unwrap());
        assert!(shout(driver, input.into(), stdout).wait().unwrap().success());
        let mut output = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut output).unwrap();
        check_output(driver, &output, &format!("{}[end]", "FROM A FILE ".repeat(10_000)));

        let nothing = File::open("/dev/null").unwrap();
        let output =
            shout(driver, nothing.into(), Stdio::piped()).wait_with_output().unwrap().stdout;
        check_output(driver, &output, "[end]");
    }
}

#[test]
fn descriptors_shared_with_the_parent_are_left_blocking() {
    for driver in ["Portable", "Auto"] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let shared = OwnedFd::from(theirs.try_clone().unwrap());
        let stdout = Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
        let mut child = shout(driver, OwnedFd::from(theirs).into(), stdout);
        ours.write_all(b"over a socket").unwrap();
        let mut output = Vec::new();
        while !String::from_utf8_lossy(&output).contains("OVER A SOCKET") {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            output.push(byte[0]);
        }
        let flags = rustix::fs::fcntl_getfl(shared.as_fd()).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{driver}");
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
