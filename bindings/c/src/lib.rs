//! What does a C program call to use a ring? `include/kernmantle.h` says it for C.
//!
//! Invariants: no function unwinds (the library is built with `panic = "abort"`); each pointer is
//! checked for null and nothing else is known of it, so the header's rules are the caller's to keep;
//! a ring in C is a [`Ring`] of ours, from connecting until closing.
#![cfg(target_os = "linux")]

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use kern_shm::{Client, Error};

/// See `KERNMANTLE_ABI`.
const ABI: u32 = 1;

/// `kern_ring`.
pub struct Ring {
    client: Client,
    /// What was received last.
    message: Vec<u8>,
}

/// `kern_status`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    TimedOut = 1,
    Gone = 2,
    Fault = 3,
    System = 4,
    Usage = 5,
}

impl Status {
    /// The status of an error; one of the system's is left in `errno`.
    fn of(error: &Error) -> Self {
        match error {
            Error::TimedOut => Self::TimedOut,
            Error::Gone => Self::Gone,
            Error::Fault(_) => Self::Fault,
            Error::Io(error) => match error.raw_os_error() {
                Some(number) => {
                    // SAFETY: the C library's own place for this thread's error.
                    unsafe { *libc::__errno_location() = number };
                    Self::System
                }
                None => Self::Usage,
            },
        }
    }
}

fn status(result: Result<(), Error>) -> Status {
    result.map_or_else(|error| Status::of(&error), |()| Status::Ok)
}

/// Gives a ring to C.
///
/// # Safety
/// `out` is null or may be written.
unsafe fn give(client: Result<Client, Error>, out: *mut *mut Ring) -> Status {
    match client {
        Ok(client) => {
            let ring = Box::new(Ring { client, message: Vec::new() });
            // SAFETY: the caller of the C function vouches for it.
            unsafe { out.write(Box::into_raw(ring)) };
            Status::Ok
        }
        Err(error) => Status::of(&error),
    }
}

/// Calls `act` with the ring, unless it is null.
///
/// # Safety
/// `ring` is null, or from `give`, not closed, and used by nobody else now.
unsafe fn with(ring: *mut Ring, act: impl FnOnce(&mut Ring) -> Status) -> Status {
    // SAFETY: the caller of the C function vouches for it.
    unsafe { ring.as_mut() }.map_or(Status::Usage, act)
}

/// The bytes C passed.
///
/// # Safety
/// `message` is null or points to `length` bytes that nobody writes meanwhile.
unsafe fn bytes<'a>(message: *const u8, length: usize) -> Option<&'a [u8]> {
    // Longer than any object can be.
    if message.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: the caller of the C function vouches for it.
    let bytes = unsafe { std::slice::from_raw_parts(message, length) };
    Some(bytes)
}

// SAFETY: all names that begin with `kern_` are this library's; so below.
#[unsafe(no_mangle)]
pub extern "C" fn kern_abi() -> u32 {
    ABI
}

#[unsafe(no_mangle)]
pub extern "C" fn kern_status_text(status: c_int) -> *const c_char {
    let text = match status {
        0 => c"it worked",
        1 => c"nothing came through the ring in time",
        2 => c"the other side of the ring is gone",
        3 => c"the other side broke the ring's protocol",
        4 => c"the system refused: see errno",
        5 => c"a null pointer, no path, or no ring was given to this process",
        _ => c"no status",
    };
    text.as_ptr()
}

/// # Safety
/// `path` is null or a C string; `ring` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_connect(path: *const c_char, ring: *mut *mut Ring) -> Status {
    if path.is_null() || ring.is_null() {
        return Status::Usage;
    }
    // SAFETY: a C string, as the header asks for.
    let path = unsafe { CStr::from_ptr(path) };
    // SAFETY: may be written, as the header asks for.
    unsafe { give(Client::connect(OsStr::from_bytes(path.to_bytes())), ring) }
}

/// # Safety
/// `ring` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_from_env(ring: *mut *mut Ring) -> Status {
    if ring.is_null() {
        return Status::Usage;
    }
    // SAFETY: may be written, as the header asks for.
    unsafe { give(Client::from_env(), ring) }
}

/// # Safety
/// As the header says of `ring` and `message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_send(
    ring: *mut Ring,
    message: *const u8,
    length: usize,
) -> Status {
    // SAFETY: as the header asks for.
    let Some(message) = (unsafe { bytes(message, length) }) else { return Status::Usage };
    // SAFETY: as the header asks for.
    unsafe { with(ring, |ring| status(ring.client.send(message))) }
}

/// # Safety
/// As the header says of `ring` and `message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_push(
    ring: *mut Ring,
    message: *const u8,
    length: usize,
) -> Status {
    // SAFETY: as the header asks for.
    let Some(message) = (unsafe { bytes(message, length) }) else { return Status::Usage };
    // SAFETY: as the header asks for.
    unsafe { with(ring, |ring| status(ring.client.push(message))) }
}

/// # Safety
/// As the header says of `ring` and `message`; `put` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_try_push(
    ring: *mut Ring,
    message: *const u8,
    length: usize,
    put: *mut usize,
) -> Status {
    // SAFETY: as the header asks for.
    let Some(message) = (unsafe { bytes(message, length) }) else { return Status::Usage };
    if put.is_null() {
        return Status::Usage;
    }
    let push = |ring: &mut Ring| match ring.client.try_push(message) {
        Ok(done) => {
            // SAFETY: may be written, as the header asks for.
            unsafe { put.write(done) };
            Status::Ok
        }
        Err(error) => Status::of(&error),
    };
    // SAFETY: as the header asks for.
    unsafe { with(ring, push) }
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_flush(ring: *mut Ring) -> Status {
    let flush = |ring: &mut Ring| {
        ring.client.flush();
        Status::Ok
    };
    // SAFETY: as the header asks for.
    unsafe { with(ring, flush) }
}

/// # Safety
/// As the header says of `ring`; `message` and `length` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_recv(
    ring: *mut Ring,
    timeout_ms: i64,
    message: *mut *const u8,
    length: *mut usize,
) -> Status {
    if message.is_null() || length.is_null() {
        return Status::Usage;
    }
    let receive = |ring: &mut Ring| {
        let Ring { client, message: buffer } = ring;
        let received = match u64::try_from(timeout_ms) {
            Ok(0) => match client.try_recv_into(buffer) {
                Ok(false) => Err(Error::TimedOut),
                other => other.map(drop),
            },
            Ok(timeout_ms) => client.recv_into(buffer, Some(Duration::from_millis(timeout_ms))),
            Err(_) => client.recv_into(buffer, None),
        };
        if received.is_ok() {
            // SAFETY: may be written, as the header asks for.
            unsafe {
                message.write(buffer.as_ptr());
                length.write(buffer.len());
            }
        }
        status(received)
    };
    // SAFETY: as the header asks for.
    unsafe { with(ring, receive) }
}

/// What arming came to.
fn armed(armed: Result<bool, Error>) -> Status {
    match armed {
        Ok(true) => Status::Ok,
        Ok(false) => Status::TimedOut,
        Err(error) => Status::of(&error),
    }
}

/// # Safety
/// As the header says of `ring` and of the other side; `message` and `length` are null or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_recv_in_place(
    ring: *mut Ring,
    timeout_ms: i64,
    message: *mut *const u8,
    length: *mut usize,
) -> Status {
    if message.is_null() || length.is_null() {
        return Status::Usage;
    }
    let receive = |ring: &mut Ring| {
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        let received = match timeout {
            // SAFETY: the caller trusts the other side, as the header asks for.
            Some(Duration::ZERO) => unsafe { ring.client.try_recv_in_place() },
            // SAFETY: as above.
            timeout => unsafe { ring.client.recv_in_place(timeout) }.map(Some),
        };
        let received = match received {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Status::TimedOut,
            Err(error) => return Status::of(&error),
        };
        // SAFETY: may be written, as the header asks for.
        unsafe {
            message.write(received.as_ptr());
            length.write(received.len());
        }
        Status::Ok
    };
    // SAFETY: as the header asks for.
    unsafe { with(ring, receive) }
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_arm(ring: *mut Ring) -> Status {
    // SAFETY: as the header asks for.
    unsafe { with(ring, |ring| armed(ring.client.arm())) }
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_arm_to_push(ring: *mut Ring) -> Status {
    // SAFETY: as the header asks for.
    unsafe { with(ring, |ring| armed(ring.client.arm_to_push())) }
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_fd(ring: *const Ring) -> c_int {
    // SAFETY: as the header asks for.
    unsafe { ring.as_ref() }.map_or(-1, |ring| ring.client.as_fd().as_raw_fd())
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_dup_fd(ring: *const Ring) -> c_int {
    // SAFETY: as the header asks for.
    let ring = unsafe { ring.as_ref() };
    let own = ring.and_then(|ring| ring.client.as_fd().try_clone_to_owned().ok());
    own.map_or(-1, IntoRawFd::into_raw_fd)
}

/// # Safety
/// As the header says of `ring`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_finish(ring: *mut Ring) -> Status {
    let finish = |ring: &mut Ring| {
        ring.client.finish();
        Status::Ok
    };
    // SAFETY: as the header asks for.
    unsafe { with(ring, finish) }
}

/// # Safety
/// `ring` is null, or from this library and not closed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kern_ring_close(ring: *mut Ring) {
    if !ring.is_null() {
        // SAFETY: from `give`, and closed once, as the header asks for.
        drop(unsafe { Box::from_raw(ring) });
    }
}
