//! The page of promises names for each the tests that show it, and these tests exist.

use std::collections::BTreeSet;

use crate::markdown::{code_spans, rows};
use crate::{files, read, root};

const PAGE: &str = "book/src/failures.md";
const CRATES: [&str; 12] = [
    "cli",
    "compiler",
    "dispatcher",
    "engine",
    "guest",
    "link",
    "metrics",
    "protocol",
    "scheduler",
    "simulator",
    "tests",
    "traces",
];

#[test]
fn every_promise_names_tests_that_exist() {
    let known = tests();
    let page = read(&root().join(PAGE));
    for row in rows(&page) {
        let (what, shown_by) = (
            row.first().expect("a row has cells"),
            row.last().expect("a row has cells"),
        );
        let named: Vec<&str> = code_spans(shown_by).collect();
        assert!(!named.is_empty(), "{PAGE}: no test shows: {what}");
        for name in named {
            assert!(
                known.contains(name),
                "{PAGE}: there is no test '{name}', which is to show: {what}"
            );
        }
    }
    // In sentences too: nothing else on the page has so many words in one name.
    for name in code_spans(&page).filter(|name| name.matches('_').count() >= 3) {
        assert!(known.contains(name), "{PAGE}: there is no test '{name}'");
    }
}

/// The names of all tests of the workspace, as far as text tells: functions right behind a test's attribute,
/// and what macros that make tests are given.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in CRATES.iter().flat_map(|name| files(&root().join(name), "rs")) {
        let text = read(&path);
        let makes_tests = text.contains("fn $name");
        let mut since_attribute = usize::MAX;
        for line in text.lines().map(str::trim) {
            since_attribute = match line {
                _ if line.starts_with("#[test]") || line.starts_with("#[tokio::test") => 0,
                _ => since_attribute.saturating_add(1),
            };
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            if let (Some(function), 1..=3) = (function, since_attribute) {
                names.extend(function.split_once('(').map(|(name, _)| name.to_owned()));
            }
            if let (true, Some((name, _))) = (makes_tests, line.split_once(": ")) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}
