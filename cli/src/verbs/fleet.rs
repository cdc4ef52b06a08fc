//! `wayfare ps`, `engines` and `status`.

use std::collections::BTreeMap;

use futures::future::try_join;
use serde::Serialize;
use serde_json::json;
use wayfare_client::app::alarms::AlarmRecord;
use wayfare_client::app::programs::ProgramAbout;
use wayfare_client::numbers::{EngineLoad, ProgramLoad};
use wayfare_client::{ANSWER_TIMEOUT, Client, EngineView, Presence, ProgramView, Report};
use wayfare_protocol::device::{Alias, Backend, DeviceAbout};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::ports::Port;
use wayfare_protocol::status::EngineAbout;

use super::fields::{ENGINE_FIELDS, PROGRAM_FIELDS};
use crate::args::looking::{EnginesArgs, Form, PsArgs, StatusArgs};
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, age, bytes, clear_screen, moment, now_ms, percent};
use crate::query::Query;

const ENGINE_COLUMNS: [&str; 12] = [
    "ENGINE", "STATE", "PROGRAMS", "CPU", "PLATFORM", "CPUS", "MEMORY", "VERSION", "WASMTIME", "HOST",
    "LABELS", "DEVICES",
];

/// `ps` shows programs that ended no longer ago than this.
const ENDED_SHOWN_MS: u64 = 10 * 60 * 1_000;

/// A program, and what the dispatcher knows of it.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    pub(super) view: ProgramView,
    #[serde(flatten)]
    pub(super) about: Option<ProgramAbout>,
    /// What it uses, if that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) numbers: Option<ProgramLoad>,
}

/// An engine, and what it uses, if that was measured.
#[derive(Debug, Serialize)]
pub(super) struct ListedEngine {
    #[serde(flatten)]
    pub(super) view: EngineView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) numbers: Option<EngineLoad>,
}

impl Listed {
    /// Whether it runs, or ended a moment ago as far as is known.
    fn is_recent(&self, now_ms: u64) -> bool {
        match &self.about {
            _ if !self.view.status.state.is_ended() => true,
            // Nobody knows.
            None => true,
            // It had ended when the dispatcher began to act.
            Some(about) => about
                .ended_ms
                .is_some_and(|ended_ms| now_ms.saturating_sub(ended_ms) < ENDED_SHOWN_MS),
        }
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.about.as_ref()?.instance.as_deref()
    }

    /// As measured, or else as its status says.
    pub(super) fn memory_bytes(&self) -> u64 {
        let measured = self.numbers.as_ref().map(|load| load.numbers.memory_bytes);
        measured.unwrap_or(self.view.status.memory_bytes)
    }
}

/// All programs, and what the dispatcher knows of them, without numbers.
pub(super) async fn listed(fleet: &Client) -> Result<Vec<Listed>> {
    let about = fleet.programs_about().await?.unwrap_or_default();
    let programs = fleet.programs().await?.into_iter();
    let listed = programs.map(|view| Listed {
        about: about.get(&view.status.program).cloned(),
        view,
        numbers: None,
    });
    Ok(listed.collect())
}

/// The same with their numbers, and the numbers of engines.
pub(super) async fn measured(fleet: &Client) -> Result<(Vec<Listed>, BTreeMap<EngineId, EngineLoad>)> {
    let numbers = async { Ok(fleet.numbers().await?.unwrap_or_default()) };
    let (mut listed, mut numbers) = try_join(listed(fleet), numbers).await?;
    for one in &mut listed {
        one.numbers = numbers.programs.remove(&one.view.status.program);
    }
    Ok((listed, numbers.engines))
}

/// Engines beside their numbers.
pub(super) fn with_numbers(
    engines: Vec<EngineView>,
    mut numbers: BTreeMap<EngineId, EngineLoad>,
) -> Vec<ListedEngine> {
    let listed = engines.into_iter().map(|view| ListedEngine {
        numbers: numbers.remove(&view.engine),
        view,
    });
    listed.collect()
}

pub(crate) async fn programs(args: PsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &PROGRAM_FIELDS)?;
    let all = args.all || args.query.filter.is_some();
    with_fleet(&args.fleet, async |fleet| {
        let ((programs, _), now_ms) = (measured(fleet).await?, now_ms());
        let count = programs.len();
        let recent = programs.into_iter().filter(|listed| all || listed.is_recent(now_ms));
        let programs: Vec<Listed> = recent.collect();
        let hidden = count - programs.len();
        let programs = query.of(programs);
        let id = |listed: &Listed| listed.view.status.program.to_string();
        query.print(&programs, output, id, |one| json!(one), |programs| {
            let remark = (hidden > 0).then(|| {
                format!(
                    "{hidden} that have ended are not shown: `wayfare ps -a` shows them, `wayfare prune` removes them"
                )
            });
            programs_table(programs, args.query.form, now_ms).then(remark.into_iter().collect::<Text>())
        })
    })
    .await
}

pub(crate) async fn engines(args: EnginesArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &ENGINE_FIELDS)?;
    with_fleet(&args.fleet, async |fleet| {
        let asked = async { Ok::<_, Fail>(fleet.engines_asked(ANSWER_TIMEOUT).await?) };
        let numbers = async { Ok(fleet.numbers().await?.unwrap_or_default().engines) };
        let (asked, numbers) = try_join(asked, numbers).await?;
        let engines = query.of(with_numbers(asked, numbers));
        let name = |one: &ListedEngine| one.view.engine.to_string();
        query.print(&engines, output, name, |one| json!(one), engines_table)
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
    let (mut engines, (programs, numbers)) = (fleet.engines_marked().await?, measured(fleet).await?);
    let (alarms, hold) = (fleet.alarms().await?, fleet.hold().await?);
    report.mark(&mut engines);
    let engines = with_numbers(engines, numbers);
    let document = json!({
        "engines": engines, "programs": programs,
        "answered_ms": report.answered, "silent": report.silent, "alarms": alarms, "hold": hold,
    });
    output.print(&document, |_| {
        let silent = report.silent.iter();
        let silent: Text = silent
            .map(|engine| format!("'{engine}' did not report"))
            .collect();
        engines_table(&engines)
            .line("")
            .then(programs_table(&programs, None, now_ms()))
            .then(silent)
            .then(hold.iter().map(ToString::to_string).collect::<Text>())
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

pub(super) fn programs_table(programs: &[Listed], form: Option<Form>, now_ms: u64) -> Text {
    if programs.is_empty() {
        return "no programs: start one with `wayfare run`".into();
    }
    let row = |listed: &Listed| {
        let status = &listed.view.status;
        let about = listed.about.clone().unwrap_or_default();
        let since = |at_ms: Option<u64>| at_ms.map(|at_ms| age(now_ms.saturating_sub(at_ms)));
        let state = match (&status.state, listed.view.presence) {
            (state, Presence::Known) => wayfare_client::fleet::describe(state),
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
        head.extend(["INPUTS", "OUTPUTS"]);
    }
    Text::table(&head, programs.iter().map(row))
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

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;
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
    fn what_ended_long_ago_is_not_recent() {
        let ended = |ended_ms| {
            Some(ProgramAbout {
                ended_ms,
                ..ProgramAbout::default()
            })
        };
        for (state, about, is_recent) in [
            ("running", None, true),
            ("running", ended(None), true),
            ("exited", None, true),
            ("exited", ended(None), false),
            ("exited", ended(Some(1_000)), false),
            ("exited", ended(Some(1_001)), true),
            ("exited", ended(Some(u64::MAX)), true),
        ] {
            let now_ms = 1_000 + ENDED_SHOWN_MS;
            assert_eq!(
                program(state, about.clone()).is_recent(now_ms),
                is_recent,
                "{state} {about:?}"
            );
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
