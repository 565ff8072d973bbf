//! Which method does this message name?
//!
//! Every method of every revision from 2024-11-05 to 2026-07-28 (the unions of each revision's
//! `schema.ts`), those of the Tasks extension, and one word for all others. An unknown method
//! is not an error here: it travels as it is.

/// A method of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Method {
    /// The message is a response and names none.
    #[default]
    None,
    /// A method no revision defines; the text is in the message.
    Other,
    /// `initialize`, legacy.
    Initialize,
    /// `ping`, legacy.
    Ping,
    /// `server/discover`, modern.
    ServerDiscover,
    /// `subscriptions/listen`, modern.
    SubscriptionsListen,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`.
    ToolsCall,
    /// `prompts/list`.
    PromptsList,
    /// `prompts/get`.
    PromptsGet,
    /// `resources/list`.
    ResourcesList,
    /// `resources/templates/list`.
    ResourcesTemplatesList,
    /// `resources/read`.
    ResourcesRead,
    /// `resources/subscribe`, legacy.
    ResourcesSubscribe,
    /// `resources/unsubscribe`, legacy.
    ResourcesUnsubscribe,
    /// `completion/complete`.
    CompletionComplete,
    /// `logging/setLevel`, legacy.
    LoggingSetLevel,
    /// `tasks/get`: 2025-11-25 and the Tasks extension.
    TasksGet,
    /// `tasks/result`, 2025-11-25.
    TasksResult,
    /// `tasks/cancel`: 2025-11-25 and the Tasks extension.
    TasksCancel,
    /// `tasks/list`, 2025-11-25.
    TasksList,
    /// `tasks/update`, the Tasks extension.
    TasksUpdate,
    /// `sampling/createMessage`: server to client; modern, an input request.
    SamplingCreateMessage,
    /// `roots/list`: server to client; modern, an input request.
    RootsList,
    /// `elicitation/create`: server to client; modern, an input request.
    ElicitationCreate,
    /// `notifications/initialized`, legacy.
    Initialized,
    /// `notifications/cancelled`.
    Cancelled,
    /// `notifications/progress`.
    Progress,
    /// `notifications/message`.
    LogMessage,
    /// `notifications/roots/list_changed`, legacy.
    RootsListChanged,
    /// `notifications/tools/list_changed`.
    ToolsListChanged,
    /// `notifications/prompts/list_changed`.
    PromptsListChanged,
    /// `notifications/resources/list_changed`.
    ResourcesListChanged,
    /// `notifications/resources/updated`.
    ResourcesUpdated,
    /// `notifications/subscriptions/acknowledged`, modern.
    SubscriptionsAcknowledged,
    /// `notifications/tasks/status`, 2025-11-25.
    TasksStatus,
    /// `notifications/tasks`, the Tasks extension.
    TasksChanged,
    /// `notifications/elicitation/complete`, 2025-11-25.
    ElicitationComplete,
}

/// Every method that has a name, once.
const NAMES: [(Method, &str); 36] = [
    (Method::Initialize, "initialize"),
    (Method::Ping, "ping"),
    (Method::ServerDiscover, "server/discover"),
    (Method::SubscriptionsListen, "subscriptions/listen"),
    (Method::ToolsList, "tools/list"),
    (Method::ToolsCall, "tools/call"),
    (Method::PromptsList, "prompts/list"),
    (Method::PromptsGet, "prompts/get"),
    (Method::ResourcesList, "resources/list"),
    (Method::ResourcesTemplatesList, "resources/templates/list"),
    (Method::ResourcesRead, "resources/read"),
    (Method::ResourcesSubscribe, "resources/subscribe"),
    (Method::ResourcesUnsubscribe, "resources/unsubscribe"),
    (Method::CompletionComplete, "completion/complete"),
    (Method::LoggingSetLevel, "logging/setLevel"),
    (Method::TasksGet, "tasks/get"),
    (Method::TasksResult, "tasks/result"),
    (Method::TasksCancel, "tasks/cancel"),
    (Method::TasksList, "tasks/list"),
    (Method::TasksUpdate, "tasks/update"),
    (Method::SamplingCreateMessage, "sampling/createMessage"),
    (Method::RootsList, "roots/list"),
    (Method::ElicitationCreate, "elicitation/create"),
    (Method::Initialized, "notifications/initialized"),
    (Method::Cancelled, "notifications/cancelled"),
    (Method::Progress, "notifications/progress"),
    (Method::LogMessage, "notifications/message"),
    (Method::RootsListChanged, "notifications/roots/list_changed"),
    (Method::ToolsListChanged, "notifications/tools/list_changed"),
    (Method::PromptsListChanged, "notifications/prompts/list_changed"),
    (Method::ResourcesListChanged, "notifications/resources/list_changed"),
    (Method::ResourcesUpdated, "notifications/resources/updated"),
    (Method::SubscriptionsAcknowledged, "notifications/subscriptions/acknowledged"),
    (Method::TasksStatus, "notifications/tasks/status"),
    (Method::TasksChanged, "notifications/tasks"),
    (Method::ElicitationComplete, "notifications/elicitation/complete"),
];

impl Method {
    /// The method that `text` names exactly; [`Method::Other`] for any other text.
    pub fn parse(text: &str) -> Self {
        Self::parse_bytes(text.as_bytes())
    }

    pub(crate) fn parse_bytes(text: &[u8]) -> Self {
        // The call every agent makes most.
        if text == b"tools/call" {
            return Self::ToolsCall;
        }
        let named = NAMES.iter().find(|(_, name)| name.as_bytes() == text);
        named.map_or(Self::Other, |(method, _)| *method)
    }

    /// The method's name on the wire; empty for [`Method::None`] and [`Method::Other`].
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(method, _)| *method == self).map_or("", |(_, name)| name)
    }

    /// Whether the 2026-07-28 revision lets a client send it as a request.
    pub const fn is_modern_request(self) -> bool {
        matches!(
            self,
            Self::ServerDiscover
                | Self::SubscriptionsListen
                | Self::ToolsList
                | Self::ToolsCall
                | Self::PromptsList
                | Self::PromptsGet
                | Self::ResourcesList
                | Self::ResourcesTemplatesList
                | Self::ResourcesRead
                | Self::CompletionComplete
        )
    }

    /// Whether a complete result must carry `ttlMs` and `cacheScope`
    /// (2026-07-28, server/utilities/caching).
    pub const fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::ServerDiscover
                | Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::ResourcesTemplatesList
                | Self::ResourcesRead
        )
    }

    /// Whether a modern server may answer `input_required` (2026-07-28, basic/patterns/mrtr).
    pub const fn may_require_input(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }

    /// Which member of `params` the `Mcp-Name` header mirrors; `None` where it mirrors none.
    pub const fn named_by(self) -> Option<NamedBy> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some(NamedBy::Name),
            Self::ResourcesRead => Some(NamedBy::Uri),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some(NamedBy::TaskId),
            _ => None,
        }
    }
}

/// The member of `params` that says what a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedBy {
    /// `params.name`.
    Name,
    /// `params.uri`.
    Uri,
    /// `params.taskId` (SEP-2663, "Routing Headers").
    TaskId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_or_a_method_would_fall_to_other() {
        for (method, name) in NAMES {
            assert_eq!(Method::parse(name), method);
            assert_eq!(method.as_str(), name);
        }
        for text in ["", "tools/Call", "tools/call ", "notifications/unknown"] {
            assert_eq!(Method::parse(text), Method::Other, "{text:?}");
        }
        assert_eq!(Method::None.as_str(), "");
    }
}
