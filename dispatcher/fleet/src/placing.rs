//! Engines as the scheduler knows them: one way for a program that somebody starts and for applications, so
//! that the same rules place both.
//!
//! They differ in one thing only. An application waits for room; a person who starts a program is given an
//! engine above its marks if no other takes it.

use std::collections::BTreeMap;

use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::device::Alias;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::labels::Labels;
use wayfare_protocol::status::{EngineAbout, MachineLoad};
use wayfare_scheduler::application::{Application, Component, Resources};
use wayfare_scheduler::constraint::{Constraints, Requirements};
use wayfare_scheduler::fleet::{Capacity, Code, Engine, Fleet, NoCode, Presence, Usage};
use wayfare_scheduler::plan::{Action, Options};
use wayfare_scheduler::policy::Policy;

use crate::fleet::{EngineView, ProgramView};

/// The share of an engine's memory and processors that programs may take unless a dispatcher is told
/// otherwise.
pub const MARK_PERCENT: u64 = 90;

/// Shares of an engine's memory and processors, in percent: above them it gets nothing new, and applications
/// move away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    pub memory_percent: u64,
    pub processor_percent: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            memory_percent: MARK_PERCENT,
            processor_percent: MARK_PERCENT,
        }
    }
}

impl Marks {
    /// Bytes and millicores up to the marks, whoever takes them; negative above.
    pub fn headroom(self, about: &EngineAbout, load: MachineLoad) -> (i64, i64) {
        let mark = |of: u64, percent: u64| signed(of / 100 * percent);
        let used = about.memory_bytes.saturating_sub(load.memory_available_bytes);
        let memory = mark(about.memory_bytes, self.memory_percent) - signed(used);
        let all = u64::from(about.processors) * 1_000;
        let processor = mark(all, self.processor_percent) - signed(load.processor_millicores);
        (memory, processor)
    }
}

/// An engine as it describes itself; `None`: it has not said anything yet.
pub fn engine(
    name: &EngineId,
    about: Option<&EngineAbout>,
    marks: Marks,
    (presence, code): (Presence, Code),
) -> Engine {
    let capacity = about.map_or_else(Capacity::default, |about| Capacity {
        memory_bytes: Some(about.memory_bytes / 100 * marks.memory_percent).filter(|bytes| *bytes > 0),
        program_memory_bytes_max: Some(about.program_memory_bytes_max),
        processor_millicores: Some(u64::from(about.processors) * 1_000),
        programs_max: Some(about.programs_max),
    });
    let mut labels = about.map_or_else(Labels::new, |about| about.labels.clone());
    labels.extend(about.map(|about| ("platform".to_owned(), about.platform.clone())));
    Engine {
        host: about.map_or_else(|| name.to_string(), |about| about.host.clone()),
        presence,
        capacity,
        other: Usage::default(),
        code,
        labels,
        devices: about
            .iter()
            .flat_map(|about| about.devices.keys().map(Alias::to_string))
            .collect(),
    }
}

/// Makes the room of an engine no more than what programs have there, `taken`, and what is left to its marks.
pub fn limit_room(engine: &mut Engine, taken: Resources, (memory, processor): (i64, i64)) {
    let other = engine.other.resources;
    let memory_room = added(taken.memory_bytes.saturating_add(other.memory_bytes), memory);
    let processor_room = added(taken.processor_millicores, processor);
    let least = |bound: Option<u64>, room: u64| Some(bound.map_or(room, |bound| bound.min(room)));
    engine.capacity.memory_bytes = least(engine.capacity.memory_bytes, memory_room);
    engine.capacity.processor_millicores = least(engine.capacity.processor_millicores, processor_room);
}

/// The engine for one program that may run anywhere, or why there is none. Engines that are away are not
/// asked for.
pub fn choose<'a>(
    engines: &'a [EngineView],
    programs: &[ProgramView],
    spec: &ProgramSpec,
) -> Result<&'a EngineView, String> {
    let fleet = fleet(engines, programs);
    let mut ample = fleet.clone();
    for engine in ample.engines.values_mut() {
        (engine.capacity.memory_bytes, engine.capacity.processor_millicores) = (None, None);
    }
    let name = placed(&fleet, spec).or_else(|_| placed(&ample, spec))?;
    let chosen = engines.iter().find(|view| view.engine == name);
    chosen.ok_or_else(|| format!("engine '{name}' is not there any more"))
}

fn fleet(engines: &[EngineView], programs: &[ProgramView]) -> Fleet {
    let marks = Marks::default();
    let one = |view: &EngineView| {
        let about = view.about.as_ref()?;
        let presence = match view.is_open() {
            true => Presence::Open,
            false => Presence::Cordoned,
        };
        // Whether a dispatcher compiles for others is not known here: such an engine is named by who starts
        // the program.
        let code = match about.compiles {
            true => Code::Own,
            false => Code::None(NoCode::NotServed),
        };
        let mut engine = engine(&view.engine, Some(about), marks, (presence, code));
        let live = programs
            .iter()
            .filter(|program| program.status.engine == view.engine && !program.status.state.is_ended());
        engine.other = Usage {
            programs: view.programs,
            resources: Resources {
                memory_bytes: live
                    .map(|program| program.status.memory_bytes)
                    .fold(0, u64::saturating_add),
                processor_millicores: 0,
            },
        };
        if let Some(load) = view.load {
            limit_room(&mut engine, Resources::default(), marks.headroom(about, load));
        }
        Some((view.engine.clone(), engine))
    };
    Fleet {
        engines: engines
            .iter()
            .filter(|view| view.online)
            .filter_map(one)
            .collect(),
        running: Vec::new(),
    }
}

fn placed(fleet: &Fleet, spec: &ProgramSpec) -> Result<EngineId, String> {
    let component = Component {
        count: 1,
        demand: Resources {
            memory_bytes: spec.memory_bytes_max.unwrap_or(0),
            processor_millicores: 0,
        },
        constraints: Constraints {
            requirements: Requirements {
                code: true,
                devices: spec.grants.devices.iter().map(Alias::to_string).collect(),
                ..Requirements::default()
            },
            ..Constraints::default()
        },
        ..Component::default()
    };
    let application = Application {
        components: BTreeMap::from([(spec.name.clone(), component)]),
    };
    let applications = BTreeMap::from([(spec.name.clone(), application)]);
    let plan = wayfare_scheduler::plan(fleet, &applications, Options::new(Policy::Spread));
    let chosen = plan.actions.into_iter().next().and_then(|action| match action {
        Action::Run { engine, .. } => Some(engine),
        Action::Restart { .. } | Action::Move { .. } | Action::Kill { .. } => None,
    });
    chosen.ok_or_else(|| match plan.unplaced.first() {
        Some(unplaced) if !fleet.engines.is_empty() => unplaced.why.to_string(),
        _ => "there are no engines online: start one with `wayfare engine start`".into(),
    })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn added(value: u64, more: i64) -> u64 {
    value.saturating_add_signed(more)
}

#[cfg(test)]
mod tests;
