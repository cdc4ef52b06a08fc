//! What `--json` prints, verb by verb, as JSON Schema (draft 2020-12): `wayfare schema VERB`.
//!
//! The documents are made from the records of many crates; what of them is promised stands here, in one
//! place, and the tests of this command hold every document that it prints to it: nothing is printed that is
//! not described, nothing described as always there is left out. Readers have to leave alone what they do not
//! know: releases that follow may print more.
//!
//! Reading order: this file has the words that schemas are made of, `parts` what several verbs print, `verbs`
//! the list.

mod parts;
mod verbs;

use serde_json::{Map, Value, json};

pub(crate) use self::verbs::{NOT_JSON, verbs};

/// What a schema is written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a verb prints.
pub(crate) struct Printed {
    pub(crate) verb: &'static str,
    /// One document, or a document a line.
    pub(crate) amount: Amount,
    schema: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    One,
    /// For each thing that was named, or that happens.
    Lines,
}

impl Printed {
    /// The whole schema, to be read by itself.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "$schema": DIALECT,
            "title": format!("wayfare {} --json", self.verb),
            "description": match self.amount {
                Amount::One => "One document.",
                Amount::Lines => "A document a line.",
            },
        });
        if let (Value::Object(document), Value::Object(schema)) = (&mut document, self.schema.clone()) {
            document.extend(schema);
        }
        document
    }
}

/// An object with these fields; those whose names end with '?' may be missing.
fn object(fields: &[(&str, Value)]) -> Value {
    let name = |field: &str| field.trim_end_matches('?').to_owned();
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(field, schema)| (name(field), schema.clone()))
        .collect();
    let required: Vec<String> = fields
        .iter()
        .filter(|(field, _)| !field.ends_with('?'))
        .map(|(field, _)| name(field))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// An object that has more than these fields, of whatever kind.
fn open_object(fields: &[(&str, Value)]) -> Value {
    let mut schema = object(fields);
    schema["additionalProperties"] = true.into();
    schema
}

/// All that these objects have.
fn all_of(parts: &[Value]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        if let Value::Object(fields) = &part["properties"] {
            properties.extend(fields.clone());
        }
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The same, and nothing of it needs to be there.
fn optional(part: &Value) -> Value {
    json!({ "type": "object", "properties": part["properties"], "required": [] })
}

/// One of these; each object of them is told by its fields.
fn any_of(schemas: &[Value]) -> Value {
    json!({ "anyOf": schemas })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// An object whose keys are names, ids or paths.
fn map(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

/// It, or null.
fn or_null(schema: Value) -> Value {
    any_of(&[schema, json!({ "type": "null" })])
}

fn word(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// Never negative.
fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

/// Of a program, an operation or a boot: 32 hexadecimal digits.
fn id() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
}

/// BLAKE3, 64 hexadecimal digits.
fn digest() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

/// In RFC 3339, with the offset.
fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// Whatever it is: a program's own, or not described further.
fn anything() -> Value {
    json!(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, CommandFactory};

    use super::*;

    /// Every verb that does something itself.
    fn leaves(command: &Command, before: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let name = format!("{before}{}", verb.get_name());
            let has_own_use = !verb.is_subcommand_required_set() && verb.get_name() != "engine";
            if !verb.has_subcommands() || has_own_use {
                found.insert(name.clone());
            }
            leaves(verb, &format!("{name} "), found);
        }
    }

    #[test]
    fn every_verb_has_a_schema_or_a_reason_to_have_none() {
        let mut there = BTreeSet::new();
        leaves(&crate::args::Cli::command(), "", &mut there);
        let described: Vec<&str> = verbs().iter().map(|printed| printed.verb).collect();
        let without: Vec<&str> = NOT_JSON.iter().map(|(verb, _)| *verb).collect();
        let all: BTreeSet<String> = described
            .iter()
            .chain(&without)
            .map(ToString::to_string)
            .collect();
        assert_eq!(all, there);
        assert_eq!(all.len(), described.len() + without.len(), "one of both");
    }

    #[test]
    fn a_schema_stands_for_itself() {
        for printed in verbs() {
            let document = printed.document();
            assert_eq!(document["$schema"], DIALECT);
            assert!(!document.to_string().contains("$ref"), "{}", printed.verb);
            check(&document, printed.verb);
        }
    }

    /// Names of things that are the same are the same: sizes and times say their units, and no field ends
    /// with a mark of ours.
    fn check(schema: &Value, verb: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(!name.ends_with('?'), "{verb}: {name}");
            if name.ends_with("_ms") || name.ends_with("_bytes") || name.ends_with("_us") {
                let text = field.to_string();
                assert!(text.contains("integer"), "{verb}: {name} is {text}");
            }
            check(field, verb);
        }
        for inner in ["items", "additionalProperties"].map(|inner| schema.get(inner)) {
            inner.into_iter().for_each(|inner| check(inner, verb));
        }
        for one in schema["anyOf"].as_array().into_iter().flatten() {
            check(one, verb);
        }
    }
}
