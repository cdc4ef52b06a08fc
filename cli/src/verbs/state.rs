//! `wayfare state`: the values that programs keep with the dispatcher.

use serde_json::json;
use wayfare_client::Client;
use wayfare_protocol::values::{Listed, ValueAnswer, ValueAsk};

use super::fields::VALUE_FIELDS;
use crate::args::apps::AskArgs;
use crate::args::state::{StateKeyArgs, StateLsArgs, StateRmArgs, StateVerb};
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Foreign, Output, Text, bytes};
use crate::query::Query;

pub(crate) async fn run(verb: StateVerb, output: Output) -> Result {
    match verb {
        StateVerb::Ls(args) => list(args, output).await,
        StateVerb::Get(args) => get(args, output).await,
        StateVerb::Rm(args) => remove(args, output).await,
    }
}

async fn list(args: StateLsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &VALUE_FIELDS)?;
    with_fleet(&args.ask.fleet, async |fleet| {
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

async fn get(args: StateKeyArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let what = ValueAsk::Get {
            key: args.key.clone(),
        };
        match ask(fleet, what, &args.ask).await? {
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
                            json!({ "key": args.key, "version": version, "text": text, "base64": base64 });
                        output.print(&document, ToString::to_string)
                    }
                }
            }
            ValueAnswer::Absent => {
                let key = args.key.as_str();
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
    with_fleet(&args.ask.fleet, async |fleet| {
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

async fn ask(fleet: &Client, what: ValueAsk, args: &AskArgs) -> Result<ValueAnswer> {
    Ok(fleet.ask_values(what, args.timeout).await?)
}

fn unexpected(answer: &ValueAnswer) -> Fail {
    Fail::new("dispatcher", format!("the dispatcher answered with {answer:?}"))
}
