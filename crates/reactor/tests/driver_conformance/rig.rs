//! A driver under test with everything it reported, sorted by key.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kern_reactor::driver::{Address, Batch, Completion, Driver, Piece, Socket};
use kern_reactor::{ChildExit, Listen, Local, Peer, Signal};
use kern_terms::Key;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Side {
    pub(crate) connected: Option<io::Result<()>>,
    pub(crate) received: Vec<u8>,
    pub(crate) ended: Option<io::Result<()>>,
    /// Batches that came back.
    pub(crate) sent: usize,
    pub(crate) send_error: Option<io::Error>,
    pub(crate) completions: usize,
}

pub(crate) struct Rig {
    pub(crate) driver: Box<dyn Driver>,
    sides: HashMap<Key, Side>,
    pub(crate) accepted: Vec<(Key, Socket, Peer)>,
    pub(crate) exits: HashMap<Key, ChildExit>,
    pub(crate) signals: Vec<Signal>,
    keys: u32,
}

impl Rig {
    pub(crate) fn new(driver: Box<dyn Driver>) -> Self {
        let (sides, exits) = (HashMap::new(), HashMap::new());
        Self { driver, sides, accepted: Vec::new(), exits, signals: Vec::new(), keys: 0 }
    }

    pub(crate) fn key(&mut self) -> Key {
        self.keys += 1;
        Key { slot: self.keys, generation: 7 }
    }

    pub(crate) fn side(&mut self, key: Key) -> &mut Side {
        self.sides.entry(key).or_default()
    }

    /// One wait of at most `most`.
    pub(crate) fn wait(&mut self, most: Duration) {
        let until = self.driver.now() + most;
        let mut completions = Vec::new();
        self.driver.wait(Some(until), &mut completions).unwrap();
        for completion in completions {
            self.take(completion);
        }
    }

    fn take(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                self.accepted.push((listener, socket, peer));
            }
            Completion::Connected { stream, result } => {
                let side = self.side(stream);
                side.completions += 1;
                assert!(side.connected.replace(result).is_none(), "connected once");
            }
            Completion::Received { stream, chunk } => {
                let side = self.side(stream);
                side.completions += 1;
                assert!(side.ended.is_none() && !chunk.is_empty());
                side.received.extend_from_slice(&chunk);
            }
            Completion::ReadEnded { stream, result } => {
                let side = self.side(stream);
                side.completions += 1;
                assert!(side.ended.replace(result).is_none(), "ends once");
            }
            Completion::Sent { stream, result, .. } => self.sent(stream, result),
            Completion::Exited { child, exit } => {
                assert!(self.exits.insert(child, exit).is_none(), "exits once");
            }
            Completion::Signal(signal) => self.signals.push(signal),
        }
    }

    fn sent(&mut self, stream: Key, result: io::Result<()>) {
        let side = self.side(stream);
        side.completions += 1;
        side.sent += 1;
        side.send_error = result.err().or(side.send_error.take());
    }

    /// Waits until `done`.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < patience, "never happened: {what}");
            self.wait(Duration::from_millis(50));
        }
    }

    pub(crate) fn send(&mut self, stream: Key, bytes: &[u8]) {
        self.send_pieces(stream, vec![Piece::Owned(bytes.to_vec())]);
    }

    pub(crate) fn send_pieces(&mut self, stream: Key, pieces: Vec<Piece>) {
        if let Some((_, result)) = self.driver.send(stream, Batch { pieces }, true) {
            self.sent(stream, result);
        }
    }

    /// Listens on a free port.
    pub(crate) fn listen(&mut self) -> (Key, SocketAddr) {
        let key = self.key();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        match self.driver.listen(key, &Listen::Tcp { address, shared: false }).unwrap() {
            Local::Tcp(address) => (key, address),
            other => panic!("{other:?}"),
        }
    }

    /// Connects and expects it to work.
    pub(crate) fn connect(&mut self, to: &Address) -> Key {
        let key = self.key();
        self.driver.connect(key, to).unwrap();
        self.until("connected", |rig| rig.side(key).connected.is_some());
        self.side(key).connected.as_ref().unwrap().as_ref().unwrap();
        key
    }

    /// Takes the next accepted socket.
    pub(crate) fn accept(&mut self) -> (Key, Peer) {
        self.until("accepted", |rig| !rig.accepted.is_empty());
        let (_, socket, peer) = self.accepted.remove(0);
        let key = self.key();
        self.driver.adopt(key, socket).unwrap();
        (key, peer)
    }

    /// Both ends of a TCP connection.
    pub(crate) fn pair(&mut self) -> (Key, Key) {
        let (listener, address) = self.listen();
        let near = self.connect(&Address::Tcp(address));
        let (far, peer) = self.accept();
        assert!(matches!(peer, Peer::Tcp(_)));
        self.driver.unlisten(listener);
        (near, far)
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, key: Key, bytes: &[u8]) {
        self.until("received", |rig| rig.side(key).received.len() >= bytes.len());
        assert!(self.side(key).received == bytes, "{} bytes", self.side(key).received.len());
        self.side(key).received.clear();
    }
}

pub(crate) fn pattern(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|i| (((i + seed) * 131) >> 3) as u8).collect()
}
