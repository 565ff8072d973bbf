//! How large may a message and its parts be?
//!
//! Each limit is a bound on what one hostile peer can make this process hold or do.

/// Deepest nesting of containers in a message, the message itself being the first. A tool's schema
/// spends two levels a nested property and six to reach it, so sixty nested properties fit. The
/// scanner recurses: this is also its bound on stack frames.
pub const DEPTH_MAX: u32 = 128;

/// Longest message in bytes: an image or a document inside a result, base64 and some.
pub const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// Longest JSON-RPC id in bytes, quotes included. It is kept for every request in flight.
pub const ID_BYTES_MAX: u32 = 1024;

/// Longest progress token in bytes, quotes included. Kept like an id.
pub const PROGRESS_TOKEN_BYTES_MAX: u32 = 1024;

/// Longest tool name clients accept (128 in the specification, 64 in the interfaces of the models
/// behind them).
pub const EXPOSED_NAME_MAX: usize = 64;

/// Longest name an upstream may be given: it leaves half of an exposed name to the tool.
pub const UPSTREAM_NAME_MAX: usize = 30;

/// Most `x-mcp-header` annotations honoured in one tool's schema.
pub const PARAM_HEADERS_MAX: usize = 64;

/// Most questions a server may ask in one answer; each becomes a request to a legacy client.
pub const INPUT_REQUESTS_MAX: usize = 32;
