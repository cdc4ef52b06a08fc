//! What programs ask of the acting dispatcher, on its way: said again until the program does not wait for it
//! any more.
//!
//! Nothing is said on a connection before it is known whether the programs are still ours (`fence`), and
//! everything under the generation that the program has here: so a copy that was replaced is not listened to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wayfare_protocol::dispatcher::{Answer, Answered, Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Challenge, OperationId, ProgramId};

use super::outbound::Outbound;
use super::programs::Programs;
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

    /// It is said when that is due next: at once.
    pub(super) fn carry(&mut self, program: ProgramId, incarnation: u64, asked: ServiceRequest) {
        let carried = Carried {
            program,
            incarnation,
            asked,
            due: Instant::now(),
        };
        self.carried.insert(carried.asked.request, carried);
    }

    /// `is_heard`: there is a broker, and programs are known to be ours.
    pub(super) fn due(&mut self, now: Instant, programs: &Programs, is_heard: bool, out: &Outbound) {
        // Those of programs that are gone, or do not wait any more, are done with.
        self.carried.retain(|request, carried| {
            let hosted = programs.get(carried.program, carried.incarnation);
            let process = hosted.and_then(|hosted| hosted.process());
            process.is_some_and(|process| process.is_waiting_for(*request))
        });
        for (request, carried) in &mut self.carried {
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
                client: out.engine.clone(),
                body: asked
                    .what
                    .request(carried.program, hosted.generation, asked.number),
                reads: match out.key {
                    Some(_) => Reads::SIGN_AGAIN,
                    None => Reads::TAGGED,
                },
                by: None,
            };
            out.request(asked.what.service(), &request, self.challenge);
        }
    }

    /// Gives the program its answer, or notes for which challenge the request is to be signed when it is said
    /// again.
    pub(super) fn answered(&mut self, answer: Answer, programs: &Programs) {
        let answered = match answer.answer {
            Answered::SignAgain { challenge } => return self.sign_again(answer.request, challenge),
            Answered::Failed(failure) => Err(failure),
            Answered::Done(value) => Ok(value),
        };
        let Some(carried) = self.carried.remove(&answer.request) else {
            return; // Answered before.
        };
        let answered = answered.and_then(|value| {
            let reply = carried.asked.what.reply(value);
            reply.map_err(|error| Failure::Internal {
                reason: format!("the dispatcher's answer cannot be read: {error}"),
            })
        });
        let hosted = programs.get(carried.program, carried.incarnation);
        if let Some(process) = hosted.and_then(|hosted| hosted.process()) {
            process.service_answered(answer.request, answered);
        }
    }

    /// The acting dispatcher wants it signed, or its challenge is another one.
    fn sign_again(&mut self, request: OperationId, challenge: Challenge) {
        let is_news = self.challenge.replace(challenge) != Some(challenge);
        // Said again at once only for another challenge: an answer to an earlier repetition costs no more
        // than that.
        if is_news && let Some(carried) = self.carried.get_mut(&request) {
            carried.due = Instant::now();
        }
    }
}
