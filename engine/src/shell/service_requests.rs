//! What programs ask of the acting dispatcher, on its way: said again until the program does not wait for it any more.
//!
//! Nothing is said on a connection before it is known whether the programs are still ours (`fence`), and everything under the
//! generation that the program has here: so a copy that was replaced is not listened to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wayfare_protocol::dispatcher::{Answer, Answered, Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Challenge, OperationId, ProgramId};

use super::agent::Agent;
use wayfare_runtime::ServiceRequest;

/// A request that was not answered is said again after this: whoever acts may have changed.
const REPEAT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Carried {
    program: ProgramId,
    incarnation: u64,
    asked: ServiceRequest,
    /// When to say it again.
    due: Instant,
}

/// At most one for each program.
#[derive(Debug, Default)]
pub(super) struct ServiceRequests {
    carried: BTreeMap<OperationId, Carried>,
    /// What the acting dispatcher wants them signed for, as it has said last.
    challenge: Option<Challenge>,
}

impl ServiceRequests {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.carried.values().map(|carried| carried.due).min()
    }
}

impl Agent {
    pub(super) fn carry(&mut self, program: ProgramId, incarnation: u64, asked: ServiceRequest) {
        let carried = Carried {
            program,
            incarnation,
            asked,
            due: Instant::now(),
        };
        self.service_requests
            .carried
            .insert(carried.asked.request, carried);
        self.service_requests_due(Instant::now());
    }

    pub(super) fn service_requests_due(&mut self, now: Instant) {
        let programs = &self.programs;
        // Those of programs that are gone, or do not wait any more, are done with.
        self.service_requests.carried.retain(|request, carried| {
            let hosted = programs.get(carried.program, carried.incarnation);
            let process = hosted.and_then(|hosted| hosted.process());
            process.is_some_and(|process| process.is_waiting_for(*request))
        });
        let is_heard = self.out.is_connected && self.fence.is_passed();
        let challenge = self.service_requests.challenge;
        for (request, carried) in &mut self.service_requests.carried {
            if carried.due > now {
                continue;
            }
            carried.due = now + REPEAT;
            let Some(hosted) = programs
                .get(carried.program, carried.incarnation)
                .filter(|_| is_heard)
            else {
                continue;
            };
            let asked = &carried.asked;
            let request = Request {
                request: *request,
                client: self.out.engine.clone(),
                body: asked
                    .what
                    .request(carried.program, hosted.generation, asked.number),
                reads: match self.out.key {
                    Some(_) => Reads::SIGN_AGAIN,
                    None => Reads::TAGGED,
                },
                by: None,
            };
            self.out.request(asked.what.service(), &request, challenge);
        }
    }

    pub(super) fn service_answered(&mut self, answer: Answer) {
        if let Answered::SignAgain { challenge } = answer.answer {
            return self.sign_again(answer.request, challenge);
        }
        let Some(carried) = self.service_requests.carried.remove(&answer.request) else {
            return; // Answered before.
        };
        let answered = match answer.answer {
            Answered::Failed(failure) => Err(failure),
            Answered::SignAgain { .. } => return, // See above.
            Answered::Done(value) => carried
                .asked
                .what
                .reply(value)
                .map_err(|error| Failure::Internal {
                    reason: format!("the dispatcher's answer cannot be read: {error}"),
                }),
        };
        let hosted = self.programs.get(carried.program, carried.incarnation);
        if let Some(process) = hosted.and_then(|hosted| hosted.process()) {
            process.service_answered(answer.request, answered);
        }
    }

    /// The acting dispatcher wants it signed, or its challenge is another one.
    fn sign_again(&mut self, request: OperationId, challenge: Challenge) {
        let is_news = self.service_requests.challenge.replace(challenge) != Some(challenge);
        let now = Instant::now();
        // Said again at once only for another challenge: an answer to an earlier repetition costs no more
        // than that.
        if is_news && let Some(carried) = self.service_requests.carried.get_mut(&request) {
            carried.due = now;
        }
        self.service_requests_due(now);
    }
}
