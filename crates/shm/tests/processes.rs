//! Two processes: does a ring survive whatever becomes of the other one?
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kern_shm::{Client, Error, Link, Options, Put, Sizes, Spin, Take, WakeBy, limits};

const PATIENCE: Duration = Duration::from_secs(60);
const SMALL: Sizes = Sizes { ring_bytes: 4096, slab_bytes: 4096, slabs: 2 };

/// The other process: this test program again, running only `peer`, on its standard input.
fn start(role: &str) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["peer", "--exact", "--nocapture"])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .env(kern_shm::ENV_FD, "0")
        .env("RING_PEER", role)
        .spawn()
        .unwrap();
    (ours, child)
}

/// Not a test of its own: what the other process does.
#[test]
fn peer() {
    let Ok(role) = std::env::var("RING_PEER") else { return };
    let mut client = Client::from_env().unwrap();
    let mut sent = 0_u32;
    loop {
        match role.as_str() {
            "echo" => match client.recv(Some(PATIENCE)) {
                Ok(message) => client.send(&message).unwrap(),
                Err(_) => return,
            },
            // Sends messages of all sizes as fast as it can, until it is killed.
            "talk" => {
                sent += 1;
                let message = vec![sent as u8; (sent * 37 % 9000) as usize];
                if client.send(&message).is_err() {
                    return;
                }
            }
            "silent" => std::thread::sleep(PATIENCE),
            _ => unreachable!("{role}"),
        }
    }
}

fn host(socket: &UnixStream, sizes: Sizes, wake_by: WakeBy) -> Client {
    let options = Options { wake_by, ..Options::default() };
    Client::from_link(Link::host(socket, sizes).unwrap(), options)
}

fn check_echo(wake_by: WakeBy, sizes: Sizes, lengths: &[usize]) {
    let (socket, mut child) = start("echo");
    let mut client = host(&socket, sizes, wake_by);
    for (seed, len) in lengths.iter().enumerate() {
        let message: Vec<u8> = (0..*len).map(|at| (at * 7 + seed) as u8).collect();
        client.send(&message).unwrap();
        let answer = client.recv(Some(PATIENCE)).unwrap();
        assert!(answer == message, "{len} bytes, {wake_by:?}");
    }
    // All at once: both rings fill, and neither side waits for the other for ever.
    for seed in 0..2000_u32 {
        client.push(&vec![seed as u8; (seed % 300) as usize]).unwrap();
    }
    client.flush();
    for seed in 0..2000_u32 {
        let answer = client.recv(Some(PATIENCE)).unwrap();
        assert!(answer == vec![seed as u8; (seed % 300) as usize], "{seed}");
    }
    drop(client);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn messages_come_back_whole_whatever_their_size_and_however_the_sides_sleep() {
    let lengths = [0, 1, 300, 4096, 64 << 10, 300 << 10, 5 << 20, 2];
    check_echo(WakeBy::Socket, limits::SIZES, &lengths);
    check_echo(WakeBy::Futex, limits::SIZES, &lengths);
    check_echo(WakeBy::Socket, SMALL, &lengths[..6]);
}

#[test]
fn a_peer_killed_at_any_point_leaves_whole_messages_and_then_an_end() {
    for round in 0..30_u64 {
        let (socket, mut child) = start("talk");
        let wake_by = if round % 2 == 0 { WakeBy::Socket } else { WakeBy::Futex };
        let mut client = host(&socket, SMALL, wake_by);
        // Until it runs, and then some: from nothing at all to thousands of messages.
        let mut received = 0_u32;
        let mut kill_at = None;
        let end = loop {
            match client.recv(Some(PATIENCE)) {
                Ok(message) => {
                    received += 1;
                    let expected = vec![received as u8; (received * 37 % 9000) as usize];
                    assert!(message == expected, "message {received} of round {round}");
                }
                Err(error) => break error,
            }
            let at =
                *kill_at.get_or_insert_with(|| Instant::now() + Duration::from_micros(round * 331));
            if Instant::now() >= at {
                let _ = child.kill();
            }
        };
        assert!(matches!(end, Error::Gone), "round {round}: {end}");
        child.wait().unwrap();
    }
}

#[test]
fn who_waits_for_room_in_a_dead_peers_ring_is_told() {
    for wake_by in [WakeBy::Socket, WakeBy::Futex] {
        let (socket, mut child) = start("silent");
        let mut client = host(&socket, SMALL, wake_by);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let end = loop {
            if let Err(error) = client.send(&[1; 100]) {
                break error;
            }
        };
        assert!(matches!(end, Error::Gone), "{end}");
        killer.join().unwrap();
    }
}

#[test]
fn a_client_that_connects_again_gets_a_fresh_ring() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring");
    let listener = UnixListener::bind(&path).unwrap();
    for round in 0..3_u8 {
        let connecting = std::thread::spawn({
            let path = path.clone();
            move || Client::connect(path).unwrap()
        });
        let (socket, _) = listener.accept().unwrap();
        let mut server = host(&socket, SMALL, WakeBy::Socket);
        let mut client = connecting.join().unwrap();
        client.send(&[round]).unwrap();
        assert_eq!(server.recv(Some(PATIENCE)).unwrap(), [round]);
        server.finish();
        assert!(matches!(client.recv(Some(PATIENCE)), Err(Error::Gone)));
        client.send(b"late").unwrap();
        assert_eq!(server.recv(Some(PATIENCE)).unwrap(), b"late");
    }
}

#[test]
fn nobody_can_shrink_a_ring_under_us_or_write_what_the_host_wrote() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let _link = Link::host(&ours, SMALL).unwrap();
    let mut bytes = [0; 16];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    rustix::net::recvmsg(&theirs, &mut slices, &mut control, rustix::net::RecvFlags::empty())
        .unwrap();
    let fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    for (fd, writable) in fds.iter().zip([false, true]) {
        assert!(rustix::fs::ftruncate(fd, 0).is_err());
        assert!(rustix::fs::ftruncate(fd, 1 << 20).is_err());
        let written = rustix::io::pwrite(fd, &[1], 64);
        assert_eq!(written.is_ok(), writable, "{written:?}");
    }
}

#[test]
fn memory_that_could_shrink_and_other_nonsense_is_refused() {
    let memory = |len: u64| {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("ring", flags).unwrap();
        rustix::fs::ftruncate(&fd, len).unwrap();
        fd
    };
    let sealed = |fd: OwnedFd| {
        let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW;
        rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
        fd
    };
    let headed = |fd: OwnedFd, header: &[u8]| {
        rustix::io::pwrite(&fd, header, 0).unwrap();
        fd
    };
    let mut header = b"KERNRING".to_vec();
    for word in [1_u32, 4096, 4096, 0, 0, 0] {
        header.extend(word.to_le_bytes());
    }
    let mut swapped = header.clone();
    swapped[28] = 1;
    for fd in [
        headed(memory(8192), &header),
        sealed(memory(0)),
        sealed(memory(8192)),
        sealed(headed(memory(4096), &header)),
        sealed(headed(memory(16384), &header)),
        sealed(headed(memory(8192), &swapped)),
    ] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd(), fd.as_fd()];
        control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
        let bytes = *b"KERNRING\x01\0\0\0\0\0\0\0";
        let slices = [std::io::IoSlice::new(&bytes)];
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendmsg(&ours, &slices, &mut control, flags).unwrap();
        assert!(matches!(Link::guest(theirs), Err(Error::Fault(_))));
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    assert!(matches!(Link::guest(theirs), Err(Error::Gone)));
}

#[test]
fn an_event_loop_can_wait_for_the_socket_instead() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut server = Link::host(&ours, SMALL).unwrap();
    let options = Options { spin: Spin::Never, ..Options::default() };
    let mut client = Client::from_socket(theirs, options).unwrap();
    for round in 0..100_u8 {
        assert!(client.arm().unwrap(), "nothing is there");
        let sending = std::thread::spawn(move || {
            assert_eq!(server.put(&[round]).unwrap(), Put::Whole);
            server.tell();
            server
        });
        let mut polled = [rustix::event::PollFd::new(&client, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, None).unwrap(), 1);
        server = sending.join().unwrap();
        assert!(!client.arm().unwrap(), "a message is there");
        assert_eq!(client.try_recv().unwrap(), Some(vec![round]));
        client.send(&[round]).unwrap();
        let mut taken = Vec::new();
        assert_eq!(server.take(&mut taken), Ok(Take::Whole));
    }
    drop(ours);
    drop(server);
    assert!(matches!(client.recv(Some(PATIENCE)), Err(Error::Gone)));
}
