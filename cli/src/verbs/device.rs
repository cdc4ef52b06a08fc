//! `wayfare device ls`, `get` and `set`.

use serde_json::json;
use wayfare_client::AskError;
use wayfare_client::rows::{self, DEVICE_FIELDS, ListedDevice};
use wayfare_client::typed::parse_setting;
use wayfare_protocol::device::{Alias, DeviceAsk, Reading};
use wayfare_protocol::error::Failure;

use crate::args::DryRunArgs;
use crate::args::devices::{DeviceLsArgs, DeviceVerb};
use crate::args::fleet::AskArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};
use crate::query::Query;

pub(crate) async fn run(verb: DeviceVerb, output: Output) -> Result {
    match verb {
        DeviceVerb::Ls(args) => list(args, output).await,
        DeviceVerb::Get(args) => ask(&args.engine, args.alias, None, &args.ask, output).await,
        DeviceVerb::Set(args) => {
            let value = Some((args.value.as_str(), args.dry));
            ask(&args.engine, args.alias, value, &args.ask, output).await
        }
    }
}

async fn list(args: DeviceLsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &DEVICE_FIELDS)?;
    with_fleet(&args.fleet, async |fleet| {
        let engines = match &args.engine {
            Some(engine) => vec![fleet.engine(engine).await?],
            None => fleet.engines().await?,
        };
        let devices = query.of(rows::devices(&engines));
        let name = |one: &ListedDevice| format!("{}/{}", one.engine, one.device);
        query.print(&devices, output, name, |one| json!(one), table)
    })
    .await
}

fn table(devices: &[ListedDevice]) -> Text {
    if devices.is_empty() {
        return "no devices: an engine offers those that its configuration names".into();
    }
    let row = |one: &ListedDevice| {
        vec![
            one.engine.to_string(),
            one.device.to_string(),
            one.kind.to_string(),
            one.backend.word().to_owned(),
            if one.online { "online" } else { "offline" }.to_owned(),
        ]
    };
    let head = ["ENGINE", "DEVICE", "KIND", "BACKEND", "STATE"];
    Text::table(&head, devices.iter().map(row))
}

/// With a value, that is set.
async fn ask(
    engine: &str,
    alias: Alias,
    value: Option<(&str, DryRunArgs)>,
    args: &AskArgs,
    output: Output,
) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let view = fleet.engine(engine).await?;
        let ask = match value {
            None => DeviceAsk::Get { alias },
            Some((value, dry)) => {
                fleet.refuse_if_held().await?;
                let device = view.about.as_ref().and_then(|about| about.devices.get(&alias));
                let Some(device) = device else {
                    let engine = view.engine;
                    return Err(AskError::Failed(Failure::NoDevice { engine, alias }).into());
                };
                let setting = parse_setting(device.kind, value).map_err(Fail::usage)?;
                if dry.dry_run {
                    let engine = view.engine;
                    let document =
                        json!({ "would": "set", "engine": engine, "device": alias, "setting": setting });
                    return output.print(&document, |_| format!("would set {alias} of {engine} to {value}"));
                }
                DeviceAsk::Set { alias, setting }
            }
        };
        let reading = fleet.device(&view.engine, &ask, args.timeout).await?;
        output.print(&reading, describe)
    })
    .await
}

fn describe(reading: &Reading) -> String {
    let level = |active: &Option<bool>| match active {
        Some(true) => "on",
        Some(false) => "off",
        None => "released",
    };
    match reading {
        Reading::Level { active } => level(&Some(*active)).to_owned(),
        Reading::Output {
            active,
            changes,
            last,
        } => {
            const SHOWN_MAX: usize = 16;
            let skipped = last.len().saturating_sub(SHOWN_MAX);
            let last: Vec<&str> = last.iter().skip(skipped).map(level).collect();
            match changes {
                0 => "never driven".to_owned(),
                _ => format!(
                    "{} after {changes} changes, the last: {}",
                    level(active),
                    last.join(" ")
                ),
            }
        }
        Reading::Sample { raw, scaled } => format!("{scaled} (raw {raw})"),
        Reading::Bytes { bytes } => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_a_line() {
        let output = |active, changes, last: &[Option<bool>]| Reading::Output {
            active,
            changes,
            last: last.to_vec(),
        };
        for (reading, line) in [
            (Reading::Level { active: true }, "on"),
            (
                Reading::Sample {
                    raw: 21,
                    scaled: 20.5,
                },
                "20.5 (raw 21)",
            ),
            (output(None, 0, &[]), "never driven"),
            (
                output(None, 2, &[Some(true), None]),
                "released after 2 changes, the last: on released",
            ),
            (
                Reading::Bytes {
                    bytes: b"a\n".to_vec(),
                },
                "a\\n",
            ),
        ] {
            assert_eq!(describe(&reading), line);
        }
    }
}
