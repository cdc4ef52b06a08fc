//! Engines above their marks: what the machine as a whole is short of, whoever takes it.
//!
//! The room of an engine for programs is what they have there and what is left to the mark. Above the mark
//! that is less than they have, so that the plan finds the engine overfull and moves something away, one
//! program at a time.

use std::collections::BTreeMap;

use wayfare_fleet::placing;
use wayfare_protocol::ids::EngineId;
use wayfare_scheduler::application::Resources;
use wayfare_scheduler::fleet::Fleet;
use wayfare_scheduler::plan::MoveReason;

use super::Core;

/// Between two programs that an engine sheds. The system's average is over a minute.
const SHED_MS: u64 = 60_000;

/// How far a host is above its marks, as its engines see it.
#[derive(Debug, Default)]
struct Pressure {
    /// In bytes and millicores; negative above the mark.
    memory: i64,
    processor: i64,
    was_pressed: bool,
    /// The first of its engines.
    engine: Option<EngineId>,
}

impl Pressure {
    fn is_pressed(&self) -> bool {
        self.memory < 0 || self.processor < 0
    }

    fn words(&self, host: &str) -> String {
        let memory = (self.memory < 0).then(|| {
            let mebibytes = self.memory.unsigned_abs().div_ceil(1 << 20);
            format!("memory ({mebibytes} MiB above its mark)")
        });
        let processor = (self.processor < 0).then(|| {
            let processors = self.processor.unsigned_abs() as f64 / 1e3;
            format!("processors (what runs asks for {processors:.1} above its mark)")
        });
        let short: Vec<String> = memory.into_iter().chain(processor).collect();
        match short.is_empty() {
            true => format!("host '{host}' is below its marks again"),
            false => format!("host '{host}' is short of {}", short.join(" and of ")),
        }
    }
}

impl Core {
    /// Tells which hosts came above a mark, or below both again: each once, however many engines it has,
    /// which all see the same machine.
    pub(super) fn judge_pressure(&mut self) {
        let mut hosts = BTreeMap::<String, Pressure>::new();
        for (engine, watched) in &mut self.engines {
            let view = watched.view.as_ref().filter(|view| view.online);
            let Some((about, load)) = view.and_then(|view| Some((view.about.as_ref()?, view.load?))) else {
                continue;
            };
            let (memory, processor) = self.options.marks.headroom(about, load);
            let host = hosts.entry(about.host.clone()).or_default();
            host.was_pressed |= watched.is_pressed;
            watched.is_pressed = memory < 0 || processor < 0;
            host.memory = host.memory.min(memory);
            host.processor = host.processor.min(processor);
            host.engine.get_or_insert_with(|| engine.clone());
        }
        for (name, host) in hosts {
            if let (true, Some(engine)) = (host.is_pressed() != host.was_pressed, &host.engine) {
                self.tell_engine("pressure", engine, host.words(&name));
            }
        }
    }

    /// Makes the room of engines no more than what is left to their marks.
    pub(super) fn press(&self, fleet: &mut Fleet) {
        let mut taken = BTreeMap::<EngineId, Resources>::new();
        for running in &fleet.running {
            let wanted = self.state.wanted(&running.instance);
            let of = taken.entry(running.engine.clone()).or_default();
            let asked = wanted.and_then(|component| component.memory_bytes).unwrap_or(0);
            of.memory_bytes = of.memory_bytes.saturating_add(asked.max(running.memory_bytes));
            let processor = wanted.map_or(0, |component| component.processor_millicores);
            of.processor_millicores = of.processor_millicores.saturating_add(processor);
        }
        for (id, engine) in &mut fleet.engines {
            let Some(watched) = self.engines.get(id) else {
                continue;
            };
            let view = watched
                .view
                .as_ref()
                .and_then(|view| Some((view.about.as_ref()?, view.load?)));
            let Some((about, load)) = view else { continue };
            let (mut memory, mut processor) = self.options.marks.headroom(about, load);
            if watched.shed_at_ms > self.now.ms {
                (memory, processor) = (memory.max(0), processor.max(0));
            }
            let own = taken.get(id).copied().unwrap_or_default();
            placing::limit_room(engine, own, (memory, processor));
        }
    }

    /// Whether a program may be moved off the engine now; what is shed goes one after the other.
    pub(super) fn may_leave(&mut self, engine: &EngineId, why: MoveReason) -> bool {
        let now_ms = self.now.ms;
        let Some(watched) = self.engines.get_mut(engine) else {
            return true;
        };
        if !watched.is_pressed || why != MoveReason::Misplaced {
            return true;
        }
        let may = watched.shed_at_ms <= now_ms;
        if may {
            watched.shed_at_ms = now_ms.saturating_add(SHED_MS);
        }
        may
    }
}
