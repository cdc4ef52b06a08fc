//! Instances that are begun by a schedule, and end by themselves.
//!
//! ```text
//!   rests --its time--> due --a place--> runs --it has ended--> rests
//!     |                                    |  (its engine is lost: it goes on elsewhere, as others do)
//!     '--its time, nobody acted--> missed   '--its time--> left out: it still runs
//! ```
//! What always holds: how far each is stands in its record, so that a successor begins nothing twice and sees
//! what was missed; each run is a program of its own, begun after the one before has ended.

use wayfare_fleet::app::ComponentSpec;
use wayfare_fleet::app::schedule::{Missed, Schedule, Times};
use wayfare_scheduler::application::{ComponentId, InstanceId};

use super::Core;
use super::state::{Due, Instance, Standing};

/// A time that passed longer ago was missed. A takeover takes less.
const LATE_MS: u64 = 60_000;
/// Times that are counted one by one; when more have passed, all are missed.
const COUNTED_MAX: usize = 1_000;

/// What has become of an instance's times since it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passed {
    /// The last of them.
    last_ms: u64,
    /// Up to [`COUNTED_MAX`].
    count: usize,
}

impl Core {
    /// Sees to every time that has come.
    pub(super) fn begin_due(&mut self) {
        let wall_ms = self.now.wall_ms;
        // A change may have brought another schedule.
        if self.plan_at_ms > 0 && wall_ms < self.due_at_ms {
            return;
        }
        let mut next_ms = u64::MAX;
        for (of, count, schedule) in self.scheduled() {
            // It was checked when it came.
            let Ok(times) = schedule.times() else { continue };
            for ordinal in 0..count {
                let id = InstanceId {
                    of: of.clone(),
                    ordinal,
                };
                next_ms = next_ms.min(self.see_to(&id, &schedule, &times));
            }
        }
        self.due_at_ms = next_ms;
    }

    fn scheduled(&self) -> Vec<(ComponentId, u32, Schedule)> {
        let running = self.state.apps.iter();
        let running = running.filter(|(_, app)| app.standing == Standing::Running);
        let components = running.flat_map(|(name, app)| {
            let components = app.spec().into_iter().flat_map(|spec| &spec.components);
            components.map(move |(component, wanted)| (ComponentId::new(name, component), wanted))
        });
        components
            .filter_map(|(of, wanted)| Some((of, wanted.count, wanted.schedule.clone()?)))
            .collect()
    }

    /// Answers when to look again.
    fn see_to(&mut self, id: &InstanceId, schedule: &Schedule, times: &Times) -> u64 {
        let wall_ms = self.now.wall_ms;
        let after = |moment_ms| times.after(moment_ms).unwrap_or(u64::MAX);
        let instance = self.state.instances.get(id);
        let due = instance.and_then(|instance| instance.due.clone());
        let Some(due) = due.filter(|due| due.of == *schedule) else {
            // From now on: times of before are nobody's.
            self.set_due(id, schedule, wall_ms, false);
            return after(wall_ms);
        };
        let first_ms = after(due.seen_ms);
        if first_ms > wall_ms {
            return first_ms;
        }
        let passed = passed(times, first_ms, wall_ms);
        let is_late = passed.count >= COUNTED_MAX || wall_ms - passed.last_ms > LATE_MS;
        let is_running = instance.is_some_and(is_at_work);
        let begins = !is_running && (!is_late || schedule.missed == Missed::Once);
        let missed = passed.count - usize::from(!is_late);
        if missed > 0 {
            let text = match (missed, begins && is_late) {
                (1, false) => format!("{id}: 1 time has passed while nobody could begin it"),
                (many, false) => format!("{id}: {many} times have passed while nobody could begin it"),
                (many, true) => {
                    format!("{id}: made up for once, {many} times have passed while nobody could begin it")
                }
            };
            self.tell("missed", id, None, text);
        }
        if is_running && !is_late {
            let text = format!("{id} is not begun: what was begun before has not ended");
            self.tell("left-out", id, None, text);
        }
        if begins {
            self.rest(id);
            self.plan_at_ms = 0;
        }
        let seen_ms = if is_late { wall_ms } else { passed.last_ms };
        self.set_due(id, schedule, seen_ms, begins || due.is_due);
        after(seen_ms)
    }

    /// What it was has ended: the next run is another program.
    fn rest(&mut self, id: &InstanceId) {
        if let Some(instance) = self.state.instances.get_mut(id) {
            (instance.placed, instance.starts) = (None, None);
        }
        let passing = self.passing(id);
        passing.try_anew();
        (passing.started_ms, passing.is_healthy, passing.missing_since_ms) = (None, false, None);
    }

    fn set_due(&mut self, id: &InstanceId, schedule: &Schedule, seen_ms: u64, is_due: bool) {
        let instance = self.state.instances.entry(id.clone()).or_default();
        instance.due = Some(Due {
            of: schedule.clone(),
            seen_ms,
            is_due,
        });
        self.store(id);
    }
}

/// Those that have passed by now, the first of which is known.
fn passed(times: &Times, first_ms: u64, now_ms: u64) -> Passed {
    let rest = std::iter::successors(Some(first_ms), |last_ms| times.after(*last_ms));
    let all = rest.take_while(|time_ms| *time_ms <= now_ms).take(COUNTED_MAX);
    all.fold(
        Passed {
            last_ms: first_ms,
            count: 0,
        },
        |passed, time_ms| Passed {
            last_ms: time_ms,
            count: passed.count + 1,
        },
    )
}

/// Begun, or being begun, and not ended.
fn is_at_work(instance: &Instance) -> bool {
    let runs = instance.placed.as_ref().is_some_and(|placed| !placed.complete);
    runs || instance.pending.is_some()
}

/// It is not to be begun before its time. What has been begun is seen to as others are.
pub(super) fn waits_for_its_time(component: &ComponentSpec, instance: &Instance) -> bool {
    let is_due = instance.due.as_ref().is_some_and(|due| due.is_due);
    component.schedule.is_some() && instance.placed.is_none() && !is_due
}

/// It has ended, or was not begun yet, and waits for its time.
pub(super) fn rests(component: &ComponentSpec, instance: &Instance) -> bool {
    let is_due = instance.due.as_ref().is_some_and(|due| due.is_due);
    component.schedule.is_some() && !is_at_work(instance) && !is_due
}
