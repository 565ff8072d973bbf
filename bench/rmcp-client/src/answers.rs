//! What the client says when a server asks, and what it hears meanwhile.
//!
//! Invariant: the same question gets the same answer in every client of the matrix, so that what a
//! server makes of it can be compared.

#![expect(deprecated, reason = "sampling and roots are what old servers ask for")]

use std::sync::{Mutex, PoisonError};

use rmcp::ClientHandler;
use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, Implementation, ListRootsResult, ProgressNotificationParam,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use serde_json::{Value, json};

/// The client's side of a conversation.
pub(crate) struct Answers {
    /// Whether it says that it can be asked.
    can: bool,
    progress: Mutex<Vec<Value>>,
}

impl Answers {
    pub(crate) fn new(can: bool) -> Self {
        Self { can, progress: Mutex::new(Vec::new()) }
    }

    /// What was heard since it was last forgotten.
    pub(crate) fn progress(&self) -> Value {
        Value::Array(self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(crate) fn forget_progress(&self) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|e| ErrorData::internal_error(e.to_string(), None))
}

impl ClientHandler for Answers {
    fn get_info(&self) -> ClientConfig {
        let can = match self.can {
            true => json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} }),
            false => json!({}),
        };
        let can: ClientCapabilities = typed(can).expect("capabilities as the schema has them");
        ClientConfig::new(can, Implementation::new("interop", "1.0.0"))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        typed(json!({ "role": "assistant", "model": "rope", "stopReason": "endTurn",
                      "content": { "type": "text", "text": "a double fisherman's bend" } }))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        typed(json!({ "roots": [{ "uri": "file:///rope", "name": "rope" }] }))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        typed(json!({ "action": "accept", "content": { "name": "Ada", "check": true,
                      "integer": 7, "untitledSingleSelectEnum": "Ross" } }))
    }

    async fn on_progress(
        &self,
        heard: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let heard = json!([heard.progress, heard.total]);
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    }
}
