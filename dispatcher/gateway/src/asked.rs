//! A request to one of the [operations](crate::offer), checked against its parameters: what is not among them
//! is refused with those that are.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body as Stream;
use serde_json::Value;
use wayfare_client::problem::Problem;
use wayfare_client::typed::{parse_duration, parse_size, parse_time};

use crate::answers::bad_usage;
use crate::bodies::whole;
use crate::params::{Accepts, Body, Kind, Param};

/// Bytes of a JSON object with parameters,
const OBJECT_BYTES_MAX: u64 = 256 * 1024;
/// and how many values may be given.
const VALUES_MAX: usize = 4096;
/// What is waited for unless the request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Asked {
    accepts: Accepts,
    values: BTreeMap<&'static str, Vec<String>>,
    body: Vec<u8>,
}

impl Asked {
    /// Reads parameters from everywhere.
    pub(crate) async fn read(
        accepts: Accepts,
        path: impl Iterator<Item = (String, String)>,
        query: Option<&str>,
        body: Stream,
    ) -> Result<Self, Problem> {
        let mut asked = Self {
            accepts,
            values: BTreeMap::new(),
            body: Vec::new(),
        };
        for (name, value) in path {
            asked.give(&name, value)?;
        }
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if accepts.is_in_path(&name) {
                return Err(bad_usage(format!("'{name}' is in the path already")));
            }
            asked.give(&name, value.into_owned())?;
        }
        match accepts.body {
            Body::Bytes { what, bytes_max, .. } => {
                asked.body = whole(body, what, bytes_max).await?;
            }
            Body::Parameters => {
                let bytes = whole(body, "the body", OBJECT_BYTES_MAX).await?;
                asked.read_object(&bytes)?;
            }
        }
        asked.check()?;
        Ok(asked)
    }

    fn read_object(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| bad_usage(format!("the body is not JSON: {error}")))?;
        let Value::Object(object) = value else {
            return Err(bad_usage("the body is not a JSON object"));
        };
        for (name, value) in object {
            match value {
                Value::Null => {}
                Value::Array(values) => {
                    for value in values {
                        self.give(&name, text(&name, value)?)?;
                    }
                }
                value => self.give(&name, text(&name, value)?)?,
            }
        }
        Ok(())
    }

    fn give(&mut self, name: &str, value: String) -> Result<(), Problem> {
        let Some(param) = self.accepts.params.iter().find(|param| param.name == name) else {
            let names: Vec<&str> = self.accepts.params.iter().map(|param| param.name).collect();
            let there = match names.as_slice() {
                [] => "it takes none".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            return Err(bad_usage(format!("no parameter '{name}'; {there}")));
        };
        let values = self.values.entry(param.name).or_default();
        if values.len() >= VALUES_MAX {
            return Err(bad_usage(format!("more than {VALUES_MAX} values of '{name}'")));
        }
        values.push(value);
        Ok(())
    }

    /// Every value is what its parameter expects, so that who takes one later finds it good.
    fn check(&self) -> Result<(), Problem> {
        for param in self.accepts.params {
            let values = self.values.get(param.name).map_or(&[][..], Vec::as_slice);
            if values.len() > 1 && param.kind != Kind::List {
                return Err(bad_usage(format!(
                    "'{}' is given {} times",
                    param.name,
                    values.len()
                )));
            }
            for value in values {
                check(param, value)?;
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.first().map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.text(name)
            .ok_or_else(|| bad_usage(format!("'{name}' is missing")))
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        parse_size(self.text(name)?).ok()
    }

    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        parse_duration(self.text(name)?).ok()
    }

    pub(crate) fn moment(&self, name: &str) -> Option<u64> {
        parse_time(self.text(name)?).ok()
    }

    /// How long it may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.time("timeout").unwrap_or(TIMEOUT)
    }

    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The bytes that came with it.
    pub(crate) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }
}

fn text(name: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(bad_usage(format!("'{name}' is a text, a number, true or false")))
        }
    }
}

fn check(param: &Param, value: &str) -> Result<(), Problem> {
    let is_good = match param.kind {
        Kind::Text | Kind::List => !value.contains('\0'),
        Kind::Flag => matches!(value, "true" | "false"),
        Kind::Count => value.parse::<u64>().is_ok(),
        Kind::Size => parse_size(value).is_ok(),
        Kind::Time => parse_duration(value).is_ok(),
        Kind::Moment => parse_time(value).is_ok(),
    };
    match is_good {
        true => Ok(()),
        false => Err(bad_usage(format!(
            "'{}': {} is expected",
            param.name,
            param.kind.expected()
        ))),
    }
}
