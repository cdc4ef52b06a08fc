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

use wayfare_core::types::Input;
use wayfare_link::Message;
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::reply::Barrier;
use wayfare_protocol::status::TOMBSTONE;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::agent::{Agent, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    state: State,
    /// Of the last message, so that an earlier one does not count.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Wanted,
    Asked,
    Passed,
}

impl Default for Fence {
    fn default() -> Self {
        Self {
            state: State::Closed,
            number: 0,
        }
    }
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
        self.sessions.set_heard(false);
    }

    /// Sends the message once every subscription stands.
    pub(super) fn ask_fence(&mut self) {
        if self.fence.state != State::Wanted || !self.subscribing.is_empty() {
            return;
        }
        self.fence.state = State::Asked;
        self.fence.number += 1;
        let barrier = wire::encode(&Barrier {
            barrier: self.fence.number,
        });
        let topic = self.out.topics.topic(&Topic::Reply(self.out.engine.clone()));
        if let Err(error) = self.out.link.try_publish(Message::new(topic, barrier).fleeting()) {
            // Asked again with the next subscription or connection.
            tracing::warn!(%error, "cannot ask what is retained");
            self.fence.state = State::Wanted;
        }
    }

    pub(super) fn fence_answered(&mut self, number: u64) {
        if self.fence.state != State::Asked || number != self.fence.number {
            return;
        }
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
    pub(super) fn claimed(&mut self, program: ProgramId, generation: Generation, by: &EngineId) {
        let was_here = self.core.runs(program);
        let here = self.programs.current(program).map(|hosted| hosted.generation);
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
