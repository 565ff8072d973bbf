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
    /// Whether it takes a race to show, so that one run without it says nothing.
    pub(super) race: bool,
}

/// All that are known.
pub(super) const FAULTS: &[Fault] = &[Fault {
    // The Python SDK, version 2, by itself and within fastmcp.
    client: "",
    era: "legacy",
    way: "sse",
    column: "",
    sign: "BrokenResourceError",
    fault: "a client of HTTP+SSE on the Python SDK 2.3 that leaves while the server says something \
            raises BrokenResourceError (mcp/client/sse.py passes it on to whom it has left)",
    see: "let a server of HTTP+SSE send list_changed without a pause once it has answered \
          tools/list: 25 of 30 clients that leave then raise it",
    race: true,
}];

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
