//! A simulated server whose messages are lines: a child's standard streams, or a socket.

use std::collections::BTreeMap;

use kern_reactor::driver::sim::{Actor, Context, Gone, Link};
use serde_json::Value;

use crate::backend::{Backend, Out, Place};
use crate::words::{self, Lines};

/// Speaks lines on every link it has; each link is a conversation.
#[derive(Debug)]
pub struct LineServer {
    pub backend: Backend,
    links: BTreeMap<Place, (Link, Lines)>,
    next_place: Place,
}

impl LineServer {
    pub fn new(backend: Backend) -> Self {
        Self { backend, links: BTreeMap::new(), next_place: 0 }
    }

    fn place(&self, link: Link) -> Option<Place> {
        self.links.iter().find(|(_, (known, _))| *known == link).map(|(place, _)| *place)
    }

    fn send(&self, context: &mut Context<'_>, outs: Vec<Out>) {
        for out in outs {
            if let Some((link, _)) = self.links.get(&out.place) {
                context.send(*link, &words::line(&out.message));
            }
        }
    }

    /// Ends in the middle of everything.
    fn die(&mut self, context: &mut Context<'_>, link: Link) {
        self.leave(link);
        match context.pid() {
            Some(_) => context.exit(1),
            None => context.reset(link),
        }
    }

    fn leave(&mut self, link: Link) {
        if let Some(place) = self.place(link) {
            self.links.remove(&place);
            self.backend.left(place);
        }
    }
}

impl Actor for LineServer {
    fn opened(&mut self, _: &mut Context<'_>, link: Link) {
        self.next_place += 1;
        self.links.insert(self.next_place, (link, Lines::default()));
    }

    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        let Some(place) = self.place(link) else { return };
        let Some((_, lines)) = self.links.get_mut(&place) else { return };
        for line in lines.feed(bytes) {
            match serde_json::from_slice::<Value>(&line) {
                Ok(message @ Value::Object(_)) => {
                    let outs = self.backend.message(context, place, &message);
                    self.send(context, outs);
                    if std::mem::take(&mut self.backend.dying) {
                        return self.die(context, link);
                    }
                }
                _ => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    self.backend.police(&format!("a line that is no message: {text:?}"));
                }
            }
        }
    }

    fn timer(&mut self, context: &mut Context<'_>, token: u64) {
        let outs = self.backend.timer(context, token);
        self.send(context, outs);
    }

    fn finished(&mut self, context: &mut Context<'_>, link: Link) {
        self.leave(link);
        if context.pid().is_some() {
            context.exit(0);
        } else {
            context.close(link);
        }
    }

    fn gone(&mut self, _: &mut Context<'_>, link: Link, _: Gone) {
        self.leave(link);
    }
}
