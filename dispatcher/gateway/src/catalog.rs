//! The list of operations for readers: as an OpenAPI document for programs, as a page for people.

use axum::body::Body as Stream;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value, json};

use crate::offer::Offer;
use crate::offers::{self, GROUPS};
use crate::params::{Body, Kind, Param};

/// The document of which the page and clients are made.
pub(crate) fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for offer in offers::all() {
        let path = paths.entry(offer.path).or_insert_with(|| json!({}));
        path[offer.method.word().to_ascii_lowercase()] = operation(offer);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wayfare",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The fleet over HTTP. JSON is as the command prints it with --json.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem() },
        },
    })
}

fn operation(offer: &Offer) -> Value {
    let in_query = |param: &&Param| !offer.is_in_path(param.name);
    let in_body = offer.body == Body::Parameters && !offer.only_looks();
    let mut parameters: Vec<Value> = Vec::new();
    for param in offer.params {
        if offer.is_in_path(param.name) || !in_body {
            parameters.push(parameter(param, offer.is_in_path(param.name)));
        }
    }
    let mut operation = json!({
        "summary": offer.about,
        "operationId": id(offer),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done", "content": { "application/json": {} } },
            "default": {
                "description": "Refused or failed",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            },
        },
    });
    let content = match offer.body {
        Body::Bytes { media_type, .. } => {
            json!({ media_type: { "schema": { "type": "string", "format": "binary" } } })
        }
        Body::Parameters if offer.only_looks() => return operation,
        Body::Parameters => {
            let fields = offer.params.iter().filter(in_query);
            let fields: Map<String, Value> = fields
                .map(|param| (param.name.into(), schema(param, true)))
                .collect();
            json!({ "application/json": { "schema": { "type": "object", "properties": fields } } })
        }
    };
    operation["requestBody"] = json!({ "content": content });
    operation
}

/// Of the words in the address, such as `post-programs-move`.
fn id(offer: &Offer) -> String {
    let words = offer.path.trim_start_matches("/api/v1/").split('/');
    let words = words.map(|word| word.trim_matches(|c| "{}*".contains(c)));
    let words: Vec<&str> = words.collect();
    format!("{}-{}", offer.method.word().to_ascii_lowercase(), words.join("-"))
}

fn parameter(param: &Param, is_in_path: bool) -> Value {
    json!({
        "name": param.name,
        "in": if is_in_path { "path" } else { "query" },
        "required": is_in_path,
        "description": param.about,
        "schema": schema(param, false),
    })
}

fn schema(param: &Param, is_described: bool) -> Value {
    let mut schema = match param.kind {
        Kind::Text | Kind::Size | Kind::Time | Kind::Moment => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count => json!({ "type": "integer", "minimum": 0 }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
    };
    if is_described {
        schema["description"] = param.about.into();
    }
    schema
}

/// As `Problem` writes it.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": { "type": "string", "description": "A code word, the same as the command's" },
            "message": { "type": "string" },
            "hint": { "type": "string", "description": "What to do about it" },
            "failure": { "type": "object", "description": "What an engine or the dispatcher refused it with" },
        },
    })
}

/// A page that people can read, without scripts.
pub(crate) fn page() -> Response<Stream> {
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Wayfare: API</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body class=\"document\"><main>\
         <h1>API</h1><p>Parameters go into the query; those of POST and DELETE may come as a JSON object instead. Answers are JSON, as the \
         command prints it with <code>--json</code>; what is refused has <code>error</code>, <code>message</code> and often <code>hint</code>. \
         Scripts send <code>Authorization: Bearer</code> and the token of the file <code>http-token</code>. For programs: \
         <a href=\"/api/v1/openapi.json\">openapi.json</a>. Live: <code>GET /api/v1/stream</code>, server-sent events. Back to the \
         <a href=\"/\">dashboard</a>.</p>",
    );
    for (group, offers) in GROUPS {
        text.push_str(&format!("<h2>{}</h2><dl class=\"operations\">", escaped(group)));
        for offer in offers {
            let verb = offer
                .verb
                .map(|verb| format!(" <small>wayfare {}</small>", escaped(verb)));
            text.push_str(&format!(
                "<dt><code>{} {}</code>{}</dt><dd>{}",
                offer.method.word(),
                escaped(offer.path),
                verb.unwrap_or_default(),
                escaped(offer.about)
            ));
            if let Body::Bytes { what, media_type, .. } = offer.body {
                text.push_str(&format!(
                    ". The body is {}, as {}",
                    escaped(what),
                    escaped(media_type)
                ));
            }
            if !offer.params.is_empty() {
                text.push_str("<ul>");
                for param in offer.params {
                    let (name, about) = (escaped(param.name), escaped(param.about));
                    text.push_str(&format!(
                        "<li><code>{name}</code>: {about}; {}</li>",
                        param.kind.expected()
                    ));
                }
                text.push_str("</ul>");
            }
            text.push_str("</dd>");
        }
        text.push_str("</dl>");
    }
    text.push_str("</main></body></html>");
    let mut response = Response::new(Stream::from(text));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_is_in_the_document_once_with_its_parameters() {
        let document = openapi();
        let mut ids = BTreeSet::new();
        for offer in offers::all() {
            let operation = &document["paths"][offer.path][offer.method.word().to_ascii_lowercase()];
            assert_eq!(operation["summary"], offer.about, "{}", offer.path);
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{}",
                offer.path
            );
            let in_path = offer.path.split('/').filter(|part| part.starts_with('{')).count();
            let named = offer
                .params
                .iter()
                .filter(|param| offer.is_in_path(param.name))
                .count();
            assert_eq!(named, in_path, "{}", offer.path);
            let mut names: Vec<&str> = offer.params.iter().map(|param| param.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), offer.params.len(), "{}", offer.path);
        }
        assert!(ids.contains("post-programs-program-move"), "{ids:?}");
    }
}
