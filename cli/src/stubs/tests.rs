//! Clients as they are printed, in `made`. What they are held against runs and compiles elsewhere:
//! `cli/tests/stubs.rs`.

use serde_json::{Value as Json, json};

use super::{Language, Service};

const CALC: &str = include_str!("made/calc.json");

fn calc() -> Service {
    let schema: Json = serde_json::from_str(CALC).expect("JSON");
    Service::read("calc", &schema).expect("a schema")
}

fn all() -> [(Language, &'static str, &'static str); 3] {
    [
        (Language::Ts, "calc.ts", include_str!("made/calc.ts")),
        (Language::Python, "calc.py", include_str!("made/calc.py")),
        (Language::Rust, "calc.rs", include_str!("made/calc.rs")),
    ]
}

#[test]
fn clients_are_printed_as_they_are_kept() {
    for (language, file, expected) in all() {
        let made = language.client(&calc());
        if std::env::var_os("WAYFARE_UPDATE_STUBS").is_some() {
            let at = format!("{}/src/stubs/made/{file}", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(at, &made).expect("it can be written");
        } else {
            assert_eq!(made, expected, "WAYFARE_UPDATE_STUBS=1 writes {file} anew");
        }
    }
}

#[test]
fn functions_are_shown_with_what_they_take_and_give() {
    let service = calc();
    let shown: Vec<String> = service
        .functions
        .iter()
        .map(|function| service.signature(function))
        .collect();
    assert_eq!(
        shown,
        [
            "add({a: integer, b: integer}) -> integer",
            "place-order(Order) -> PlaceOrderResult or null",
            "slow(integer) -> null",
            "tree() -> {children: list of Tree, left?: Tree}",
            "true() -> any",
        ]
    );
}

#[test]
fn what_is_no_schema_is_refused_and_what_no_language_has_is_any_json() {
    for (schema, expected) in [
        (json!([]), "it is not a JSON object"),
        (json!({ "functions": [] }), "'functions' is not a JSON object"),
        (
            json!({ "functions": { "a b": {} } }),
            "no function can be called 'a b'",
        ),
        (
            json!({ "functions": { "a": true } }),
            "function 'a' is not a JSON object",
        ),
    ] {
        assert_eq!(Service::read("s", &schema).unwrap_err(), expected);
    }
    let mut deep = json!({ "type": "integer" });
    for _ in 0..50 {
        deep = json!({ "type": "array", "items": deep });
    }
    for (schema, expected) in [
        (json!(true), "any"),
        (json!({ "$ref": "https://example.org/x" }), "any"),
        (json!({ "$ref": "#/$defs/Missing" }), "any"),
        (
            json!({ "allOf": [{ "type": "string" }, { "maxLength": 3 }] }),
            "any",
        ),
        (json!({ "allOf": [{ "type": "string" }] }), "text"),
        (json!({ "type": ["string", "integer"] }), "any"),
        (json!({ "enum": [] }), "any"),
        (json!({ "enum": [1, 2] }), "integer"),
        (json!({ "const": null }), "null"),
        (json!({ "type": "object" }), "map of any"),
        (
            json!({ "type": "array", "items": [{ "type": "string" }, {}] }),
            "[text, any]",
        ),
        (
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            "text or null",
        ),
        (deep, &format!("{}integer", "list of ".repeat(50))),
    ] {
        let document = json!({ "functions": { "f": { "result": schema } } });
        let service = Service::read("s", &document).unwrap();
        assert_eq!(
            service.signature(&service.functions[0]),
            format!("f() -> {expected}"),
            "{schema}"
        );
    }
}

/// Whoever provides a service writes its schema, and somebody else runs what is made of it.
#[test]
fn nothing_in_a_schema_gets_out_of_texts_and_comments() {
    let evil = "*/ \"; \u{2028}evil()\n\"\"\"\r\nevil()\u{0085}evil() \\";
    let named = |of: Json| json!({ "description": evil, "type": "object", "properties": { evil: of } });
    let document = json!({
        "description": evil,
        "functions": { "evil();//": { "description": evil, "arguments": { "$ref": format!("#/$defs/{evil}") }, "result": { "enum": [evil, "a\u{7}"] } } },
        "$defs": { evil: named(json!({ "type": "string" })) },
    });
    let service = Service::read("s", &document).unwrap();
    for (language, _, _) in all() {
        let made = language.client(&service);
        let comment = match language {
            Language::Python => "#",
            Language::Ts => "*",
            Language::Rust => "//",
        };
        assert!(!made.contains(['\r', '\u{2028}', '\u{85}', '\u{7}']), "{made:?}");
        for line in made.lines().map(str::trim) {
            if line.starts_with(comment) {
                assert!(
                    !line.contains("*/") || language != Language::Ts || line == "*/",
                    "{line}"
                );
            } else {
                // Outside of texts nothing of it is left.
                assert!(!without_texts(line).contains("evil()"), "{language:?}: {line}");
            }
        }
    }
    let doubled = json!({ "functions": { "a-b": {}, "a_b": {}, "1": {}, "class": {}, "constructor": {} } });
    let rust = Language::Rust.client(&Service::read("s", &doubled).unwrap());
    for name in ["fn a_b(", "fn a_b2(", "fn f_1(", "fn class(", "fn constructor("] {
        assert!(rust.contains(name), "{name}: {rust}");
    }
    let python = Language::Python.client(&Service::read("s", &doubled).unwrap());
    assert!(python.contains("def class2("), "{python}");
}

/// A line without its texts in quotation marks.
fn without_texts(line: &str) -> String {
    let (mut out, mut is_text, mut is_escaped) = (String::new(), false, false);
    for c in line.chars() {
        match (is_text, is_escaped, c) {
            (true, true, _) => is_escaped = false,
            (true, false, '\\') => is_escaped = true,
            (_, _, '"') => is_text = !is_text,
            (true, _, _) => {}
            (false, _, c) => out.push(c),
        }
    }
    assert!(!is_text, "a text does not end: {line}");
    out
}
