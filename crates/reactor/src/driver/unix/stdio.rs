//! How do the process's own stdin and stdout become a stream?
//!
//! The non-blocking flag belongs to the open file, which the shell or the parent shares; setting it
//! on them would break them. So pipes and terminals are opened once more; what cannot be (files,
//! `/dev/null`, sockets, terminals of other users) is pumped through a socket pair by a thread that
//! may block.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};

/// Non-blocking ends that stand for stdin and stdout.
#[derive(Debug)]
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

/// The thread that writes stdout, while it has something to write.
static WRITER: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Opens them. Meant to be called once in a process: two readers would share out the input.
pub(crate) fn open() -> io::Result<Stdio> {
    let stdin = match reopen(io::stdin().as_fd(), 0, OFlags::RDONLY) {
        Some(fd) => fd,
        None => pump_in(File::from(io::stdin().as_fd().try_clone_to_owned()?))?,
    };
    let stdout = match reopen(io::stdout().as_fd(), 1, OFlags::WRONLY) {
        Some(fd) => fd,
        None => {
            let (fd, thread) = pump_out(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
            *WRITER.lock().expect("holders do not panic") = Some(thread);
            fd
        }
    };
    Ok(Stdio { stdin, stdout })
}

/// Waits until everything given to a pumped stdout was written, at most `most`.
pub(crate) fn drain(most: Duration) {
    let Some(thread) = WRITER.lock().expect("holders do not panic").take() else { return };
    let until = Instant::now() + most;
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An open file of our own for the pipe or terminal behind `fd`.
fn reopen(fd: BorrowedFd<'_>, number: i32, access: OFlags) -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(fd).ok()?.st_mode);
    if kind != FileType::Fifo && !rustix::termios::isatty(fd) {
        return None;
    }
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(format!("/proc/self/fd/{number}"), flags, Mode::empty()).ok()
}

/// A thread copies `source` into the socket whose other end is returned.
pub(crate) fn pump_in(mut source: impl Read + Send + 'static) -> io::Result<OwnedFd> {
    let (ours, mut theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    std::thread::Builder::new().name("kern-stdin".into()).spawn(move || {
        // Either side may go first; both end the copy.
        let _ = io::copy(&mut source, &mut theirs);
        let _ = theirs.shutdown(Shutdown::Write);
    })?;
    Ok(ours.into())
}

/// A thread copies what is sent into the returned socket to `sink`.
pub(crate) fn pump_out(
    mut sink: impl Write + Send + 'static,
) -> io::Result<(OwnedFd, JoinHandle<()>)> {
    let (ours, mut theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let thread = std::thread::Builder::new().name("kern-stdout".into()).spawn(move || {
        let _ = io::copy(&mut theirs, &mut sink);
        let _ = sink.flush();
    })?;
    Ok((ours.into(), thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_cannot_be_waited_for_arrives_whole_and_ends() {
        let input: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let fd = pump_in(io::Cursor::new(input.clone())).unwrap();
        let mut stream = UnixStream::from(fd);
        stream.set_nonblocking(false).unwrap();
        let mut output = Vec::new();
        stream.read_to_end(&mut output).unwrap();
        assert!(output == input);
    }

    #[test]
    fn output_that_cannot_be_waited_for_is_written_before_the_writer_ends() {
        let mut file = tempfile::tempfile().unwrap();
        let (fd, thread) = pump_out(file.try_clone().unwrap()).unwrap();
        let mut stream = UnixStream::from(fd);
        stream.set_nonblocking(false).unwrap();
        stream.write_all(&[7; 100_000]).unwrap();
        drop(stream);
        thread.join().unwrap();
        let mut written = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut written).unwrap();
        assert!(written == vec![7; 100_000]);
    }
}
