//! Where does a message name a task, and what is the task called where several servers are one?
//!
//! An id that a client sees at the endpoint of all servers is `NAME:ID`: the server's name in the
//! configuration and the server's own id. An upstream's name holds no `:`, so the first one is the
//! border, and nothing need be remembered: the id is as durable as the server's own. Sources:
//! 2025-11-25 basic/utilities/tasks; the extension `io.modelcontextprotocol/tasks` (SEP-2663).

use crate::envelope::Envelope;
use crate::json::{self, Span, elements, get, quote_into};
use crate::method::Method;
use crate::names::is_upstream_name;
use crate::rewrite::Splice;

/// The extension's name in `capabilities.extensions`.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// The key of `_meta` that ties a message to a task (2025-11-25).
pub const RELATED_KEY: &str = "io.modelcontextprotocol/related-task";
/// Longest id of a task that is routed or remembered, bytes. Ids in use have 36.
pub const TASK_ID_BYTES_MAX: usize = 512;

const SEPARATOR: char = ':';

/// The id clients of the endpoint of all servers see.
pub fn exposed(upstream: &str, id: &str) -> String {
    format!("{upstream}{SEPARATOR}{id}")
}

/// The server an exposed id names, and the id the server knows.
pub fn split(exposed: &str) -> Option<(&str, &str)> {
    exposed.split_once(SEPARATOR).filter(|(upstream, _)| is_upstream_name(upstream))
}

/// Edits every id of a task that the message's envelope names: `taskId` and `task.taskId` of params
/// or result, `tasks[].taskId` of the result of `tasks/list`, and the task that `_meta` says it
/// belongs to. Ids that `rename` gives nothing for stay.
pub fn rename(
    splice: &mut Splice<'_>,
    envelope: &Envelope,
    method: Method,
    rename: impl Fn(&str) -> Option<String>,
) {
    let message = splice.message();
    let inner = |object: Option<Span>| object.and_then(|span| get(message, span, "taskId"));
    let mut spans = vec![envelope.task_id, inner(envelope.task), inner(envelope.related_task)];
    if let (Method::TasksList, Some(result)) = (method, envelope.result)
        && let Some(tasks) = get(message, result, "tasks")
    {
        spans.extend(elements(message, tasks).map(|task| inner(Some(task))));
    }
    for span in spans.into_iter().flatten() {
        let id = json::text(span.of(message)).filter(|id| id.len() <= TASK_ID_BYTES_MAX);
        if let Some(renamed) = id.and_then(|id| rename(&id)) {
            let mut quoted = Vec::with_capacity(renamed.len() + 2);
            quote_into(&mut quoted, &renamed);
            splice.replace(span, quoted);
        }
    }
}

/// Whether `capabilities`, JSON of a client or a modern server, declare the extension.
pub fn is_declared(capabilities: &[u8]) -> bool {
    json::field(capabilities, "extensions")
        .and_then(|extensions| json::field(extensions, EXTENSION))
        .is_some_and(|settings| settings.starts_with(b"{"))
}

/// Whether the `capabilities` of a 2025-11-25 server, JSON, say that a tool call can be a task.
pub fn is_offered(capabilities: &[u8]) -> bool {
    let path = ["tasks", "requests", "tools", "call"];
    let found = path.iter().try_fold(capabilities, |object, name| json::field(object, name));
    found.is_some_and(|call| call.starts_with(b"{"))
}

/// Whether the `capabilities` of a 2025-11-25 server, JSON, say that it lists tasks.
pub fn is_listed(capabilities: &[u8]) -> bool {
    let tasks = json::field(capabilities, "tasks");
    tasks.and_then(|tasks| json::field(tasks, "list")).is_some_and(|list| list.starts_with(b"{"))
}

/// `execution.taskSupport` of a tool (2025-11-25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It answers at once; also where it does not say.
    Forbidden,
    /// The client chooses.
    Optional,
    /// It runs only as a task.
    Required,
}

impl Support {
    /// Reads the definition of a tool, JSON.
    pub fn of(tool: &[u8]) -> Self {
        let execution = json::field(tool, "execution").unwrap_or(b"{}");
        match json::text_field(execution, "taskSupport").as_deref() {
            Some("optional") => Self::Optional,
            Some("required") => Self::Required,
            _ => Self::Forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScanLimits, scan};

    fn check(method: Method, message: &str, expected: &str) {
        let envelope = scan(message.as_bytes(), &ScanLimits::default()).expect("valid");
        let mut splice = Splice::new(message.as_bytes());
        rename(&mut splice, &envelope, method, |id| (id != "keep").then(|| exposed("up", id)));
        let mut out = Vec::new();
        splice.write_into(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn an_id_that_is_missed_leads_to_another_servers_task() {
        check(
            Method::TasksGet,
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{ "taskId" : "a\u0062" }}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{ "taskId" : "up:ab" }}"#,
        );
        check(
            Method::TasksGet,
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"keep"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"keep"}}"#,
        );
        check(
            Method::ToolsCall,
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"1","x":1e0}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"up:1","x":1e0}}}"#,
        );
        let key = "io.modelcontextprotocol/related-task";
        check(
            Method::TasksResult,
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{"{key}":{{"taskId":"1"}}}}}}}}"#
            ),
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{"{key}":{{"taskId":"up:1"}}}}}}}}"#
            ),
        );
        let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"1"},3,{"taskId":2},{"taskId":"2"}]}}"#;
        let renamed = r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"up:1"},3,{"taskId":2},{"taskId":"up:2"}]}}"#;
        check(Method::TasksList, list, renamed);
        check(Method::ToolsCall, list, list);
    }

    #[test]
    fn an_exposed_id_leads_back_whatever_the_server_calls_its_task() {
        for id in ["", "a", ":", "a:b", "up:1", "é\"\\"] {
            assert_eq!(split(&exposed("my_up-1", id)), Some(("my_up-1", id)));
        }
        for id in ["", "up", "up__x:1", ":1", "u p:1"] {
            assert_eq!(split(id), None, "{id}");
        }
    }

    #[test]
    fn what_is_offered_is_read_from_both_eras() {
        let modern = br#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let legacy = br#"{"tasks":{"list":{},"requests":{"tools":{"call":{}}}}}"#;
        assert!(is_declared(modern) && !is_declared(legacy) && !is_declared(b"{}"));
        assert!(is_offered(legacy) && !is_offered(modern) && !is_offered(br#"{"tasks":{}}"#));
        assert!(is_listed(legacy) && !is_listed(br#"{"tasks":{"list":null}}"#));
        for (tool, support) in [
            (&br#"{"execution":{"taskSupport":"required"}}"#[..], Support::Required),
            (br#"{"execution":{"taskSupport":"optional"}}"#, Support::Optional),
            (br#"{"execution":{"taskSupport":"forbidden"}}"#, Support::Forbidden),
            (br#"{"execution":{"taskSupport":1}}"#, Support::Forbidden),
            (b"{}", Support::Forbidden),
        ] {
            assert_eq!(Support::of(tool), support);
        }
    }
}
