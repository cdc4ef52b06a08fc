//! What an engine remembers of the orders that it was given, for the acting dispatcher: whatever that has not
//! heard, because nobody acted or an engine was killed before it had said it, stands here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Event;
use crate::ids::{BootId, ClientId, EngineId, ProgramId, Term};

/// Orders in one answer: those before are asked for with [`JournalPage::next`].
pub const ENTRIES_PER_ANSWER: usize = 32;

/// The body of a [`crate::dispatcher::Request`] to [`crate::topics::Topic::EngineDevice`], which engines of
/// earlier releases refuse as one that they cannot read. Answered with a [`JournalPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum JournalAsk {
    Journal {
        /// Only what was taken before; without, the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
    },
}

impl JournalAsk {
    /// What a request asks, if that is it. Read by hand: engines read nothing else of this type, and what is
    /// derived takes boards 3 KB.
    pub fn of(body: &Value) -> Option<Self> {
        let is_it = body.get("ask").and_then(Value::as_str) == Some("journal");
        is_it.then(|| Self::Journal {
            before: body.get("before").and_then(Value::as_u64),
        })
    }
}

/// Some of an engine's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    pub engine: EngineId,
    pub boot: BootId,
    /// The newest first, by when they were taken. None that only read.
    pub entries: Vec<JournalEntry>,
    /// What to ask for next; `None`: that is all that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// An order, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Who gave it;
    pub client: ClientId,
    /// as the acting dispatcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
    /// Of the program that it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where a move or copy went,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EngineId>,
    /// and which program the copy is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<ProgramId>,
    /// Since its end; `None`: it has not ended, or had when the engine began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ago_ms: Option<u64>,
    /// The answer, or that it was accepted.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_by_hand_is_what_is_written() {
        for before in [None, Some(7)] {
            let ask = JournalAsk::Journal { before };
            let body = serde_json::to_value(&ask).unwrap();
            assert_eq!(JournalAsk::of(&body), Some(ask.clone()));
            assert_eq!(serde_json::from_value::<JournalAsk>(body).unwrap(), ask);
        }
        for other in [
            serde_json::json!({ "ask": "numbers" }),
            serde_json::json!("journal"),
        ] {
            assert_eq!(JournalAsk::of(&other), None);
        }
    }
}
