//! Where does a request go? The catalog of every upstream's tools, prompts and resources.
//!
//! Invariants: the same catalog and the same request give the same answer; nothing here does I/O,
//! reads a clock or takes a lock; a catalog is built off the path and never changes.
//!
//! Reading order: [`Lists`] (what one upstream declared), [`View`] (what one endpoint serves),
//! [`Page`] (how a list is handed out), [`Catalog`] (all endpoints at one moment).

mod catalog;
mod error;
mod hash;
mod kind;
pub mod limits;
mod lists;
mod merge;
mod page;
mod template;
mod view;

pub use catalog::Catalog;
pub use error::{BadCursor, ListError, Reason, Warning};
pub use kind::ListKind;
pub use lists::{Hint, Item, Lists};
pub use page::{CURSOR_BYTES_MAX, Page, PageLimits};
pub use view::{Located, Rule, Target, View};
