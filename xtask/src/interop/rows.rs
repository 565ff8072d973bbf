//! The rows of the matrix: client × era × way in.

use std::path::PathBuf;

use super::install::Place;

/// What a client says about the eras it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    Legacy,
    Auto,
    Modern,
}

impl Era {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Auto => "auto",
            Self::Modern => "modern",
        }
    }

    /// The revision that must be agreed with `kern`.
    pub(super) fn revision(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Auto | Self::Modern => "2026-07-28",
        }
    }
}

/// How a client reaches `kern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `/mcp`: all servers, their names prefixed.
    HttpAll,
    /// `/mcp/NAME`, for each server.
    HttpOne,
    /// A `kern` of the client's own, started by it. Its servers are those of the other `kern`, over
    /// HTTP: eight new ones for each row would take minutes.
    Stdio,
    /// `/sse`: HTTP+SSE of 2024-11-05.
    SseAll,
    /// `/sse/NAME`, for each server.
    SseOne,
    /// `/mcp` through the Unix socket.
    Unix,
}

impl Way {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::HttpAll => "http /mcp",
            Self::HttpOne => "http /mcp/NAME",
            Self::Stdio => "stdio",
            Self::SseAll => "sse /sse",
            Self::SseOne => "sse /sse/NAME",
            Self::Unix => "unix /mcp",
        }
    }

    /// Whether the endpoint shows one server under its own names.
    pub(super) fn one(self) -> bool {
        matches!(self, Self::HttpOne | Self::SseOne)
    }
}

/// Whose program it is and what it can do.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) how: How,
    dual: bool,
    sse: bool,
    unix: bool,
}

#[derive(Clone, Debug)]
pub(super) enum How {
    /// A program and, unless it is one by itself, the script it runs. It takes a plan.
    Plan(PathBuf, Option<PathBuf>),
    /// The Inspector's command line: a process for each request.
    Inspector,
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) era: Era,
    pub(super) way: Way,
}

/// The scripts that drive the SDKs, and what they share: name of the file, its text.
const SCRIPTS: &[(&str, &str)] = &[
    ("python_plan.py", include_str!("clients/python_plan.py")),
    ("python_v1.py", include_str!("clients/python_v1.py")),
    ("python_v2.py", include_str!("clients/python_v2.py")),
    // Not `fastmcp.py`, which would be taken for the package.
    ("fastmcp_v4.py", include_str!("clients/fastmcp_v4.py")),
    ("typescript_plan.mjs", include_str!("clients/typescript_plan.mjs")),
    ("typescript_v1.mjs", include_str!("clients/typescript_v1.mjs")),
    ("typescript_v2.mjs", include_str!("clients/typescript_v2.mjs")),
];

/// Every client.
pub(super) fn clients(place: &Place, rmcp: Option<PathBuf>) -> Result<Vec<Client>, String> {
    for (name, text) in SCRIPTS {
        // Node looks for packages beside the script.
        super::write(&place.folder.join("node").join(name), text)?;
    }
    let script = |name: &str| Some(place.folder.join("node").join(name));
    let client = |name, how, dual, sse, unix| Client { name, how, dual, sse, unix };
    let python = |environment, name| How::Plan(place.python(environment), script(name));
    let node = |name| How::Plan(place.node(), script(name));
    let mut clients = vec![
        client("Python mcp 2.3.0", python("python-v2", "python_v2.py"), true, true, true),
        client("Inspector 2.12.0", How::Inspector, true, true, false),
        client("fastmcp 4.0.11", python("python-fastmcp", "fastmcp_v4.py"), true, true, true),
        client("TypeScript client 2.4.0", node("typescript_v2.mjs"), true, true, true),
        client("Python mcp 1.30.0", python("python-v1", "python_v1.py"), false, true, true),
        client("TypeScript sdk 1.32.2", node("typescript_v1.mjs"), false, true, true),
    ];
    if let Some(rmcp) = rmcp {
        clients.push(client("rmcp 3.9.0", How::Plan(rmcp, None), true, false, true));
    }
    Ok(clients)
}

impl Client {
    /// Its rows; with `quick` those that show something no other of them does.
    pub(super) fn rows(&self, quick: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut add = |era, way| rows.push(Row { era, way });
        for era in [Era::Legacy, Era::Auto, Era::Modern] {
            if era != Era::Legacy && !self.dual {
                continue;
            }
            add(era, Way::HttpAll);
            add(era, Way::HttpOne);
            add(era, Way::Stdio);
            if self.unix {
                add(era, Way::Unix);
            }
        }
        if self.sse {
            add(Era::Legacy, Way::SseAll);
            add(Era::Legacy, Way::SseOne);
        }
        if matches!(self.how, How::Inspector) {
            // A process a request takes its time; what is left out, others show.
            rows.retain(|row| {
                row.way != Way::SseOne && (row.era != Era::Auto || row.way == Way::HttpAll)
            });
        }
        if quick {
            rows.retain(|row| match row.era {
                Era::Legacy => matches!(row.way, Way::HttpAll | Way::Stdio | Way::SseAll),
                Era::Auto => row.way == Way::HttpOne,
                Era::Modern => matches!(row.way, Way::HttpAll | Way::Stdio),
            });
        }
        rows
    }
}
