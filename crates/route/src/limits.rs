//! How much one upstream may declare, and how long what it declares may be.
//!
//! The sum per upstream: 4 kinds × [`ITEMS_MAX`] items, but never more than [`LIST_BYTES_MAX`]
//! bytes of definitions over all kinds, plus [`WARNINGS_MAX`] warnings of [`LABEL_BYTES_MAX`].

/// Most items of one kind that one upstream may declare. The rest is left out with a warning.
pub const ITEMS_MAX: usize = 20_000;
/// Most bytes of definitions kept for one upstream, all kinds together.
pub const LIST_BYTES_MAX: usize = 64 << 20;
/// Longest single definition, bytes.
pub const ITEM_BYTES_MAX: usize = 512 << 10;
/// Longest tool or prompt name, bytes. The specification recommends at most 128.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest resource URI or URI template, bytes.
pub const URI_BYTES_MAX: usize = 8 << 10;
/// Most links to user interfaces read from one tool.
pub const LINKS_MAX: usize = 8;
/// Most pages read of one list; an upstream whose cursors never end stops here.
pub const PAGES_MAX: u32 = 2_048;
/// Longest cursor taken from an upstream, bytes.
pub const UPSTREAM_CURSOR_BYTES_MAX: usize = 16 << 10;
/// Most warnings kept for one upstream; further ones are only counted.
pub const WARNINGS_MAX: usize = 64;
/// Longest quotation of an upstream's text in a warning, bytes.
pub const LABEL_BYTES_MAX: usize = 80;
/// Longest tool or prompt name served where several upstreams share an endpoint, bytes.
pub const EXPOSED_BYTES_MAX: usize = kern_mcp::limits::EXPOSED_NAME_MAX;
/// Most expressions (`{…}`) in a URI template that is matched.
pub const EXPRESSIONS_MAX: usize = 32;
/// Longest merged instructions, bytes; each upstream gets an equal share.
pub const INSTRUCTIONS_BYTES_MAX: usize = 16 << 10;
/// Levels of objects that merged capabilities are united over.
pub const CAPABILITY_DEPTH_MAX: usize = 4;
