//! Who waits for whom in a call, and who is told when it is cancelled, late or answered twice?
//!
//! A call is a request on its way to a server. Its client waits, or was asked something; its server
//! has it, or not yet, or not at the moment. Cancellation flips with the era: a closed connection
//! withdraws a call of the new one (2026-07-28 basic/patterns/cancellation) and must not withdraw
//! one of the old (2025-11-25 basic/transports, "Sending Messages to the Server").
//!
//! A large answer goes to its client as it comes. Once it has begun nothing else can be said there: a
//! call that ends otherwise ends the client's connection in the middle of the answer.
//!
//! Invariants: a client gets one end of its call and no second; a server is told of the end only if
//! it has the call, and once; whatever comes afterwards is late. The whole table is in
//! `docs/states.md`.

use kern_terms::Era;

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No server has it; its client waits.
    Waiting,
    /// A server has it; its client waits.
    Sent,
    /// Its server's answer has begun, and goes to the client as it comes.
    Answering,
    /// Its server answered that it needs something of the client, and has it no more.
    Asking,
    /// Its server wants to be left alone for a while (tasks), and has it no more.
    Pausing,
    /// A server has it; the client was told what the server asks, and is away.
    Away,
    /// The client is away, and what its call came to is kept.
    Kept {
        /// See [`State::Over`].
        owes: bool,
    },
    /// Nobody waits for it.
    Over {
        /// A server had it and did not answer: it may still say something of it.
        owes: bool,
    },
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It goes to a server.
    Sent,
    /// It has to wait for a server, which did not act on it.
    Queued,
    /// Its server answered that it needs something of the client.
    Asked,
    /// Its server wants to be left alone for a while.
    Paused,
    /// The client was told what the server asks, and went away.
    Told,
    /// The client came back.
    Back,
    /// Its server has begun to answer, with what goes to the client as it comes.
    Begun,
    /// Its server answered; what had begun is over.
    Answered,
    /// It can't be answered: its server died, refused it, can't be reached.
    Failed,
    /// The client withdraws it, or its session or conversation is over.
    Cancelled,
    /// The connection that waits for it is gone.
    Gone(Era),
    /// Its time is up.
    Overdue,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Nothing: what came is too late, or was never asked for.
    Ignore,
    /// The answer goes to the client.
    Deliver,
    /// What came of the answer goes to the client, and the rest will.
    Begin,
    /// The last of the answer goes to the client.
    Finish,
    /// An error goes to the client.
    Refuse,
    /// The client's request ends without an answer.
    Close,
    /// The same, and the server is told.
    Withdraw,
    /// An error goes to the client, and the server is told.
    Expire,
    /// The server is told; nobody waits.
    Forget,
    /// Nobody waits, nobody is told.
    Drop,
    /// What it came to is kept for the client.
    Keep,
    /// What was kept goes to the client.
    Fetch,
    /// The pause is over: the server is asked again.
    GoOn,
    /// The client's clock runs, not the server's ([`crate::rounds`] decides).
    AskRounds,
}

impl State {
    /// Where it is after `event`, and what has to be done.
    pub fn step(self, event: Event) -> (Self, Effect) {
        use State::{Answering, Asking, Away, Kept, Over, Pausing, Sent, Waiting};
        match (self, event) {
            (Waiting | Sent | Asking | Pausing, Event::Sent) => (Sent, Effect::Nothing),
            (Waiting | Sent | Asking | Pausing, Event::Queued) => (Waiting, Effect::Nothing),
            (Answering | Away | Kept { .. } | Over { .. }, Event::Sent | Event::Queued) => {
                (self, Effect::Ignore)
            }

            (Sent, Event::Asked) => (Asking, Effect::Nothing),
            (Sent, Event::Paused) => (Pausing, Effect::Nothing),
            (Sent, Event::Told) => (Away, Effect::Nothing),
            (
                Waiting | Answering | Asking | Pausing | Away | Kept { .. } | Over { .. },
                Event::Asked | Event::Paused | Event::Told,
            ) => (self, Effect::Ignore),

            (Away, Event::Back) => (Sent, Effect::Nothing),
            (Kept { .. }, Event::Back) => (Sent, Effect::Fetch),
            (Waiting | Sent | Answering | Asking | Pausing | Over { .. }, Event::Back) => {
                (self, Effect::Ignore)
            }

            (Sent, Event::Begun) => (Answering, Effect::Begin),
            (
                Waiting | Answering | Asking | Pausing | Away | Kept { .. } | Over { .. },
                Event::Begun,
            ) => (self, Effect::Ignore),

            (Answering, Event::Answered) => (Over { owes: false }, Effect::Finish),
            (Sent, Event::Answered) => (Over { owes: false }, Effect::Deliver),
            (Away, Event::Answered) => (Kept { owes: false }, Effect::Keep),
            (Waiting | Asking | Pausing | Kept { .. } | Over { .. }, Event::Answered) => {
                (self, Effect::Ignore)
            }

            (Waiting | Asking | Pausing, Event::Failed) => (Over { owes: false }, Effect::Refuse),
            (Sent | Answering, Event::Failed) => (Over { owes: true }, Effect::Refuse),
            (Away, Event::Failed) => (Kept { owes: true }, Effect::Keep),
            (Kept { .. } | Over { .. }, Event::Failed) => (self, Effect::Ignore),

            (Waiting | Asking | Pausing, Event::Cancelled | Event::Gone(Era::Modern)) => {
                (Over { owes: false }, Effect::Close)
            }
            (Sent | Answering, Event::Cancelled | Event::Gone(Era::Modern)) => {
                (Over { owes: true }, Effect::Withdraw)
            }
            (Away, Event::Cancelled) => (Over { owes: true }, Effect::Forget),
            (Kept { owes }, Event::Cancelled) => (Over { owes }, Effect::Drop),
            (Over { .. }, Event::Cancelled) => (self, Effect::Ignore),
            // Whose connection is gone was told, and is away.
            (Away | Kept { .. }, Event::Gone(Era::Modern)) => (self, Effect::Nothing),
            (
                Waiting | Sent | Answering | Asking | Pausing | Away | Kept { .. },
                Event::Gone(Era::Legacy),
            ) => (self, Effect::Nothing),
            (Over { .. }, Event::Gone(Era::Modern | Era::Legacy)) => (self, Effect::Ignore),

            (Waiting, Event::Overdue) => (Over { owes: false }, Effect::Refuse),
            (Sent | Answering, Event::Overdue) => (Over { owes: true }, Effect::Expire),
            (Asking, Event::Overdue) => (Asking, Effect::AskRounds),
            (Pausing, Event::Overdue) => (Pausing, Effect::GoOn),
            (Away, Event::Overdue) => (Over { owes: true }, Effect::Forget),
            (Kept { owes }, Event::Overdue) => (Over { owes }, Effect::Drop),
            (Over { .. }, Event::Overdue) => (self, Effect::Ignore),
        }
    }

    /// The client was told what its server asks, and has not come back.
    pub fn is_away(self) -> bool {
        match self {
            Self::Away | Self::Kept { .. } => true,
            Self::Waiting
            | Self::Sent
            | Self::Answering
            | Self::Asking
            | Self::Pausing
            | Self::Over { .. } => false,
        }
    }

    /// A server has it.
    pub fn is_sent(self) -> bool {
        match self {
            Self::Sent | Self::Answering | Self::Away => true,
            Self::Waiting
            | Self::Asking
            | Self::Pausing
            | Self::Kept { .. }
            | Self::Over { .. } => false,
        }
    }

    /// A server has it and has not begun to answer: it may answer, and say and ask things before.
    pub fn takes_answers(self) -> bool {
        self.is_sent() && self != Self::Answering
    }

    /// It lives though its server went down: no server has it, and none is waited for.
    pub fn is_with_client(self) -> bool {
        match self {
            Self::Asking | Self::Pausing => true,
            Self::Waiting
            | Self::Sent
            | Self::Answering
            | Self::Away
            | Self::Kept { .. }
            | Self::Over { .. } => false,
        }
    }
}
