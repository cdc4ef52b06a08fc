//! Engines above their marks: what the machine as a whole is short of, whoever takes it.
//!
//! The room of an engine for programs is what they have there and what is left to the mark. Above the mark that is less than
//! they have, so that the plan finds the engine overfull and moves something away, one program at a time.

use std::collections::BTreeMap;

use wayfare_fleet::placing;
use wayfare_protocol::ids::EngineId;
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
            let (memory, processor) = self.options.marks.headroom(about, load);
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
