//! What does a ring cost between two processes?
//!
//! `cargo run --release -p kern-shm --example ring_bench [BYTES]` starts itself as the peer and
//! prints one line a mode: round trips a second with their median and 99th percentile, messages one
//! way, and round trips with 16 in flight. Nobody is pinned.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("rings exist on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use kern_shm::{Client, Error, Link, Options, Spin, WakeBy, limits};

    /// How long each measurement runs.
    const RUN: Duration = Duration::from_millis(700);
    const IN_FLIGHT: usize = 16;
    /// A body that goes through one slab.
    const BIG: usize = 200 << 10;
    const MODES: [(&str, Spin, WakeBy); 4] = [
        ("both spin", Spin::Always, WakeBy::Socket),
        ("auto", Spin::Auto, WakeBy::Socket),
        ("futex at once", Spin::Never, WakeBy::Futex),
        ("socket at once", Spin::Never, WakeBy::Socket),
    ];

    pub(super) fn main() {
        let args: Vec<String> = std::env::args().collect();
        if args.get(1).is_some_and(|arg| arg == "--peer") {
            return peer(&args[2]);
        }
        let bytes = args.get(1).and_then(|arg| arg.parse().ok()).unwrap_or(256);
        println!("{bytes} B messages, two processes, not pinned, {RUN:?} each");
        println!("| | round trips/s | p50 ns | p99 ns | one way/s | 16 in flight/s |");
        println!("|---|---|---|---|---|---|");
        for (name, spin, wake_by) in MODES {
            let [trip, p50, p99] = round_trips(bytes, spin, wake_by);
            let one_way = one_way(bytes, spin, wake_by, "");
            let in_flight = in_flight(bytes, spin, wake_by);
            println!(
                "| ring, {name} | {trip:.0} | {p50:.0} | {p99:.0} | {one_way:.0} | {in_flight:.0} |"
            );
        }
        let [trip, p50, p99] = over_socket(bytes);
        println!("| Unix socket pair | {trip:.0} | {p50:.0} | {p99:.0} | | |");
        println!("\nmessages of {BIG} B one way, each in a slab:");
        for (name, role) in [("copied by who receives", ""), ("read in place", " in-place")] {
            let rate = one_way(BIG, Spin::Auto, WakeBy::Socket, role);
            println!("{name}: {rate:.0}/s, {:.1} GB/s", rate * BIG as f64 / 1e9);
        }
    }

    fn options(spin: Spin, wake_by: WakeBy) -> Options {
        Options { spin, wake_by, ..Options::default() }
    }

    fn start(role: &str) -> (UnixStream, std::process::Child) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let this = std::env::current_exe().expect("this program");
        let child = Command::new(this)
            .args(["--peer", role])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .env(kern_shm::ENV_FD, "0")
            .spawn()
            .expect("a second process");
        (ours, child)
    }

    fn with_peer<T>(spin: Spin, wake_by: WakeBy, work: impl FnOnce(&mut Client) -> T) -> T {
        with_peer_in("", spin, wake_by, work)
    }

    /// Runs `work` against a peer of this role.
    fn with_peer_in<T>(
        role: &str,
        spin: Spin,
        wake_by: WakeBy,
        work: impl FnOnce(&mut Client) -> T,
    ) -> T {
        let (socket, mut child) = start(&format!("{spin:?} {wake_by:?}{role}"));
        let link = Link::host(&socket, limits::SIZES).expect("a ring");
        let mut client = Client::from_link(link, options(spin, wake_by));
        client.send(b"hello").expect("a peer");
        client.recv(Some(Duration::from_secs(20))).expect("its answer");
        let result = work(&mut client);
        client.finish();
        drop(client);
        drop(socket);
        child.wait().expect("the peer ends");
        result
    }

    fn round_trips(bytes: usize, spin: Spin, wake_by: WakeBy) -> [f64; 3] {
        with_peer(spin, wake_by, |client| {
            let message = vec![b'x'; bytes];
            let mut answer = Vec::new();
            summary(|| {
                client.send(&message).expect("room");
                client.recv_into(&mut answer, None).expect("an answer");
            })
        })
    }

    /// Rate, median and 99th percentile of `trip`.
    fn summary(mut trip: impl FnMut()) -> [f64; 3] {
        let mut times = Vec::with_capacity(2_000_000);
        let start = Instant::now();
        let mut before = start;
        while before - start < RUN {
            trip();
            let now = Instant::now();
            times.push((now - before).as_nanos() as f64);
            before = now;
        }
        let rate = times.len() as f64 / (before - start).as_secs_f64();
        times.sort_by(f64::total_cmp);
        [rate, times[times.len() / 2], times[times.len() * 99 / 100]]
    }

    /// The peer says nothing to messages that begin with `s`.
    fn one_way(bytes: usize, spin: Spin, wake_by: WakeBy, role: &str) -> f64 {
        with_peer_in(role, spin, wake_by, |client| {
            let message = vec![b's'; bytes.max(1)];
            let start = Instant::now();
            let mut sent = 0.0;
            while start.elapsed() < RUN {
                for _ in 0..IN_FLIGHT {
                    client.push(&message).expect("room");
                    sent += 1.0;
                }
                client.flush();
            }
            client.send(b"end").expect("room");
            client.recv(None).expect("an answer");
            sent / start.elapsed().as_secs_f64()
        })
    }

    fn in_flight(bytes: usize, spin: Spin, wake_by: WakeBy) -> f64 {
        with_peer(spin, wake_by, |client| {
            let message = vec![b'x'; bytes];
            let mut answer = Vec::new();
            for _ in 0..IN_FLIGHT {
                client.push(&message).expect("room");
            }
            let start = Instant::now();
            let mut done = 0.0;
            while start.elapsed() < RUN {
                client.recv_into(&mut answer, None).expect("an answer");
                let mut answers = 1;
                while client.try_recv_into(&mut answer).expect("a ring") {
                    answers += 1;
                }
                for _ in 0..answers {
                    client.push(&message).expect("room");
                }
                client.flush();
                done += f64::from(answers);
            }
            done / start.elapsed().as_secs_f64()
        })
    }

    fn over_socket(bytes: usize) -> [f64; 3] {
        let (mut socket, mut child) = start("socket");
        let message = vec![b'x'; bytes];
        let mut answer = vec![0; bytes];
        let result = summary(|| {
            socket.write_all(&message).expect("room");
            socket.read_exact(&mut answer).expect("an answer");
        });
        drop(socket);
        child.wait().expect("the peer ends");
        result
    }

    fn peer(role: &str) {
        if role == "socket" {
            let mut socket = std::io::stdin().lock();
            let mut out = std::os::fd::AsFd::as_fd(&std::io::stdin())
                .try_clone_to_owned()
                .map(UnixStream::from)
                .expect("a socket");
            let mut bytes = [0; 65536];
            while let Ok(read) = socket.read(&mut bytes)
                && read > 0
            {
                out.write_all(&bytes[..read]).expect("room");
            }
            return;
        }
        let spin = match role.split(' ').next() {
            Some("Always") => Spin::Always,
            Some("Never") => Spin::Never,
            _ => Spin::Auto,
        };
        let wake_by = if role.contains("Futex") { WakeBy::Futex } else { WakeBy::Socket };
        let socket = std::os::fd::AsFd::as_fd(&std::io::stdin())
            .try_clone_to_owned()
            .map(UnixStream::from)
            .expect("a socket");
        let mut client = Client::from_socket(socket, options(spin, wake_by)).expect("a ring");
        if role.ends_with("in-place") {
            return in_place(&mut client);
        }
        let mut message = Vec::new();
        loop {
            match client.recv_into(&mut message, None) {
                Ok(()) => {}
                Err(Error::Gone) => return,
                Err(error) => panic!("{error}"),
            }
            // All that is there is answered with one wake.
            loop {
                if message.first() != Some(&b's') {
                    client.push(&message).expect("room");
                }
                if !client.try_recv_into(&mut message).unwrap_or(false) {
                    break;
                }
            }
            client.flush();
        }
    }

    /// Answers what does not begin with `s`.
    #[allow(unsafe_code)]
    fn in_place(client: &mut Client) {
        loop {
            // SAFETY: the other side is this program, too, and keeps to the protocol.
            let answer = match unsafe { client.recv_in_place(None) } {
                Ok([b's', ..]) => continue,
                Ok(message) => message.to_vec(),
                Err(Error::Gone) => return,
                Err(error) => panic!("{error}"),
            };
            client.send(&answer).expect("room");
        }
    }
}
