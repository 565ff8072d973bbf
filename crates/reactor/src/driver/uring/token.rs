//! Which operation does a completion belong to?
//!
//! Invariant: a token names an operation and the entry it works for. Entries live in generational
//! tables and are removed only when none of their operations is in flight, so a token that comes
//! back always resolves; one that does not is a bug.

use kern_terms::Key;

/// The operations of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    /// Nobody waits for its end: cancel, close.
    Forgotten,
    /// Another thread's wake.
    Wake,
    /// Signals to this process.
    Signals,
    /// Multishot accept.
    Accept,
    /// Connect.
    Connect,
    /// Puts a descriptor into the table of registered files.
    Register,
    /// Receive or read, multishot where possible.
    Receive,
    /// Waits until a non-blocking descriptor is readable.
    Readable,
    /// Send or write.
    Send,
    /// Sends what fits at once; completes only if that was not all.
    SendNow,
    /// Waits until a non-blocking descriptor is writable.
    Writable,
    /// A child's end.
    Exit,
}

const OPS: [Op; 12] = [
    Op::Forgotten,
    Op::Wake,
    Op::Signals,
    Op::Accept,
    Op::Connect,
    Op::Register,
    Op::Receive,
    Op::Readable,
    Op::Send,
    Op::SendNow,
    Op::Writable,
    Op::Exit,
];

const SLOT_BITS: u32 = 24;

/// An operation and its entry as 64 bits: generation 32, operation 8, slot 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

impl Token {
    /// The token of `op` on the entry `key`.
    pub(super) fn new(op: Op, key: Key) -> Self {
        assert!(key.slot < 1 << SLOT_BITS, "a core has fewer than 2^24 streams");
        Self(Key { slot: (op as u32) << SLOT_BITS | key.slot, ..key }.to_bits())
    }

    /// The token of an operation of the driver itself.
    pub(super) fn own(op: Op) -> Self {
        Self::new(op, Key { slot: 0, generation: 0 })
    }

    /// What travels through the kernel.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Reads what came back.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The operation and the entry.
    pub(super) fn split(self) -> (Op, Key) {
        let key = Key::from_bits(self.0);
        let op = OPS[(key.slot >> SLOT_BITS) as usize];
        (op, Key { slot: key.slot & ((1 << SLOT_BITS) - 1), ..key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_comes_back_as_itself() {
        for op in OPS {
            for key in [
                Key { slot: 0, generation: 0 },
                Key { slot: (1 << SLOT_BITS) - 1, generation: u32::MAX },
            ] {
                assert_eq!(Token::from_bits(Token::new(op, key).bits()).split(), (op, key));
            }
        }
    }
}
