//! How does an outbound stream get its connection?
//!
//! Name → addresses → one attempt after the other → TLS if asked for → open. Invariant: exactly one
//! of `Connected` and `Closed` follows, unless the app closes the stream before.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use kern_terms::Key;

use crate::driver::Address;
use crate::event::{Closed, Event, Target};
use crate::io::Io;
use crate::lanes::Envelope;
use crate::limits::{ADDRESSES_MAX, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::stream::{Deadline, Kind, Phase, Stream};
use crate::tls::Tls;

/// An attempt to connect.
#[derive(Debug, Default)]
pub(crate) struct Dial {
    /// The server's name, if TLS follows.
    tls: Option<String>,
    left: VecDeque<Address>,
    last: Option<io::Error>,
}

impl<P: Send + 'static> Io<P> {
    /// See [`Io::connect`].
    pub(crate) fn dial(&mut self, to: Target) -> Key {
        let mut stream = Stream::new(Kind::Socket, Phase::Dialing);
        let mut dial = Dial::default();
        if let Target::Tls { host, .. } = &to {
            dial.tls = Some(host.clone());
        }
        stream.dial = Some(Box::new(dial));
        let key = self.streams.insert(stream);
        match to {
            Target::Unix(path) => self.resolved(key, Ok(vec![Address::Unix(path)])),
            Target::Tcp { host, port } => self.look_up(key, host, port, false),
            Target::Tls { host, port } => self.look_up(key, host, port, true),
        }
        key
    }

    fn look_up(&mut self, key: Key, host: String, port: u16, tls: bool) {
        if let Some(addresses) = self.driver.resolve(&host, port) {
            return self.resolved(key, Ok(addresses));
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(ip) = literal
            && (!tls || self.directory.tls_is_ready())
        {
            return self.resolved(key, Ok(vec![Address::Tcp(SocketAddr::new(ip, port))]));
        }
        let directory = Arc::clone(&self.directory);
        self.errand_for(move || {
            if tls {
                // Reads the roots here, where it may take its time.
                let _ = directory.tls_config();
            }
            let result = match literal {
                Ok(ip) => Ok(vec![Address::Tcp(SocketAddr::new(ip, port))]),
                Err(_) => (host.as_str(), port)
                    .to_socket_addrs()
                    .map(|found| found.take(ADDRESSES_MAX).map(Address::Tcp).collect()),
            };
            Envelope::Resolved { stream: key, result }
        });
    }

    /// The addresses of a stream's target are known.
    pub(crate) fn resolved(&mut self, key: Key, result: io::Result<Vec<Address>>) {
        let Some(dial) = self.dial_of(key) else { return };
        match result {
            Ok(addresses) => dial.left.extend(addresses.into_iter().take(ADDRESSES_MAX)),
            Err(error) => dial.last = Some(error),
        }
        self.try_next_address(key);
    }

    fn dial_of(&mut self, key: Key) -> Option<&mut Dial> {
        let stream = self.streams.get_mut(key)?;
        if stream.phase == Phase::Dialing { stream.dial.as_deref_mut() } else { None }
    }

    fn try_next_address(&mut self, key: Key) {
        loop {
            let Some(dial) = self.dial_of(key) else { return };
            let Some(address) = dial.left.pop_front() else {
                let error = dial.last.take().unwrap_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
                });
                return self.fail(key, Closed::Refused(error));
            };
            match self.driver.connect(key, &address) {
                Ok(()) => break,
                Err(error) => {
                    if let Some(dial) = self.dial_of(key) {
                        dial.last = Some(error);
                    }
                }
            }
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.wired = true;
        }
        self.stream_deadline(key, Deadline::Connect, self.now + CONNECT_TIMEOUT, false);
    }

    /// The driver made the connection, or not.
    pub(crate) fn connected(&mut self, key: Key, result: io::Result<()>) {
        if let Err(error) = result {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.wired = false;
            }
            if let Some(dial) = self.dial_of(key) {
                dial.last = Some(error);
                self.try_next_address(key);
            }
            return;
        }
        let Some(dial) = self.dial_of(key) else { return };
        match dial.tls.take() {
            None => self.open(key),
            Some(host) => self.begin_tls(key, &host),
        }
    }

    fn begin_tls(&mut self, key: Key, host: &str) {
        let tls = self.directory.tls_config().and_then(|config| Tls::new(config, host));
        let Some(stream) = self.streams.get_mut(key) else { return };
        match tls {
            Err(why) => self.fail(key, Closed::Tls(why)),
            Ok(tls) => {
                stream.tls = Some(Box::new(tls));
                stream.phase = Phase::Handshaking;
                self.stream_deadline(key, Deadline::Connect, self.now + HANDSHAKE_TIMEOUT, false);
                self.mark_dirty(key);
            }
        }
    }

    /// The app can use the stream.
    pub(crate) fn open(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.phase = Phase::Open;
        stream.dial = None;
        if let Some(timer) = stream.timer.take() {
            self.timers.remove(timer);
        }
        if !stream.receiving {
            self.driver.receive(key, false);
        }
        self.mark_dirty(key);
        self.emit(Event::Connected { stream: key });
    }

    /// An address, or the handshake, took too long.
    pub(crate) fn connect_timed_out(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.phase {
            Phase::Dialing => {
                if std::mem::replace(&mut stream.wired, false) {
                    self.driver.close(key);
                }
                if let Some(dial) = self.dial_of(key) {
                    dial.last = Some(io::ErrorKind::TimedOut.into());
                }
                self.try_next_address(key);
            }
            Phase::Handshaking => {
                let seconds = HANDSHAKE_TIMEOUT.as_secs();
                self.fail(key, Closed::Tls(format!("no handshake within {seconds} s")));
            }
            _ => {}
        }
    }
}
