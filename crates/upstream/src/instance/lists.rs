//! Fetching what a server offers, and fetching it again when it changed.
//!
//! Invariant: one list request is out at a time, and a list is fetched whole before it is given
//! on: a reader never sees half of a new list.

use std::fmt;

use kern_mcp::{Envelope, Method, json};
use kern_terms::{Era, Instant};

use super::{Effect, Instance, Own, Phase, greet};
use crate::limits;

/// One of the lists a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listing {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Listing {
    const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    pub(super) fn method(self) -> Method {
        match self {
            Self::Tools => Method::ToolsList,
            Self::Prompts => Method::PromptsList,
            Self::Resources => Method::ResourcesList,
            Self::Templates => Method::ResourcesTemplatesList,
        }
    }

    fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method().as_str())
    }
}

/// A list being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    pages: usize,
}

impl Instance {
    pub(super) fn refresh_all(&mut self) {
        let offered = Listing::ALL.into_iter().filter(|listing| self.can(listing.capability()));
        self.refresh = offered.collect();
    }

    /// Fetches again shortly, once however often it is asked meanwhile.
    pub(super) fn refresh_soon(&mut self, now: Instant, listing: Listing, fx: &mut Vec<Effect>) {
        if !self.is_open() || !self.can(listing.capability()) {
            return;
        }
        self.refresh.insert(listing);
        if self.refresh_due.is_none() && self.fetching.is_none() {
            self.refresh_due = Some(now + limits::REFRESH_WAIT);
            fx.push(Effect::Wake(limits::REFRESH_WAIT));
        }
    }

    /// Fetches all lists again shortly.
    pub(super) fn refresh_each(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        for listing in Listing::ALL {
            self.refresh_soon(now, listing, fx);
        }
    }

    /// A page that does not come must not keep later changes from being fetched.
    pub(super) fn page_overdue(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        let Some((due, _)) = self.page_due.filter(|(_, woken)| *woken <= now) else { return };
        if due > now {
            self.page_due = Some((due, due));
            return fx.push(Effect::Wake(due.since(now)));
        }
        self.page_due = None;
        if self.fetching.is_none() {
            return;
        }
        self.own.retain(|_, own| !matches!(own, Own::List(_)));
        self.fetching = None;
        fx.push(Effect::Warn("a list that changed was not given in time".into()));
        self.fetch_next(now, fx);
    }

    pub(super) fn fetch_next(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if self.fetching.is_some() || !self.is_open() {
            return;
        }
        match self.refresh.pop_first() {
            Some(listing) => {
                self.fetching = Some(Fetch { pages: 0 });
                self.fetch_page(now, listing, None, fx);
            }
            None => self.arrived(now, fx),
        }
    }

    fn fetch_page(
        &mut self,
        now: Instant,
        listing: Listing,
        cursor: Option<&[u8]>,
        fx: &mut Vec<Effect>,
    ) {
        // At the start the start's own deadline counts.
        if self.phase == Phase::Ready {
            let due = now + self.start_timeout;
            let woken = self.page_due.map(|(_, woken)| woken);
            self.page_due = Some((due, woken.unwrap_or(due)));
            if woken.is_none() {
                fx.push(Effect::Wake(self.start_timeout));
            }
        }
        let mut params = String::from("{");
        if let Some(cursor) = cursor {
            params.push_str("\"cursor\":");
            params.push_str(&String::from_utf8_lossy(cursor));
        }
        if self.revision.era() == Era::Modern {
            if cursor.is_some() {
                params.push(',');
            }
            params.push_str(&self.modern_meta());
        }
        params.push('}');
        self.ask(Own::List(listing), listing.method(), &params, fx);
    }

    pub(super) fn listed(
        &mut self,
        now: Instant,
        listing: Listing,
        message: &[u8],
        envelope: &Envelope,
        fx: &mut Vec<Effect>,
    ) {
        let Some(fetch) = &mut self.fetching else { return };
        let Some(result) = greet::final_result(message, envelope, self.revision.era()) else {
            // Many servers declare `resources` and have no templates.
            if listing != Listing::Templates {
                let why = greet::error_text(message, envelope);
                fx.push(Effect::Warn(format!("{listing}: {why}")));
            }
            self.fetching = None;
            return self.fetch_next(now, fx);
        };
        let result = result.of(message);
        let first = fetch.pages == 0;
        fetch.pages += 1;
        let more = fetch.pages < limits::PAGES_MAX;
        fx.push(Effect::Page { method: listing.method(), result: result.to_vec(), first });
        let cursor = json::field(result, "nextCursor");
        match cursor.filter(|cursor| cursor.starts_with(b"\"")) {
            Some(cursor) if more => self.fetch_page(now, listing, Some(cursor), fx),
            Some(_) => {
                let limit = limits::PAGES_MAX;
                fx.push(Effect::Warn(format!("{listing}: cut off after {limit} pages")));
                self.fetching = None;
                self.fetch_next(now, fx);
            }
            None => {
                self.fetching = None;
                self.fetch_next(now, fx);
            }
        }
    }
}
