//! The acting dispatcher of a fleet: how it says that it is the one, and how clients and engines ask it for
//! something.
//!
//! Requests go to [`crate::topics::Topic::DispatcherRequest`], one topic for each service; the answer comes
//! on the reply topic of who asked. A request is repeated until it is answered, under the same id, and is
//! carried out once. Where the fleet's roster requires it, what changes something is signed by a member whose
//! role permits it, for the dispatcher's present challenge ([`crate::trust`]).

use serde::{Deserialize, Serialize};

use crate::error::Failure;
pub use crate::ids::ACTING_NAME;
use crate::ids::{Challenge, OperationId, PeerName, Term};
use crate::wire;

/// Who acts, retained and renewed; also its last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub term: Term,
    /// The process that has it or had it.
    pub dispatcher: PeerName,
    pub state: LeaseState,
    /// It is renewed well within this time, or is free for others.
    pub lease_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    Held,
    /// Given back, or its holder's connection broke.
    Free,
}

/// One request to one service of the acting dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub request: OperationId,
    pub client: PeerName,
    /// What the service understands.
    pub body: serde_json::Value,
    /// Which answers the client can read.
    #[serde(default, skip_serializing_if = "Reads::is_first")]
    pub reads: Reads,
    /// Who asks, for people to see: nothing proves it. Releases before did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The form of answers that a client reads. The first one is refused by its readers, engines of the release
/// before among them, if it has any field that they do not know; so who asks says that it is not one of
/// these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reads(u8);

impl Reads {
    /// Answers without a tag or any later field.
    pub const FIRST: Self = Self(0);
    /// Answers with a tag, and with whatever fields.
    pub const TAGGED: Self = Self(1);
    /// The same, and [`Answered::SignAgain`]: who asks has a key, and signs where that is wanted.
    pub const SIGN_AGAIN: Self = Self(2);

    fn is_first(&self) -> bool {
        *self == Self::FIRST
    }
}

impl Request {
    /// Whom to answer, and what.
    pub fn take_apart(self) -> (Asker, serde_json::Value) {
        let Self {
            request,
            client,
            body,
            reads,
            by: _,
        } = self;
        let asker = Asker {
            request,
            client,
            reads,
        };
        (asker, body)
    }
}

/// Who asked: as much of a request as an answer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub request: OperationId,
    pub client: PeerName,
    pub reads: Reads,
}

/// The one answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub request: OperationId,
    pub term: Term,
    pub answer: Answered,
}

impl Answer {
    pub(crate) const TYPE: &'static str = "answer";

    /// For a client that reads this. A field that is added one day is left out for those that read the first
    /// form.
    pub fn encode(&self, reads: Reads) -> Vec<u8> {
        let json = wire::to_json(self);
        if reads < Reads::TAGGED {
            return json;
        }
        wire::tagged(Self::TYPE, &json)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    Done(serde_json::Value),
    Failed(Failure),
    /// It is to be signed, for this challenge. Only who reads that ([`Reads::SIGN_AGAIN`]) is answered so.
    SignAgain {
        challenge: Challenge,
    },
}
