//! `wayfare ps`, `engines` and `status`.

use serde_json::json;
use wayfare_client::app::alarms::AlarmRecord;
use wayfare_client::{ANSWER_TIMEOUT, Client, EngineView, Presence, ProgramView, Report};
use wayfare_protocol::device::{Alias, Backend, DeviceAbout};
use wayfare_protocol::status::EngineAbout;

use crate::args::FleetArgs;
use crate::args::looking::StatusArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, bytes, clear_screen, moment};

const ENGINE_COLUMNS: [&str; 11] = [
    "ENGINE", "STATE", "PROGRAMS", "PLATFORM", "CPUS", "MEMORY", "VERSION", "WASMTIME", "HOST", "LABELS",
    "DEVICES",
];

pub(crate) async fn programs(args: FleetArgs, output: Output) -> Result {
    with_fleet(&args, async |fleet| {
        output.print(&fleet.programs().await?, |programs| programs_table(programs))
    })
    .await
}

pub(crate) async fn engines(args: FleetArgs, output: Output) -> Result {
    with_fleet(&args, async |fleet| {
        let engines = fleet.engines_asked(ANSWER_TIMEOUT).await?;
        output.print(&engines, |engines| engines_table(engines))
    })
    .await
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
    let (mut engines, programs) = (fleet.engines_marked().await?, fleet.programs().await?);
    let alarms = fleet.alarms().await?;
    report.mark(&mut engines);
    let document = json!({
        "engines": engines, "programs": programs,
        "answered_ms": report.answered, "silent": report.silent, "alarms": alarms,
    });
    output.print(&document, |_| {
        let silent = report.silent.iter();
        let silent: Text = silent
            .map(|engine| format!("'{engine}' did not report"))
            .collect();
        engines_table(&engines)
            .line("")
            .then(programs_table(&programs))
            .then(silent)
            .then(alarms.iter().map(alarm).collect::<Text>())
    })?;
    Ok(alarms.len())
}

fn alarm(alarm: &AlarmRecord) -> String {
    format!(
        "alarm since {}: {} ({})",
        moment(alarm.since_ms),
        alarm.text,
        alarm.kind
    )
}

pub(super) fn programs_table(programs: &[ProgramView]) -> Text {
    if programs.is_empty() {
        return "no programs: start one with `wayfare run`".into();
    }
    let row = |view: &ProgramView| {
        let status = &view.status;
        let state = match (&status.state, view.presence) {
            (state, Presence::Known) => wayfare_client::fleet::describe(state),
            _ => view.word().to_owned(),
        };
        vec![
            status.program.short(),
            status.name.clone(),
            state,
            status.engine.to_string(),
            status.generation.to_string(),
            if status.memory_bytes == 0 {
                "-".into()
            } else {
                bytes(status.memory_bytes)
            },
            status.module.short(),
        ]
    };
    Text::table(
        &["ID", "NAME", "STATE", "ENGINE", "GENERATION", "MEMORY", "MODULE"],
        programs.iter().map(row),
    )
}

pub(super) fn engines_table(engines: &[EngineView]) -> Text {
    if engines.is_empty() {
        return "no engines: start one with `wayfare engine start`, or with `wayfare up`".into();
    }
    let row = |view: &EngineView| {
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

/// As they are given; `None` if there are none.
pub(super) fn labels(about: &EngineAbout) -> Option<String> {
    let label = |(key, value): (&String, &String)| format!("{key}={value}");
    let labels: Vec<String> = about.labels.iter().map(label).collect();
    (!labels.is_empty()).then(|| labels.join(" "))
}

fn devices(about: &EngineAbout) -> Vec<String> {
    let line = |(alias, device): (&Alias, &DeviceAbout)| match device.backend {
        Backend::Simulated => format!("{alias}: {}, simulated", device.kind),
        Backend::Linux => format!("{alias}: {}", device.kind),
    };
    about.devices.iter().map(line).collect()
}
