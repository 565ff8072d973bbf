//! Cells that fail because of the client or the server, not of `kern`.
//!
//! Invariant: each says how to see the same without `kern`; one that no longer shows is named by the
//! report, so that the table shrinks when a peer mends it.

use super::rows::Row;

/// A fault of somebody else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The client's name, or the start of it.
    pub(super) client: &'static str,
    /// Era, way and column of the cell; empty for any.
    era: &'static str,
    way: &'static str,
    pub(super) column: &'static str,
    /// What the difference says, in part.
    sign: &'static str,
    /// Whose fault and what it is.
    pub(super) fault: &'static str,
    /// How to see it without `kern`.
    pub(super) see: &'static str,
}

/// All that are known.
pub(super) const FAULTS: &[Fault] = &[];

/// The fault that explains what a cell says.
pub(super) fn of(client: &str, row: Row, column: &str, why: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| {
        client.starts_with(fault.client)
            && row.era.word().starts_with(fault.era)
            && row.way.word().starts_with(fault.way)
            && (fault.column.is_empty() || fault.column == column)
            && why.contains(fault.sign)
    })
}
