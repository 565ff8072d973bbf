//! How does a process on Windows learn that it is to end?
//!
//! The system calls a handler on a thread of its own, which passes the signal on through a socket
//! that the driver waits for. Invariant: the last watcher is told, earlier ones are not any more;
//! the default action stays replaced.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Interest, Registry, Token};
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};

use super::pump;
use crate::event::Signal;

/// Where the handler writes; empty while nobody watches.
static TELL: Mutex<Option<TcpStream>> = Mutex::new(None);

/// The process is ended when the handler of a closing console returns, or after 5 to 20 s.
const CLOSING: Duration = Duration::from_secs(20);

fn tell() -> MutexGuard<'static, Option<TcpStream>> {
    TELL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The console signals of this process: Ctrl-C, Ctrl-Break, and the end of console or session.
pub(super) struct Signals {
    reader: mio::net::TcpStream,
}

impl Signals {
    pub(super) fn watch() -> io::Result<Self> {
        let (reader, writer) = pump::pair()?;
        reader.set_nonblocking(true)?;
        // A handler that is not read from must not wait.
        writer.set_nonblocking(true)?;
        let first = tell().replace(writer).is_none();
        // SAFETY: `on_event` has the signature the system asks for and is never unloaded.
        if first && unsafe { SetConsoleCtrlHandler(Some(on_event), 1) } == 0 {
            let error = io::Error::last_os_error();
            tell().take();
            return Err(error);
        }
        Ok(Self { reader: mio::net::TcpStream::from_std(reader) })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.reader, token, Interest::READABLE)
    }

    /// The signals that came since the last call.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Signal> {
        let (mut bytes, mut seen) = ([0; 64], [false; 2]);
        while let Ok(count @ 1..) = self.reader.read(&mut bytes) {
            seen[0] |= bytes[..count].contains(&INTERRUPT);
            seen[1] |= bytes[..count].contains(&TERMINATE);
        }
        let signals = [Signal::Interrupt, Signal::Terminate];
        signals.into_iter().zip(seen).filter_map(|(signal, seen)| seen.then_some(signal))
    }
}

const INTERRUPT: u8 = b'i';
const TERMINATE: u8 = b't';

/// Called by the system, on a thread of its own. 1 says that the event was dealt with.
// SAFETY: nothing is asked of the caller; the signature is the one the system declares.
unsafe extern "system" fn on_event(event: u32) -> i32 {
    let byte = match event {
        CTRL_C_EVENT => INTERRUPT,
        CTRL_BREAK_EVENT | CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => TERMINATE,
        _ => return 0,
    };
    if let Some(writer) = tell().as_mut() {
        // Fails where nobody reads any more, or where enough is unread.
        let _ = writer.write(&[byte]);
    }
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
        std::thread::sleep(CLOSING);
    }
    1
}
