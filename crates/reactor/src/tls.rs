//! How is an outbound stream encrypted?
//!
//! rustls without I/O: bytes of the wire go in and come out of memory. Trusted are the system's
//! roots (or those `SSL_CERT_FILE` and `SSL_CERT_DIR` name) and those the embedder adds.
//! Invariant: an error says what was wrong with the peer in words an operator can act on.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use crate::driver::Piece;

/// A TLS client connection.
pub(crate) struct Tls {
    connection: ClientConnection,
    finished: bool,
}

/// The configuration every stream of a process shares. Reads files.
pub fn configure(extra: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for root in extra {
        roots.add(root.clone()).map_err(|error| format!("an added root is unusable: {error}"))?;
    }
    if roots.is_empty() {
        let why = native.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(format!("no trusted roots were found: {why}"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // The first use takes a few hundred milliseconds: here, off the cores.
    provider.secure_random.fill(&mut [0; 1]).map_err(|_| "no random bytes are to be had")?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Tls {
    /// A connection to `host` that wants to say hello.
    pub(crate) fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, String> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| format!("{host:?} cannot be a server's name"))?;
        let mut connection =
            ClientConnection::new(config, name).map_err(|error| explain(&error))?;
        // The stream's watermarks are the limit.
        connection.set_buffer_limit(None);
        Ok(Self { connection, finished: false })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes wire bytes in and appends what they say to `plain`; true if the peer ended its side.
    pub(crate) fn decrypt(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<bool, String> {
        let mut ended = false;
        while !wire.is_empty() && !ended {
            self.connection.read_tls(&mut wire).map_err(|error| error.to_string())?;
            let state = self.connection.process_new_packets().map_err(|error| explain(&error))?;
            ended = state.peer_has_closed();
            let waiting = state.plaintext_bytes_to_read();
            let before = plain.len();
            plain.resize(before + waiting, 0);
            self.connection
                .reader()
                .read_exact(&mut plain[before..])
                .map_err(|error| error.to_string())?;
        }
        Ok(ended)
    }

    /// Encrypts what is to be sent and, with `finish`, says that it was the last.
    pub(crate) fn encrypt(&mut self, plain: &[Piece], finish: bool) {
        for piece in plain {
            self.connection
                .writer()
                .write_all(piece.as_slice())
                .expect("writing to memory without a limit");
        }
        if finish && !std::mem::replace(&mut self.finished, true) {
            self.connection.send_close_notify();
        }
    }

    /// Appends what is ready to be sent.
    pub(crate) fn write_wire(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(wire).expect("writing to memory");
        }
    }
}

/// What was wrong, for an operator.
fn explain(error: &Error) -> String {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "certificate not trusted: no known root issued it".into()
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!("name mismatch: {error}")
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            format!("certificate expired: {error}")
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            format!("certificate not valid yet: {error}")
        }
        Error::InvalidCertificate(_) => format!("certificate not trusted: {error}"),
        Error::InvalidMessage(_) => format!("the peer does not speak TLS: {error}"),
        Error::AlertReceived(alert) => format!("the peer refused: {alert:?}"),
        _ => error.to_string(),
    }
}
