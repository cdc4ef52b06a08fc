//! What the dispatcher's service for lists is asked: which programs or engines of a large fleet are so, in
//! which order, in parts that a message holds.
//!
//! ```text
//!   front end --where, sort, limit--> dispatcher: filters and sorts all that it knows
//!             <-- rows, next --------
//!             --the same, after next-> ...                                 until there are so many rows, or no next
//! ```
//! A front end that asks so reads no statuses, of which a large fleet has more than it can take in within a
//! second. Where nobody acts, or one of the last release does, which has no such service, it looks at them
//! itself: [`Client`](crate::Client) sees to that.
//!
//! What always holds: no message grows with the number of things in it. An expression is bounded and checked
//! where it is evaluated, and one that names a field which that release does not know is refused, not half
//! understood. Rows are as front ends print them. What changes between two parts may be in both or in
//! neither, and all else is in one.

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{EngineId, ProgramId};

use crate::query::Place;
use crate::rows::{Listed, ListedEngine};

/// The service's name.
pub const SERVICE: &str = "lists";
/// Rows that are asked for sorted: each part of them costs the dispatcher a look at everything, so who wants
/// more sorts them itself.
pub const SORTED_MAX: u32 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ListAsk {
    /// Answered with a [`Part`] of [`Listed`].
    Programs(Listing<ProgramId>),
    /// Answered with a [`Part`] of [`ListedEngine`].
    Engines(Listing<EngineId>),
}

/// Which rows, and in which order. What is not said is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<K> {
    /// An expression of the read language ([`query`](crate::query)).
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// A field, `-` in front for the largest first; `None`: by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// No more rows than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of programs, only those that have not ended, or ended a moment ago.
    #[serde(default)]
    pub recent: bool,
    /// With what they use, as far as it is measured.
    #[serde(default)]
    pub numbers: bool,
    /// The place of the last row of the part before; `None`: from the beginning on.
    #[serde(default = "nowhere", skip_serializing_if = "Option::is_none")]
    pub after: Option<Place<K>>,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self {
            filter: None,
            sort: None,
            limit: None,
            recent: false,
            numbers: false,
            after: None,
        }
    }
}

/// As many rows as a message holds, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part<K, R> {
    pub rows: Vec<R>,
    /// The place of the last of these, after which the next part begins; `None`: there is no more.
    #[serde(default = "nowhere", skip_serializing_if = "Option::is_none")]
    pub next: Option<Place<K>>,
    /// Programs that ended too long ago to be listed, in the first part.
    #[serde(default)]
    pub hidden: u64,
}

/// Without what serde would ask of the key.
fn nowhere<K>() -> Option<Place<K>> {
    None
}

pub type Programs = Part<ProgramId, Listed>;
pub type Engines = Part<EngineId, ListedEngine>;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As the first release with this service writes and reads it: front ends and dispatchers of different
    /// releases live together.
    #[test]
    fn what_the_first_release_asked_and_was_answered_is_read_and_written() {
        let id = "00000000000040008000000000000007";
        let written: [Value; 4] = [
            json!({ "do": "programs", "where": "app = shop", "sort": "-memory", "limit": 5, "recent": true, "numbers": true }),
            json!({ "do": "programs", "recent": false, "numbers": false, "after": { "key": id, "value": 4096 } }),
            json!({ "do": "engines", "sort": "host", "recent": false, "numbers": true, "after": { "key": "a", "value": "h" } }),
            json!({ "do": "engines", "recent": false, "numbers": false }),
        ];
        for ask in written {
            let read: ListAsk = serde_json::from_value(ask.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), ask);
        }
        // What is not said is not asked for, and what a later release adds is passed over.
        let read: ListAsk = serde_json::from_value(json!({ "do": "programs", "later": 1 })).unwrap();
        assert_eq!(read, ListAsk::Programs(Listing::default()));
        let part: Part<ProgramId, Value> =
            serde_json::from_value(json!({ "rows": [1], "next": { "key": id }, "later": 1 })).unwrap();
        assert_eq!((part.hidden, part.rows.len()), (0, 1));
        assert_eq!(part.next.map(|place| place.value), Some(None));
        let last: Engines = serde_json::from_value(json!({ "rows": [], "hidden": 3 })).unwrap();
        assert_eq!((last.next, last.hidden), (None, 3));
    }
}
