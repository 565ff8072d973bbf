//! Unix sockets.

use std::io;
use std::os::unix::fs::PermissionsExt;

use kern_reactor::driver::Address;
use kern_reactor::{Listen, Peer};

use crate::Case;
use crate::rig::Rig;

pub(crate) const CASES: &[Case] = &[
    ("only this user can reach a Unix socket, and is known by it", private),
    ("a stale socket file is replaced, a live one is not", stale),
    ("a file that is no socket is left alone", not_a_socket),
];

fn private(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = rig.key();
    rig.driver.listen(listener, &Listen::Unix(path.clone())).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let near = rig.connect(&Address::Unix(path.clone()));
    let (far, peer) = rig.accept();
    if cfg!(target_os = "linux") {
        let uid = Some(rustix::process::getuid().as_raw());
        assert_eq!(peer, Peer::Unix { uid });
    }
    rig.send(near, b"hello");
    rig.expect(far, b"hello");
    rig.driver.unlisten(listener);
    rig.until("the file is gone", |_| !path.exists());
}

fn stale(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = rig.key();
    rig.driver.listen(first, &Listen::Unix(path.clone())).unwrap();
    let second = rig.key();
    let error = rig.driver.listen(second, &Listen::Unix(path.clone())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    // The attempt must not have broken the first.
    rig.connect(&Address::Unix(path));
}

fn not_a_socket(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "text").unwrap();
    let key = rig.key();
    let error = rig.driver.listen(key, &Listen::Unix(path.clone())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
}
