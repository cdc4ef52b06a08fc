//! What is seen of engines and instances, and what follows from it at once.

use std::collections::BTreeSet;

use wayfare_fleet::app::RestartWhen;
use wayfare_fleet::app::ask::Mark;
use wayfare_fleet::fleet::{EngineView, FleetChanges, Presence, describe};
use wayfare_protocol::health;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::status::{ProgramState, ProgramStatus};
use wayfare_scheduler::application::InstanceId;

use super::state::{Doing, Instance, Placed};
use super::watched::{Health, Watched};
use super::{Core, MISSING_MS};

/// Loads change all the time: they are planned with this late.
const LOAD_MS: u64 = 1_000;

/// In what two views of an engine differ, as far as plans depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Differs {
    No,
    InLoad,
    InMore,
}

impl Differs {
    fn of(before: &EngineView, after: &EngineView) -> Self {
        let more = |view: &EngineView| (view.online, view.stopped, view.leaving);
        if more(before) != more(after) || before.about != after.about {
            Self::InMore
        } else if before.load != after.load {
            Self::InLoad
        } else {
            Self::No
        }
    }
}

impl Core {
    pub(super) fn observed(&mut self, mut changes: FleetChanges) {
        if changes.is_whole {
            self.tell_apart(&mut changes);
        }
        self.see_programs(&changes);
        self.tombstones.see(&changes, self.now.ms);
        for engine in &changes.engines_gone {
            let watched = self.engines.get_mut(engine);
            if watched.is_some_and(|watched| watched.view.take().is_some()) {
                self.plan_at_ms = 0;
            }
        }
        self.see_engines(changes.engines);
        self.judge_pressure();
        for program in &changes.programs_gone {
            if self.programs.remove(program).is_some() {
                self.plan_at_ms = 0;
            }
        }
        for view in changes.programs {
            if self.programs.get(&view.status.program) != Some(&view) {
                self.programs.insert(view.status.program, view);
                self.plan_at_ms = 0;
            }
        }
    }

    /// Names what is gone by a whole look.
    fn tell_apart(&self, changes: &mut FleetChanges) {
        let there: BTreeSet<&EngineId> = changes.engines.iter().map(|view| &view.engine).collect();
        let gone = self.engines.keys().filter(|engine| !there.contains(engine));
        changes.engines_gone = gone.cloned().collect();
        let there: BTreeSet<ProgramId> = changes.programs.iter().map(|view| view.status.program).collect();
        let gone = self.seen.all.keys().filter(|program| !there.contains(program));
        changes.programs_gone = gone.copied().collect();
    }

    fn see_engines(&mut self, engines: Vec<EngineView>) {
        let now_ms = self.now.ms;
        let is_new = |view: &EngineView| !view.online && !self.engines.contains_key(&view.engine);
        let seats = match engines.iter().any(is_new) {
            true => self.seats(),
            false => BTreeSet::new(),
        };
        for view in engines {
            // One that was gone before anybody looked is no news, unless something of ours was there.
            let was_gone = !view.online && !seats.contains(&view.engine);
            let health = if was_gone { Health::Lost } else { Health::Here };
            let watched = self
                .engines
                .entry(view.engine.clone())
                .or_insert_with(|| Watched::new(health));
            watched.hearing.seen(&view, now_ms);
            let plan_at_ms = match watched.view.as_ref().map(|before| Differs::of(before, &view)) {
                Some(Differs::No) => u64::MAX,
                Some(Differs::InLoad) => now_ms.saturating_add(LOAD_MS),
                Some(Differs::InMore) | None => 0,
            };
            self.plan_at_ms = self.plan_at_ms.min(plan_at_ms);
            watched.view = Some(view);
        }
    }

    /// Engines that have something of ours, as far as is known.
    fn seats(&self) -> BTreeSet<EngineId> {
        self.each_seat().cloned().collect()
    }

    /// Those of them that nothing is known of.
    pub(super) fn unknown_seats(&self) -> BTreeSet<EngineId> {
        let unknown = self.each_seat().filter(|seat| !self.engines.contains_key(*seat));
        unknown.cloned().collect()
    }

    fn each_seat(&self) -> impl Iterator<Item = &EngineId> {
        let placed = self
            .state
            .instances
            .values()
            .filter_map(|instance| instance.placed.as_ref());
        placed.filter_map(|placed| placed.seat.as_ref())
    }

    /// What is known of a program where its engine can be believed.
    pub(super) fn status(&self, program: ProgramId) -> Option<&ProgramStatus> {
        let view = self.programs.get(&program)?;
        (view.presence == Presence::Known).then_some(&view.status)
    }

    pub(super) fn look_at_instances(&mut self) {
        let instances = self.state.instances.iter();
        let unsettled = instances.filter(|(id, instance)| !self.is_well(id, instance));
        let ids: Vec<InstanceId> = unsettled.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.look_at(&id);
        }
        let (instances, programs) = (&self.state.instances, &self.programs);
        self.passing.retain(|id, passing| {
            // One that has let go meanwhile has its whole time again.
            passing.held_since = passing.held_since.filter(|(program, _)| {
                let view = programs.get(program);
                view.is_none_or(|view| view.status.hold.is_some())
            });
            instances.contains_key(id)
        });
    }

    /// Nothing follows from looking at it: it runs where it should, and has for long enough to be healthy. Of
    /// most this is so.
    fn is_well(&self, id: &InstanceId, instance: &Instance) -> bool {
        let (Some(placed), Some(passing)) = (&instance.placed, self.passing.get(id)) else {
            return false;
        };
        let is_healthy =
            passing.is_healthy && passing.started_ms.is_some() && passing.missing_since_ms.is_none();
        let status = self.status(placed.program).filter(|_| is_healthy);
        status.is_some_and(|status| {
            let is_in_place =
                placed.seat.as_ref() == Some(&status.engine) && placed.generation == status.generation;
            let is_in_doubt = matches!(status.state, ProgramState::InDoubt { .. });
            let is_unwell = status.health == Some(health::Health::Unhealthy);
            is_in_place && !is_in_doubt && !status.state.is_ended() && !is_unwell
        })
    }

    fn look_at(&mut self, id: &InstanceId) {
        let Some(placed) = self.placed_mut(id).cloned() else {
            return;
        };
        let is_pending = self.state.instances.get(id).is_some_and(|i| i.pending.is_some());
        let known = self.status(placed.program).cloned();
        let is_current = |status: &ProgramStatus| status.generation >= placed.generation;
        let Some(status) = known.clone().filter(is_current) else {
            if !is_pending && !placed.complete {
                self.look_for(id, &placed, known);
            }
            return;
        };
        self.passing(id).missing_since_ms = None;
        if (placed.seat.as_ref() != Some(&status.engine) || status.generation != placed.generation)
            && !is_pending
        {
            self.sits(id, &status);
        }
        if self.take_back(id, &status) || is_pending || placed.complete {
            return;
        }
        match &status.state {
            ProgramState::Exited { .. } | ProgramState::Failed { .. } => self.ended(id, &status),
            _ => self.runs(id, &status),
        }
    }

    fn sits(&mut self, id: &InstanceId, status: &ProgramStatus) {
        if let Some(placed) = self.placed_mut(id) {
            placed.sits(status.engine.clone(), status.generation);
        }
        // Where it has come to it says only later how it is: it is not judged by the time of before.
        self.passing(id).started_ms = None;
        self.store(id);
    }

    /// A program that stands still because the engine that it was handed over to is lost.
    fn take_back(&mut self, id: &InstanceId, status: &ProgramStatus) -> bool {
        let ProgramState::InDoubt { target } = &status.state else {
            return false;
        };
        let pending = self
            .state
            .instances
            .get(id)
            .and_then(|instance| instance.pending.as_ref());
        let is_resuming = pending.is_some_and(|pending| matches!(pending.doing, Doing::Resume { .. }));
        if self.health(target) != Health::Lost || is_resuming {
            return false;
        }
        let engine = status.engine.clone();
        if let Some(pending) = self.state.instances.get_mut(id).and_then(|i| i.pending.take()) {
            self.in_flight.remove(&pending.operation);
        }
        let Some(placed) = self.placed_mut(id) else {
            return false;
        };
        // Taken back, it would get a generation that a copy elsewhere may have: it is started anew above
        // both.
        if placed.highest > status.generation {
            self.is_gone(id, &engine);
            return true;
        }
        placed.highest = placed.highest.replacing();
        let text = format!("{id} is taken back by {engine}: it was handed over to {target}, which is lost");
        self.tell("taken-back", id, Some(&engine), text);
        self.begin(id, Doing::Resume { engine, force: true });
        true
    }

    /// Where its engine can be believed and does not list it, it is gone from there. The copy that it was to
    /// follow may be alive after all: then that is what it is, and nothing is lost.
    fn look_for(&mut self, id: &InstanceId, placed: &Placed, older: Option<ProgramStatus>) {
        let now_ms = self.now.ms;
        if let Some(seat) = &placed.seat {
            let is_online = self.health(seat) == Health::Here && self.can_be_asked(seat);
            let passing = self.passing(id);
            if !is_online {
                passing.missing_since_ms = None;
                return;
            }
            let since_ms = *passing.missing_since_ms.get_or_insert(now_ms);
            // Its list may be on its way behind what has been read.
            if self.read_ms.saturating_sub(since_ms) < MISSING_MS {
                return;
            }
        }
        match (older, &placed.seat) {
            (Some(older), _) if older.state.is_settled() => self.goes_on_as(id, &older),
            (_, Some(seat)) => self.is_gone(id, seat),
            (_, None) => {}
        }
    }

    fn goes_on_as(&mut self, id: &InstanceId, older: &ProgramStatus) {
        let engine = &older.engine;
        self.unknown_health(id);
        self.sits(id, older);
        let text = format!(
            "{id} goes on on {engine} as generation {}: what was to follow it is not there",
            older.generation
        );
        self.tell("found", id, Some(engine), text);
    }

    fn is_gone(&mut self, id: &InstanceId, seat: &EngineId) {
        self.unknown_health(id);
        let program = self.placed_mut(id).map(|placed| {
            placed.seat = None;
            placed.program
        });
        // What it was ordered may still be on its way.
        if let Some(program) = program {
            self.may_be_left_on(program, seat);
        }
        self.store(id);
        self.tell("gone", id, Some(seat), format!("{id} is not on {seat} any more"));
    }

    fn unknown_health(&mut self, id: &InstanceId) {
        self.plan_at_ms = 0;
        let passing = self.passing(id);
        (passing.missing_since_ms, passing.started_ms, passing.is_healthy) = (None, None, false);
        passing.is_begun = true;
    }

    /// It has ended by itself.
    fn ended(&mut self, id: &InstanceId, status: &ProgramStatus) {
        let how = describe(&status.state);
        let failed = status.state != ProgramState::Exited { code: 0 };
        let engine = status.engine.clone();
        let Some(component) = self.state.wanted(id).cloned() else {
            return self.begin(id, Doing::Kill { engine });
        };
        let restarts = match component.restart.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => failed,
            RestartWhen::Never | RestartWhen::OnSchedule => false,
        };
        self.passing(id).started_ms = None;
        (self.passing(id).is_healthy, self.passing(id).is_begun) = (false, true);
        if failed && self.roll_back_for(id, &format!("{id} {how}")) {
            self.tell("ended", id, Some(&engine), format!("{id} {how} on {engine}"));
            return self.begin(id, Doing::Kill { engine });
        }
        if !restarts {
            if let Some(placed) = self.placed_mut(id) {
                placed.complete = true;
            }
            self.store(id);
            let text = format!("{id} {how} on {engine}, and is not started again");
            return self.tell("complete", id, Some(&engine), text);
        }
        let wait_ms = self.back_off(id, component.restart.backoff_ms, component.restart.backoff_ms_max);
        let text = format!("{id} {how} on {engine}: it is started anew in {wait_ms} ms");
        self.tell("ended", id, Some(&engine), text);
        self.begin(id, Doing::Kill { engine });
    }

    /// How long to wait before the next try: twice as long as before.
    pub(super) fn back_off(&mut self, id: &InstanceId, first_ms: u64, max_ms: u64) -> u64 {
        let now_ms = self.now.ms;
        let passing = self.passing(id);
        let doubled = first_ms.saturating_mul(1 << passing.failures.min(32));
        let wait_ms = doubled.min(max_ms.max(first_ms));
        passing.failures = passing.failures.saturating_add(1);
        passing.not_before_ms = now_ms.saturating_add(wait_ms);
        wait_ms
    }

    pub(super) fn mark(&self, engine: &EngineId) -> Option<Mark> {
        self.state.marks.get(engine).copied()
    }
}
