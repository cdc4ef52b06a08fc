//! What a program asks of the fleet's dispatcher: one thing at a time, for which it waits.
//!
//! Always: what would change something has the next number of the program's, and keeps it until there is an
//! answer, wherever it is asked again; the number is in a snapshot. So the dispatcher tells a repeat from a
//! second request.

use serde_json::Value as Json;
use wayfare_protocol::choice::{Loads, LoadsAnswer, LoadsAsk};
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::{self, FileAnswer, FileAsk, FileRefusal, FileRequest};
use wayfare_protocol::ids::{Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::numbers;
use wayfare_protocol::values::{self, Key, ValueAnswer, ValueAsk, ValueRequest};

/// What is asked, and of which of the dispatcher's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAsk {
    Value(ValueAsk),
    /// In the program's name.
    File {
        by: PeerName,
        ask: FileAsk,
    },
    /// What calls' providers are chosen by.
    Loads(LoadsAsk),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Value(ValueAnswer),
    File(FileAnswer),
    Loads(LoadsAnswer),
}

impl Reply {
    pub(super) fn is_stale(&self) -> bool {
        let why = FileRefusal::Stale;
        matches!(self, Self::Value(ValueAnswer::Stale)) || *self == Self::File(FileAnswer::Refused { why })
    }
}

impl ServiceAsk {
    pub fn service(&self) -> &'static str {
        match self {
            Self::Value(_) => values::SERVICE,
            Self::File { .. } => files::SERVICE,
            Self::Loads(_) => numbers::SERVICE,
        }
    }

    /// As the service takes it.
    pub fn request(&self, program: ProgramId, generation: Generation, number: u64) -> Json {
        let json = match self {
            Self::Value(ask) => serde_json::to_value(ValueRequest {
                program,
                generation,
                number,
                what: ask.clone(),
            }),
            Self::File { by, ask } => serde_json::to_value(FileRequest {
                program,
                by: by.clone(),
                generation,
                number,
                what: ask.clone(),
            }),
            Self::Loads(ask) => serde_json::to_value(ask),
        };
        json.expect("plain data serialises")
    }

    /// As the service gives it.
    pub fn reply(&self, json: Json) -> serde_json::Result<Reply> {
        match self {
            Self::Value(_) => serde_json::from_value(json).map(Reply::Value),
            Self::File { .. } => serde_json::from_value(json).map(Reply::File),
            Self::Loads(_) => serde_json::from_value(json).map(Reply::Loads),
        }
    }

    pub(super) fn is_change(&self) -> bool {
        match self {
            Self::Value(ask) => !matches!(ask, ValueAsk::Get { .. }),
            Self::File { ask, .. } => ask.is_change(),
            Self::Loads(_) => false,
        }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Value(ask) => format!("{} '{}'", ask.verb(), ask.key().map_or("", Key::as_str)),
            Self::File { .. } => "a file of the fleet's".to_owned(),
            Self::Loads(_) => "choosing a provider".to_owned(),
        }
    }
}

/// A request as the engine's shell carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Another one for each time that an engine begins it.
    pub request: OperationId,
    pub number: u64,
    pub what: ServiceAsk,
}

/// What the dispatcher has answered last about the engines of providers, and until when that is good, by the
/// program's clock.
#[derive(Debug)]
pub(super) struct LoadsKnown {
    pub(super) ask: LoadsAsk,
    pub(super) until_ns: u64,
    pub(super) loads: Loads,
}

#[derive(Debug, Default)]
pub(super) struct ServiceRequests {
    next: u64,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asked: ServiceRequest,
    answer: Option<Result<Reply, Failure>>,
}

impl ServiceRequests {
    /// The number of the next change.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, next: u64) {
        self.next = next;
    }

    /// What the shell has to carry; `None`: it carries that already, for a call that was left and is issued
    /// again. Changes have numbers of the `life` (its first number) in which they are first asked for.
    pub(super) fn begin(&mut self, what: &ServiceAsk, life: u64) -> Option<ServiceRequest> {
        if let Some(waiting) = &self.waiting
            && waiting.asked.what == *what
        {
            return None;
        }
        if what.is_change() {
            self.next = self.next.max(life);
        }
        let asked = ServiceRequest {
            request: OperationId::random(),
            number: self.next,
            what: what.clone(),
        };
        self.waiting = Some(Waiting {
            asked: asked.clone(),
            answer: None,
        });
        Some(asked)
    }

    pub(super) fn is_waiting(&self, request: OperationId) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.asked.request == request && waiting.answer.is_none())
    }

    pub(super) fn answer(&mut self, request: OperationId, answer: Result<Reply, Failure>) {
        if let Some(waiting) = &mut self.waiting
            && waiting.asked.request == request
        {
            waiting.answer = Some(answer);
        }
    }

    /// The answer, if it is there: the request is over then.
    pub(super) fn take_answer(&mut self) -> Option<Result<Reply, Failure>> {
        let answer = self.waiting.as_mut()?.answer.take()?;
        self.end();
        Some(answer)
    }

    /// It is not waited for any longer. Whatever comes of it, the next change is another.
    pub(super) fn end(&mut self) {
        if let Some(ended) = self.waiting.take()
            && ended.asked.what.is_change()
        {
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::values::Value;

    fn key() -> Key {
        Key::of_program("p", "k").expect("sound")
    }

    fn set() -> ServiceAsk {
        ServiceAsk::Value(ValueAsk::Set {
            key: key(),
            value: Value::new(vec![1]).expect("short"),
        })
    }

    #[test]
    fn a_change_keeps_its_number_until_it_is_answered_and_reading_takes_none() {
        let mut service_requests = ServiceRequests::default();
        let absent = || Ok(Reply::Value(ValueAnswer::Absent));
        let get = ServiceAsk::Value(ValueAsk::Get { key: key() });
        let get = service_requests.begin(&get, 0).expect("new");
        service_requests.answer(get.request, absent());
        assert_eq!(service_requests.take_answer(), Some(absent()));
        let first = service_requests.begin(&set(), 0).expect("new");
        assert_eq!(service_requests.begin(&set(), 0), None, "under way");
        assert_eq!((first.number, service_requests.next()), (0, 0));
        let mut moved = ServiceRequests::default();
        moved.restore(service_requests.next());
        let again = moved.begin(&set(), 0).expect("another engine carries it");
        assert_eq!(again.number, first.number);
        moved.answer(first.request, absent());
        assert_eq!(moved.take_answer(), None, "not its own");
        moved.answer(again.request, Ok(Reply::Value(ValueAnswer::Set { version: 1 })));
        assert!(!moved.is_waiting(again.request));
        assert!(moved.take_answer().is_some());
        assert_eq!(moved.begin(&set(), 0).expect("another request").number, 1);
        moved.end();
        assert_eq!(moved.next(), 2, "given up: it may have been done");
    }
}
