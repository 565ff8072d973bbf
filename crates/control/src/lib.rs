//! What is configured, found and allowed, and what does this machine offer?
//!
//! Layout, in reading order: `plan` (what the rest of the program acts on), `secret` (values named
//! but not read), `config` (`kern.toml` to plan), `discover` (the clients' files to upstreams),
//! `consent` (whose commands may run), `load` (all of it together), `diff` (what a reload changes),
//! `watch`, `doctor`.
//!
//! Invariants: this room opens no socket except to ask whether a port is free; nothing it prints
//! contains the value of an environment variable or a header; parsers are functions of text and of
//! [`Surroundings`], so the paths of every operating system are tested on one.

mod config;
mod consent;
mod diff;
mod discover;
pub mod doctor;
mod endpoint;
mod error;
pub mod limits;
mod load;
mod node;
mod plan;
mod program;
mod resolve;
mod secret;
mod show;
mod surroundings;
mod table;
pub mod watch;

pub use config::{Clients, Config, DiscoverPlan, nearest, parse_config, parse_plan};
pub use consent::{Answer, Consent, ConsentRequest, ConsentStore, ask};
pub use diff::{Diff, diff};
pub use discover::{
    ClientId, DiscoverOptions, Discovery, FileState, Finding, FoundFile, Reason, Scope, Verdict,
    discover, read_as_every_client,
};
pub use endpoint::{Endpoint, UrlError};
pub use error::{Error, Problem};
pub use load::{Listen, Loaded, Overrides, default_config_path, load};
pub use plan::{
    Builtin, CommandPlan, Cores, Driver, Instances, Kind, Limits, LogFormat, LogPlan, Origin, Plan,
    ServePlan, SourceFile, ToolFilter, Transport, UpstreamPlan, UrlPlan,
};
pub use program::find_program;
pub use resolve::{CommandLaunch, Launch, Remote, ResolveError};
pub use secret::{MissingValue, Secret, Template, TemplateError};
pub use surroundings::{BASE_VARIABLES, Os, Surroundings};
