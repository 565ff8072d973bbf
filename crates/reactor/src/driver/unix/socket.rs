//! How are sockets opened and connected?
//!
//! A Unix socket's file is made with mode 0600 before anyone can connect, replaces a stale one, and
//! is removed only by the listener that made it.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::event::{Listen, Local};
use crate::limits::LISTEN_BACKLOG;

/// Opens a listening TCP socket; `shared` lets several cores listen on the same address.
pub(crate) fn listen_tcp(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit this one.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Listens where nobody does, then lets the cores of this process listen there too.
pub(crate) fn listen_alone(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen_tcp(address, false)?;
    socket2::SockRef::from(&listener).set_reuse_port(true)?;
    Ok(listener)
}

/// The file of a listening Unix socket, removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity) {
            // Failing leaves a stale file, which the next listener replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where somebody who listens at `path` listens.
pub(crate) fn local_unix(at: &Listen, path: &Path) -> Local {
    match at {
        Listen::Ring(_) => Local::Ring(path.to_owned()),
        _ => Local::Unix(path.to_owned()),
    }
}

/// Opens a listening Unix socket that only this user can reach.
///
/// # Errors
/// `AddrInUse` where something answers on `path` or where it is not a socket.
pub(crate) fn listen_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux the file gets the mode of the unbound socket, so there is no moment when others
    // could connect. Elsewhere the later `set_permissions` has to do.
    let _ = rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR);
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_path_buf(), identity: (metadata.dev(), metadata.ino()) };
    socket.listen(LISTEN_BACKLOG)?;
    Ok((socket.into(), file))
}

/// Whether `path` is a socket nobody listens on.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    match UnixStream::connect(path) {
        Err(error) => Ok(error.kind() == io::ErrorKind::ConnectionRefused),
        Ok(_) => Ok(false),
    }
}

/// Starts a TCP connection; it is made when the socket becomes writable and has no error.
pub(crate) fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    begin_connect(&socket, &address.into())?;
    Ok(socket.into())
}

/// Starts a Unix connection, which is made or refused at once on every system known.
pub(crate) fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    begin_connect(&socket, &SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn begin_connect(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    match socket.connect(address) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// The user at the other end, as the kernel recorded it when the connection was made.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn peer_uid(stream: impl AsFd) -> Option<u32> {
    let credentials = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(credentials.uid.as_raw())
}

/// This system's way to ask is not used; such peers count as unknown users.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn peer_uid(_stream: impl AsFd) -> Option<u32> {
    None
}
