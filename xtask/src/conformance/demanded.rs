//! Scenarios the suite does not score and we demand: what they check the specification requires.

/// Demanded wherever the fixture is behind.
const LEGACY: [&str; 2] = ["server-session-lifecycle", "json-schema-2020-12"];
/// Needs a server that drops the stream of a call: over a pipe there is none.
const POLLING: &str = "server-sse-polling";
/// See [`LEGACY`]. Of tasks all that check anything: the suite skips what
/// `tasks-status-notifications` would.
const MODERN: [&str; 12] = [
    "json-schema-2020-12",
    "http-header-validation",
    "http-custom-header-server-validation",
    "tasks-capability-negotiation",
    "tasks-dispatch-and-envelope",
    "tasks-lifecycle",
    "tasks-mrtr-composition",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-request-state-removal",
    "tasks-required-task-error",
    "tasks-wire-fields",
];

/// Those of servers, reached as `label` says. A server of others owes us nothing.
pub(super) fn of_servers(revision: &str, label: &str) -> Vec<&'static str> {
    let polls = matches!(label, "direct" | "kern");
    match (label, revision) {
        ("url", _) => Vec::new(),
        (_, "2025-11-25") => LEGACY.into_iter().chain(polls.then_some(POLLING)).collect(),
        (_, "2026-07-28") => MODERN.to_vec(),
        _ => Vec::new(),
    }
}

/// Those of clients.
pub(super) fn of_clients(_revision: &str) -> &'static [&'static str] {
    &["json-schema-2020-12-preservation"]
}
