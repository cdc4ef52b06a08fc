//! A module for Rust, with the guest library's feature `services`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::names::{Names, lines, pascal, snake};
use super::schema::{Function, Named, Service, Shape, Type};
use super::{Language, made_by};

/// What no name can be.
const WORDS: [&str; 54] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "new", "at", "override", "priv", "pub", "ref", "return", "self",
    "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "union",
];

pub(super) fn client(service: &Service) -> String {
    let mut out = format!("//! {}\n\n", made_by(service, Language::Rust));
    out.push_str("use std::time::Duration;\n\n");
    if !service.types.is_empty() {
        out.push_str("use serde::{Deserialize, Serialize};\n");
    }
    out.push_str("use wayfare_guest::services::{self, Error};\n");
    for at in 0..service.types.len() {
        out.push('\n');
        out.push_str(&definition(service, at));
    }
    out.push('\n');
    comment(&mut out, "", &service.description);
    let class = &service.class;
    let _ = write!(
        out,
        "#[derive(Debug, Clone)]
pub struct {class} {{
    address: String,
    deadline: Duration,
}}

impl {class} {{
    /// Calls whoever provides the service; each call takes at most so long.
    pub fn new(deadline: Duration) -> Self {{
        Self::at({:?}, deadline)
    }}

    /// Calls whoever is at an address.
    pub fn at(address: &str, deadline: Duration) -> Self {{
        let address = address.to_owned();
        Self {{ address, deadline }}
    }}
",
        format!("service/{}", service.name)
    );
    let mut names = Names::taken(&WORDS);
    for function in &service.functions {
        out.push('\n');
        out.push_str(&method(service, function, &names.unique(snake(&function.name))));
    }
    out.push_str("}\n");
    out
}

fn method(service: &Service, function: &Function, name: &str) -> String {
    let mut out = String::new();
    comment(&mut out, "    ", &function.description);
    let (parameter, payload) = match &function.arguments {
        Some(of) => (format!(", payload: &{}", typed(service, of)), "payload"),
        None => (String::new(), "&()"),
    };
    let _ = write!(
        out,
        "    pub fn {name}(&self{parameter}) -> Result<{}, Error> {{\n        services::call(&self.address, {:?}, {payload}, self.deadline)\n    }}\n",
        typed(service, &function.result),
        function.name,
    );
    out
}

fn definition(service: &Service, at: usize) -> String {
    let Named {
        name,
        description,
        shape,
    } = &service.types[at];
    let mut out = String::new();
    comment(&mut out, "", description);
    let derived = "#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]";
    match shape {
        Shape::Record(fields) => {
            let _ = writeln!(out, "{derived}\npub struct {name} {{");
            let mut names = Names::taken(&WORDS);
            for field in fields {
                comment(&mut out, "    ", &field.description);
                let own = names.unique(snake(&field.name));
                let mut of = boxed(service, &field.of, at);
                let mut said = Vec::new();
                if own != field.name {
                    said.push(format!("rename = {:?}", field.name));
                }
                if !field.is_required {
                    said.push("default, skip_serializing_if = \"Option::is_none\"".to_owned());
                    if !matches!(field.of, Type::Maybe(_)) {
                        of = format!("Option<{of}>");
                    }
                }
                if !said.is_empty() {
                    let _ = writeln!(out, "    #[serde({})]", said.join(", "));
                }
                let _ = writeln!(out, "    pub {own}: {of},");
            }
            out.push_str("}\n");
        }
        Shape::Words(words) => {
            let _ = writeln!(out, "{derived}\npub enum {name} {{");
            let mut names = Names::taken(&["Self"]);
            for word in words {
                let own = names.unique(pascal(word));
                if own != *word {
                    let _ = writeln!(out, "    #[serde(rename = {word:?})]");
                }
                let _ = writeln!(out, "    {own},");
            }
            out.push_str("}\n");
        }
        Shape::Union(variants) => {
            let _ = writeln!(out, "{derived}\n#[serde(untagged)]\npub enum {name} {{");
            let mut names = Names::taken(&["Self"]);
            for of in variants {
                let own = names.unique(variant(service, of));
                let _ = writeln!(out, "    {own}({}),", boxed(service, of, at));
            }
            out.push_str("}\n");
        }
        Shape::Alias(of) => {
            let _ = writeln!(out, "pub type {name} = {};", typed(service, of));
        }
    }
    out
}

fn variant(service: &Service, of: &Type) -> String {
    match of {
        Type::Any => "Any".into(),
        Type::Null => "Null".into(),
        Type::Boolean => "Boolean".into(),
        Type::Integer { .. } => "Integer".into(),
        Type::Number => "Number".into(),
        Type::Text => "Text".into(),
        Type::List(_) => "List".into(),
        Type::Tuple(_) => "Tuple".into(),
        Type::Map(_) => "Map".into(),
        Type::Maybe(of) => variant(service, of),
        Type::Named(at) => service.types[*at].name.clone(),
    }
}

/// In a box where it has what `within` is in itself.
fn boxed(service: &Service, of: &Type, within: usize) -> String {
    match of {
        Type::Maybe(of) => format!("Option<{}>", boxed(service, of, within)),
        Type::Named(at) if reaches(service, *at, within, &mut BTreeSet::new()) => {
            format!("Box<{}>", typed(service, of))
        }
        of => typed(service, of),
    }
}

/// Whether a type has another one within itself, and not behind a list or map.
fn reaches(service: &Service, from: usize, to: usize, passed: &mut BTreeSet<usize>) -> bool {
    if from == to {
        return true;
    }
    if !passed.insert(from) {
        return false;
    }
    let parts: Vec<&Type> = match &service.types[from].shape {
        Shape::Record(fields) => fields.iter().map(|field| &field.of).collect(),
        Shape::Words(_) => Vec::new(),
        Shape::Union(variants) => variants.iter().collect(),
        Shape::Alias(of) => vec![of],
    };
    parts.into_iter().any(|of| holds(service, of, to, passed))
}

fn holds(service: &Service, of: &Type, to: usize, passed: &mut BTreeSet<usize>) -> bool {
    match of {
        Type::Named(at) => reaches(service, *at, to, passed),
        Type::Maybe(of) => holds(service, of, to, passed),
        Type::Tuple(all) => all.iter().any(|of| holds(service, of, to, passed)),
        _ => false,
    }
}

fn typed(service: &Service, of: &Type) -> String {
    let typed = |of: &Type| typed(service, of);
    match of {
        Type::Any => "serde_json::Value".into(),
        Type::Null => "()".into(),
        Type::Boolean => "bool".into(),
        Type::Integer { is_signed: true } => "i64".into(),
        Type::Integer { is_signed: false } => "u64".into(),
        Type::Number => "f64".into(),
        Type::Text => "String".into(),
        Type::List(of) => format!("Vec<{}>", typed(of)),
        Type::Tuple(all) => {
            let all: String = all.iter().map(|of| format!("{}, ", typed(of))).collect();
            format!("({})", all.trim_end())
        }
        Type::Map(of) => format!("std::collections::BTreeMap<String, {}>", typed(of)),
        Type::Maybe(of) => format!("Option<{}>", typed(of)),
        Type::Named(at) => service.types[*at].name.clone(),
    }
}

fn comment(out: &mut String, indent: &str, description: &str) {
    for line in lines(description) {
        let _ = writeln!(out, "{}", format!("{indent}/// {line}").trim_end());
    }
}
