//! Leaving: an engine that is told to stop asks the acting dispatcher to move elsewhere what belongs to
//! applications.
//!
//! It says so in its status, under an id, and the dispatcher answers under that id how many programs are
//! still to go. What belongs to nobody, or fits nowhere else, is not among them: it is stored, and goes on
//! here after the next start. The wait ends when none is left, when its time is over, or with a second
//! signal; where no dispatcher answers, soon. An engine that has not been asked by one lately does not even
//! try.

use std::time::{Duration, Instant};

use wayfare_protocol::dispatcher::{ACTING_NAME, Answer, Answered};
use wayfare_protocol::ids::{ClientId, OperationId};

/// The acting dispatcher asks every few seconds whether engines are there: one that has not for so long is
/// none.
const DISPATCHER_SILENCE: Duration = Duration::from_secs(60);
/// How long its first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Leaving {
    dispatcher_heard: Option<Instant>,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    request: OperationId,
    /// The latest end.
    limit: Instant,
    /// The end, unless an answer comes first.
    until: Instant,
    is_over: bool,
}

impl Leaving {
    /// Somebody has asked whether we are here.
    pub(super) fn asked_by(&mut self, client: &ClientId) {
        if client.as_str() == ACTING_NAME {
            self.dispatcher_heard = Some(Instant::now());
        }
    }

    /// Begins to leave, within `time`; `false`: there is nobody who would answer.
    pub(super) fn begin(&mut self, time: Duration) -> bool {
        let now = Instant::now();
        let heard = self.dispatcher_heard;
        let has_dispatcher = heard.is_some_and(|at| now.duration_since(at) < DISPATCHER_SILENCE);
        if has_dispatcher {
            self.wait = Some(Wait {
                request: OperationId::random(),
                limit: now + time,
                until: now + time.min(FIRST_ANSWER),
                is_over: false,
            });
        }
        has_dispatcher
    }

    /// For the engine's status, from the beginning of the wait on.
    pub(super) fn request(&self) -> Option<OperationId> {
        self.wait.as_ref().map(|wait| wait.request)
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let waiting = self.wait.as_ref().filter(|wait| !wait.is_over);
        waiting.map(|wait| wait.until)
    }

    /// There was a wait, and it is over.
    pub(super) fn is_over(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.is_over)
    }

    pub(super) fn due(&mut self, now: Instant) {
        if let Some(wait) = &mut self.wait {
            wait.is_over |= wait.until <= now;
        }
    }

    /// Takes an answer, if it is to this.
    pub(super) fn answered(&mut self, answer: &Answer) -> bool {
        let Some(wait) = self.wait.as_mut().filter(|wait| wait.request == answer.request) else {
            return false;
        };
        match &answer.answer {
            Answered::Done(value) => match value["left"].as_u64() {
                Some(0) | None => wait.is_over = true,
                Some(left) => {
                    tracing::info!(left, "waits for programs to be moved elsewhere");
                    wait.until = wait.limit;
                }
            },
            // Nobody asked it to be signed: a status asks.
            Answered::Failed(_) | Answered::SignAgain { .. } => wait.is_over = true,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wayfare_protocol::error::Failure;
    use wayfare_protocol::ids::Term;

    use super::*;

    fn waiting(now: Instant) -> (Leaving, OperationId) {
        let request = OperationId::random();
        let wait = Wait {
            request,
            limit: now + Duration::from_secs(5),
            until: now + FIRST_ANSWER,
            is_over: false,
        };
        let leaving = Leaving {
            dispatcher_heard: None,
            wait: Some(wait),
        };
        (leaving, request)
    }

    #[test]
    fn the_wait_ends_when_nothing_is_left_or_nobody_answers_or_its_time_is_over() {
        let now = Instant::now();
        let left = |left: u64| Answered::Done(json!({ "left": left }));
        let failed = Answered::Failed(Failure::Cancelled);
        // Answers in order, seconds that pass then; over?
        let cases = [
            (vec![], 1, false),
            (vec![], 2, true),
            (vec![left(2)], 4, false),
            (vec![left(2)], 5, true),
            (vec![left(2), left(0)], 0, true),
            (vec![left(0)], 0, true),
            (vec![failed], 0, true),
            (vec![Answered::Done(json!({ "later": 1 }))], 0, true),
        ];
        for (answers, seconds, is_over) in cases {
            let (mut leaving, request) = waiting(now);
            let shown = format!("{answers:?}, {seconds} s");
            for answer in answers {
                let term = Term(1);
                assert!(leaving.answered(&Answer {
                    request,
                    term,
                    answer
                }));
            }
            leaving.due(now + Duration::from_secs(seconds));
            assert_eq!(leaving.is_over(), is_over, "{shown}");
        }
    }

    #[test]
    fn an_answer_to_something_else_is_none_to_this() {
        let (mut leaving, _) = waiting(Instant::now());
        let answer = Answer {
            request: OperationId::random(),
            term: Term(1),
            answer: Answered::Done(json!({ "left": 0 })),
        };
        assert!(!leaving.answered(&answer) && !leaving.is_over());
        assert!(!Leaving::default().answered(&answer));
    }
}
