//! TCP streams, wakes and the clock.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kern_reactor::driver::{Address, Piece};

use crate::Case;
use crate::rig::{Rig, pattern};

/// More than all socket buffers of a connection hold.
const LARGE: usize = 16 << 20;

pub(crate) const CASES: &[Case] = &[
    ("bytes come back from an echo", echo),
    ("a batch of many pieces arrives in order", many_pieces),
    ("large transfers both ways arrive whole", large_both_ways),
    ("a receiver that is off stops the sender", backpressure),
    ("one direction ends, the other goes on", half_close),
    ("a reset is reported as an error", reset),
    ("a refused connection is reported, and its key is free", refused),
    ("closing with a batch in flight silences the stream", close_in_flight),
    ("a closed listener accepts nothing", listener_close),
    ("a thousand connections at once", thousand),
    ("a wake from another thread ends the sleep", wake),
    ("a sleep is as long as asked for", sleep),
    ("a busy stream leaves room for others", fairness),
    ("random numbers differ", entropy),
];

fn echo(rig: &mut Rig) {
    let (near, far) = rig.pair();
    for round in 0..10 {
        let bytes = pattern(1 + round * 1000, round);
        rig.send(near, &bytes);
        rig.expect(far, &bytes);
        rig.until("sent", |rig| rig.side(near).sent == round + 1);
        rig.send(far, &bytes);
        rig.expect(near, &bytes);
        rig.until("sent", |rig| rig.side(far).sent == round + 1);
    }
}

fn many_pieces(rig: &mut Rig) {
    let (near, far) = rig.pair();
    let mut pieces = Vec::new();
    let mut whole = Vec::new();
    for i in 0..3000 {
        let bytes = pattern(i % 37, i);
        whole.extend_from_slice(&bytes);
        pieces.push(match i % 2 {
            0 => Piece::Owned(bytes),
            _ => Piece::Shared(Bytes::from(bytes)),
        });
    }
    rig.send_pieces(near, pieces);
    rig.expect(far, &whole);
    rig.until("sent", |rig| rig.side(near).sent == 1);
    rig.send_pieces(near, Vec::new());
    rig.until("an empty batch is sent too", |rig| rig.side(near).sent == 2);
}

fn large_both_ways(rig: &mut Rig) {
    let (near, far) = rig.pair();
    let (there, back) = (pattern(LARGE, 1), pattern(LARGE, 2));
    rig.send(near, &there);
    rig.send(far, &back);
    rig.expect(far, &there);
    rig.expect(near, &back);
    rig.until("sent", |rig| rig.side(near).sent == 1 && rig.side(far).sent == 1);
}

fn backpressure(rig: &mut Rig) {
    let (near, far) = rig.pair();
    rig.driver.receive(far, false);
    let bytes = pattern(LARGE, 3);
    rig.send(near, &bytes);
    for _ in 0..10 {
        rig.wait(Duration::from_millis(20));
    }
    assert_eq!(rig.side(near).sent, 0);
    let early = rig.side(far).received.len();
    assert!(early <= LARGE / 8, "{early} bytes received while off");
    rig.driver.receive(far, true);
    rig.expect(far, &bytes);
    rig.until("sent", |rig| rig.side(near).sent == 1);
}

fn half_close(rig: &mut Rig) {
    let (near, far) = rig.pair();
    rig.send(near, b"request");
    rig.until("sent", |rig| rig.side(near).sent == 1);
    rig.driver.finish(near);
    rig.expect(far, b"request");
    rig.until("finished", |rig| matches!(rig.side(far).ended, Some(Ok(()))));
    rig.send(far, b"answer");
    rig.expect(near, b"answer");
    rig.until("sent", |rig| rig.side(far).sent == 1);
    assert!(rig.side(near).ended.is_none());
    rig.driver.finish(far);
    rig.until("finished", |rig| matches!(rig.side(near).ended, Some(Ok(()))));
    rig.driver.close(near);
    rig.driver.close(far);
}

fn reset(rig: &mut Rig) {
    let (_, address) = rig.listen();
    let peer = TcpStream::connect(address).unwrap();
    let (far, _) = rig.accept();
    let peer = socket2::Socket::from(peer);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    rig.until("reset", |rig| rig.side(far).ended.is_some());
    let error = rig.side(far).ended.take().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

fn refused(rig: &mut Rig) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = rig.key();
    if rig.driver.connect(key, &Address::Tcp(nobody)).is_ok() {
        rig.until("refused", |rig| rig.side(key).connected.is_some());
        let error = rig.side(key).connected.take().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    let (_, address) = rig.listen();
    rig.driver.connect(key, &Address::Tcp(address)).unwrap();
    rig.until("the next address", |rig| matches!(rig.side(key).connected, Some(Ok(()))));
    // Once more after closing: nothing of the earlier use comes out.
    let (first, _) = rig.accept();
    rig.send(first, b"old");
    rig.driver.close(key);
    *rig.side(key) = Default::default();
    rig.driver.connect(key, &Address::Tcp(address)).unwrap();
    rig.until("connected anew", |rig| matches!(rig.side(key).connected, Some(Ok(()))));
    let (second, _) = rig.accept();
    rig.send(second, b"new");
    rig.expect(key, b"new");
}

fn close_in_flight(rig: &mut Rig) {
    let (near, far) = rig.pair();
    rig.driver.receive(far, false);
    rig.send(near, &pattern(LARGE, 4));
    rig.wait(Duration::from_millis(20));
    rig.driver.close(near);
    let completions = rig.side(near).completions;
    rig.driver.receive(far, true);
    rig.until("the end of the rest", |rig| rig.side(far).ended.is_some());
    assert_eq!(rig.side(near).completions, completions);
    assert!(rig.side(far).received.len() < LARGE);
}

fn listener_close(rig: &mut Rig) {
    let (listener, address) = rig.listen();
    rig.connect(&Address::Tcp(address));
    rig.accept();
    rig.driver.unlisten(listener);
    rig.wait(Duration::ZERO);
    let patience = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < patience, "still accepting");
        rig.wait(Duration::from_millis(5));
    }
    assert!(rig.accepted.iter().all(|(key, ..)| *key != listener || cfg!(target_os = "linux")));
}

fn thousand(rig: &mut Rig) {
    const COUNT: usize = 1000;
    let (_, address) = rig.listen();
    let near: Vec<_> = (0..COUNT)
        .map(|_| {
            let key = rig.key();
            rig.driver.connect(key, &Address::Tcp(address)).unwrap();
            key
        })
        .collect();
    let mut far = Vec::new();
    while far.len() < COUNT {
        far.push(rig.accept().0);
    }
    rig.until("connected", |rig| {
        near.iter().all(|key| matches!(rig.side(*key).connected, Some(Ok(()))))
    });
    for (number, key) in near.iter().enumerate() {
        rig.send(*key, &pattern(100, number));
    }
    rig.until("all received", |rig| far.iter().all(|key| rig.side(*key).received.len() == 100));
    for key in &far {
        let bytes = std::mem::take(&mut rig.side(*key).received);
        rig.send(*key, &bytes);
    }
    rig.until("all echoed", |rig| near.iter().all(|key| rig.side(*key).received.len() == 100));
    for (number, key) in near.iter().enumerate() {
        assert!(rig.side(*key).received == pattern(100, number), "connection {number}");
    }
    for key in near.into_iter().chain(far) {
        rig.driver.close(key);
    }
}

fn wake(rig: &mut Rig) {
    let waker = rig.driver.waker();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        waker.wake();
        waker
    });
    let mut completions = Vec::new();
    rig.driver.wait(None, &mut completions).unwrap();
    let waker = thread.join().unwrap();
    // A wake before the sleep counts for it.
    waker.wake();
    rig.driver.wait(None, &mut completions).unwrap();
    waker.wake();
    waker.wake();
    rig.driver.wait(None, &mut completions).unwrap();
    assert!(completions.is_empty());
}

fn sleep(rig: &mut Rig) {
    for millis in [0, 1, 5, 20, 100] {
        let asked = Duration::from_millis(millis);
        let start = rig.driver.now();
        let until = start + asked;
        let mut waits = 0;
        while rig.driver.now() < until || waits == 0 {
            let mut completions = Vec::new();
            rig.driver.wait(Some(until), &mut completions).unwrap();
            waits += 1;
        }
        let late = rig.driver.now().since(until);
        assert!(waits < 10, "{waits} waits for {asked:?}");
        assert!(late < Duration::from_millis(200), "{late:?} late");
    }
}

fn fairness(rig: &mut Rig) {
    let (flood, sink) = rig.pair();
    let (near, far) = rig.pair();
    rig.driver.receive(sink, false);
    rig.send(flood, &pattern(LARGE, 5));
    rig.send(near, b"me too");
    rig.driver.receive(sink, true);
    rig.until("the small one", |rig| !rig.side(far).received.is_empty());
    let flooded = rig.side(sink).received.len();
    assert!(flooded < LARGE / 2, "{flooded} bytes came first");
}

fn entropy(rig: &mut Rig) {
    let drawn: std::collections::HashSet<_> = (0..1000).map(|_| rig.driver.entropy()).collect();
    assert_eq!(drawn.len(), 1000);
}
