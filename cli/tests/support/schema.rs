//! Holds what the command prints to the schemas that it prints itself: as much of JSON Schema as these use.
//! It is stricter than readers are to be: what is not described is a fault.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

/// By verb; `None`: it prints no documents.
static SCHEMAS: LazyLock<Mutex<BTreeMap<String, Option<Value>>>> = LazyLock::new(Mutex::default);

/// Fails if what was printed with `--json` is not as the verb's schema says.
pub(crate) fn hold(arguments: &[&str], stdout: &str) {
    let own: Vec<&str> = arguments
        .iter()
        .copied()
        .take_while(|word| *word != "--")
        .collect();
    if !own.contains(&"--json") {
        return;
    }
    let words: Vec<&str> = own
        .iter()
        .copied()
        .filter(|word| !matches!(*word, "--json" | "--no-trunc"))
        .take_while(|word| !word.starts_with('-'))
        .collect();
    let two = words.get(..2).map(|words| words.join(" "));
    let found = two
        .and_then(|verb| schema(&verb).map(|schema| (verb, schema)))
        .or_else(|| {
            let verb = match *words.first()? {
                "ls" => "ps",
                "rm" | "stop" => "kill",
                verb => verb,
            };
            schema(verb).map(|schema| (verb.to_owned(), schema))
        });
    let Some((verb, schema)) = found else { return };
    for line in stdout.lines() {
        let document: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}"));
        if let Err(why) = check(&schema, &document, &verb) {
            panic!("{arguments:?} does not keep to its schema: {why}\nin {line}");
        }
    }
}

fn schema(verb: &str) -> Option<Value> {
    let mut schemas = SCHEMAS.lock().unwrap();
    let fetched = || {
        let words: Vec<&str> = ["--json", "schema"].into_iter().chain(verb.split(' ')).collect();
        let ran = super::command("", &words).output().unwrap();
        serde_json::from_slice(&ran.stdout).ok()
    };
    schemas.entry(verb.to_owned()).or_insert_with(fetched).clone()
}

/// What is wrong with it, and where.
pub(crate) fn check(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if schema == &Value::Bool(true) {
        return Ok(());
    }
    if let Some(schemas) = schema["anyOf"].as_array() {
        let failures = schemas.iter().map(|one| check(one, value, path).err());
        let failures: Option<Vec<String>> = failures.collect();
        return match failures {
            None => Ok(()),
            Some(failures) => Err(failures.join("; or ")),
        };
    }
    let is_of_type = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{path}: no type {other}"),
    };
    if !is_of_type {
        return Err(format!("{path} is {value}, not {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{path} is {value}, none of {}", schema["enum"]));
    }
    if schema["minimum"] == 0 && value.as_u64().is_none() {
        return Err(format!("{path} is {value}, which is negative"));
    }
    let text = value.as_str().unwrap_or_default();
    if let Some(pattern) = schema["pattern"].as_str() {
        let digits = pattern
            .strip_prefix("^[0-9a-f]{")
            .and_then(|rest| rest.strip_suffix("}$"));
        let digits: usize = digits.unwrap().parse().unwrap();
        if text.len() != digits || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("{path} is '{text}', not {digits} hexadecimal digits"));
        }
    }
    if schema["format"] == "date-time" && !(text.len() >= 20 && text.as_bytes()[10] == b'T') {
        return Err(format!("{path} is '{text}', no time in RFC 3339"));
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{path}[{number}]"))?;
    }
    object(schema, value, path)
}

fn object(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return Err(format!("{path} has no {name}"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let described = [schema["properties"].get(name), schema.get("additionalProperties")];
        let Some(described) = described.into_iter().flatten().next() else {
            return Err(format!("{path}.{name} is not described"));
        };
        check(described, field, &format!("{path}.{name}"))?;
    }
    Ok(())
}
