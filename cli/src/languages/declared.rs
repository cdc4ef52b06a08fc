//! What a program says of its messages in a comment before its first line, in YAML:
//!
//! ```js
//! /* A fan. */
//! /*things.meta
//! inputs:
//!   - { topic: greenhouse/temperature, type: application/json }
//! outputs:
//!   greenhouse/fan: text/plain
//! */
//! ```
//! A list of topics, alone or with their media types; or topics with their media types, as ThingsJS has it;
//! or names with what they stand for.

use std::path::Path;

use wayfare_protocol::grants::Grants;
use wayfare_protocol::ports::{Port, Ports};
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::{Yaml, YamlLoader};

use super::source::read_bounded;
use crate::fail::{Fail, Result};

const META: &str = "things.meta";
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
        let Some(comment) = comment(source)? else {
            return Ok(Self::default());
        };
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

/// What is in the comment, which may stand behind others, and before the first line that is none.
fn comment(source: &str) -> std::result::Result<Option<&str>, String> {
    let mut rest = source.trim_start_matches('\u{feff}');
    if rest.starts_with("#!") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    loop {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix("//") {
            rest = inner.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(inner) = rest.strip_prefix("/*") {
            let is_meta = inner.starts_with(META);
            match inner.split_once(END) {
                Some((comment, _)) if is_meta => return Ok(Some(&comment[META.len()..])),
                Some((_, after)) => rest = after,
                None if is_meta => return Err("the comment does not end".into()),
                None => return Ok(None),
            }
        } else if let Some(after) = strict(rest) {
            rest = after;
        } else {
            return Ok(None);
        }
    }
}

/// Behind `'use strict';`, which has to come first where it is.
fn strict(source: &str) -> Option<&str> {
    let after = ["'use strict'", "\"use strict\""];
    let after = after.iter().find_map(|text| source.strip_prefix(text))?;
    Some(after.strip_prefix(';').unwrap_or(after))
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

/// What media types begin with: so they are told from topics.
const MEDIA: [&str; 5] = ["application", "audio", "image", "text", "video"];

/// Of a list, of topics with their media types, or of names with what they stand for.
fn ports(ports: &Yaml, what: &str) -> std::result::Result<Vec<Port>, String> {
    let port = |port: &Yaml| {
        let topic = port.as_str().or(port["topic"].as_str());
        let topic = topic.ok_or_else(|| format!("{what}: each is a topic, or has one"))?;
        Ok(Port {
            topic: topic.to_owned(),
            media_type: port["type"].as_str().map(str::to_owned),
        })
    };
    let named = |(name, value): (&Yaml, &Yaml)| match (name.as_str(), value.as_str()) {
        (Some(topic), Some(media)) if is_media_type(media) => Ok(Port {
            topic: topic.to_owned(),
            media_type: Some(media.to_owned()),
        }),
        _ => port(value),
    };
    match ports {
        Yaml::BadValue | Yaml::Null => Ok(Vec::new()),
        Yaml::Array(ports) => ports.iter().map(port).collect(),
        Yaml::Hash(ports) => ports.iter().map(named).collect(),
        _ => Err(format!("{what}: a list, or names with what they stand for")),
    }
}

fn is_media_type(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(kind, rest)| MEDIA.contains(&kind) && !rest.contains('/'))
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
        // As ThingsJS has them: behind what else is said of the program, and topics by themselves.
        let declared = parse(
            "\"use strict\";\n/* A motion detector. */\n// npm: jimp\n/*things.meta\ninputs:\n  video/raw: image/png\noutputs:\n  \
             video/motion: image/png\n  video/alarm: application/json\n  last: video/image/last\n*/\nlet a;",
        )
        .unwrap();
        let texts = |ports: &[Port]| ports.iter().map(Port::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&declared.0.inputs), ["video/raw (image/png)"]);
        let outputs = [
            "video/motion (image/png)",
            "video/alarm (application/json)",
            "video/image/last",
        ];
        assert_eq!(texts(&declared.0.outputs), outputs);
        for nothing in [
            "/* no end",
            "// things.meta",
            "let a;\n/*things.meta\ninputs: [a]\n*/",
        ] {
            assert_eq!(parse(nothing), Ok(Declared::default()), "{nothing}");
        }
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
