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
use wayfare_protocol::ports::{Port, Ports};
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
pub(crate) struct Declared(pub(crate) Ports);

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
        let ports = Ports {
            inputs: ports(&meta["inputs"], "inputs")?,
            outputs: ports(&meta["outputs"], "outputs")?,
        };
        ports.check().map_err(|failure| failure.to_string())?;
        Ok(Self(ports))
    }

    /// The least that a program with it needs.
    pub(crate) fn granted(&self) -> Grants {
        Grants {
            subscribe: topics(&self.0.inputs),
            publish: topics(&self.0.outputs),
            ..Grants::default()
        }
    }

    /// For people: what it wants.
    pub(crate) fn text(&self) -> String {
        let part = |what: &str, ports: &[Port]| {
            (!ports.is_empty()).then(|| format!("{what} {}", topics(ports).join(", ")))
        };
        let parts = [
            part("subscribe to", &self.0.inputs),
            part("publish to", &self.0.outputs),
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

fn topics(ports: &[Port]) -> Vec<String> {
    ports.iter().map(|port| port.topic.clone()).collect()
}

/// Of a list, or of names with what they stand for.
fn ports(ports: &Yaml, what: &str) -> std::result::Result<Vec<Port>, String> {
    let port = |port: &Yaml| {
        let topic = port.as_str().or(port["topic"].as_str());
        let topic = topic.ok_or_else(|| format!("{what}: each is a topic, or has one"))?;
        Ok(Port {
            topic: topic.to_owned(),
            media_type: port["type"].as_str().map(str::to_owned),
        })
    };
    match ports {
        Yaml::BadValue | Yaml::Null => Ok(Vec::new()),
        Yaml::Array(ports) => ports.iter().map(port).collect(),
        Yaml::Hash(ports) => ports.values().map(port).collect(),
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
        assert_eq!(topics(&declared.0.inputs), ["a/+", "b"]);
        assert_eq!(topics(&declared.0.outputs), ["c/d", "e"]);
        assert_eq!(
            declared.0.inputs[0].media_type.as_deref(),
            Some("application/json")
        );
        assert_eq!(declared.text(), "subscribe to a/+, b and publish to c/d, e");
        for (source, says) in [
            ("/*things.meta\ninputs: [a", "does not end"),
            ("/*things.meta\ninputs: {a: [}*/", "at"),
            ("/*things.meta\ninputs: 5\n*/", "inputs: a list"),
            ("/*things.meta\ninputs: [{ type: text }]\n*/", "inputs: each is"),
            (
                "/*things.meta\ninputs: [{ topic: a, type: text }]\n*/",
                "not a media type",
            ),
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
