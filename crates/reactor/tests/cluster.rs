//! Does a cluster do over real sockets what its app asks for, and end when told?
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use kern_reactor::driver::Choice;
use kern_reactor::{App, Cluster, Event, Io, Listen, Options};
use kern_terms::CoreId;

/// Echoes; tells of its address; forwards posts round the ring of cores.
struct Echo {
    listen: Option<Listen>,
    tell: Sender<Told>,
}

#[derive(Debug)]
enum Told {
    Listening,
    Post(CoreId, u32),
    Left,
}

impl App for Echo {
    type Post = u32;

    fn start(&mut self, io: &mut Io<u32>) {
        if let Some(listen) = &self.listen {
            io.listen(listen).unwrap();
        }
        self.tell.send(Told::Listening).unwrap();
    }

    fn event(&mut self, io: &mut Io<u32>, event: Event<u32>) {
        match event {
            Event::Received { stream, chunk } => io.send(stream, &chunk),
            Event::Finished { stream } => io.finish(stream),
            Event::Post { message, .. } => {
                let cores = io.cores();
                let here = cores.iter().position(|core| *core == io.core()).unwrap();
                if message > 0 {
                    io.post(cores[(here + 1) % cores.len()], message - 1);
                }
                self.tell.send(Told::Post(io.core(), message)).unwrap();
            }
            Event::Retire => {
                self.tell.send(Told::Left).unwrap();
                io.leave();
            }
            _ => {}
        }
    }
}

/// Whether several cores may listen on one address here.
const SHARES: bool = cfg!(unix);

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(
    cores: usize,
    driver: Choice,
) -> (Cluster<u32>, SocketAddr, std::sync::mpsc::Receiver<Told>) {
    let address = free_address();
    let (tell, told) = channel();
    let listen = Listen::Tcp { address, shared: SHARES };
    let options = Options { cores, driver, ..Options::default() };
    let make = move |core| Echo {
        listen: (SHARES || core == CoreId(0)).then(|| listen.clone()),
        tell: tell.clone(),
    };
    let cluster = Cluster::start(options, make).unwrap();
    for _ in 0..cores {
        let first = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(first, Told::Listening), "{first:?}");
    }
    (cluster, address, told)
}

fn check_echo(address: SocketAddr, size: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sent: Vec<u8> = (0..size).map(|i| (i * 31) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    thread.join().unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

#[test]
fn clients_of_every_core_get_their_bytes_back() {
    for driver in [Choice::Portable, Choice::Auto] {
        let (cluster, address, _told) = start(2, driver);
        for size in [0, 1, 100, 1 << 20] {
            check_echo(address, size);
        }
        cluster.handle().stop();
        cluster.join().unwrap();
    }
}

#[test]
fn posts_go_round_all_cores_and_all_cores_end() {
    let (cluster, _, told) = start(3, Choice::Portable);
    let handle = cluster.handle();
    assert!(handle.post(CoreId(0), 100));
    let mut seen = Vec::new();
    for left in (0..=100).rev() {
        match told.recv_timeout(Duration::from_secs(10)).unwrap() {
            Told::Post(core, message) => {
                assert_eq!(message, left);
                seen.push(core);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen[..4], [CoreId(0), CoreId(1), CoreId(2), CoreId(0)]);
    handle.stop();
    cluster.join().unwrap();
    assert_eq!(told.try_iter().filter(|told| matches!(told, Told::Left)).count(), 3);
    assert!(!handle.post(CoreId(0), 1));
}

#[test]
#[cfg_attr(not(unix), ignore = "needs cores that share a port")]
fn cores_come_and_go_while_others_serve() {
    let (cluster, address, told) = start(1, Choice::Portable);
    let handle = cluster.handle();
    let added = handle.add_core().unwrap();
    assert_eq!((added, handle.cores().len()), (CoreId(1), 2));
    check_echo(address, 1000);
    assert!(handle.retire(CoreId(0)));
    while handle.cores().len() > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    check_echo(address, 1000);
    assert_eq!(handle.add_core().unwrap(), CoreId(0));
    handle.stop();
    cluster.join().unwrap();
    drop(told);
}

/// Counts what it is sent, slowly at first; on request floods core 1.
struct Flood {
    expected: u32,
    done: Sender<u32>,
}

const FLOOD: u32 = 50_000;

impl App for Flood {
    type Post = u32;

    fn start(&mut self, _io: &mut Io<u32>) {}

    fn event(&mut self, io: &mut Io<u32>, event: Event<u32>) {
        match event {
            Event::Post { from: None, .. } => {
                for message in 0..FLOOD {
                    io.post(CoreId(1), message);
                }
            }
            Event::Post { message, .. } => {
                assert_eq!(message, self.expected);
                self.expected += 1;
                if message == 0 {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if self.expected == FLOOD {
                    self.done.send(self.expected).unwrap();
                }
            }
            Event::Retire => io.leave(),
            _ => {}
        }
    }
}

#[test]
fn a_flood_of_posts_arrives_whole_and_in_order_though_the_inbox_is_small() {
    let (done, wait) = channel();
    let options = Options { cores: 2, driver: Choice::Portable, ..Options::default() };
    let cluster =
        Cluster::start(options, move |_| Flood { expected: 0, done: done.clone() }).unwrap();
    cluster.handle().post(CoreId(0), 0);
    assert_eq!(wait.recv_timeout(Duration::from_secs(60)).unwrap(), FLOOD);
    cluster.handle().stop();
    cluster.join().unwrap();
}

/// Accepts and tells, when asked, how many connections it has.
struct Counting {
    address: SocketAddr,
    listens: bool,
    tell: Sender<(CoreId, usize)>,
}

impl App for Counting {
    type Post = ();

    fn start(&mut self, io: &mut Io<()>) {
        if self.listens {
            io.listen(&Listen::Tcp { address: self.address, shared: SHARES }).unwrap();
        }
    }

    fn event(&mut self, io: &mut Io<()>, event: Event<()>) {
        match event {
            // Shows the client that the connection is kept.
            Event::Accepted { stream, .. } => io.send(stream, b"!"),
            Event::Post { .. } => self.tell.send((io.core(), io.stats().streams)).unwrap(),
            Event::Retire => io.leave(),
            _ => {}
        }
    }
}

/// Opens many connections to cores of which those that `listens` names listen; how many each has.
fn spread(driver: Choice, connections: usize, listens: fn(CoreId) -> bool) -> [usize; 3] {
    let address = free_address();
    let (tell, told) = channel();
    let options = Options { cores: 3, driver, pin: true, ..Options::default() };
    let make = move |core| Counting { address, listens: listens(core), tell: tell.clone() };
    let cluster = Cluster::start(options, make).unwrap();
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = loop {
            // The first may come before the cores listen.
            match TcpStream::connect(address) {
                Ok(client) => break client,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut [0]).unwrap();
        clients.push(client);
    }
    cluster.handle().post_all(|| ());
    let mut counts = [0; 3];
    for _ in 0..3 {
        let (core, count) = told.recv_timeout(Duration::from_secs(10)).unwrap();
        counts[usize::from(core.0)] = count;
    }
    cluster.handle().stop();
    cluster.join().unwrap();
    counts
}

#[test]
#[cfg_attr(not(unix), ignore = "needs cores that share a port")]
fn connections_are_spread_evenly_over_cores_whatever_the_kernel_does() {
    for driver in [Choice::Portable, Choice::Auto] {
        let counts = spread(driver, 300, |_| true);
        assert_eq!(counts.iter().sum::<usize>(), 300, "{counts:?}");
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*most <= least + least / 4 + 8, "{driver:?}: {counts:?}");
    }
}

#[test]
fn no_connection_is_lost_to_a_core_that_does_not_listen() {
    assert_eq!(spread(Choice::Portable, 50, |core| core == CoreId(1)), [0, 50, 0]);
}
