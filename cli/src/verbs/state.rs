//! `wayfare state`: the values that programs keep with the dispatcher.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use wayfare_client::Client;
use wayfare_client::watching::{ValueWatch, Watched};
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::values::{
    Changed, Key, Listed, OneChange, TOGETHER_BYTES_MAX, TOGETHER_MAX, VALUE_BYTES_MAX, Value, ValueAnswer,
    ValueAsk,
};

use crate::args::fleet::AskArgs;
use crate::args::state::{
    StateImportArgs, StateLsArgs, StatePatternArgs, StateRmArgs, StateSetArgs, StateVerb,
};
use crate::args::values::{parse_key, parse_pattern};
use crate::config::Settings;
use crate::context::with_services;
use crate::fail::{Fail, Result, connecting};
use crate::output::{Foreign, Output, Text, bytes};
use crate::query::Query;
use wayfare_client::rows::VALUE_FIELDS;

/// Of what is imported at once, so that it fits a message.
const PIECE_BYTES: usize = 96 * 1024;

pub(crate) async fn run(verb: StateVerb, output: Output) -> Result {
    match verb {
        StateVerb::Ls(args) => list(args, output).await,
        StateVerb::Get(args) if args.pattern => {
            let pattern = parse_pattern(&args.key).map_err(Fail::usage)?;
            export(&pattern, &args.ask).await
        }
        StateVerb::Get(args) => get(key(&args.key)?, &args.ask, output).await,
        StateVerb::Set(args) => set(args, output).await,
        StateVerb::Rm(args) => remove(args, output).await,
        StateVerb::Watch(args) => watch(args).await,
        StateVerb::Export(args) => export(&args.pattern, &args.ask).await,
        StateVerb::Import(args) => import(args, output).await,
    }
}

async fn list(args: StateLsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &VALUE_FIELDS)?;
    with_services(&args.ask.fleet, async |fleet| {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let what = ValueAsk::List {
                prefix: args.prefix.clone(),
                after: all.last().map(|last| last.key.clone()),
            };
            match ask(fleet, what, &args.ask).await? {
                ValueAnswer::Listed { values } if values.is_empty() => break,
                ValueAnswer::Listed { values } => all.extend(values),
                other => return Err(unexpected(&other)),
            }
        }
        let all = query.of(all);
        let key = |one: &Listed| one.key.as_str().to_owned();
        query.print(&all, output, key, |one| json!(one), values_table)
    })
    .await
}

pub(super) fn values_table(all: &[Listed]) -> Text {
    let row = |one: &Listed| {
        vec![
            one.key.as_str().to_owned(),
            one.version.to_string(),
            bytes(one.bytes),
        ]
    };
    Text::table(&["KEY", "VERSION", "LENGTH"], all.iter().map(row))
}

async fn get(key: Key, args: &AskArgs, output: Output) -> Result {
    with_services(&args.fleet, async |fleet| {
        let what = ValueAsk::Get { key: key.clone() };
        match ask(fleet, what, args).await? {
            ValueAnswer::Value { version, value } => {
                match output {
                    // As it is, for pipes: whoever set it knows whether it is text.
                    Output::Human => {
                        let mut foreign = Foreign::new();
                        let shown = foreign.piece(value.as_bytes());
                        shown.map_err(|error| Fail::standard_output(&error))?;
                        foreign.finish()
                    }
                    Output::Json => {
                        let text = std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned);
                        let base64 = String::from(value);
                        let document =
                            json!({ "key": key, "version": version, "text": text, "base64": base64 });
                        output.print(&document, ToString::to_string)
                    }
                }
            }
            ValueAnswer::Absent => {
                let key = key.as_str();
                Err(Fail::new(
                    "no-value",
                    format!("there is no value '{key}': `wayfare state ls` lists what there is"),
                ))
            }
            other => Err(unexpected(&other)),
        }
    })
    .await
}

async fn remove(args: StateRmArgs, output: Output) -> Result {
    let (dry, args) = (args.dry.dry_run, args.one);
    with_services(&args.ask.fleet, async |fleet| {
        fleet.refuse_if_held().await?;
        if dry {
            let what = ValueAsk::Get {
                key: args.key.clone(),
            };
            return match ask(fleet, what, &args.ask).await? {
                ValueAnswer::Value { version, .. } => {
                    let document = json!({ "would": "remove", "key": args.key, "version": version });
                    output.print(&document, |_| {
                        format!("would remove {}, version {version}", args.key.as_str())
                    })
                }
                // Removing it changes nothing either.
                _ => output.print(&json!({ "would": null }), |_| "nothing would change"),
            };
        }
        let what = ValueAsk::Remove {
            key: args.key.clone(),
        };
        match ask(fleet, what, &args.ask).await? {
            ValueAnswer::Removed => output.print(&json!({ "removed": args.key }), |_| {
                format!("removed {}", args.key.as_str())
            }),
            other => Err(unexpected(&other)),
        }
    })
    .await
}

async fn set(args: StateSetArgs, output: Output) -> Result {
    let value = value_of(args.value.into_bytes())?;
    let what = match (args.pattern, args.expect) {
        (true, _) => ValueAsk::SetMatching {
            pattern: parse_pattern(&args.key).map_err(Fail::usage)?,
            value,
        },
        (false, None) => ValueAsk::Set {
            key: key(&args.key)?,
            value,
        },
        (false, Some(expected)) => ValueAsk::CompareAndSet {
            key: key(&args.key)?,
            expected,
            value,
        },
    };
    with_services(&args.ask.fleet, async |fleet| {
        fleet.refuse_if_held().await?;
        if args.dry.dry_run {
            return would_set(fleet, what, &args.key, &args.ask, output).await;
        }
        match ask(fleet, what, &args.ask).await? {
            ValueAnswer::Set { version } => {
                let document = json!({ "key": args.key, "version": version });
                output.print(&document, |_| format!("set {}, version {version}", args.key))
            }
            ValueAnswer::SetMany { count, version } => {
                let document = json!({ "pattern": args.key, "count": count, "version": version });
                output.print(&document, |_| format!("set {count} values"))
            }
            ValueAnswer::Conflict { version } => Err(conflict(&args.key, version)),
            ValueAnswer::Full => Err(full(args.pattern)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}

fn conflict(key: &str, version: u64) -> Fail {
    Fail::new(
        "conflict",
        format!("'{key}' has version {version}: it was not set"),
    )
}

/// What setting it would replace: nothing is done.
async fn would_set(fleet: &Client, what: ValueAsk, name: &str, args: &AskArgs, output: Output) -> Result {
    let (key, expected) = match what {
        ValueAsk::SetMatching { pattern, .. } => {
            let mut count = 0_u64;
            matching(fleet, &pattern, args, |one| {
                count += u64::from(one.value.is_some());
                Ok(())
            })
            .await?;
            let document = json!({ "would": "set", "pattern": name, "count": count });
            return output.print(&document, |_| format!("would set {count} values"));
        }
        ValueAsk::CompareAndSet { key, expected, .. } => (key, Some(expected)),
        ValueAsk::Set { key, .. } => (key, None),
        other => unreachable!("{other:?} sets nothing"),
    };
    let version = match ask(fleet, ValueAsk::Get { key }, args).await? {
        ValueAnswer::Value { version, .. } => Some(version),
        ValueAnswer::Absent => None,
        other => return Err(unexpected(&other)),
    };
    if let Some(expected) = expected
        && expected != version.unwrap_or(0)
    {
        return Err(conflict(name, version.unwrap_or(0)));
    }
    let document = json!({ "would": "set", "key": name, "version": version });
    output.print(&document, |_| match version {
        Some(version) => format!("would set {name}, which has version {version}"),
        None => format!("would set {name}, which is not there"),
    })
}

fn full(is_pattern: bool) -> Fail {
    let reason = match is_pattern {
        true => format!(
            "over {TOGETHER_MAX} keys match, they would have over {} together, or there is no room: nothing was set",
            bytes(TOGETHER_BYTES_MAX as u64)
        ),
        false => "the dispatcher has no room for it".to_owned(),
    };
    Fail::new("full", reason).hint("`wayfare state ls` lists what there is, `wayfare state rm` makes room")
}

/// A value with its key, as `export` writes it and `import` reads it.
#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    key: Key,
    /// That of a removal, where there is no value; 0 where that is not known.
    #[serde(default)]
    version: u64,
    /// As a text, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<Value>,
}

impl From<Changed> for Exported {
    fn from(changed: Changed) -> Self {
        let text = changed
            .value
            .as_ref()
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let text = text.map(str::to_owned);
        Self {
            key: changed.key,
            version: changed.version,
            base64: changed.value.filter(|_| text.is_none()),
            text,
        }
    }
}

impl Exported {
    fn value(self) -> Result<(Key, Value)> {
        let value = match (self.text, self.base64) {
            (Some(text), None) => value_of(text.into_bytes())?,
            (None, Some(value)) => value,
            _ => {
                let key = self.key.as_str();
                return Err(Fail::usage(format!(
                    "'{key}' has neither 'text' nor 'base64', or both"
                )));
            }
        };
        Ok((self.key, value))
    }
}

fn key(text: &str) -> Result<Key> {
    parse_key(text).map_err(Fail::usage)
}

fn value_of(bytes: Vec<u8>) -> Result<Value> {
    let length = bytes.len();
    Value::new(bytes)
        .ok_or_else(|| Fail::usage(format!("a value of {length} bytes is over {VALUE_BYTES_MAX}")))
}

/// All values that match, page by page.
async fn matching(
    fleet: &Client,
    pattern: &Pattern,
    args: &AskArgs,
    mut each: impl FnMut(Changed) -> Result,
) -> Result {
    let mut after = None;
    loop {
        let what = ValueAsk::Matching {
            pattern: pattern.clone(),
            after: after.take(),
        };
        match ask(fleet, what, args).await? {
            ValueAnswer::Matching { values, is_all } => {
                after = values.last().map(|last| last.key.clone());
                values.into_iter().try_for_each(&mut each)?;
                if is_all || after.is_none() {
                    return Ok(());
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

async fn export(pattern: &Pattern, args: &AskArgs) -> Result {
    with_services(&args.fleet, async |fleet| {
        matching(fleet, pattern, args, print_line).await
    })
    .await
}

/// A line of JSON whatever is asked for: values may be of any length and kind.
fn print_line(one: Changed) -> Result {
    let line = serde_json::to_string(&Exported::from(one)).expect("plain data serialises");
    let mut foreign = Foreign::new();
    let shown = foreign.piece(line.as_bytes()).and_then(|()| foreign.piece(b"\n"));
    shown.map_err(|error| Fail::standard_output(&error))?;
    foreign.finish()
}

/// Each piece of what was exported that fits a message is set at once.
async fn import(args: StateImportArgs, output: Output) -> Result {
    let read = match &args.file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Fail::usage(format!("{} cannot be read: {error}", file.display())))?,
        None => std::io::read_to_string(std::io::stdin())
            .map_err(|error| Fail::usage(format!("standard input cannot be read: {error}")))?,
    };
    let mut changes = Vec::new();
    for (number, line) in (1..)
        .zip(read.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let bad = |error: serde_json::Error| {
            Fail::usage(format!("line {number} is not an exported value: {error}"))
        };
        let (key, value) = serde_json::from_str::<Exported>(line).map_err(bad)?.value()?;
        changes.push(OneChange {
            key,
            value: Some(value),
            expected: None,
        });
    }
    let count = changes.len();
    with_services(&args.ask.fleet, async |fleet| {
        fleet.refuse_if_held().await?;
        for changes in pieces(changes) {
            match ask(fleet, ValueAsk::SetMany { changes }, &args.ask).await? {
                ValueAnswer::SetMany { .. } => {}
                ValueAnswer::Full => return Err(full(false)),
                other => return Err(unexpected(&other)),
            }
        }
        output.print(&json!({ "set": count }), |_| format!("set {count} values"))
    })
    .await
}

fn pieces(changes: Vec<OneChange>) -> Vec<Vec<OneChange>> {
    let mut all: Vec<Vec<OneChange>> = Vec::new();
    let mut bytes = 0;
    for one in changes {
        let its = one.key.as_str().len()
            + one
                .value
                .as_ref()
                .map_or(0, |value| value.as_bytes().len() * 4 / 3)
            + 64;
        match all
            .last_mut()
            .filter(|last| bytes + its <= PIECE_BYTES && last.len() < TOGETHER_MAX)
        {
            Some(last) => last.push(one),
            None => {
                all.push(vec![one]);
                bytes = 0;
            }
        }
        bytes += its;
    }
    all
}

/// Never an older value of a key than one that was printed.
async fn watch(args: StatePatternArgs) -> Result {
    let settings = Settings::load(&args.ask.fleet)?;
    let opened = ValueWatch::open(settings.broker, &settings.topics, args.pattern.clone());
    let mut watching = opened.await.map_err(connecting)?;
    let mut versions: BTreeMap<Key, u64> = BTreeMap::new();
    let result = with_services(&args.ask.fleet, async |fleet| {
        loop {
            match watching.next(args.ask.timeout).await.map_err(connecting)? {
                Watched::Changed(changed) => {
                    let last = versions.get(&changed.key).copied().unwrap_or(0);
                    if changed.version > last {
                        versions.insert(changed.key.clone(), changed.version);
                        print_line(changed)?;
                    }
                }
                Watched::Begin => {
                    let mut there = BTreeSet::new();
                    let shown = matching(fleet, &args.pattern, &args.ask, |one| {
                        there.insert(one.key.clone());
                        let last = versions.insert(one.key.clone(), one.version).unwrap_or(0);
                        match one.version > last {
                            true => print_line(one),
                            false => Ok(()),
                        }
                    });
                    shown.await?;
                    let gone: Vec<Key> = versions
                        .keys()
                        .filter(|key| !there.contains(*key))
                        .cloned()
                        .collect();
                    for key in gone {
                        versions.remove(&key);
                        let (version, value) = (0, None);
                        print_line(Changed { key, version, value })?;
                    }
                }
            }
        }
    })
    .await;
    watching.close().await;
    result
}

async fn ask(fleet: &Client, what: ValueAsk, args: &AskArgs) -> Result<ValueAnswer> {
    Ok(fleet.ask_values(what, args.timeout).await?)
}

fn unexpected(answer: &ValueAnswer) -> Fail {
    Fail::new("dispatcher", format!("the dispatcher answered with {answer:?}"))
}
