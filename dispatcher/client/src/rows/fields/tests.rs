//! Lists of modules and snapshots as they are asked for, against what one would write in Rust.

use std::cmp::Ordering;

use proptest::prelude::*;
use wayfare_protocol::ids::{Digest, ProgramId};

use super::*;
use crate::query::Query;

/// What is asked of a field, and what that means of a row; `None`: it is not known of it.
#[derive(Debug, Clone)]
enum Asked {
    Text(&'static str, &'static str, String),
    Number(&'static str, &'static str, u64),
}

impl Asked {
    fn typed(&self) -> String {
        match self {
            Self::Text(field, op, value) => format!("{field} {op} '{value}'"),
            // Sizes and numbers without a unit are typed alike.
            Self::Number(field, op, value) => format!("{field} {op} {value}"),
        }
    }

    fn takes(&self, found: Option<Found>) -> bool {
        let order = match (self, &found) {
            (Self::Text(_, "~", part), Some(Found::Text(text))) => return text.contains(part),
            (Self::Text(_, "~", _), _) => return false,
            (Self::Text(_, _, value), Some(Found::Text(text))) => Some(text.cmp(value)),
            (Self::Number(_, _, value), Some(Found::Number(number))) => Some(number.cmp(value)),
            _ => None,
        };
        let (Self::Text(_, op, _) | Self::Number(_, op, _)) = self;
        match *op {
            "=" => order == Some(Ordering::Equal),
            "!=" => order != Some(Ordering::Equal),
            "<" => order == Some(Ordering::Less),
            ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            op => unreachable!("{op} is not asked"),
        }
    }

    fn field(&self) -> &'static str {
        let (Self::Text(field, ..) | Self::Number(field, ..)) = self;
        field
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Text(String),
    Number(u64),
}

fn asked(texts: &'static [&'static str], numbers: &'static [&'static str]) -> impl Strategy<Value = Asked> {
    let word = "[ab]{1,2}";
    let text = (
        prop::sample::select(texts),
        prop::sample::select(vec!["=", "!=", "~", "<", ">="]),
        word,
    );
    let number = (
        prop::sample::select(numbers),
        prop::sample::select(vec!["=", "!=", "<", ">="]),
        0..4_u64,
    );
    prop_oneof![
        text.prop_map(|(field, op, value)| Asked::Text(field, op, value)),
        number.prop_map(|(field, op, value)| Asked::Number(field, op, value)),
    ]
}

/// What one gets who has all rows and asks none of ours for help.
fn naive<R: Clone>(
    rows: &[R],
    asked: &Asked,
    (by, is_reversed): (&str, bool),
    limit: usize,
    of: impl Fn(&R, &str) -> Option<Found>,
) -> Vec<R> {
    let wanted = rows.iter().filter(|row| asked.takes(of(row, asked.field())));
    let mut wanted: Vec<R> = wanted.cloned().collect();
    wanted.sort_by(|a, b| match (of(a, by), of(b, by)) {
        (Some(a), Some(b)) if is_reversed => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    wanted.truncate(limit);
    wanted
}

fn in_order(by: &str, is_reversed: bool) -> String {
    format!("{}{by}", if is_reversed { "-" } else { "" })
}

const MODULE_TEXTS: &[&str] = &["name", "apps"];
const MODULE_NUMBERS: &[&str] = &["programs", "ended", "engines"];

fn module() -> impl Strategy<Value = ListedModule> {
    let names = || prop::collection::btree_set("[ab]{1,2}", 0..3);
    ("[ab]{1,2}", 0..4_u64, 0..4_u64, names(), names()).prop_map(|(name, programs, ended, engines, apps)| {
        ListedModule {
            module: Digest::of(name.as_bytes()),
            name,
            programs,
            ended,
            engines: engines.iter().map(|engine| engine.parse().unwrap()).collect(),
            applications: apps,
        }
    })
}

fn of_module(row: &ListedModule, field: &str) -> Option<Found> {
    let apps: Vec<String> = row.applications.iter().cloned().collect();
    match field {
        "name" => Some(Found::Text(row.name.clone())),
        "programs" => Some(Found::Number(row.programs)),
        "ended" => Some(Found::Number(row.ended)),
        "engines" => Some(Found::Number(row.engines.len() as u64)),
        "apps" if apps.is_empty() => None,
        "apps" => Some(Found::Text(apps.join(" "))),
        field => unreachable!("{field} is not asked for"),
    }
}

const SNAPSHOT_TEXTS: &[&str] = &["instance", "app", "engine"];
const SNAPSHOT_NUMBERS: &[&str] = &["length"];

fn snapshot() -> impl Strategy<Value = ListedSnapshot> {
    let name = || "[ab]{1,2}";
    let (engine, bytes) = (prop::option::of(name()), prop::option::of(0..4_u64));
    (name(), name(), engine, bytes).prop_map(|(app, component, engine, bytes)| ListedSnapshot {
        instance: format!("{app}/{component}/0"),
        program: ProgramId::from_random([1; 16]),
        engine: engine.map(|engine| engine.parse().unwrap()),
        at_ms: 0,
        bytes,
    })
}

fn of_snapshot(row: &ListedSnapshot, field: &str) -> Option<Found> {
    let app = row.instance.split('/').next().unwrap_or_default();
    match field {
        "instance" => Some(Found::Text(row.instance.clone())),
        "app" => Some(Found::Text(app.to_owned())),
        "engine" => row.engine.as_ref().map(|engine| Found::Text(engine.to_string())),
        "length" => row.bytes.map(Found::Number),
        field => unreachable!("{field} is not asked for"),
    }
}

proptest! {
    #[test]
    fn modules_are_those_that_a_naive_list_has(
        rows in prop::collection::vec(module(), 0..12),
        asked in asked(MODULE_TEXTS, MODULE_NUMBERS),
        by in prop::sample::select([MODULE_TEXTS, MODULE_NUMBERS].concat()),
        is_reversed: bool,
        limit in 0..12_usize,
    ) {
        let (filter, order) = (asked.typed(), in_order(by, is_reversed));
        let query = Query::new(Some(&filter), Some(&order), Some(limit), &MODULE_FIELDS).unwrap();
        let expected = naive(&rows, &asked, (by, is_reversed), limit, of_module);
        prop_assert_eq!(query.of(rows), expected, "{} by {}", filter, order);
    }

    #[test]
    fn snapshots_are_those_that_a_naive_list_has(
        rows in prop::collection::vec(snapshot(), 0..12),
        asked in asked(SNAPSHOT_TEXTS, SNAPSHOT_NUMBERS),
        by in prop::sample::select([SNAPSHOT_TEXTS, SNAPSHOT_NUMBERS].concat()),
        is_reversed: bool,
        limit in 0..12_usize,
    ) {
        let (filter, order) = (asked.typed(), in_order(by, is_reversed));
        let query = Query::new(Some(&filter), Some(&order), Some(limit), &SNAPSHOT_FIELDS).unwrap();
        let expected = naive(&rows, &asked, (by, is_reversed), limit, of_snapshot);
        prop_assert_eq!(query.of(rows), expected, "{} by {}", filter, order);
    }
}
