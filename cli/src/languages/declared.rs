//! What a program says of its messages in its first comment, in YAML:
//!
//! ```js
//! /*things.meta
//! inputs:
//!   - { topic: greenhouse/temperature, type: application/json }
//! outputs:
//!   fan: greenhouse/fan
//! */
//! ```
//! A list, or names with what they stand for; a topic alone, or with its media type.

use std::path::Path;

use wayfare_protocol::grants::Grants;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::{Yaml, YamlLoader};

use super::source::read_bounded;
use crate::fail::{Fail, Result};

const BEGIN: &str = "/*things.meta";
const END: &str = "*/";
/// Of the comment: what is nested in it is read recursively.
const BYTES_MAX: usize = 8 * 1024;
/// Of a source that is looked into.
const SOURCE_BYTES_MAX: u64 = 64 << 20;

/// Topics that a program reads and writes, as its source declares them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
}

impl Declared {
    /// Nothing, where the source at `path` does not begin with such a comment.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, SOURCE_BYTES_MAX)?;
        let bad = |what: String| Fail::new("source", format!("{}: its things.meta: {what}", path.display()));
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(bad)
    }

    fn parse(source: &str) -> std::result::Result<Self, String> {
        let begin = source.trim_start_matches('\u{feff}');
        let begin = match begin.strip_prefix("#!") {
            Some(rest) => rest.split_once('\n').map_or("", |(_, rest)| rest),
            None => begin,
        };
        let begin = begin.trim_start();
        let Some(rest) = begin.strip_prefix(BEGIN) else {
            return Ok(Self::default());
        };
        let (comment, _) = rest.split_once(END).ok_or("the comment does not end")?;
        if comment.len() > BYTES_MAX {
            return Err(format!("over {BYTES_MAX} bytes"));
        }
        check_aliases(comment)?;
        let documents = YamlLoader::load_from_str(comment).map_err(|error| error.to_string())?;
        let Some(meta) = documents.first() else {
            return Ok(Self::default());
        };
        let declared = Self {
            inputs: topics(&meta["inputs"], "inputs")?,
            outputs: topics(&meta["outputs"], "outputs")?,
        };
        let granted = declared.granted();
        granted.check().map_err(|failure| failure.to_string())?;
        Ok(declared)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }

    /// The least that a program with it needs.
    pub(crate) fn granted(&self) -> Grants {
        Grants {
            subscribe: self.inputs.clone(),
            publish: self.outputs.clone(),
            ..Grants::default()
        }
    }

    /// For people: what it wants.
    pub(crate) fn text(&self) -> String {
        let part = |what: &str, topics: &[String]| {
            (!topics.is_empty()).then(|| format!("{what} {}", topics.join(", ")))
        };
        let parts = [
            part("subscribe to", &self.inputs),
            part("publish to", &self.outputs),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

/// Texts that stand for others let a small comment be a very large one.
fn check_aliases(comment: &str) -> std::result::Result<(), String> {
    let mut parser = Parser::new_from_str(comment);
    loop {
        match parser.next_token().map_err(|error| error.to_string())? {
            (Event::Alias(..), at) => return Err(format!("an alias in line {}: write it out", at.line())),
            (Event::StreamEnd, _) => return Ok(()),
            _ => {}
        }
    }
}

/// Of a list, or of names with what they stand for.
fn topics(ports: &Yaml, what: &str) -> std::result::Result<Vec<String>, String> {
    let topic = |port: &Yaml| {
        let topic = port.as_str().or(port["topic"].as_str());
        let topic = topic.ok_or_else(|| format!("{what}: each is a topic, or has one"));
        topic.map(str::to_owned)
    };
    match ports {
        Yaml::BadValue | Yaml::Null => Ok(Vec::new()),
        Yaml::Array(ports) => ports.iter().map(topic).collect(),
        Yaml::Hash(ports) => ports.values().map(topic).collect(),
        _ => Err(format!("{what}: a list, or names with what they stand for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_outputs_are_declared_in_the_first_comment() {
        let parse = Declared::parse;
        assert_eq!(
            parse("console.log(1) /*things.meta\ninputs: [a]*/"),
            Ok(Declared::default())
        );
        assert_eq!(parse("/*things.meta */ 1"), Ok(Declared::default()));
        let declared = parse(
            "\u{feff}#!/usr/bin/env node\n/*things.meta\nname: fan\ninputs:\n  - { topic: a/+, type: application/json }\n  - b\n\
             outputs:\n  fan: c/d\n  log: { topic: e }\n*/",
        )
        .unwrap();
        assert_eq!(declared.inputs, ["a/+", "b"]);
        assert_eq!(declared.outputs, ["c/d", "e"]);
        assert_eq!(declared.text(), "subscribe to a/+, b and publish to c/d, e");
        for (source, says) in [
            ("/*things.meta\ninputs: [a", "does not end"),
            ("/*things.meta\ninputs: {a: [}*/", "at"),
            ("/*things.meta\ninputs: 5\n*/", "inputs: a list"),
            ("/*things.meta\ninputs: [{ type: text }]\n*/", "inputs: each is"),
            (
                "/*things.meta\na: &a [x, x]\ninputs: [*a, *a]\n*/",
                "an alias in line 3",
            ),
            ("/*things.meta\ninputs: ['a/#/b']\n*/", "a/#/b"),
        ] {
            let error = parse(source).unwrap_err();
            assert!(error.contains(says), "{source}: {error}");
        }
    }
}
