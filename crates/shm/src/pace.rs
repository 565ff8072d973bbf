//! How far is each side, and who must be woken?
//!
//! Each side keeps its own indices in private memory, tells them in batches, and reads the other's
//! only when what it knew is used up. A side that sleeps says so first and then looks once more; a
//! side that tells something looks afterwards who sleeps. Between the two stands a fence on each
//! side, so one of them sees the other: no wake is lost. A sleep is numbered, so that it is ended
//! by one wake and not by one each message.
//!
//! Invariants: `tail - peer_head` ≤ own ring; `peer_tail - head` ≤ the peer's ring; all four are
//! multiples of 8. An index that would break this is a [`Fault`].

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::Fault;
use crate::layout::{RECORD_BYTES, SLEEP_ASLEEP, SLEEP_SHIFT, SLEEP_WANTS_ROOM};
use crate::words::{Side, Word};

/// One side's view of both rings.
#[derive(Debug)]
pub(crate) struct Pace<W> {
    own: Side<W>,
    peer: Side<W>,
    own_ring: u32,
    peer_ring: u32,
    tail: u32,
    told_tail: u32,
    /// As last read.
    peer_head: u32,
    head: u32,
    told_head: u32,
    /// As last read.
    peer_tail: u32,
    finishing: bool,
    told_finish: bool,
    /// The peer puts no more, and this was said.
    ended: bool,
    sleeps: u32,
    /// The sleep of the peer that was ended last.
    woken: u32,
}

impl<W: Word> Pace<W> {
    /// Both rings empty, nobody asleep.
    pub(crate) fn new(own: Side<W>, peer: Side<W>, own_ring: u32, peer_ring: u32) -> Self {
        Self {
            own,
            peer,
            own_ring,
            peer_ring,
            tail: 0,
            told_tail: 0,
            peer_head: 0,
            head: 0,
            told_head: 0,
            peer_tail: 0,
            finishing: false,
            told_finish: false,
            ended: false,
            sleeps: 0,
            woken: 0,
        }
    }

    /// Where the next record goes.
    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// Where the next record comes from.
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Whether `bytes` fit into our ring now.
    pub(crate) fn has_room(&mut self, bytes: u32) -> Result<bool, Fault> {
        if self.own_ring - self.tail.wrapping_sub(self.peer_head) >= bytes {
            return Ok(true);
        }
        let head = self.peer.head.load(Acquire);
        let used = self.tail.wrapping_sub(head);
        if used > self.own_ring || !used.is_multiple_of(RECORD_BYTES) {
            return Err(Fault::Index);
        }
        self.peer_head = head;
        Ok(self.own_ring - used >= bytes)
    }

    /// Notes that `bytes` were written to our ring.
    pub(crate) fn put(&mut self, bytes: u32) {
        debug_assert!(bytes.is_multiple_of(RECORD_BYTES), "records are aligned");
        self.tail = self.tail.wrapping_add(bytes);
    }

    /// Bytes in the peer's ring that we have not taken.
    pub(crate) fn available(&mut self) -> Result<u32, Fault> {
        if self.head == self.peer_tail {
            let tail = self.peer.tail.load(Acquire);
            let used = tail.wrapping_sub(self.head);
            if used > self.peer_ring || !used.is_multiple_of(RECORD_BYTES) {
                return Err(Fault::Index);
            }
            self.peer_tail = tail;
        }
        Ok(self.peer_tail.wrapping_sub(self.head))
    }

    /// Notes that `bytes` of the peer's ring were taken.
    pub(crate) fn took(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.peer_tail.wrapping_sub(self.head), "what is there is taken");
        self.head = self.head.wrapping_add(bytes);
    }

    /// Whether enough was taken that the peer should hear of it before the batch ends.
    pub(crate) fn owes_room(&self) -> bool {
        self.head.wrapping_sub(self.told_head) >= self.peer_ring / 4
    }

    /// We put no more.
    pub(crate) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether the peer has put all it will and we took it. Only meaningful when
    /// [`Pace::available`] said 0 after this said `true` once before; see [`Pace::is_over`].
    fn peer_finished(&self) -> bool {
        self.peer.finished.load(Acquire) != 0
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&mut self) -> Result<bool, Fault> {
        // The flag first: what was put before it is seen after it.
        if !self.ended {
            self.ended = self.peer_finished();
        }
        Ok(self.ended && self.available()? == 0)
    }

    /// Tells the peer how far we are; `true` if it must be woken.
    pub(crate) fn tell(&mut self) -> bool {
        let finish = self.finishing && !self.told_finish;
        let put = self.tail != self.told_tail || finish;
        let took = self.head != self.told_head;
        if put {
            self.own.tail.store(self.tail, Release);
            self.told_tail = self.tail;
        }
        if finish {
            self.own.finished.store(1, Release);
            self.told_finish = true;
        }
        if took {
            self.own.head.store(self.head, Release);
            self.told_head = self.head;
        }
        if !(put || took) {
            return false;
        }
        W::fence();
        let sleep = self.peer.sleep.load(Relaxed);
        if sleep & SLEEP_ASLEEP == 0 || sleep == self.woken {
            return false;
        }
        let left = self.peer_tail.wrapping_sub(self.head);
        let room = sleep & SLEEP_WANTS_ROOM != 0 && left <= self.peer_ring / 2;
        if put || room {
            self.woken = sleep;
        }
        put || room
    }

    /// Says that we sleep. `false`: there is something to do, stay awake.
    ///
    /// Everything must have been told before.
    pub(crate) fn fall_asleep(&mut self, data: bool, wants_room: bool) -> bool {
        debug_assert!(self.tail == self.told_tail && self.head == self.told_head, "all is told");
        self.sleeps = self.sleeps.wrapping_add(1);
        let room = if wants_room { SLEEP_WANTS_ROOM } else { 0 };
        self.own.sleep.store((self.sleeps << SLEEP_SHIFT) | room | SLEEP_ASLEEP, Relaxed);
        W::fence();
        let sleeps = !self.changed(data, wants_room);
        if !sleeps {
            self.awake();
        }
        sleeps
    }

    /// Says that we are awake.
    pub(crate) fn awake(&self) {
        self.own.sleep.store(self.sleeps << SLEEP_SHIFT, Relaxed);
    }

    /// Whether there is something to take, or half of our ring is free, where that is waited for.
    pub(crate) fn changed(&self, data: bool, wants_room: bool) -> bool {
        let comes =
            || self.peer.tail.load(Acquire) != self.head || (!self.ended && self.peer_finished());
        (data && comes())
            || (wants_room
                && self.tail.wrapping_sub(self.peer.head.load(Acquire)) <= self.own_ring / 2)
    }
}
