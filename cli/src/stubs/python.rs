//! A module for Python, with hints of types.

use std::fmt::Write as _;

use super::names::{Names, is_identifier, lines, snake, text};
use super::schema::{Field, Function, Named, Service, Shape, Type};
use super::{Language, made_by};

/// What no name can be,
const WORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];
/// and what no function is called, because a function has it inside.
const INSIDE: [&str; 3] = ["self", "options", "payload"];

const IMPORTS: &str = "
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NotRequired, Optional, TypedDict, Union

import wayfare
";

pub(super) fn client(service: &Service) -> String {
    let mut out = format!("# {}\n{IMPORTS}", made_by(service, Language::Python));
    for named in &service.types {
        out.push_str("\n\n");
        out.push_str(&definition(service, named));
    }
    out.push_str("\n\n");
    comment(&mut out, "", &service.description);
    let _ = write!(
        out,
        "class {}:\n    def __init__(self, address: str = {}, **options: Any) -> None:\n        self._address = address\n        self._options = options\n",
        service.class,
        text(&format!("service/{}", service.name)),
    );
    let mut names = Names::taken(&[&WORDS[..], &INSIDE[..]].concat());
    for function in &service.functions {
        out.push('\n');
        out.push_str(&method(service, function, &names.unique(snake(&function.name))));
    }
    out.push_str(
        "
    def _call(self, function: str, payload: Any, options: dict[str, Any]) -> Any:
        result = wayfare.call(self._address, function, json.dumps(payload), **{**self._options, **options})
        return json.loads(result) if result else None
",
    );
    out
}

fn method(service: &Service, function: &Function, name: &str) -> String {
    let mut out = String::new();
    comment(&mut out, "    ", &function.description);
    let (parameter, payload) = match &function.arguments {
        Some(of) => (format!("payload: {}, ", typed(service, of, false)), "payload"),
        None => (String::new(), "None"),
    };
    let (progress, passed) = match &function.progress {
        Some(of) => (
            format!(
                "on_progress: Optional[Callable[[{}], Any]] = None, ",
                typed(service, of, false)
            ),
            "        if on_progress is not None:\n            options[\"on_progress\"] = lambda progress: on_progress(json.loads(progress))\n",
        ),
        None => (String::new(), ""),
    };
    let star = if progress.is_empty() { "" } else { "*, " };
    let _ = write!(
        out,
        "    def {name}(self, {parameter}{star}{progress}**options: Any) -> {}:\n{passed}        return self._call({}, {payload}, options)\n",
        typed(service, &function.result, false),
        text(&function.name),
    );
    out
}

fn definition(service: &Service, named: &Named) -> String {
    let mut out = String::new();
    comment(&mut out, "", &named.description);
    let name = &named.name;
    let is_name = |field: &Field| {
        is_identifier(&field.name) && !WORDS.contains(&field.name.as_str()) && !field.name.starts_with("__")
    };
    let _ = match &named.shape {
        Shape::Record(fields) if fields.iter().all(is_name) => {
            let _ = writeln!(out, "class {name}(TypedDict):");
            for field in fields {
                comment(&mut out, "    ", &field.description);
                let _ = writeln!(
                    out,
                    "    {}: {}",
                    field.name,
                    required(field, typed(service, &field.of, false))
                );
            }
            Ok(())
        }
        // Names that are none in Python.
        Shape::Record(fields) => {
            let _ = writeln!(out, "{name} = TypedDict(\n    {},\n    {{", text(name));
            for field in fields {
                comment(&mut out, "        ", &field.description);
                let of = required(field, typed(service, &field.of, true));
                let _ = writeln!(out, "        {}: {of},", text(&field.name));
            }
            writeln!(out, "    }},\n)")
        }
        Shape::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| text(word)).collect();
            writeln!(out, "{name} = Literal[{}]", words.join(", "))
        }
        Shape::Union(variants) => {
            let variants: Vec<String> = variants.iter().map(|of| typed(service, of, true)).collect();
            writeln!(out, "{name} = Union[{}]", variants.join(", "))
        }
        Shape::Alias(of) => writeln!(out, "{name} = {}", typed(service, of, true)),
    };
    out
}

fn required(field: &Field, of: String) -> String {
    match field.is_required {
        true => of,
        false => format!("NotRequired[{of}]"),
    }
}

/// `is_run`: it is no hint, so that names of what comes later stand in quotation marks.
fn typed(service: &Service, of: &Type, is_run: bool) -> String {
    let typed = |of: &Type| typed(service, of, is_run);
    match of {
        Type::Any => "Any".into(),
        Type::Null => "None".into(),
        Type::Boolean => "bool".into(),
        Type::Integer { .. } => "int".into(),
        Type::Number => "float".into(),
        Type::Text => "str".into(),
        Type::List(of) => format!("list[{}]", typed(of)),
        Type::Tuple(all) if all.is_empty() => "list[Any]".into(),
        // JSON gives lists.
        Type::Tuple(all) => {
            let mut of: Vec<String> = all.iter().map(typed).collect();
            of.dedup();
            match of.as_slice() {
                [one] => format!("list[{one}]"),
                several => format!("list[Union[{}]]", several.join(", ")),
            }
        }
        Type::Map(of) => format!("dict[str, {}]", typed(of)),
        Type::Maybe(of) => format!("Optional[{}]", typed(of)),
        Type::Named(at) if is_run => format!("\"{}\"", service.types[*at].name),
        Type::Named(at) => service.types[*at].name.clone(),
    }
}

fn comment(out: &mut String, indent: &str, description: &str) {
    for line in lines(description) {
        let _ = writeln!(out, "{}", format!("{indent}# {line}").trim_end());
    }
}
