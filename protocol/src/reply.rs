//! What comes on a peer's own reply topic: events of engines, answers of services, and what the peer sends
//! itself.
//!
//! It is told by its tag. What an earlier release writes has none, and is told by the one field that only it
//! has.

use serde::{Deserialize, Serialize};

use crate::dispatcher::Answer;
use crate::event::Event;
use crate::wire::{self, Message, WireError};

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Event(Box<Event>),
    Answer(Answer),
    Barrier(Barrier),
    /// Of a later release: nothing that this one waits for.
    Unknown,
}

/// A message to oneself: whoever has it back has read everything that was there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    pub barrier: u64,
}

impl Message for Barrier {
    const TYPE: &'static str = "barrier";
}

/// As much of a reply as tells what it is.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow, default, rename = "type")]
    tag: Option<std::borrow::Cow<'a, str>>,
    barrier: Option<serde::de::IgnoredAny>,
    answer: Option<serde::de::IgnoredAny>,
}

impl Reply {
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        wire::check_length(payload)?;
        let marks: Marks<'_> = serde_json::from_slice(payload).map_err(WireError::json)?;
        let tag = match (&marks.tag, marks.barrier, marks.answer) {
            (Some(tag), ..) => tag.as_ref(),
            (None, Some(_), _) => Barrier::TYPE,
            (None, None, Some(_)) => Answer::TYPE,
            (None, None, None) => Event::TYPE,
        };
        match tag {
            Barrier::TYPE => wire::from_json(payload).map(Self::Barrier),
            Answer::TYPE => wire::from_json(payload).map(Self::Answer),
            Event::TYPE => wire::from_json(payload).map(Self::Event),
            _ => Ok(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::{Answered, Reads};
    use crate::event::EventBody;
    use crate::ids::Term;
    use crate::ids::{BootId, OperationId};

    fn event() -> Event {
        Event {
            operation: OperationId::from_bytes([1; 16]),
            engine: "e".parse().unwrap(),
            boot: BootId::from_random([2; 16]),
            verb: "pause".into(),
            program: None,
            body: EventBody::Accepted,
        }
    }

    fn answer() -> Answer {
        Answer {
            request: OperationId::from_bytes([1; 16]),
            term: Term(3),
            // Whatever a service answers tells nothing about what it is.
            answer: Answered::Done(serde_json::json!({ "event": "done", "barrier": 1, "type": "event" })),
        }
    }

    #[test]
    fn replies_are_told_apart_with_tags_and_without() {
        let barrier = Barrier { barrier: 7 };
        for (payload, expected) in [
            (wire::encode(&event()), Reply::Event(Box::new(event()))),
            (wire::to_json(&event()), Reply::Event(Box::new(event()))),
            (answer().encode(Reads::TAGGED), Reply::Answer(answer())),
            (answer().encode(Reads::FIRST), Reply::Answer(answer())),
            (wire::encode(&barrier), Reply::Barrier(barrier)),
            (wire::to_json(&barrier), Reply::Barrier(barrier)),
            (br#"{"type":"news","answer":1}"#.to_vec(), Reply::Unknown),
        ] {
            let text = String::from_utf8_lossy(&payload).into_owned();
            assert_eq!(Reply::decode(&payload), Ok(expected), "{text}");
        }
        assert!(Reply::decode(b"{}").is_err());
    }

    /// What engines and clients of the first release have: any field more, and they would drop the answer.
    #[test]
    fn an_answer_for_who_does_not_say_what_it_reads_has_no_field_more() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "read only")]
        struct FirstAnswer {
            request: OperationId,
            term: Term,
            answer: Answered,
        }
        let request: crate::dispatcher::Request = serde_json::from_value(serde_json::json!({
            "request": OperationId::from_bytes([1; 16]), "client": "c", "body": 1
        }))
        .unwrap();
        assert!(serde_json::from_slice::<FirstAnswer>(&answer().encode(request.reads)).is_ok());
        assert!(serde_json::from_slice::<FirstAnswer>(&answer().encode(Reads::TAGGED)).is_err());
    }
}
