//! Names for what a schema calls anything at all: letters, digits and underscores of ASCII, each once.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use heck::{ToLowerCamelCase, ToSnakeCase, ToUpperCamelCase};

/// Names that are taken in one place.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    pub(super) fn taken(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The name itself if it is free, else with a number behind it.
    pub(super) fn unique(&mut self, name: String) -> String {
        let numbered = (2_u32..).map(|number| format!("{name}{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !self.0.contains(name));
        let name = free.unwrap_or(name);
        self.0.insert(name.clone());
        name
    }
}

/// Of a type.
pub(super) fn pascal(text: &str) -> String {
    begun(plain(text).to_upper_camel_case(), "T")
}

/// Of a function in JavaScript.
pub(super) fn camel(text: &str) -> String {
    begun(plain(text).to_lower_camel_case(), "f")
}

/// Of a function or field in Python and Rust.
pub(super) fn snake(text: &str) -> String {
    begun(plain(text).to_snake_case(), "f_")
}

fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// With something in front, where it is empty or begins with a digit.
fn begun(name: String, before: &str) -> String {
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("{before}{name}"),
    }
}

/// Whether all languages have it as a name, but for their own words.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Lines of a description, for a comment: none has anything that ends a line anywhere.
pub(super) fn lines(description: &str) -> impl Iterator<Item = String> {
    let is_shown = |c: &char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    description.lines().map(move |line| {
        line.chars()
            .filter(is_shown)
            .collect::<String>()
            .trim_end()
            .to_owned()
    })
}

/// A text as JavaScript and Python write it, on one line.
pub(super) fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(out, "\\u{:04x}", u32::from(c))
            }
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
    out
}
