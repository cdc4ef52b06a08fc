//! What comes before anything is said about programs on a new connection: hearing whether they are still
//! ours.
//!
//! While we were not heard, an engine may have been given up for lost and its programs started elsewhere, a
//! thousand generations higher. Their retained statuses say so. So on every connection: subscribe to the
//! statuses of all programs that are here, send ourselves a message, and say nothing about programs before it
//! is back. What the broker retains was delivered before that, and the core has ended what is not ours any
//! more. What a program prints meanwhile waits in its log.
//!
//! ```text
//!  Closed --connected--> Wanted --all subscribed--> Asked --the message is back--> Passed
//!     ^--------------------- connection lost, from everywhere -----------------------'
//! ```
//!
//! A program's session asks in the same way each time that it was connected, and takes nothing before the
//! answer. Of two lives of a program, the one whose connection is the later one has then heard of the other,
//! if that has taken anything: so no copy that was replaced is ever handed what the broker keeps for its
//! successor, however late the word of that one comes.

use tokio::sync::oneshot;

use super::outbound::Outbound;
use super::subscriptions::Subscriptions;

#[derive(Debug, Default)]
pub(crate) struct Fence {
    state: State,
    /// Of the last message, so that an earlier one does not count.
    number: u64,
    /// The last message is not back yet.
    is_asking: bool,
    /// Sessions that were connected, and from which message's answer on they may take what comes.
    sessions: Vec<(u64, oneshot::Sender<()>)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Wanted,
    Asked,
    Passed,
}

/// What a message that is back was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// An earlier one, or of an earlier connection.
    Old,
    /// Now the engine may speak of its programs, and sessions that were connected before it may take what
    /// comes.
    Passes,
    /// Only the latter.
    ForSessions,
}

impl Fence {
    pub(crate) fn begin(&mut self) {
        self.state = State::Wanted;
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.state == State::Passed
    }

    pub(crate) fn lose(&mut self) {
        self.state = State::Closed;
        self.is_asking = false;
    }

    /// Sends the message once every subscription stands.
    pub(crate) fn ask(&mut self, subscriptions: &Subscriptions, out: &Outbound) {
        if self.state != State::Wanted || !subscriptions.are_settled() {
            return;
        }
        // Where it cannot be sent, it is tried again with the next subscription or connection.
        if self.send_barrier(out) {
            self.state = State::Asked;
        }
    }

    fn send_barrier(&mut self, out: &Outbound) -> bool {
        self.number += 1;
        self.is_asking = out.barrier(self.number);
        self.is_asking
    }

    /// A program's session was connected: `answer` is given when a message that is sent from now on is back.
    pub(crate) fn session_connected(&mut self, answer: oneshot::Sender<()>, out: &Outbound) {
        self.sessions.push((self.number + 1, answer));
        self.ask_for_sessions(out);
    }

    /// One message at a time, for all sessions that were connected meanwhile.
    pub(crate) fn ask_for_sessions(&mut self, out: &Outbound) {
        if self.state == State::Passed && !self.is_asking && !self.sessions.is_empty() {
            self.send_barrier(out);
        }
    }

    /// What the core has decided before the message was back is done.
    pub(crate) fn sessions_heard(&mut self, number: u64, out: &Outbound) {
        for (_, answer) in self.sessions.extract_if(.., |(from, _)| *from <= number) {
            // A session that is gone asks for nothing.
            let _ = answer.send(());
        }
        self.ask_for_sessions(out);
    }

    /// A message is back.
    pub(crate) fn answered(&mut self, number: u64) -> Back {
        if number != self.number {
            return Back::Old;
        }
        self.is_asking = false;
        match self.state {
            State::Asked => {
                self.state = State::Passed;
                Back::Passes
            }
            State::Passed => Back::ForSessions,
            State::Closed | State::Wanted => Back::Old,
        }
    }
}
