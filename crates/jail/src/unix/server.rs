//! How is the server started, and with what?
//!
//! Invariants: it gets descriptors 0, 1, 2, default signals, and its death with the keeper's
//! (Linux); once it runs, the keeper holds none of the three.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;

use super::signals;
use crate::error::Error;
use crate::order::Order;

/// Starts the server and lets go of its descriptors.
pub(super) fn start(order: &Order) -> Result<Pid, Error> {
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|cause| Error::System { what: "open /dev/null", cause })?;
    let keeper = rustix::process::getpid();
    let mut command = Command::new(&order.program);
    command.args(&order.args);
    if let Some(name) = &order.argv0 {
        command.arg0(name);
    }
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe { command.pre_exec(move || prepare(keeper)) };
    let child =
        command.spawn().map_err(|cause| Error::Start { program: order.program.clone(), cause })?;
    let let_go = || -> rustix::io::Result<()> {
        rustix::stdio::dup2_stdin(&nothing)?;
        rustix::stdio::dup2_stdout(&nothing)?;
        rustix::stdio::dup2_stderr(&nothing)
    };
    let_go().expect("both descriptors are valid");
    Ok(Pid::from_child(&child))
}

/// Runs in the child, before its program.
fn prepare(keeper: Pid) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    // The keeper may have been killed before the line above.
    if rustix::process::getppid() != Some(keeper) {
        return Err(io::ErrorKind::NotFound.into());
    }
    signals::give_defaults()
}

/// Closes every descriptor above 2: what `kern` forgot must not reach a server.
pub(super) fn close_inherited() {
    #[cfg(target_os = "linux")]
    {
        let (first, last, flags): (libc::c_uint, _, libc::c_uint) = (3, libc::c_uint::MAX, 0);
        // SAFETY: this runs first in `main`, where nothing owns a descriptor above 2.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
            return;
        }
    }
    // Linux before 5.9, and others.
    let Ok(folder) = std::fs::read_dir("/dev/fd") else { return };
    let open: Vec<i32> =
        folder.flatten().filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|&fd| fd > 2) {
        // SAFETY: as above; the one of the folder itself is closed already, and refused.
        unsafe { libc::close(fd) };
    }
}
