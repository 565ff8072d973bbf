//! Who answers, and is it alive.
//!
//! [`Instance`] is the life of one MCP server as seen from here: how it is greeted, what it lists,
//! how it is started again. [`call`] says what a client's message becomes on its way to it,
//! [`http`] carries messages to servers behind a URL, and [`builtin`] answers by itself.
//!
//! Invariants: no I/O and no clock; an instance that failed is retried for ever, never given up;
//! nothing a server sends can make this side keep more than its limits allow.

pub mod audience;
pub mod backoff;
pub mod builtin;
pub mod call;
pub mod http;
pub mod instance;
pub mod limits;

pub use audience::Audience;
pub use instance::{Effect, Instance, Profile, Transport};
