//! Outbound connections, with and without TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kern_reactor::driver::{Choice, choose};
use kern_reactor::{Directory, Errands, Target};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::check;
use crate::rig::{Rig, Seen, pattern, tcp};

#[test]
fn a_refused_connection_is_told_once_and_not_from_inside_the_call() {
    check(|rig| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let key = rig.io().connect(tcp(nobody));
        assert_eq!(rig.all(), []);
        rig.see(&Seen::Refused(key));
        rig.turn();
        assert_eq!(rig.of(key), [Seen::Refused(key)]);
        assert_eq!(rig.streams(), 0);
    });
}

#[test]
fn a_name_is_resolved_and_its_addresses_tried_in_turn() {
    check(|rig| {
        // Listens on IPv4 only; `localhost` may name the IPv6 address first.
        let (_, address) = rig.listen();
        let host = "localhost".to_owned();
        let key = rig.io().connect(Target::Tcp { host, port: address.port() });
        rig.see(&Seen::Connected(key));
        let host = "no-such-host.invalid".to_owned();
        let key = rig.io().connect(Target::Tcp { host, port: 1 });
        rig.see(&Seen::Refused(key));
    });
}

#[test]
fn what_is_queued_before_the_connection_is_made_is_sent_then() {
    check(|rig| {
        let (_, address) = rig.listen();
        let key = rig.io().connect(tcp(address));
        rig.io().send(key, b"early");
        rig.io().receive(key, false);
        rig.until("accepted", |rig| {
            rig.all()
                .iter()
                .any(|seen| matches!(seen, Seen::Received(_, bytes) if bytes == b"early"))
        });
    });
}

#[test]
fn a_stream_closed_before_it_connects_is_gone_silently() {
    check(|rig| {
        let (_, address) = rig.listen();
        let keys = [rig.io().connect(tcp(address)), {
            let host = "localhost".to_owned();
            rig.io().connect(Target::Tcp { host, port: address.port() })
        }];
        rig.io().abort(keys[0]);
        rig.io().close(keys[1], Duration::from_secs(1));
        for _ in 0..5 {
            rig.turn();
        }
        assert!(keys.iter().all(|key| rig.of(*key).is_empty()));
    });
}

struct Server {
    address: SocketAddr,
    root: CertificateDer<'static>,
    thread: JoinHandle<()>,
}

fn server_config() -> (Arc<rustls::ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    (Arc::new(config), root)
}

/// A TLS server for `localhost` that echoes `count` connections until each ends.
fn tls_server(count: usize) -> Server {
    let (config, root) = server_config();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..count {
            let (mut socket, _) = listener.accept().unwrap();
            let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            let mut bytes = vec![0; 10_000];
            while let Ok(read) = stream.read(&mut bytes) {
                if read == 0 {
                    session.send_close_notify();
                    let _ = session.write_tls(&mut socket);
                    break;
                }
                if stream.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
        }
    });
    Server { address, root, thread }
}

fn rigs(roots: Vec<CertificateDer<'static>>) -> Vec<Rig> {
    let mut rigs = Vec::new();
    for choice in [Choice::Portable, Choice::Auto] {
        let directory = Directory::with_roots(Errands::threads(), roots.clone());
        rigs.push(Rig::new(choose(choice).unwrap(), directory));
    }
    rigs
}

fn tls(host: &str, address: SocketAddr) -> Target {
    Target::Tls { host: host.to_owned(), port: address.port() }
}

#[test]
fn bytes_pass_through_tls_both_ways_and_its_end_is_orderly() {
    const SIZE: usize = 1 << 19;
    let server = tls_server(2);
    for mut rig in rigs(vec![server.root.clone()]) {
        let key = rig.io().connect(tls("localhost", server.address));
        rig.io().send(key, b"early ");
        rig.see(&Seen::Connected(key));
        rig.io().send(key, &pattern(SIZE));
        rig.io().finish(key);
        rig.see(&Seen::Orderly(key));
        let expected = [b"early ".to_vec(), pattern(SIZE)].concat();
        assert!(rig.received(key) == expected, "{} bytes", rig.received(key).len());
        let seen = rig.of(key);
        assert_eq!(seen.len(), 4, "connected, received, finished, closed");
        rig.turn();
        assert_eq!(rig.streams(), 0);
    }
    server.thread.join().unwrap();
}

#[track_caller]
fn check_tls_error(rig: &mut Rig, to: Target, wanted: &str) {
    let key = rig.io().connect(to);
    rig.until("an error", |rig| !rig.of(key).is_empty());
    match &rig.of(key)[..] {
        [Seen::Tls(_, text)] => assert!(text.contains(wanted), "{text:?} lacks {wanted:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tls_error_names_its_cause() {
    let server = tls_server(4);
    for mut rig in rigs(Vec::new()) {
        check_tls_error(&mut rig, tls("localhost", server.address), "certificate not trusted");
    }
    for mut rig in rigs(vec![server.root.clone()]) {
        check_tls_error(&mut rig, tls("127.0.0.1", server.address), "name mismatch");
    }
    server.thread.join().unwrap();

    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
            let (mut socket, _) = plain.accept().unwrap();
            socket.write_all(answer).unwrap();
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.read(&mut [0; 1000]);
        }
    });
    let mut rig = rigs(Vec::new()).remove(0);
    check_tls_error(&mut rig, tls("localhost", address), "does not speak TLS");
    check_tls_error(&mut rig, tls("localhost", address), "closed the connection");
    thread.join().unwrap();
}

#[test]
fn a_connection_cut_off_under_tls_is_broken_not_finished() {
    let (config, root) = server_config();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(b"half an ans").unwrap();
    });
    let mut rig = rigs(vec![root]).remove(0);
    let key = rig.io().connect(tls("localhost", address));
    rig.see(&Seen::Broken(key));
    assert_eq!(rig.received(key), b"half an ans");
    thread.join().unwrap();
}
