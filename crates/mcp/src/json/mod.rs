//! What is well-formed JSON, and where do its parts lie?
//!
//! Everything here speaks in [`Span`]s into the caller's bytes: nothing is copied, re-spelled or
//! turned into a tree. The grammar is RFC 8259, complete, with these decisions where the RFC leaves room:
//!
//! - Bytes must be UTF-8. A byte order mark is refused.
//! - Escaped lone surrogates (`"\ud83d"`) are well-formed, as the RFC's grammar says: tools cut text in
//!   the middle of an emoji and the message passes on untouched. [`unescape`] refuses them, so a
//!   *name* that routing depends on can never hold one; [`unescape_lossy`] reads them as U+FFFD.
//! - Duplicate members are well-formed here; the envelope refuses those it reads.
//! - Numbers have any magnitude; the readers return `None` for what does not fit.
//! - Containers nest at most as deep as the caller's limit; the walkers use
//!   [`DEPTH_MAX`](crate::limits::DEPTH_MAX).

mod block;
mod fault;
mod feed;
mod field;
mod number;
mod scanner;
mod span;
mod string;
mod text;
mod walk;

pub use fault::{JsonFault, JsonFaultKind};
pub use field::{field, items, text, text_field};
pub use number::{integer_i64, integer_u64, same_number};
pub use span::Span;
pub use text::{escape_into, quote_into, same_text, unescape, unescape_lossy};
pub use walk::{Elements, Members, elements, get, is_absent, is_object, members, validate};

pub(crate) use feed::{Feed, Sink};
pub(crate) use scanner::Scanner;
