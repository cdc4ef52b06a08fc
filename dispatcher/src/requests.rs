//! Requests on their way to services and their answers on the way back. A request that comes again gets the
//! same answer, or waits for the one that is being made.

use std::collections::{BTreeMap, VecDeque};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::dispatcher::{Answer, Answered, Asker, Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{OperationId, PeerName, Term};
use wayfare_protocol::limits::{GIVEN_BY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use wayfare_protocol::reason::shortened;
use wayfare_protocol::wire;

/// Requests that a service may be behind.
pub(crate) const INBOX_MAX: usize = 64;
/// Answers kept for requests that come again.
const ANSWERS_MAX: usize = 512;
/// A longer answer, such as a value that was read, is not kept: the request is served again.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// A service's requests, in order; ends when the dispatcher does not act any more.
pub(crate) type Inbox = mpsc::Receiver<Asked>;

/// One request, to be answered once.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: OperationId,
    pub(crate) body: Value,
    /// Who asks, as that says itself.
    pub(crate) by: Option<String>,
    answers: mpsc::UnboundedSender<(OperationId, Answered)>,
}

impl Asked {
    /// The body as the service knows it.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.body.clone()).map_err(|error| Failure::BadRequest {
            reason: format!("the dispatcher cannot read the request: {error}"),
        })
    }

    pub(crate) fn answer(self, result: Result<Value, Failure>) {
        let answered = match result {
            Ok(value) => Answered::Done(value),
            Err(failure) => Answered::Failed(failure),
        };
        // Nobody takes it when the dispatcher does not act any more: its successor is asked.
        let _ = self.answers.send((self.request, answered));
    }
}

/// What became of one request.
#[derive(Debug)]
enum Known {
    UnderWay { asker: Asker },
    Answered(Answer),
}

/// Sends requests where they belong, and remembers.
#[derive(Debug)]
pub(crate) struct Router {
    term: Term,
    inboxes: BTreeMap<&'static str, mpsc::Sender<Asked>>,
    known: BTreeMap<OperationId, Known>,
    by_age: VecDeque<OperationId>,
    answers: mpsc::UnboundedSender<(OperationId, Answered)>,
}

impl Router {
    /// The router, and where services' answers come out: as many as requests went in, so that needs no bound.
    pub(crate) fn new(term: Term) -> (Self, mpsc::UnboundedReceiver<(OperationId, Answered)>) {
        let (answers, made) = mpsc::unbounded_channel();
        let router = Self {
            term,
            inboxes: BTreeMap::new(),
            known: BTreeMap::new(),
            by_age: VecDeque::new(),
            answers,
        };
        (router, made)
    }

    pub(crate) fn add(&mut self, service: &'static str) -> Inbox {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        self.inboxes.insert(service, sender);
        inbox
    }

    /// Whether it was taken in, and its answer is there or being made.
    pub(crate) fn knows(&self, request: OperationId) -> bool {
        self.known.contains_key(&request)
    }

    /// Takes a request in; an answer to be sent at once comes back.
    pub(crate) fn request(&mut self, service: &PeerName, mut request: Request) -> Option<(Asker, Answer)> {
        let by = request.by.take().map(|by| shortened(by, GIVEN_BY_BYTES_MAX));
        let (asker, body) = request.take_apart();
        match self.known.get(&asker.request) {
            Some(Known::Answered(answer)) => return Some((asker, answer.clone())),
            Some(Known::UnderWay { .. }) => return None,
            None => {}
        }
        let Some(inbox) = self.inboxes.get(service.as_str()) else {
            let failure = Failure::UnknownService {
                service: service.to_string(),
            };
            let answer = self.made(asker.request, Answered::Failed(failure));
            return Some((asker, answer));
        };
        let asked = Asked {
            request: asker.request,
            body,
            by,
            answers: self.answers.clone(),
        };
        // A full inbox: it is asked again.
        if inbox.try_send(asked).is_ok() {
            self.remember(asker);
        }
        None
    }

    /// A service has answered.
    pub(crate) fn answered(&mut self, request: OperationId, answered: Answered) -> Option<(Asker, Answer)> {
        let Some(Known::UnderWay { asker }) = self.known.get(&request) else {
            return None;
        };
        let asker = asker.clone();
        let answer = self.made(request, answered);
        if wire::to_json(&answer).len() <= ANSWER_BYTES_MAX {
            self.known.insert(request, Known::Answered(answer.clone()));
        } else {
            self.known.remove(&request);
        }
        Some((asker, answer))
    }

    /// The answer to what no service was given: it may come again.
    pub(crate) fn refusal(&self, request: OperationId, answered: Answered) -> Answer {
        self.made(request, answered)
    }

    /// Whoever waits for an answer that no message holds hears that, and not nothing.
    fn made(&self, request: OperationId, answer: Answered) -> Answer {
        let answer = Answer {
            request,
            term: self.term,
            answer,
        };
        match check_bytes(
            "the answer",
            answer.encode(Reads::TAGGED).len() as u64,
            PAYLOAD_BYTES_MAX as u64,
        ) {
            Ok(()) => answer,
            Err(failure) => Answer {
                answer: Answered::Failed(failure),
                ..answer
            },
        }
    }

    fn remember(&mut self, asker: Asker) {
        let request = asker.request;
        self.known.insert(request, Known::UnderWay { asker });
        self.by_age.push_back(request);
        while self.by_age.len() > ANSWERS_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str) -> (PeerName, Request) {
        let request = Request {
            request: OperationId::random(),
            client: "client".parse().unwrap(),
            body: Value::from(1),
            reads: Reads::default(),
            by: None,
        };
        (service.parse().unwrap(), request)
    }

    #[test]
    fn a_request_that_comes_again_is_done_once_and_answered_again() {
        let (mut router, mut made) = Router::new(Term(3));
        let mut inbox = router.add("x");
        let (service, request) = request("x");
        assert!(router.request(&service, request.clone()).is_none());
        assert!(router.request(&service, request.clone()).is_none(), "under way");
        inbox.try_recv().unwrap().answer(Ok(Value::from(2)));
        assert!(inbox.try_recv().is_err(), "only once");
        let (id, answered) = made.try_recv().unwrap();
        let (asker, answer) = router.answered(id, answered).unwrap();
        assert_eq!((asker.client.as_str(), answer.term), ("client", Term(3)));
        let again = router.request(&service, request).unwrap();
        assert_eq!(again.1, answer);
    }

    #[test]
    fn an_answer_that_no_message_holds_is_a_failure_with_size_and_limit() {
        let (mut router, mut made) = Router::new(Term(1));
        let mut inbox = router.add("x");
        let (service, request) = request("x");
        router.request(&service, request);
        let long = Value::from("x".repeat(200_000));
        inbox.try_recv().unwrap().answer(Ok(long));
        let (id, answered) = made.try_recv().unwrap();
        let (_, answer) = router.answered(id, answered).unwrap();
        let Answered::Failed(failure) = answer.answer else {
            panic!("{answer:?}")
        };
        let text = failure.to_string();
        assert!(
            text.starts_with("the answer has 200") && text.ends_with("the limit is 122880"),
            "{text}"
        );
    }

    #[test]
    fn a_service_that_is_not_there_is_said_so() {
        let (mut router, _made) = Router::new(Term(1));
        let (service, request) = request("nothing");
        let (_, answer) = router.request(&service, request).unwrap();
        assert!(matches!(
            answer.answer,
            Answered::Failed(Failure::UnknownService { .. })
        ));
    }
}
