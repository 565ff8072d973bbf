//! Scenarios the suite does not score and we demand: what they check the specification requires.

/// Those of servers.
pub(super) fn of_servers(revision: &str) -> &'static [&'static str] {
    match revision {
        "2025-11-25" => &["server-session-lifecycle", "server-sse-polling", "json-schema-2020-12"],
        "2026-07-28" => &[
            "json-schema-2020-12",
            "http-header-validation",
            "http-custom-header-server-validation",
        ],
        _ => &[],
    }
}

/// Those of clients.
pub(super) fn of_clients(_revision: &str) -> &'static [&'static str] {
    &["json-schema-2020-12-preservation"]
}
