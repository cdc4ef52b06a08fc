//! What a program asks of the fleet's dispatcher: one thing at a time, for which it waits.
//!
//! Always: what would change something has the next number of the program's, and keeps it until there is an answer, wherever it is asked again;
//! the number is in a snapshot. So the dispatcher tells a repeat from a second wish.

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::values::{ValueAnswer, ValueAsk};

/// A request as the engine's shell carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Another one for each time that an engine begins it.
    pub request: OperationId,
    pub number: u64,
    pub what: ValueAsk,
}

#[derive(Debug, Default)]
pub(super) struct Errands {
    next: u64,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    errand: Errand,
    answer: Option<Result<ValueAnswer, Failure>>,
}

impl Errands {
    /// The number of the next change.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, next: u64) {
        self.next = next;
    }

    /// What the shell has to carry; `None`: it carries that already, for a call that was left and is issued again.
    pub(super) fn begin(&mut self, what: &ValueAsk) -> Option<Errand> {
        if let Some(waiting) = &self.waiting
            && waiting.errand.what == *what
        {
            return None;
        }
        let errand = Errand {
            request: OperationId::random(),
            number: self.next,
            what: what.clone(),
        };
        self.waiting = Some(Waiting {
            errand: errand.clone(),
            answer: None,
        });
        Some(errand)
    }

    pub(super) fn is_waiting(&self, request: OperationId) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.errand.request == request && waiting.answer.is_none())
    }

    pub(super) fn answer(&mut self, request: OperationId, answer: Result<ValueAnswer, Failure>) {
        if let Some(waiting) = &mut self.waiting
            && waiting.errand.request == request
        {
            waiting.answer = Some(answer);
        }
    }

    /// The answer, if it is there: the errand is over then.
    pub(super) fn take_answer(&mut self) -> Option<Result<ValueAnswer, Failure>> {
        let answer = self.waiting.as_mut()?.answer.take()?;
        self.end();
        Some(answer)
    }

    /// It is not waited for any longer. Whatever comes of it, the next change is another.
    pub(super) fn end(&mut self) {
        if let Some(ended) = self.waiting.take()
            && !matches!(ended.errand.what, ValueAsk::Get { .. })
        {
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::values::{Key, Value};

    fn key() -> Key {
        Key::of_program("p", "k").expect("sound")
    }

    fn set() -> ValueAsk {
        ValueAsk::Set {
            key: key(),
            value: Value::new(vec![1]).expect("short"),
        }
    }

    #[test]
    fn a_change_keeps_its_number_until_it_is_answered_and_reading_takes_none() {
        let mut errands = Errands::default();
        let get = errands.begin(&ValueAsk::Get { key: key() }).expect("new");
        errands.answer(get.request, Ok(ValueAnswer::Absent));
        assert_eq!(errands.take_answer(), Some(Ok(ValueAnswer::Absent)));
        let first = errands.begin(&set()).expect("new");
        assert_eq!(errands.begin(&set()), None, "under way");
        assert_eq!((first.number, errands.next()), (0, 0));
        let mut moved = Errands::default();
        moved.restore(errands.next());
        let again = moved.begin(&set()).expect("another engine carries it");
        assert_eq!(again.number, first.number);
        moved.answer(first.request, Ok(ValueAnswer::Removed));
        assert_eq!(moved.take_answer(), None, "not its own");
        moved.answer(again.request, Ok(ValueAnswer::Set { version: 1 }));
        assert!(!moved.is_waiting(again.request));
        assert!(moved.take_answer().is_some());
        assert_eq!(moved.begin(&set()).expect("another wish").number, 1);
        moved.end();
        assert_eq!(moved.next(), 2, "given up: it may have been done");
    }
}
