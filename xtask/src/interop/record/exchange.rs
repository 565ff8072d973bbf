//! What was seen, as exchanges: a request, what was said until its answer, and the answer.
//!
//! Invariants: clients ask one thing at a time, so an exchange is what lies between a request and
//! its answer. What a server says by itself is left out, and what is answered to it: all between
//! exchanges, that a list changed, and, where no tool was called that asks, each question and each
//! log message.

use std::collections::BTreeMap;

use super::event::{Event, Headers, Side, What};
use super::spans::Message;

/// A message and how it was carried.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) side: Side,
    pub(super) message: Message,
    /// Of the request that carried it.
    pub(super) headers: Option<Headers>,
    /// The status and the headers of the answer to the request that carried it.
    pub(super) answer: Option<(u16, Headers)>,
    /// What stood around it in an event stream.
    pub(super) frame: Option<(String, String)>,
    /// Whether it came on a stream of the server's own, and not on that of the request.
    pub(super) own: bool,
    stream: usize,
}

/// What a client does.
#[derive(Debug)]
pub(super) enum Deed {
    /// The request, then all that was said up to the answer, which is the last.
    Exchange(Said, Vec<Said>),
    Note(Said),
    /// A request without a message: its method, its headers, the status of its answer.
    Bare(String, Headers, u16),
}

/// Takes what was seen apart; `asked` says whether tools that ask were called. Also what was left
/// out, in words.
pub(super) fn deeds(events: &[Event], asked: bool) -> (Vec<Deed>, Vec<String>) {
    let mut reader = Reader { asked, ..Reader::default() };
    for event in events {
        if let Err(why) = reader.take(event) {
            reader.left.push(why);
        }
    }
    if let Some((asked, _)) = reader.open.take() {
        reader.left.push(format!("no answer: {}", asked.message.text));
    }
    for deed in &mut reader.deeds {
        // What came after the message it belongs to.
        match deed {
            Deed::Exchange(asked, then) => {
                then.iter_mut().for_each(|said| said.complete(&reader.answers));
                asked.complete(&reader.answers);
            }
            Deed::Note(said) => said.complete(&reader.answers),
            Deed::Bare(..) => {}
        }
    }
    (reader.deeds, reader.left)
}

impl Said {
    fn complete(&mut self, answers: &BTreeMap<usize, (u16, Headers)>) {
        if self.headers.is_some() {
            self.answer = answers.get(&self.stream).cloned();
        }
    }
}

#[derive(Default)]
struct Reader {
    asked: bool,
    deeds: Vec<Deed>,
    left: Vec<String>,
    open: Option<(Said, Vec<Said>)>,
    /// Requests without a message whose answer is not seen yet.
    bare: BTreeMap<usize, (String, Headers)>,
    answers: BTreeMap<usize, (u16, Headers)>,
}

impl Reader {
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let stream = event.stream;
        let said = |side, text: &str, headers: Option<&Headers>, frame| {
            let message = Message::read(text)?;
            let headers = headers.cloned();
            let own = false;
            Ok::<Said, String>(Said { side, message, headers, answer: None, frame, own, stream })
        };
        match &event.what {
            What::Line(side, text) => self.message(said(*side, text, None, None)?),
            What::Asked(method, headers, _) if method != "POST" => {
                self.bare.insert(stream, (method.clone(), headers.clone()));
            }
            What::Asked(_, headers, body) => {
                self.message(said(Side::Client, body, Some(headers), None)?);
            }
            What::Head(status, headers) => {
                self.answers.insert(stream, (*status, headers.clone()));
                if let Some((method, asked)) = self.bare.remove(&stream) {
                    self.deeds.push(Deed::Bare(method, asked, *status));
                }
            }
            // Where messages are to be sent to, in HTTP+SSE.
            What::Data(head, ..) if head.contains("event: endpoint") => {}
            What::Data(head, text, tail) => {
                let frame = Some((head.clone(), tail.clone()));
                self.message(said(Side::Server, text, None, frame)?);
            }
            // What is not the answer to a message may say so in words.
            What::Body(text) if matches!(self.answers.get(&stream), Some((200 | 400 | 404, _))) => {
                self.message(said(Side::Server, text, None, None)?);
            }
            What::Body(_) => {}
        }
        Ok(())
    }

    fn message(&mut self, mut said: Said) {
        if said.message.method.is_none() && said.message.id.is_none() {
            // A server that resumes its stream may begin with `{}`.
            return self.left.push(format!("by itself: {}", said.message.text));
        }
        let asks = said.message.method.is_some() && said.message.id.is_some();
        said.own = self.open.as_ref().is_some_and(|(asked, _)| asked.stream != said.stream);
        match (said.side, &mut self.open) {
            (Side::Client, open) if asks => {
                if let Some((before, _)) = open.replace((said, Vec::new())) {
                    self.left.push(format!("no answer: {}", before.message.text));
                }
            }
            (Side::Client, open) if said.message.method.is_none() => {
                let then = open.as_mut().filter(|_| self.asked).map(|(_, then)| then);
                match then.filter(|then| then.iter().any(|it| is_question(it, &said))) {
                    Some(then) => then.push(said),
                    None => self.left.push(format!("by itself: {}", said.message.text)),
                }
            }
            (Side::Client, None) => self.deeds.push(Deed::Note(said)),
            (Side::Client, Some((_, then))) => then.push(said),
            (Side::Server, None) => self.left.push(format!("by itself: {}", said.message.text)),
            (Side::Server, Some(_)) if asks && !self.asked || is_own(&said, self.asked) => {
                self.left.push(format!("by itself: {}", said.message.text));
            }
            (Side::Server, Some((asked, then))) => {
                let answers = !asks && said.message.id == asked.message.id;
                if !answers && said.message.method.is_none() {
                    // Late, or of a stream that was resumed.
                    return self.left.push(format!("by itself: {}", said.message.text));
                }
                then.push(said);
                if answers && let Some((asked, then)) = self.open.take() {
                    self.deeds.push(Deed::Exchange(asked, then));
                }
            }
        }
    }
}

/// Whether `answer` is one to this question.
fn is_question(said: &Said, answer: &Said) -> bool {
    said.side == Side::Server
        && said.message.method.is_some()
        && said.message.id == answer.message.id
}

/// Whether a server says this of itself, whatever is under way.
fn is_own(said: &Said, asked: bool) -> bool {
    let method = said.message.method.as_deref().unwrap_or_default();
    method.ends_with("/list_changed") || (method == "notifications/message" && (said.own || !asked))
}
