//! A list in parts, each with where the next begins: for rows that one message does not hold.
//!
//! ```text
//!   rows, by key --offer--> takes? above the place where the part before ended? --> kept, as many as a part has at most
//!                                                                                   (the last by order goes)
//! ```
//! What always holds: where nothing changes meanwhile, the parts in a row are what [`Query::of`] makes of all
//! rows, without its limit. A row that changes between two parts may be in both or in neither, and changes
//! nothing about the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Key, Query, Value};

/// A row's place in a list: by the value that it is sorted by, if it is, and then by its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<K> {
    pub key: K,
    /// `None`: nothing is sorted, or the value is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// One part, while its rows are looked for.
#[derive(Debug)]
pub struct Paging<'a, K, R: 'static> {
    query: &'a Query<R>,
    after: Option<(Key, K)>,
    rows_max: usize,
    /// One more than a part has tells that there are more.
    kept: BTreeMap<(Key, K), R>,
}

/// One part: rows with their places, in order.
#[derive(Debug)]
pub struct Page<K, R> {
    pub rows: Vec<(Place<K>, R)>,
    /// There are others, after the last of these.
    pub more: bool,
}

impl<'a, K: Ord + Clone, R> Paging<'a, K, R> {
    /// The part of at most `rows_max` rows after that place, or from the beginning on.
    pub fn new(query: &'a Query<R>, after: Option<Place<K>>, rows_max: usize) -> Self {
        let after = after.map(|place| {
            let value = place.value.filter(|_| query.order.is_some());
            (query.order_key(value), place.key)
        });
        Self {
            query,
            after,
            rows_max,
            kept: BTreeMap::new(),
        }
    }

    /// Rows up to this key need not be offered.
    pub fn begins_after(&self) -> Option<&K> {
        let is_by_key = self.query.order.is_none();
        self.after.as_ref().filter(|_| is_by_key).map(|(_, key)| key)
    }

    /// Takes a row in, if it belongs here. Rows are offered in the order of their keys, each once.
    pub fn offer(&mut self, key: K, row: R) {
        if !self.query.takes(&row) {
            return;
        }
        let place = (self.query.order_key(self.query.order_value(&row)), key);
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        let is_full = self.kept.len() > self.rows_max;
        if is_full && self.kept.last_key_value().is_some_and(|(last, _)| *last < place) {
            return;
        }
        self.kept.insert(place, row);
        if self.kept.len() > self.rows_max + 1 {
            self.kept.pop_last();
        }
    }

    /// No row that is still to be offered changes anything.
    pub fn is_complete(&self) -> bool {
        self.query.order.is_none() && self.kept.len() > self.rows_max
    }

    pub fn page(self) -> Page<K, R> {
        let more = self.kept.len() > self.rows_max;
        let rows = self.kept.into_iter().take(self.rows_max);
        let rows = rows.map(|((order, key), row)| {
            let value = order.value;
            (Place { key, value }, row)
        });
        Page {
            rows: rows.collect(),
            more,
        }
    }
}
