//! How much one upstream may make this side keep, and how long it may take.

use std::time::Duration;

/// Longest wait for a server to answer `server/discover` before `initialize` is sent as well.
/// Servers of the old era may ignore what they don't know.
pub const PROBE_WAIT: Duration = Duration::from_secs(3);
/// First wait before a failed instance is started again.
pub const RESTART_LEAST: Duration = Duration::from_millis(500);
/// Longest wait before a failed instance is started again.
pub const RESTART_MOST: Duration = Duration::from_secs(30);
/// An instance that stayed up so long starts again without the waits of its past.
pub const STABLE_AFTER: Duration = Duration::from_secs(60);
/// Longest `serverInfo` kept of a server, bytes: it is told to clients and stands in its card. A longer
/// one is kept without its icons.
pub const INFO_BYTES_MAX: usize = 64 << 10;
/// Pages fetched of one list; a server that pages further is cut off with a warning.
pub const PAGES_MAX: usize = 1_000;
/// Wait between a `list_changed` and fetching the list again, so that a burst costs one fetch.
pub const REFRESH_WAIT: Duration = Duration::from_millis(50);
/// Requests of ours that may be open with one server at once.
pub const OWN_REQUESTS_MAX: usize = 1_024;
/// Resource subscriptions held with one server.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;
