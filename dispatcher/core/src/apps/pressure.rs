//! Engines above their marks: what the machine as a whole is short of, whoever takes it.
//!
//! The room of an engine for programs is what they have there and what is left to the mark. Above the mark that is less than
//! they have, so that the plan finds the engine overfull and moves something away, one program at a time.

use std::collections::BTreeMap;

use wayfare_protocol::ids::EngineId;
use wayfare_protocol::status::{EngineAbout, MachineLoad};
use wayfare_scheduler::application::Resources;
use wayfare_scheduler::fleet::Fleet;
use wayfare_scheduler::plan::MoveReason;

use super::Core;

/// Between two programs that an engine sheds. The system's average is over a minute.
const SHED_MS: u64 = 60_000;

impl Core {
    /// Tells who came above a mark, or below both again.
    pub(super) fn judge_pressure(&mut self) {
        let mut news = Vec::new();
        for (engine, watched) in &self.engines {
            let view = watched.view.as_ref().filter(|view| view.online);
            let Some((about, load)) = view.and_then(|view| Some((view.about.as_ref()?, view.load?))) else {
                continue;
            };
            let (memory, processor) = self.headroom(about, load);
            if (memory < 0 || processor < 0) != watched.is_pressed {
                news.push((engine.clone(), memory, processor));
            }
        }
        for (engine, memory, processor) in news {
            let is_pressed = memory < 0 || processor < 0;
            if let Some(watched) = self.engines.get_mut(&engine) {
                watched.is_pressed = is_pressed;
            }
            let text = match (memory < 0, processor < 0) {
                (true, _) => format!("engine {engine} is above its memory mark by {} bytes", -memory),
                (false, true) => format!(
                    "engine {engine} is above its processor mark by {} millicores",
                    -processor
                ),
                (false, false) => format!("engine {engine} is below its marks again"),
            };
            self.tell_engine("pressure", &engine, text);
        }
    }

    /// Bytes and millicores up to the marks.
    fn headroom(&self, about: &EngineAbout, load: MachineLoad) -> (i64, i64) {
        let mark = |of: u64, percent: u64| signed(of / 100 * percent);
        let used = about.memory_bytes.saturating_sub(load.memory_available_bytes);
        let memory = mark(about.memory_bytes, self.options.memory_mark_percent) - signed(used);
        let all = u64::from(about.processors) * 1_000;
        let processor = mark(all, self.options.processor_mark_percent) - signed(load.processor_millicores);
        (memory, processor)
    }

    /// Makes the room of engines no more than what is left to their marks.
    pub(super) fn press(&self, fleet: &mut Fleet) {
        let mut taken = BTreeMap::<EngineId, Resources>::new();
        for running in &fleet.running {
            let wanted = self.state.wanted(&running.instance);
            let of = taken.entry(running.engine.clone()).or_default();
            let asked = wanted.and_then(|component| component.memory_bytes).unwrap_or(0);
            of.memory_bytes += asked.max(running.memory_bytes);
            of.processor_millicores += wanted.map_or(0, |component| component.processor_millicores);
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
            let (mut memory, mut processor) = self.headroom(about, load);
            if watched.shed_at_ms > self.now.ms {
                (memory, processor) = (memory.max(0), processor.max(0));
            }
            let own = taken.get(id).copied().unwrap_or_default();
            let other = engine.other.resources;
            let memory_room = added(own.memory_bytes + other.memory_bytes, memory);
            let processor_room = added(own.processor_millicores, processor);
            let least = |bound: Option<u64>, room: u64| Some(bound.map_or(room, |bound| bound.min(room)));
            engine.capacity.memory_bytes = least(engine.capacity.memory_bytes, memory_room);
            engine.capacity.processor_millicores =
                least(engine.capacity.processor_millicores, processor_room);
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

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn added(value: u64, more: i64) -> u64 {
    value.saturating_add_signed(more)
}
