//! What calls a program has open, for who inspects it: those that it has made, and those that it was sent and
//! has not answered.
//!
//! Asked of the engine when somebody looks, and published nowhere else: no status grows with a program's
//! calls.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;
use crate::ids::ProgramId;

/// Calls of each sort in one answer, those of the lowest numbers. That is fewer than a program may have.
pub const LISTED_MAX: usize = 64;

/// The body of a [`crate::dispatcher::Request`] to [`crate::topics::Topic::EngineDevice`], which engines of
/// earlier releases refuse as one that they cannot read. Answered with [`OpenCalls`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum OpenCallsAsk {
    OpenCalls { program: ProgramId },
}

impl OpenCallsAsk {
    /// What a request asks, if that is it. Read by hand, as [`crate::journal::JournalAsk::of`] is.
    pub fn of(body: &Value) -> Option<Self> {
        let is_it = body.get("ask").and_then(Value::as_str) == Some("open-calls");
        let program = body.get("program").and_then(Value::as_str)?.parse().ok()?;
        is_it.then_some(Self::OpenCalls { program })
    }
}

/// A program's open calls. Times are by its engine's clock, and are not there of calls that were begun before
/// the program came to this engine or was started again on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpenCalls {
    /// The engine's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The first [`LISTED_MAX`] of `made_count`, in the order of their numbers.
    pub made: Vec<MadeCall>,
    pub made_count: u64,
    /// The first [`LISTED_MAX`] of `received_count`, in the order in which they came.
    pub received: Vec<ReceivedCall>,
    pub received_count: u64,
}

/// A call of the program's own, whose end it has not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeCall {
    pub number: u64,
    pub address: Address,
    /// Who was called there, or who is asked whom to call.
    pub provider: ProgramId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// When it was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// What is left of its time by the program's clock, which stands still while it is paused or moved.
    pub left_ms: u64,
    /// It has an end, which the program has not asked for yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// A call that the program was sent and has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedCall {
    /// Its caller's number of it.
    pub number: u64,
    /// A program, or whoever calls as one from outside.
    pub caller: ProgramId,
    /// Which of the provider's addresses was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// When the program took it, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// How long its caller waits, from when it sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// It waits in the program's inbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::FUNCTION_BYTES_MAX;
    use crate::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
    use crate::wire;

    #[test]
    fn what_is_read_by_hand_is_what_is_written() {
        let program = ProgramId::from_bytes([7; 16]);
        let ask = OpenCallsAsk::OpenCalls { program };
        let body = serde_json::to_value(&ask).unwrap();
        assert_eq!(OpenCallsAsk::of(&body), Some(ask.clone()));
        assert_eq!(serde_json::from_value::<OpenCallsAsk>(body).unwrap(), ask);
        for other in [
            serde_json::json!({ "ask": "numbers", "program": program }),
            serde_json::json!({ "ask": "open-calls", "program": "?" }),
            serde_json::json!({ "ask": "open-calls" }),
            serde_json::json!("open-calls"),
        ] {
            assert_eq!(OpenCallsAsk::of(&other), None, "{other}");
        }
    }

    #[test]
    fn the_longest_answer_fits_into_a_message() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let address: Address = format!("app/{name}/{name}/4294967295").parse().unwrap();
        let function = Some("f".repeat(FUNCTION_BYTES_MAX));
        let id = ProgramId::from_bytes([0xff; 16]);
        let made = MadeCall {
            number: u64::MAX,
            address: address.clone(),
            provider: id,
            function: function.clone(),
            since_ms: Some(u64::MAX),
            left_ms: u64::MAX,
            ended: true,
        };
        let received = ReceivedCall {
            number: u64::MAX,
            caller: id,
            address: Some(address),
            function,
            since_ms: Some(u64::MAX),
            deadline_ms: Some(u64::MAX),
            queued: true,
        };
        let longest = OpenCalls {
            clock_ms: u64::MAX,
            made: vec![made; LISTED_MAX],
            made_count: u64::MAX,
            received: vec![received; LISTED_MAX],
            received_count: u64::MAX,
        };
        let bytes = wire::to_json(&longest).len();
        assert!(bytes < PAYLOAD_BYTES_MAX - 1024, "{bytes}");
        assert_eq!(wire::from_json(&wire::to_json(&longest)), Ok(longest));
    }

    #[test]
    fn what_is_not_known_is_not_there_and_what_a_later_release_says_is_ignored() {
        let id = ProgramId::from_bytes([1; 16]);
        let text = format!(
            r#"{{"clock_ms":1,"made":[{{"number":2,"address":"service/a","provider":"{id}","left_ms":3,"new":4}}],
               "made_count":1,"received":[{{"number":5,"caller":"{id}"}}],"received_count":1}}"#
        );
        let read: OpenCalls = wire::from_json(text.as_bytes()).unwrap();
        assert_eq!((read.made[0].since_ms, read.made[0].ended), (None, false));
        assert_eq!(
            (read.received[0].function.as_ref(), read.received[0].queued),
            (None, false)
        );
    }
}
