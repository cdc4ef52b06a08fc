//! The fleet at one moment, and what differs from one to the next.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wayfare_client::app::alarms::AlarmRecord;
use wayfare_client::app::hold::HoldRecord;
use wayfare_client::rows::Listed;
use wayfare_client::{EngineView, FleetView, Report};
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::known::Known;

/// Engines and programs in one message: none grows with the fleet.
const ROWS_MAX: usize = 500;

#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    engines: BTreeMap<EngineId, EngineView>,
    programs: BTreeMap<ProgramId, Listed>,
    alarms: Vec<AlarmRecord>,
    hold: Option<HoldRecord>,
    /// Whether a dispatcher acts.
    acts: bool,
}

impl View {
    pub(super) fn new(fleet: FleetView, known: &Known, report: Option<&Report>) -> Self {
        let mut engines = fleet.engines;
        for view in &mut engines {
            view.mark = known.marks.get(&view.engine).copied();
        }
        if let Some(report) = report {
            report.mark(&mut engines);
        }
        let listed = |view: &wayfare_client::ProgramView| {
            let program = view.status.program;
            let about = known.about.get(&program).cloned();
            (
                program,
                Listed {
                    view: view.clone(),
                    about,
                    numbers: None,
                },
            )
        };
        Self {
            engines: engines
                .into_iter()
                .map(|view| (view.engine.clone(), view))
                .collect(),
            programs: fleet.programs.iter().map(listed).collect(),
            alarms: known.alarms.clone(),
            hold: known.hold.clone(),
            acts: known.acts,
        }
    }

    pub(crate) fn engines(&self) -> Vec<EngineView> {
        self.engines.values().cloned().collect()
    }

    pub(crate) fn programs(&self) -> Vec<Listed> {
        self.programs.values().cloned().collect()
    }

    pub(crate) fn engine(&self, engine: &EngineId) -> Option<&EngineView> {
        self.engines.get(engine)
    }

    pub(crate) fn program(&self, program: ProgramId) -> Option<&Listed> {
        self.programs.get(&program)
    }

    pub(crate) fn alarms(&self) -> &[AlarmRecord] {
        &self.alarms
    }

    /// All of it in parts, the first with what is of the whole fleet. Each is made when it is wanted.
    pub(crate) fn part(&self, number: usize) -> Option<Value> {
        let rows = self.engines.len() + self.programs.len();
        let from = number * ROWS_MAX;
        if number > 0 && from >= rows {
            return None;
        }
        let of_engines = self.engines.values().skip(from).take(ROWS_MAX);
        let engines: Vec<&EngineView> = of_engines.collect();
        let left = ROWS_MAX - engines.len();
        let programs = self.programs.values();
        let programs: Vec<&Listed> = programs
            .skip(from.saturating_sub(self.engines.len()))
            .take(left)
            .collect();
        let mut part = json!({ "engines": engines, "programs": programs, "more": from + ROWS_MAX < rows });
        if number == 0 {
            part["alarms"] = json!(self.alarms);
            part["hold"] = json!(self.hold);
            part["acts"] = json!(self.acts);
        }
        Some(part)
    }

    /// What is new in `now`, in as many messages as it takes.
    pub(super) fn changes(&self, now: &Self) -> Vec<Value> {
        let is_new = |view: &&EngineView| {
            !self
                .engines
                .get(&view.engine)
                .is_some_and(|old| is_same(old, view))
        };
        let engines: Vec<&EngineView> = now.engines.values().filter(is_new).collect();
        let is_new = |(id, listed): &(&ProgramId, &Listed)| self.programs.get(id) != Some(listed);
        let programs: Vec<&Listed> = now
            .programs
            .iter()
            .filter(is_new)
            .map(|(_, listed)| listed)
            .collect();
        let gone_engines: Vec<&EngineId> = self
            .engines
            .keys()
            .filter(|id| !now.engines.contains_key(*id))
            .collect();
        let gone: Vec<&ProgramId> = self
            .programs
            .keys()
            .filter(|id| !now.programs.contains_key(id))
            .collect();
        let mut changes = Vec::new();
        let mut whole = Map::new();
        if self.alarms != now.alarms {
            whole.insert("alarms".into(), json!(now.alarms));
        }
        if self.hold != now.hold {
            whole.insert("hold".into(), json!(now.hold));
        }
        if self.acts != now.acts {
            whole.insert("acts".into(), json!(now.acts));
        }
        if !whole.is_empty() {
            changes.push(Value::Object(whole));
        }
        changes.extend(
            engines
                .chunks(ROWS_MAX)
                .map(|engines| json!({ "engines": engines })),
        );
        changes.extend(
            programs
                .chunks(ROWS_MAX)
                .map(|programs| json!({ "programs": programs })),
        );
        changes.extend(
            gone_engines
                .chunks(ROWS_MAX)
                .map(|gone| json!({ "gone_engines": gone })),
        );
        changes.extend(gone.chunks(ROWS_MAX).map(|gone| json!({ "gone_programs": gone })));
        changes
    }
}

/// How long it has been offline, and how often it has spoken, changes by itself.
fn is_same(old: &EngineView, new: &EngineView) -> bool {
    let old = EngineView {
        offline_for_ms: new.offline_for_ms,
        messages: new.messages,
        ..old.clone()
    };
    old == *new
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wayfare_client::{Heard, Presence, ProgramView};
    use wayfare_protocol::ids::{BootId, Digest};

    use super::*;

    fn engine(name: &str, programs: u32) -> EngineView {
        EngineView {
            engine: name.parse().unwrap(),
            online: true,
            heard: Heard::Live,
            stopped: false,
            leaving: None,
            mark: None,
            messages: 1,
            offline_for_ms: None,
            about: None,
            identity: None,
            boot: None,
            load: None,
            programs,
            rival: None,
        }
    }

    fn program(number: u16, engine: &str) -> ProgramView {
        let mut id = [1; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let status = json!({
            "program": ProgramId::from_bytes(id), "name": "p", "engine": engine, "boot": BootId::from_random([2; 16]),
            "generation": 1, "sequence": 1, "memory_bytes": 0, "state": "running", "module": Digest::of(b"m"),
        });
        ProgramView {
            status: serde_json::from_value(status).unwrap(),
            presence: Presence::Known,
        }
    }

    fn view(engines: &[EngineView], programs: Vec<ProgramView>) -> View {
        let engines = engines.to_vec();
        let programs = programs.into();
        View::new(FleetView { engines, programs }, &Known::default(), None)
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let (a, b) = (engine("a", 1), engine("b", 0));
        let before = view(&[a.clone(), b.clone()], vec![program(1, "a"), program(2, "a")]);
        let later = EngineView {
            messages: 7,
            offline_for_ms: Some(3),
            ..a.clone()
        };
        assert!(
            before
                .changes(&view(&[later, b.clone()], vec![program(1, "a"), program(2, "a")]))
                .is_empty()
        );
        let after = view(&[a], vec![program(1, "b")]);
        let changes = before.changes(&after);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert_eq!(changes[0]["programs"][0]["engine"], "b");
        assert_eq!(changes[1]["gone_engines"], json!(["b"]));
        assert_eq!(changes[2]["gone_programs"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_large_fleet_comes_in_parts_with_every_row_once() {
        let engines: Vec<EngineView> = (0..700)
            .map(|number| engine(&format!("e{number:03}"), 0))
            .collect();
        let programs: Vec<ProgramView> = (0..900).map(|number| program(number, "e001")).collect();
        let view = view(&engines, programs);
        let (mut names, mut ids, mut number) = (Vec::new(), Vec::new(), 0);
        while let Some(part) = view.part(number) {
            let rows = |what: &str| part[what].as_array().unwrap().clone();
            assert!(rows("engines").len() + rows("programs").len() <= ROWS_MAX);
            assert_eq!(part.get("alarms").is_some(), number == 0);
            names.extend(rows("engines").iter().map(|row| row["engine"].to_string()));
            ids.extend(rows("programs").iter().map(|row| row["program"].to_string()));
            number += 1;
            assert_eq!(part["more"], json!(number < 4), "{number}");
        }
        assert_eq!((number, names.len(), ids.len()), (4, 700, 900));
        names.dedup();
        ids.dedup();
        assert_eq!((names.len(), ids.len()), (700, 900));
        assert!(View::default().part(0).is_some() && View::default().part(1).is_none());
    }
}
