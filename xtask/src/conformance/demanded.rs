//! Scenarios the suite does not score and we demand: what they check the specification requires.

/// Those of servers. Polling is of HTTP and of one era: a server over a pipe has no connection to close.
pub(super) fn of_servers(revision: &str, label: &str) -> &'static [&'static str] {
    match revision {
        "2025-11-25" if !matches!(label, "direct" | "kern") => {
            &["server-session-lifecycle", "json-schema-2020-12"]
        }
        "2025-11-25" => &["server-session-lifecycle", "server-sse-polling", "json-schema-2020-12"],
        "2026-07-28" => &[
            "json-schema-2020-12",
            "http-header-validation",
            "http-custom-header-server-validation",
            // All that check anything: the suite skips what `tasks-status-notifications` would.
            "tasks-capability-negotiation",
            "tasks-dispatch-and-envelope",
            "tasks-lifecycle",
            "tasks-mrtr-composition",
            "tasks-mrtr-input",
            "tasks-request-headers",
            "tasks-request-state-removal",
            "tasks-required-task-error",
            "tasks-wire-fields",
        ],
        _ => &[],
    }
}

/// Those of clients.
pub(super) fn of_clients(_revision: &str) -> &'static [&'static str] {
    &["json-schema-2020-12-preservation"]
}
