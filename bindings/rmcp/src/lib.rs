//! A ring as a transport of `rmcp`, the official Rust SDK.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use rmcp::ServiceExt as _;
//! let client = ().serve(kernmantle_rmcp::Ring::connect("/run/user/1000/kern.ring")?).await?;
//! # Ok(()) }
//! ```
//!
//! A server that `kern` starts with `ring = true` serves on [`Ring::from_env`] instead of stdio.
//!
//! Invariants: a message goes into the ring whole before the next one; a send that finds no room
//! waits on a thread of tokio's blocking pool, never on one that runs tasks, and what arrives
//! meanwhile is received afterwards.
#![cfg(target_os = "linux")]

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use kern_shm::{Client, Error};
use rmcp::service::{RxJsonRpcMessage, ServiceRole, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify};

/// One end of a ring, for a client or a server.
#[derive(Debug)]
pub struct Ring {
    /// `None` once closed.
    client: Arc<Mutex<Option<Client>>>,
    /// A send that waited may have taken in what the receiver waits for.
    look: Arc<Notify>,
    /// Readable when the other side wants us to look.
    bell: UnixStream,
}

impl Ring {
    /// Connects to `kern serve --ring PATH`. It blocks until the ring is handed over, a few
    /// seconds at most. Call it within a tokio runtime.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(Client::connect(path)?)
    }

    /// Takes the ring of a server that `kern` started with `ring = true`. Call it once, within a
    /// tokio runtime.
    ///
    /// # Errors
    /// As [`Client::from_env`].
    pub fn from_env() -> Result<Self, Error> {
        Self::new(Client::from_env()?)
    }

    /// A ring that is set up already; it must be woken by its socket.
    ///
    /// # Errors
    /// The system's, where the descriptor cannot be waited for.
    pub fn new(client: Client) -> Result<Self, Error> {
        let bell = std::os::unix::net::UnixStream::from(client.as_fd().try_clone_to_owned()?);
        bell.set_nonblocking(true)?;
        let bell = UnixStream::from_std(bell)?;
        let client = Arc::new(Mutex::new(Some(client)));
        Ok(Self { client, look: Arc::default(), bell })
    }

    /// The bell was heard: the ring's own end reads it empty, and the next one counts again.
    fn heard(&self) {
        let _ = self
            .bell
            .try_io(Interest::READABLE, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
    }

    /// The next message's bytes; `None` once there will be none.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            {
                let mut client = self.client.lock().await;
                let client = client.as_mut()?;
                match client.try_recv() {
                    Ok(Some(message)) => return Some(message),
                    Ok(None) if !client.arm().ok()? => continue,
                    Ok(None) => {}
                    Err(_) => return None,
                }
            }
            tokio::select! {
                ready = self.bell.readable() => ready.ok()?,
                () = self.look.notified() => {}
            }
            self.heard();
        }
    }
}

/// Sends one message, with the ring to itself until it is whole; then that goes on even if nobody
/// waits for it any more.
async fn send(
    client: Arc<Mutex<Option<Client>>>,
    look: Arc<Notify>,
    message: Vec<u8>,
) -> Result<(), Error> {
    let mut owned = client.lock_owned().await;
    let client = owned.as_mut().ok_or(Error::Gone)?;
    let put = client.try_push(&message)?;
    client.flush();
    if put == message.len() {
        return Ok(());
    }
    let rest = tokio::task::spawn_blocking(move || {
        let sent = owned.as_mut().map_or(Err(Error::Gone), |client| client.send(&message[put..]));
        look.notify_one();
        sent
    });
    rest.await.map_err(|_| Error::Gone)?
}

impl<R: ServiceRole> Transport<R> for Ring {
    type Error = Error;

    fn name() -> Cow<'static, str> {
        "ring".into()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<R>,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (client, look) = (Arc::clone(&self.client), Arc::clone(&self.look));
        let message = serde_json::to_vec(&item);
        async move { send(client, look, message.map_err(std::io::Error::from)?).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<R>> {
        loop {
            // What is no message of this SDK's is passed over, as on its other transports.
            if let Ok(message) = serde_json::from_slice(&self.next().await?) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        drop(self.client.lock().await.take());
        Ok(())
    }
}
