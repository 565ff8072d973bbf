//! What cannot hold between the eras, with the sentence of the specification that forbids it.
//!
//! The revision is that of the requirement set; the server behind `kern` speaks only the other era.

use std::collections::BTreeMap;

/// One check that must fail.
pub(super) struct Cannot {
    pub(super) revision: &'static str,
    pub(super) scenario: &'static str,
    pub(super) check: &'static str,
    /// Where the sentence stands.
    pub(super) page: &'static str,
    pub(super) sentence: &'static str,
}

/// What the suite says in place of all checks when a scenario takes too long, as it may where one
/// of them waits for what does not come.
const TIMEOUT: &str = "scenario-timeout";

const fn cannot(
    revision: &'static str,
    scenario: &'static str,
    check: &'static str,
    page: &'static str,
    sentence: &'static str,
) -> Cannot {
    Cannot { revision, scenario, check, page, sentence }
}

/// The suite wants a task. `kern` asks an old server for one only if it must, or if the client can
/// be asked nothing: a task of that era would have to ask on a stream that the new era does not have.
const fn optional(scenario: &'static str, check: &'static str) -> Cannot {
    let page = "2025-11-25, basic/utilities/tasks, on optional";
    let sentence = "If `execution.taskSupport` is `\"optional\"`, clients MAY invoke the tool as a \
                    task or as a normal request.";
    cannot(MODERN, scenario, check, page, sentence)
}

/// In the old era a tool that must run as a task has no moment to ask in before there is one.
const TASK_AT_ONCE: Cannot = cannot(
    MODERN,
    "tasks-mrtr-composition",
    "sep-2663-mrtr-synchronous-before-task-creation",
    "2025-11-25, basic/utilities/tasks, on results",
    "When a receiver accepts a task-augmented request, it returns a `CreateTaskResult` containing \
     task data.",
);

const CAPABILITIES_PAGE: &str = "2025-11-25, basic/lifecycle";
const CAPABILITIES: &str = "Only use capabilities that were successfully negotiated";

const KEYS_PAGE: &str = "2026-07-28, basic/patterns/mrtr";
const KEYS: &str = "`inputRequests` keys are server assigned identifiers and MUST be unique within the \
                    scope of the request.";

const MODERN: &str = "2026-07-28";

#[rustfmt::skip]
static SERVERS: &[Cannot] = &[
    // A legacy server hears of capabilities once, in `initialize`, and no error of its era says
    // that one is missing: only it knows that this tool would have needed one.
    cannot(MODERN, "server-stateless", "sep-2575-server-rejects-undeclared-capability", CAPABILITIES_PAGE, CAPABILITIES),
    cannot(MODERN, "server-stateless", "sep-2575-missing-capability-http-400", CAPABILITIES_PAGE, CAPABILITIES),
    TASK_AT_ONCE,
    optional("tasks-dispatch-and-envelope", "tasks-result-type-complete-on-non-task-responses"),
    optional("tasks-dispatch-and-envelope", "sep-2663-durable-create-strong-consistency"),
    optional("tasks-lifecycle", "sep-2663-result-type-task-on-create"),
    optional("tasks-lifecycle", "sep-2663-tasks-get-status-working"),
    optional("tasks-lifecycle", "sep-2663-tasks-get-status-completed"),
    optional("tasks-lifecycle", "sep-2663-tasks-get-status-failed"),
    optional("tasks-lifecycle", "sep-2663-cancel-ack-empty-result"),
    optional("tasks-lifecycle", "tasks-cancel-terminal-idempotent-ack"),
    optional("tasks-mrtr-input", "sep-2663-tasks-get-status-input-required"),
    optional("tasks-mrtr-input", "tasks-mrtr-tasks-update-resumes"),
    optional("tasks-mrtr-input", "tasks-mrtr-partial-fulfillment"),
    // An old server's request has an id and no key, and the suite wants a certain key.
    cannot(MODERN, "input-required-result-basic-elicitation", "sep-2322-elicitation-incomplete", KEYS_PAGE, KEYS),
];

impl Cannot {
    /// Whether this entry is about that check.
    pub(super) fn covers(&self, scenario: &str, check: &str) -> bool {
        self.scenario == scenario && (self.check == check || check == TIMEOUT)
    }
}

/// What cannot hold for a requirement set with a server of the other era.
pub(super) fn of_servers(revision: &str) -> Vec<&'static Cannot> {
    SERVERS.iter().filter(|entry| entry.revision == revision).collect()
}

/// The sentences of the table, each once, with their pages.
pub(super) fn sentences() -> BTreeMap<&'static str, &'static str> {
    SERVERS.iter().map(|entry| (entry.page, entry.sentence)).collect()
}
