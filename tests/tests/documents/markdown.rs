//! As much of Markdown as the project's own pages need: headings, links, rows of tables.

use std::collections::BTreeMap;
use std::path::Path;

use crate::read;

/// The page with what it includes, as mdBook does it: `{{#include path}}`.
pub(crate) fn page(path: &Path) -> String {
    let lines = read(path);
    let lines = lines.lines().map(|line| match included(line) {
        Some(other) => read(&path.parent().expect("a page is in a folder").join(other)),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn included(line: &str) -> Option<&str> {
    line.strip_prefix("{{#include ")?.strip_suffix("}}")
}

/// Lines outside of code blocks, without code spans.
fn prose(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut fence: Option<&str> = None;
    text.lines().filter_map(move |line| {
        let mark = line.trim_start();
        match fence {
            Some(open) => {
                if mark.starts_with(open) {
                    fence = None;
                }
                None
            }
            None if mark.starts_with("```") => {
                fence = Some("```");
                None
            }
            None => Some(without_code(line)),
        }
    })
}

/// Every second piece between backticks is code. A link's text may be code: its target is not.
fn without_code(line: &str) -> String {
    let pieces: Vec<&str> = line.split('`').collect();
    pieces.into_iter().step_by(2).collect::<Vec<_>>().join("")
}

/// The anchors of all headings, as GitHub and mdBook name them.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    headings(text)
        .map(|heading| {
            let slug: String = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            match *count {
                1 => slug,
                count => format!("{slug}-{}", count - 1),
            }
        })
        .collect()
}

fn headings(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut is_code = false;
    text.lines().filter_map(move |line| {
        is_code ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        let is_heading = !is_code && heading.len() < line.len() && heading.starts_with(' ');
        is_heading.then(|| heading.trim().to_owned())
    })
}

/// The targets of all links.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let mut rest = line.as_str();
        while let Some((_, behind)) = rest.split_once("](") {
            let (target, behind) = behind
                .split_once(')')
                .unwrap_or_else(|| panic!("a link does not end: {line}"));
            links.push(target.to_owned());
            rest = behind;
        }
    }
    links
}

/// The cells of each row of each table, without heads.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with('|');
    let lines: Vec<&str> = text.lines().collect();
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_row(line)) {
        let is_rule = line.contains("---");
        let is_head = lines.get(at + 1).is_some_and(|next| next.starts_with("| ---"));
        if !is_rule && !is_head {
            let cells = line.trim().trim_matches('|').split(" | ");
            rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    rows
}

/// What stands between backticks.
pub(crate) fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn pages_are_read_as_they_are_shown() {
    let text = "# A `b` c\n[x](y.md#z) and `[no](code)`\n```sh\n# no heading [no](link)\n```\n## A b c\n| h | i |\n| --- | --- |\n| 1 | `two` |";
    assert_eq!(anchors(text), ["a-b-c", "a-b-c-1"]);
    assert_eq!(links(text), ["y.md#z"]);
    assert_eq!(rows(text), [["1", "`two`"]]);
    assert_eq!(code_spans(&rows(text)[0][1]).collect::<Vec<_>>(), ["two"]);
}
