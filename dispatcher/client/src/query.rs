//! The language in which lists are asked for less: `where` `state = running and memory > 8M`, `sort`
//! `-memory`, `limit` 5. Every front end reads it.
//!
//! ```text
//!  any  := all ('or' all)*          all := one ('and' one)*
//!  one  := 'not' one | '(' any ')' | field op value
//!  op   := = | != | < | <= | > | >= | ~          ~: contains
//! ```
//! Each collection has a table of its fields ([`Field`]), of which each says what its values are; what
//! follows from that is decided here and nowhere else. What always holds: what is not known of a row equals
//! nothing and is neither less nor more; `!=` and `not` of it are true. So `a` and `not a` never both take a
//! row, and one of them always does.
//!
//! Reading order: this file filters and sorts, `parsing` reads an expression, `paging` makes parts of a long
//! list.

mod paging;
mod parsing;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use paging::{Page, Paging, Place};
pub use parsing::QueryError;

/// Bytes of an expression,
const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// and how deep it may be.
const DEPTH_MAX: usize = 32;

/// A field of a collection's rows.
#[derive(Debug)]
pub struct Field<R> {
    pub name: &'static str,
    pub kind: Kind,
    pub get: fn(&R) -> Option<Value>,
    /// Its value is there only where somebody has measured.
    pub is_measured: bool,
}

/// How values of a field are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// In bytes; typed as 8M.
    Size,
    /// In milliseconds; typed as 10m or 2d.
    Age,
    /// In thousandths; typed as 50% or 12.5.
    Percent,
}

/// What a row has in a field, or what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Number(u64),
}

impl Value {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
    Contains,
}

/// An expression, its fields by their place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Test { field: usize, op: Op, value: Value },
}

impl Filter {
    fn parse<R>(text: &str, fields: &[Field<R>]) -> Result<Self, QueryError> {
        let fields: Vec<(&'static str, Kind)> = fields.iter().map(|field| (field.name, field.kind)).collect();
        parsing::parse(text, &fields)
    }

    fn takes<R>(&self, row: &R, fields: &[Field<R>]) -> bool {
        match self {
            Self::Any(filters) => filters.iter().any(|filter| filter.takes(row, fields)),
            Self::All(filters) => filters.iter().all(|filter| filter.takes(row, fields)),
            Self::Not(filter) => !filter.takes(row, fields),
            Self::Test { field, op, value } => {
                let found = fields.get(*field).and_then(|field| (field.get)(row));
                test(found.as_ref(), *op, value)
            }
        }
    }

    fn looks_at(&self, is_so: &impl Fn(usize) -> bool) -> bool {
        match self {
            Self::Any(filters) | Self::All(filters) => filters.iter().any(|filter| filter.looks_at(is_so)),
            Self::Not(filter) => filter.looks_at(is_so),
            Self::Test { field, .. } => is_so(*field),
        }
    }
}

fn test(found: Option<&Value>, op: Op, value: &Value) -> bool {
    let order = found.and_then(|found| found.compare(value));
    match op {
        Op::Is => order == Some(Ordering::Equal),
        Op::IsNot => order != Some(Ordering::Equal),
        Op::Less => order == Some(Ordering::Less),
        Op::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::More => order == Some(Ordering::Greater),
        Op::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Op::Contains => match (found, value) {
            (Some(Value::Text(found)), Value::Text(part)) => found.contains(part.as_str()),
            _ => false,
        },
    }
}

/// Which rows of a collection are shown, and in which order.
#[derive(Debug)]
pub struct Query<R: 'static> {
    fields: &'static [Field<R>],
    filter: Option<Filter>,
    order: Option<Order>,
    limit: Option<usize>,
}

impl<R> Query<R> {
    /// What is wrong with it is said before anybody is asked.
    pub fn new(
        filter: Option<&str>,
        sort: Option<&str>,
        limit: Option<usize>,
        fields: &'static [Field<R>],
    ) -> Result<Self, QueryError> {
        let filter = filter.map(|text| Filter::parse(text, fields));
        let order = sort.map(|text| Order::parse(text, fields));
        Ok(Self {
            fields,
            filter: filter.transpose().map_err(|error| error.of("where"))?,
            order: order.transpose().map_err(|error| error.of("sort"))?,
            limit,
        })
    }

    /// Whether a row is wanted, for those that come one by one.
    pub fn takes(&self, row: &R) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.takes(row, self.fields))
    }

    /// Rows have to be there together.
    pub fn needs_all(&self) -> bool {
        self.order.is_some() || self.limit.is_some()
    }

    /// Not every row is wanted, or not in the order in which they come.
    pub fn chooses(&self) -> bool {
        self.filter.is_some() || self.order.is_some()
    }

    /// Whether it is filtered or sorted by a field of which that is so.
    pub fn looks_at(&self, is_so: impl Fn(&Field<R>) -> bool) -> bool {
        let is_so = |place: usize| self.fields.get(place).is_some_and(&is_so);
        let filters = self.filter.as_ref().is_some_and(|filter| filter.looks_at(&is_so));
        filters || self.order.is_some_and(|order| is_so(order.field))
    }

    /// What a row is sorted by.
    fn order_value(&self, row: &R) -> Option<Value> {
        let field = self.fields.get(self.order?.field)?;
        (field.get)(row)
    }

    fn order_key(&self, value: Option<Value>) -> Key {
        Key {
            value,
            is_reversed: self.order.is_some_and(|order| order.is_reversed),
        }
    }

    /// The rows that are asked for.
    pub fn of(&self, mut rows: Vec<R>) -> Vec<R> {
        rows.retain(|row| self.takes(row));
        if let Some(order) = self.order {
            order.sort(&mut rows, self.fields);
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        rows
    }
}

/// By which field rows are sorted; what is not known comes last either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    field: usize,
    is_reversed: bool,
}

impl Order {
    /// `memory`, or `-memory` for the largest first.
    fn parse<R>(text: &str, fields: &[Field<R>]) -> Result<Self, QueryError> {
        let name = text.strip_prefix('-').unwrap_or(text);
        let names: Vec<&'static str> = fields.iter().map(|field| field.name).collect();
        Ok(Self {
            field: parsing::field(name, &names)?,
            is_reversed: name != text,
        })
    }

    /// Rows that are equal in it stay as they are.
    fn sort<R>(self, rows: &mut [R], fields: &[Field<R>]) {
        let Some(field) = fields.get(self.field) else {
            return;
        };
        rows.sort_by_cached_key(|row| Key {
            value: (field.get)(row),
            is_reversed: self.is_reversed,
        });
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    value: Option<Value>,
    is_reversed: bool,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.value, &other.value) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => {
                let order = a.compare(b).unwrap_or(Ordering::Equal);
                if self.is_reversed { order.reverse() } else { order }
            }
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
