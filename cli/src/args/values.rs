//! Single values as they are typed: times, sizes, names, variables.

use std::time::Duration;

pub(crate) use wayfare_client::typed::parse_size;
pub(super) use wayfare_client::typed::{parse_age, parse_duration, parse_time};
use wayfare_client::{EXPIRY_MAX, Policy};
use wayfare_protocol::files::{FileGrant, FilePath};
use wayfare_protocol::grants::{is_filter, is_variable};
use wayfare_protocol::ids::{EngineId, is_name};
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::values::{Key, is_shared_key};

pub(super) fn parse_policy(text: &str) -> Result<Policy, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
        "first-fit, best-fit, spread, least-cpu, most-free-memory or least-moves is expected".to_owned()
    })
}

/// How long an order may wait.
pub(super) fn parse_expiry(text: &str) -> Result<Duration, String> {
    match parse_age(text)? {
        time if time <= EXPIRY_MAX => Ok(time),
        _ => Err(format!(
            "at most {} days are expected",
            EXPIRY_MAX.as_secs() / 86_400
        )),
    }
}

pub(super) fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is expected".into()),
    }
}

pub(super) fn parse_filter(text: &str) -> Result<String, String> {
    if is_filter(text) {
        return Ok(text.to_owned());
    }
    Err("a topic filter such as 'site/+/temperature' or 'site/#' is expected".into())
}

pub(crate) fn parse_key(text: &str) -> Result<Key, String> {
    Key::try_from(text.to_owned())
        .map_err(|_| "a key as `wayfare state ls` lists it is expected: /shared, or NAME/key".to_owned())
}

/// Which of both it is says a flag beside it.
pub(super) fn parse_key_or_pattern(text: &str) -> Result<String, String> {
    let has_wildcard = text.contains(['+', '#']);
    match has_wildcard && Pattern::try_from(text.to_owned()).is_ok() {
        true => Ok(text.to_owned()),
        false => parse_key(text).map(String::from),
    }
}

pub(crate) fn parse_pattern(text: &str) -> Result<Pattern, String> {
    Pattern::try_from(text.to_owned()).map_err(str::to_owned)
}

pub(super) fn parse_shared_key(text: &str) -> Result<String, String> {
    if is_shared_key(text) {
        return Ok(text.to_owned());
    }
    Err("shared keys begin with '/': a program's own need no grant".into())
}

pub(super) fn parse_file_path(text: &str) -> Result<FilePath, String> {
    FilePath::try_from(text.to_owned()).map_err(str::to_owned)
}

pub(super) fn parse_file_grant(text: &str) -> Result<FileGrant, String> {
    FileGrant::try_from(text.to_owned()).map_err(str::to_owned)
}

pub(super) fn parse_variable_name(text: &str) -> Result<String, String> {
    if is_variable(text) {
        return Ok(text.to_owned());
    }
    Err("the name of a variable is expected, and not one of the engine's own WAYFARE_...".into())
}

/// A service's name, or all.
pub(super) fn parse_service(text: &str) -> Result<String, String> {
    match text {
        "+" => Ok(text.to_owned()),
        name => parse_name(name),
    }
}

pub(super) fn parse_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    // The rule is the same as for engines, and so is its explanation.
    Err(text
        .parse::<EngineId>()
        .map_or_else(|error| error.to_string(), |_| "unusable".into()))
}
