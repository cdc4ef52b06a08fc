//! `wayfare ps`, `engines` and `status`.

use std::collections::BTreeMap;

use futures::future::try_join;
use serde_json::json;
use wayfare_client::app::alarms::AlarmRecord;
use wayfare_client::lists::Listing;
use wayfare_client::numbers::EngineLoad;
use wayfare_client::rows::{ENGINE_FIELDS, PROGRAM_FIELDS};
pub(super) use wayfare_client::rows::{Listed, ListedEngine, labels, with_numbers};
use wayfare_client::{ANSWER_TIMEOUT, Client, Presence, Report};
use wayfare_protocol::device::{Alias, Backend, DeviceAbout};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::ports::Port;
use wayfare_protocol::status::{EngineAbout, ProgramState};

use crate::args::looking::{EnginesArgs, PsArgs, StatusArgs};
use crate::args::query::Form;
use crate::context::{with_fleet, with_services};
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, age, bytes, clear_screen, moment, now_ms, percent};
use crate::query::Query;

const ENGINE_COLUMNS: [&str; 12] = [
    "ENGINE", "STATE", "PROGRAMS", "CPU", "PLATFORM", "CPUS", "MEMORY", "VERSION", "WASMTIME", "HOST",
    "LABELS", "DEVICES",
];

/// All programs with their numbers, and the numbers of engines.
pub(super) async fn measured(fleet: &Client) -> Result<(Vec<Listed>, BTreeMap<EngineId, EngineLoad>)> {
    Ok(fleet.measured().await?)
}

pub(crate) async fn programs(args: PsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &PROGRAM_FIELDS)?;
    let all = args.all || args.query.filter.is_some();
    let listing = Listing {
        recent: !all,
        ..args.query.listing()
    };
    let of_dispatcher = async |fleet: &Client| Ok(fleet.programs_listed(listing).await?);
    let listed = with_services(&args.fleet, of_dispatcher).await?;
    let (programs, hidden) = match listed {
        Some(listed) => (listed.rows, listed.hidden),
        None => {
            let (programs, _) = with_fleet(&args.fleet, measured).await?;
            let (count, now_ms) = (programs.len(), now_ms());
            let recent = programs
                .into_iter()
                .filter(|listed| all || listed.is_recent(now_ms));
            let programs: Vec<Listed> = recent.collect();
            let hidden = (count - programs.len()) as u64;
            (query.of(programs), hidden)
        }
    };
    let id = |listed: &Listed| listed.view.status.program.to_string();
    query.print(
        &programs,
        output,
        id,
        |one| json!(one),
        |programs| programs_table(programs, args.query.form, now_ms()).then(not_shown(hidden)),
    )
}

/// A line about those that ended long ago, if there are any.
fn not_shown(hidden: u64) -> Text {
    let remark = (hidden > 0).then(|| {
        format!(
            "{hidden} that have ended are not shown: `wayfare ps -a` shows them, `wayfare prune` removes them"
        )
    });
    remark.into_iter().collect()
}

pub(crate) async fn engines(args: EnginesArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &ENGINE_FIELDS)?;
    let listing = args.query.listing();
    let of_dispatcher = async |fleet: &Client| Ok(fleet.engines_listed(listing).await?);
    let listed = with_services(&args.fleet, of_dispatcher).await?;
    let engines = match listed {
        Some(listed) => listed.rows,
        None => query.of(with_fleet(&args.fleet, all_engines).await?),
    };
    let name = |one: &ListedEngine| one.view.engine.to_string();
    query.print(&engines, output, name, |one| json!(one), engines_table)
}

/// All engines, each asked whether it is there, with their numbers.
async fn all_engines(fleet: &Client) -> Result<Vec<ListedEngine>> {
    let asked = async { Ok::<_, Fail>(fleet.engines_asked(ANSWER_TIMEOUT).await?) };
    let numbers = async { Ok(fleet.numbers().await?.unwrap_or_default().engines) };
    let (asked, numbers) = try_join(asked, numbers).await?;
    Ok(with_numbers(asked, numbers))
}

pub(crate) async fn status(args: StatusArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let report = fleet.request_status_reports(args.timeout).await?;
        let alarms = print_status(fleet, &report, output).await?;
        if !args.watch {
            return match alarms {
                0 => Ok(()),
                _ => Err(Fail::alarm()),
            };
        }
        let mut seen = 0;
        loop {
            fleet.changed(&mut seen).await?;
            if output == Output::Human {
                clear_screen()?;
            }
            print_status(fleet, &report, output).await?;
        }
    })
    .await
}

/// Answers with the number of alarms that stand.
async fn print_status(fleet: &Client, report: &Report, output: Output) -> Result<usize> {
    let status = fleet.fleet_status(report).await?;
    output.print(&status, |status| {
        let silent = status.silent.iter();
        let silent: Text = silent
            .map(|engine| format!("'{engine}' did not report"))
            .collect();
        engines_table(&status.engines)
            .line("")
            .then(programs_table(&status.programs, None, now_ms()))
            .then(not_shown(status.hidden as u64))
            .then(silent)
            .then(status.hold.iter().map(ToString::to_string).collect::<Text>())
            .then(status.alarms.iter().map(alarm).collect::<Text>())
    })?;
    Ok(status.alarms.len())
}

fn alarm(alarm: &AlarmRecord) -> String {
    format!(
        "alarm since {}: {} ({})",
        moment(alarm.since_ms),
        alarm.text,
        alarm.kind
    )
}

pub(super) fn programs_table(programs: &[Listed], form: Option<Form>, now_ms: u64) -> Text {
    if programs.is_empty() {
        return "no programs: start one with `wayfare run`".into();
    }
    let row = |listed: &Listed| {
        let status = &listed.view.status;
        let about = listed.about.clone().unwrap_or_default();
        let since = |at_ms: Option<u64>| at_ms.map(|at_ms| age(now_ms.saturating_sub(at_ms)));
        let state = match (listed.view.presence, &status.state) {
            // The reason stands below.
            (Presence::Known, ProgramState::Failed { .. }) => status.state.word().to_owned(),
            (Presence::Known, _) => wayfare_client::fleet::describe_program(status),
            _ => listed.view.word().to_owned(),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut row = vec![
            status.program.short(),
            about.instance.unwrap_or_else(|| status.name.clone()),
            match since(about.ended_ms) {
                Some(ago) => format!("{state}, {ago} ago"),
                None => state,
            },
            status.engine.to_string(),
            or_dash(
                listed
                    .numbers
                    .as_ref()
                    .and_then(|load| load.cpu_millicores)
                    .map(percent),
            ),
            or_dash(Some(listed.memory_bytes()).filter(|many| *many > 0).map(bytes)),
            or_dash(since(about.since_ms)),
            or_dash(about.restarts.map(|restarts| restarts.to_string())),
            status.generation.to_string(),
            status.module.short(),
        ];
        if form == Some(Form::Wide) {
            row.push(or_dash(about.holders.map(|holders| holders.to_string())));
            row.extend([ports(&status.ports.inputs), ports(&status.ports.outputs)]);
        }
        row
    };
    let mut head = vec![
        "ID",
        "NAME",
        "STATE",
        "ENGINE",
        "CPU",
        "MEMORY",
        "AGE",
        "RESTARTS",
        "GENERATION",
        "MODULE",
    ];
    if form == Some(Form::Wide) {
        head.extend(["HOLDERS", "INPUTS", "OUTPUTS"]);
    }
    let why = |listed: &Listed| match &listed.view.status.state {
        ProgramState::Failed { reason } => Some(reason.clone()),
        _ => None,
    };
    Text::table(&head, programs.iter().map(row)).below(programs.iter().map(why))
}

fn ports(ports: &[Port]) -> String {
    let ports: Vec<String> = ports.iter().map(Port::to_string).collect();
    match ports.is_empty() {
        true => "-".into(),
        false => ports.join(", "),
    }
}

pub(super) fn engines_table(engines: &[ListedEngine]) -> Text {
    if engines.is_empty() {
        return "no engines: start one with `wayfare engine start`, or with `wayfare up`".into();
    }
    let row = |ListedEngine { view, numbers }: &ListedEngine| {
        let about = view.about.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut devices = about.map(devices).unwrap_or_default().into_iter();
        let mut rows = vec![vec![
            view.engine.to_string(),
            view.word().to_owned(),
            match about {
                Some(about) => format!("{} of {}", view.programs, about.programs_max),
                None => view.programs.to_string(),
            },
            or_dash(numbers.as_ref().and_then(|load| load.cpu_millicores).map(percent)),
            or_dash(about.map(|about| about.platform.clone())),
            or_dash(about.map(|about| about.processors.to_string())),
            or_dash(about.map(|about| bytes(about.memory_bytes))),
            or_dash(about.map(|about| about.version.clone())),
            or_dash(about.map(|about| about.code.wasmtime.clone())),
            or_dash(about.map(|about| about.host.clone())),
            or_dash(about.and_then(labels)),
            or_dash(devices.next()),
        ]];
        // A line for each, because most engines have none and boards have several.
        let only_device = |device| [vec![String::new(); ENGINE_COLUMNS.len() - 1], vec![device]].concat();
        rows.extend(devices.map(only_device));
        if let Some(rival) = &view.rival {
            let mut row = vec![String::new(); ENGINE_COLUMNS.len()];
            row[1] = format!("same id: {rival}, which holds still");
            rows.push(row);
        }
        rows
    };
    Text::table(&ENGINE_COLUMNS, engines.iter().flat_map(row))
}

fn devices(about: &EngineAbout) -> Vec<String> {
    let line = |(alias, device): (&Alias, &DeviceAbout)| match device.backend {
        Backend::Simulated => format!("{alias}: {}, simulated", device.kind),
        Backend::Linux => format!("{alias}: {}", device.kind),
    };
    about.devices.iter().map(line).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;
    use wayfare_client::ProgramView;
    use wayfare_client::app::programs::ProgramAbout;
    use wayfare_protocol::ids::{BootId, Digest, ProgramId};

    use super::*;

    pub(in crate::verbs) fn unknown(view: ProgramView) -> Listed {
        Listed {
            view,
            about: None,
            numbers: None,
        }
    }

    fn program(state: &str, about: Option<ProgramAbout>) -> Listed {
        let status = json!({
            "program": ProgramId::from_random([1; 16]), "name": "shop-web-0", "engine": "a", "code": 0,
            "boot": BootId::from_random([2; 16]), "generation": 1, "sequence": 1, "memory_bytes": 0,
            "state": state, "module": Digest::of(b"m"),
        });
        let view = ProgramView {
            status: serde_json::from_value(status).unwrap(),
            presence: Presence::Known,
        };
        Listed {
            view,
            about,
            numbers: None,
        }
    }

    #[test]
    fn an_instance_has_its_own_name_an_age_and_its_restarts() {
        let about = ProgramAbout {
            instance: Some("shop/web/0".into()),
            since_ms: Some(1_000),
            restarts: Some(2),
            ..ProgramAbout::default()
        };
        let text = programs_table(&[program("running", Some(about))], None, 61_000).to_string();
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[1..7], ["shop/web/0", "running", "a", "-", "-", "60s"]);
        let about = ProgramAbout {
            ended_ms: Some(1_000),
            ..ProgramAbout::default()
        };
        let text = programs_table(&[program("exited", Some(about))], None, 6_000).to_string();
        assert!(
            text.contains("shop-web-0  exited with code 0, 5s ago  a"),
            "{text}"
        );
    }
}
