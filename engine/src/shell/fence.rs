//! What comes before anything is said about programs on a new connection: hearing whether they are still ours.
//!
//! While we were not heard, an engine may have been given up for lost and its programs started elsewhere, a thousand
//! generations higher. Their retained statuses say so. So on every connection: subscribe to the statuses of all programs
//! that are here, send ourselves a message, and say nothing about programs before it is back. What the broker retains was
//! delivered before that, and the core has ended what is not ours any more. What a program prints meanwhile waits in its log.
//!
//! ```text
//!  Closed --connected--> Wanted --all subscribed--> Asked --the message is back--> Passed
//!     ^--------------------- connection lost, from everywhere -----------------------'
//! ```
//!
//! A program's session asks in the same way each time that it was connected, and takes nothing before the answer. Of two lives of a
//! program, the one whose connection is the later one has then heard of the other, if that has taken anything: so no copy that was
//! replaced is ever handed what the broker keeps for its successor, however late the word of that one comes.

use bytes::Bytes;
use tokio::sync::oneshot;
use wayfare_core::types::Input;
use wayfare_link::Message;
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::reply::Barrier;
use wayfare_protocol::status::TOMBSTONE;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::place::Holding;
use wayfare_protocol::wire;

use super::agent::{Agent, Step};

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

impl Fence {
    pub(crate) fn begin(&mut self) {
        self.state = State::Wanted;
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.state == State::Passed
    }
}

impl Agent {
    pub(super) fn fence_lost(&mut self) {
        self.fence.state = State::Closed;
        self.fence.is_asking = false;
        self.sessions.set_heard(false);
    }

    /// Sends the message once every subscription stands.
    pub(super) fn ask_fence(&mut self) {
        if self.fence.state != State::Wanted || !self.subscribing.is_empty() {
            return;
        }
        // Where it cannot be sent, it is tried again with the next subscription or connection.
        if self.send_barrier() {
            self.fence.state = State::Asked;
        }
    }

    fn send_barrier(&mut self) -> bool {
        self.fence.number += 1;
        let barrier = wire::encode(&Barrier {
            barrier: self.fence.number,
        });
        let topic = self.out.topics.topic(&Topic::Reply(self.out.engine.clone()));
        let sent = self.out.link.try_publish(Message::new(topic, barrier).fleeting());
        if let Err(error) = &sent {
            tracing::warn!(%error, "cannot ask what is retained");
        }
        self.fence.is_asking = sent.is_ok();
        sent.is_ok()
    }

    /// A program's session was connected: `answer` is given when a message that is sent from now on is back.
    pub(super) fn session_connected(&mut self, answer: oneshot::Sender<()>) {
        self.fence.sessions.push((self.fence.number + 1, answer));
        self.ask_for_sessions();
    }

    /// One message at a time, for all sessions that were connected meanwhile.
    pub(super) fn ask_for_sessions(&mut self) {
        let Fence { state, is_asking, .. } = self.fence;
        if state == State::Passed && !is_asking && !self.fence.sessions.is_empty() {
            self.send_barrier();
        }
    }

    /// What the core has decided before the message was back is done.
    pub(super) fn sessions_heard(&mut self, number: u64) {
        let sessions = std::mem::take(&mut self.fence.sessions);
        let (heard, later) = sessions.into_iter().partition(|(from, _)| *from <= number);
        self.fence.sessions = later;
        let heard: Vec<(u64, oneshot::Sender<()>)> = heard;
        for (_, answer) in heard {
            // A session that is gone asks for nothing.
            let _ = answer.send(());
        }
        self.ask_for_sessions();
    }

    pub(super) fn fence_answered(&mut self, number: u64) {
        if number != self.fence.number {
            return;
        }
        self.fence.is_asking = false;
        match self.fence.state {
            State::Asked => self.fence_passed(),
            State::Passed => {}
            State::Closed | State::Wanted => return,
        }
        self.steps.push_back(Step::SessionsHeard(number));
    }

    fn fence_passed(&mut self) {
        self.fence.state = State::Passed;
        self.look_away();
        self.times.give_up_logs = None;
        self.programs.set_connected(true);
        self.announced.begin_connection();
        self.feed(Input::Connected);
        // Behind what the core has decided by now: what was not ours any more is gone then.
        self.steps.push_back(Step::SpeakAgain);
    }

    /// Another engine says that it has a program which is here, or was.
    pub(super) fn claimed(
        &mut self,
        (program, generation): (ProgramId, Generation),
        by: &EngineId,
        status: &Bytes,
    ) {
        let was_here = self.core.runs(program);
        let here = self.programs.current(program).map(|hosted| hosted.generation);
        let holding = Holding {
            program,
            generation,
            engine: by.clone(),
        };
        // One that is no newer than ours ends nothing.
        if here == Some(generation)
            || (here.is_none_or(|here| here < generation) && !self.trust.believes(&holding, status))
        {
            return self.status_heard(program, status);
        }
        self.feed(Input::Fenced { program, generation });
        if was_here && !self.core.runs(program) {
            let generation = generation.0;
            tracing::warn!(
                %program,
                generation,
                "ended a program here: engine {by} says that it has a newer copy of it"
            );
            // Otherwise the engine that has it announces the same.
            if generation == TOMBSTONE.0
                && let Some(here) = here
            {
                self.withdraw_ended(program, here);
            }
        }
    }
}
