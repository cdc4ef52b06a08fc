//! The values that programs keep.

use std::sync::Arc;

use serde_json::json;
use wayfare_client::AskError;
use wayfare_client::problem::Problem;
use wayfare_protocol::values::{Key, Listed, ValueAnswer, ValueAsk};

use super::parameters::{TIMEOUT, VALUES_MAX};
use crate::answers::{Answer, NOT_FOUND, bad_usage, json as answer};
use crate::asked::Asked;
use crate::offer::Method::{Delete, Get};
use crate::offer::Offer;
use crate::params::Body::Parameters;
use crate::params::Kind::Text;
use crate::params::{Param, param};
use crate::site::Site;

const KEY: Param = param("key", Text, "As the list has it: /shared, or NAME/key");

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("state ls"),
        method: Get,
        path: "/api/v1/state",
        about: "List keys, with their values' versions and lengths",
        params: &[
            param(
                "prefix",
                Text,
                "Only keys that begin like this: /counters/ for shared ones, NAME/ for those of programs of a name",
            ),
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(list(site, asked)),
    },
    Offer {
        verb: Some("state get"),
        method: Get,
        path: "/api/v1/value",
        about: "Show a value",
        params: &[KEY, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(get(site, asked)),
    },
    Offer {
        verb: Some("state rm"),
        method: Delete,
        path: "/api/v1/value",
        about: "Remove a value",
        params: &[KEY, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(remove(site, asked)),
    },
];

async fn list(site: Arc<Site>, asked: Asked) -> Answer {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let what = ValueAsk::List {
            prefix: asked.text("prefix").unwrap_or_default().to_owned(),
            after: all.last().map(|last| last.key.clone()),
        };
        match site.client().ask_values(what, asked.timeout()).await? {
            ValueAnswer::Listed { values } if values.is_empty() => return Ok(answer(&all)),
            ValueAnswer::Listed { values } => all.extend(values),
            other => return Err(unexpected(&other)),
        }
        if all.len() >= VALUES_MAX {
            return Ok(answer(&all));
        }
    }
}

fn key(asked: &Asked) -> Result<Key, Problem> {
    let text = asked.required("key")?.to_owned();
    Key::try_from(text)
        .map_err(|_| bad_usage("'key': a key as the list has it is expected: /shared, or NAME/key"))
}

async fn get(site: Arc<Site>, asked: Asked) -> Answer {
    let key = key(&asked)?;
    let what = ValueAsk::Get { key: key.clone() };
    match site.client().ask_values(what, asked.timeout()).await? {
        ValueAnswer::Value { version, value } => {
            let text = std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned);
            let base64 = String::from(value);
            Ok(answer(
                &json!({ "key": key, "version": version, "text": text, "base64": base64 }),
            ))
        }
        ValueAnswer::Absent => Err(Problem::new(
            NOT_FOUND,
            format!("there is no value '{}'", key.as_str()),
        )),
        other => Err(unexpected(&other)),
    }
}

async fn remove(site: Arc<Site>, asked: Asked) -> Answer {
    let key = key(&asked)?;
    let what = ValueAsk::Remove { key: key.clone() };
    match site.client().ask_values(what, asked.timeout()).await? {
        ValueAnswer::Removed => Ok(answer(&json!({ "removed": key }))),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(found: &ValueAnswer) -> Problem {
    let reason = format!("{found:?}");
    AskError::Unexpected { reason }.into()
}
