//! A simulated client whose messages are lines: over a Unix socket, or at the gateway's standard
//! input and output.

use std::time::Duration;

use kern_reactor::Listen;
use kern_reactor::driver::sim::{Actor, Context, Gone, Link};
use serde_json::Value;

use crate::brain::Brain;
use crate::words::{self, Lines};

const ACT: u64 = 0;
const CONNECT: u64 = 1;

/// Speaks lines on one link at a time.
#[derive(Debug)]
pub struct LineClient {
    pub brain: Brain,
    /// `None`: it is connected once, from outside.
    at: Option<Listen>,
    /// Whether it sometimes leaves in the middle and comes back.
    pub restless: bool,
    link: Option<Link>,
    lines: Lines,
    /// The id of the handshake it waits for.
    handshake: Option<String>,
    ready: bool,
    pub done: bool,
}

impl LineClient {
    pub fn new(brain: Brain, at: Option<Listen>) -> Self {
        Self {
            brain,
            at,
            restless: false,
            link: None,
            lines: Lines::default(),
            handshake: None,
            ready: false,
            done: false,
        }
    }

    fn say(&self, context: &mut Context<'_>, message: &Value) {
        if let Some(link) = self.link {
            context.send(link, &words::line(message));
        }
    }

    fn schedule(&self, context: &mut Context<'_>, most_us: u64, token: u64) {
        let delay_us = context.rng(|rng| rng.size(1, most_us));
        context.after(Duration::from_micros(delay_us), token);
    }

    fn hang_up(&mut self, context: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            context.close(link);
        }
        self.ready = false;
        self.handshake = None;
    }

    fn act(&mut self, context: &mut Context<'_>) {
        if self.done {
            return;
        }
        self.schedule(context, 30_000, ACT);
        if !self.ready {
            return;
        }
        match context.rng(|rng| rng.below(60)) {
            0 if self.restless => {
                self.brain.walk_out();
                self.hang_up(context);
                return self.schedule(context, 100_000, CONNECT);
            }
            1..5 => {
                if let Some((_, message)) = self.brain.cancel_one(context) {
                    self.say(context, &message);
                }
            }
            _ => {}
        }
        if let Some(message) = self.brain.next(context) {
            self.say(context, &message);
        } else if self.brain.only_listens() {
            for (_, message) in self.brain.stop_listening() {
                self.say(context, &message);
            }
            self.done = true;
            self.hang_up(context);
        }
    }

    fn broken(&mut self, context: &mut Context<'_>) {
        self.brain.lose_all();
        self.hang_up(context);
        match self.at {
            Some(_) if !self.done => self.schedule(context, 1_000_000, CONNECT),
            _ => self.done = true,
        }
    }
}

impl Actor for LineClient {
    fn started(&mut self, context: &mut Context<'_>) {
        for token in [CONNECT, ACT] {
            let delay = self.brain.opening(context);
            context.after(delay, token);
        }
    }

    fn opened(&mut self, context: &mut Context<'_>, link: Link) {
        self.link = Some(link);
        self.lines = Lines::default();
        if self.brain.is_modern() {
            self.ready = true;
        } else {
            let message = self.brain.initialize(context);
            self.handshake = Some(words::id_text(&message["id"]));
            self.say(context, &message);
        }
    }

    fn received(&mut self, context: &mut Context<'_>, _: Link, bytes: &[u8]) {
        for line in self.lines.feed(bytes) {
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                let text = String::from_utf8_lossy(&line).into_owned();
                self.brain.violation(&format!("a line that is no JSON: {text:?}"));
                continue;
            };
            let is_answer = message.get("method").is_none();
            for reply in self.brain.heard(context, &message) {
                self.say(context, &reply);
            }
            if is_answer && self.handshake == Some(words::id_text(&message["id"])) {
                self.handshake = None;
                if message.get("result").is_some() {
                    self.ready = true;
                    self.say(context, &self.brain.initialized());
                } else {
                    self.broken(context);
                }
            }
        }
    }

    fn timer(&mut self, context: &mut Context<'_>, token: u64) {
        match (token, &self.at) {
            (ACT, _) => self.act(context),
            (CONNECT, Some(at)) if self.link.is_none() && !self.done => {
                self.link = Some(context.connect(&at.clone()));
            }
            _ => {}
        }
    }

    fn finished(&mut self, context: &mut Context<'_>, _: Link) {
        self.broken(context);
    }

    fn gone(&mut self, context: &mut Context<'_>, _: Link, _: Gone) {
        self.link = None;
        self.broken(context);
    }
}
