//! A core whose app notes every event and can be given a reaction.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kern_reactor::driver::Driver;
use kern_reactor::{App, Closed, Core, Directory, Event, Io, Listen, Local, Target};
use kern_terms::{CoreId, Key};

const PATIENCE: Duration = Duration::from_secs(20);

/// The timer that keeps a turn from sleeping for ever; not noted.
const GUARD: u64 = u64::MAX;

type Reaction = Box<dyn FnMut(&mut Io<u32>, &Event<u32>)>;

/// What happened, without the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Accepted(Key),
    Connected(Key),
    Received(Key, Vec<u8>),
    Finished(Key),
    Orderly(Key),
    Refused(Key),
    Broken(Key),
    Tls(Key, String),
    Drained(Key),
    Timer(u64),
    Callback(u64),
    Exited(Key, Option<i32>),
    Post(Option<CoreId>, u32),
    Retire,
    TurnEnd,
}

pub(crate) struct Noting {
    pub(crate) seen: Rc<RefCell<Vec<Seen>>>,
    reaction: Reaction,
}

impl App for Noting {
    type Post = u32;

    fn start(&mut self, _io: &mut Io<u32>) {}

    fn event(&mut self, io: &mut Io<u32>, event: Event<u32>) {
        let seen = match &event {
            Event::Accepted { stream, .. } => Seen::Accepted(*stream),
            Event::Connected { stream } => Seen::Connected(*stream),
            Event::Received { stream, chunk } => Seen::Received(*stream, chunk.to_vec()),
            Event::Finished { stream } => Seen::Finished(*stream),
            Event::Closed { stream, why } => match why {
                Closed::Orderly => Seen::Orderly(*stream),
                Closed::Refused(_) => Seen::Refused(*stream),
                Closed::Broken(_) => Seen::Broken(*stream),
                Closed::Tls(text) => Seen::Tls(*stream, text.clone()),
            },
            Event::Drained { stream } => Seen::Drained(*stream),
            Event::Timer { token, .. } => Seen::Timer(*token),
            Event::Callback { token } => Seen::Callback(*token),
            Event::Exited { child, exit } => Seen::Exited(*child, exit.code),
            Event::Post { from, message } => Seen::Post(*from, *message),
            Event::Retire => Seen::Retire,
            Event::Signal(_) => panic!("not watched"),
        };
        if seen == Seen::Timer(GUARD) {
            return;
        }
        self.seen.borrow_mut().push(seen);
        (self.reaction)(io, &event);
    }

    fn turn_end(&mut self, _io: &mut Io<u32>) {
        let mut seen = self.seen.borrow_mut();
        if seen.last().is_some_and(|last| *last != Seen::TurnEnd) {
            seen.push(Seen::TurnEnd);
        }
    }
}

pub(crate) struct Rig {
    core: Core<Noting>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Rig {
    pub(crate) fn new(driver: Box<dyn Driver>, directory: Arc<Directory<u32>>) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let app = Noting { seen: Rc::clone(&seen), reaction: Box::new(|_, _| {}) };
        Self { core: Core::new(CoreId(0), driver, directory, app), seen }
    }

    pub(crate) fn io(&mut self) -> &mut Io<u32> {
        self.core.io()
    }

    pub(crate) fn react(&mut self, reaction: impl FnMut(&mut Io<u32>, &Event<u32>) + 'static) {
        self.core.app().reaction = Box::new(reaction);
    }

    /// One turn, which does not sleep for ever.
    pub(crate) fn turn(&mut self) -> bool {
        let guard = self.io().timer(Duration::from_millis(20), GUARD);
        let ended = self.core.turn().unwrap();
        self.io().cancel(guard);
        ended
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !done(self) {
            let seen = self.all();
            assert!(Instant::now() < patience, "never happened: {what}; seen {seen:?}");
            self.turn();
        }
    }

    #[track_caller]
    pub(crate) fn see(&mut self, wanted: &Seen) {
        self.until(&format!("{wanted:?}"), |rig| rig.seen.borrow().contains(wanted));
    }

    /// Every event so far, received bytes joined, turn ends left out.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.borrow().iter().filter(|seen| **seen != Seen::TurnEnd).cloned().collect()
    }

    pub(crate) fn with_turn_ends(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Events of one stream.
    pub(crate) fn of(&self, stream: Key) -> Vec<Seen> {
        let mut of = Vec::new();
        for seen in self.all() {
            match (seen, of.last_mut()) {
                (Seen::Received(key, bytes), Some(Seen::Received(_, before))) if key == stream => {
                    before.extend(bytes);
                }
                (seen, _) if seen.stream() == Some(stream) => of.push(seen),
                _ => {}
            }
        }
        of
    }

    pub(crate) fn received(&self, stream: Key) -> Vec<u8> {
        let mut all = Vec::new();
        for seen in self.seen.borrow().iter() {
            if let Seen::Received(key, bytes) = seen
                && *key == stream
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    pub(crate) fn streams(&mut self) -> usize {
        self.io().stats().streams
    }

    pub(crate) fn listen(&mut self) -> (Key, SocketAddr) {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        match self.io().listen(&Listen::Tcp { address, shared: false }).unwrap() {
            (key, Local::Tcp(address)) => (key, address),
            (_, other) => panic!("{other:?}"),
        }
    }

    /// Two connected streams of this core: the one that connected and the accepted one.
    pub(crate) fn pair(&mut self) -> (Key, Key) {
        let (listener, address) = self.listen();
        let near = self.io().connect(tcp(address));
        let mut far = None;
        self.until("both ends", |rig| {
            far = rig.all().into_iter().find_map(|seen| match seen {
                Seen::Accepted(key) => Some(key),
                _ => None,
            });
            far.is_some() && rig.all().contains(&Seen::Connected(near))
        });
        self.io().unlisten(listener);
        self.seen.borrow_mut().clear();
        (near, far.unwrap())
    }
}

impl Seen {
    fn stream(&self) -> Option<Key> {
        match self {
            Self::Accepted(key)
            | Self::Connected(key)
            | Self::Received(key, _)
            | Self::Finished(key)
            | Self::Orderly(key)
            | Self::Refused(key)
            | Self::Broken(key)
            | Self::Tls(key, _)
            | Self::Drained(key) => Some(*key),
            _ => None,
        }
    }
}

pub(crate) fn tcp(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 131) >> 3) as u8).collect()
}
