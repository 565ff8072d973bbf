//! Which MCP servers has the user already declared, where, and may they be used?

mod client;

pub use client::ClientId;
