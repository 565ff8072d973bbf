//! How is what the system cannot wait for (pipes, consoles, the end of a child) waited for anyway?
//!
//! A thread does the waiting call and passes the outcome through a loopback TCP connection, which
//! every system can wait for. Invariant: the two ends of such a connection belong to this process;
//! somebody else who connects in between is recognised by address and turned away.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::{Builder, JoinHandle};

/// Attempts to accept our own connection rather than a stranger's.
const STRANGERS_MAX: usize = 16;

/// Two connected sockets.
pub(super) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let expected = ours.local_addr()?;
    for _ in 0..STRANGERS_MAX {
        let (theirs, peer) = listener.accept()?;
        if peer == expected {
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
    Err(io::Error::other("strangers keep connecting to a loopback port"))
}

/// Joins an output to read from and an input to write to into one socket; `None` leaves that
/// direction closed. The returned thread ends when everything given to the socket was written.
pub(super) fn join(
    output: Option<impl Read + Send + 'static>,
    input: Option<impl Write + Send + 'static>,
) -> io::Result<(TcpStream, Option<JoinHandle<()>>)> {
    let (ours, theirs) = pair()?;
    let writer = match input {
        None => None,
        Some(mut input) => {
            let mut theirs = theirs.try_clone()?;
            let copy = move || {
                // Either side may go first; both end the copy.
                let _ = io::copy(&mut theirs, &mut input);
                let _ = input.flush();
            };
            Some(Builder::new().name("kern-pump-in".into()).spawn(copy)?)
        }
    };
    match output {
        None => theirs.shutdown(Shutdown::Write)?,
        Some(mut output) => {
            let mut theirs = theirs;
            Builder::new().name("kern-pump-out".into()).spawn(move || {
                let _ = io::copy(&mut output, &mut theirs);
                let _ = theirs.shutdown(Shutdown::Write);
            })?;
        }
    }
    Ok((ours, writer))
}

/// A socket that becomes readable when `wait` returns.
pub(super) fn when(wait: impl FnOnce() + Send + 'static) -> io::Result<TcpStream> {
    let (ours, theirs) = pair()?;
    Builder::new().name("kern-pump-wait".into()).spawn(move || {
        let _closed_when_dropped = theirs;
        wait();
    })?;
    Ok(ours)
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_childs_pipes_pass_through_a_socket_whole_and_end() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut socket, writer) = join(child.stdout.take(), child.stdin.take()).unwrap();
        let sent: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        let mut sender = socket.try_clone().unwrap();
        let copy = sent.clone();
        let thread = std::thread::spawn(move || {
            sender.write_all(&copy).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        socket.read_to_end(&mut received).unwrap();
        assert!(received == sent);
        thread.join().unwrap();
        writer.unwrap().join().unwrap();
        let mut exit = when(move || assert!(child.wait().unwrap().success())).unwrap();
        assert_eq!(exit.read(&mut [0]).unwrap(), 0);
    }
}
