//! What people want of a dispatcher in a simulated fleet, and what must come of it: an application of two
//! components, which is counted up and down, updated to versions that work or trap, and moved off engines
//! that are to be emptied.

pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};

use wayfare_core::types::{Disposition, Input, Record};
use wayfare_fleet::app::ask::{AppStatus, Ask};
use wayfare_protocol::ids::{Blob, Digest, EngineId, Generation, ProgramId};
use wayfare_protocol::status::ProgramState;

use crate::acting::state::Acting;
use crate::happening::Happening;
use crate::packet::Content;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::Wanted;

/// Programs of such a version end this long after they began to run, at the latest.
const TRAPS_WITHIN: u64 = 3 * SECOND;

impl World {
    /// Rooms for programs on an engine: more where those of before are nobody's.
    pub(super) fn programs_max(&self) -> u32 {
        if self.loses_store() { 24 } else { 6 }
    }

    /// What people will do, and when dispatchers die.
    pub(super) fn plan_wanted(&mut self) {
        if self.base == 0 {
            self.plan_first();
        }
        let base = self.base;
        for _ in 0..2 + self.random.below(8) {
            let at = base + 3 * SECOND + self.random.below(57 * SECOND);
            self.at(at, Happening::PeopleAsk { first: false });
        }
        for _ in 0..self.random.below(4) {
            let at = base + self.random.below(60 * SECOND);
            self.at(at, Happening::DispatcherDies);
        }
        let traps = self
            .acting
            .as_ref()
            .is_some_and(|acting| !acting.wanted.traps.is_empty());
        if traps {
            self.at(base + SECOND, Happening::SomeTrap);
        }
    }

    fn plan_first(&mut self) {
        let versions: Vec<Blob> = (0..4).map(|_| self.new_blob(Content::Plain)).collect();
        let steady = self.new_blob(Content::Plain);
        let checkpoint_ms = self.checkpoint_ms();
        let traps = self.random.per_mille(500).then_some(versions[3].digest);
        let talks = self.talks;
        let Some(acting) = &mut self.acting else { return };
        acting.wanted = Wanted {
            count: 2,
            talks,
            checkpoint_ms,
            versions,
            steady: Some(steady),
            traps: traps.into_iter().collect(),
            ..Wanted::default()
        };
        self.at(0, Happening::DispatcherStarts);
        self.at(2 * SECOND, Happening::PeopleAsk { first: true });
    }

    pub(super) fn people_ask(&mut self, is_first: bool) {
        if self.now >= self.base + Self::FAULTS_UNTIL {
            return;
        }
        if !self.acting.as_ref().is_some_and(Acting::is_up) {
            let again = Happening::PeopleAsk { first: is_first };
            return self.at(self.now + SECOND, again);
        }
        let choice = match is_first {
            true => 0,
            false => self.random.below(8),
        };
        let (count, version) = (1 + self.random.below(4) as u32, self.random.below(4) as usize);
        let names: Vec<EngineId> = self.engines.iter().map(|engine| engine.name.clone()).collect();
        let engine = self.random.pick(&names).clone();
        let Some(acting) = &mut self.acting else { return };
        let wanted = &mut acting.wanted;
        let ask = match choice {
            0 => Ask::Apply {
                spec: wanted.spec(),
                expects: None,
            },
            1 | 2 => {
                wanted.count = count;
                let (spec, expects) = (wanted.spec(), None);
                Ask::Apply { spec, expects }
            }
            3..=5 => {
                wanted.version = version;
                let (spec, expects) = (wanted.spec(), None);
                Ask::Apply { spec, expects }
            }
            6 if wanted.drained.is_empty() => {
                wanted.drained.insert(engine.clone());
                Ask::Drain { engine }
            }
            _ => match wanted.drained.pop_first() {
                Some(engine) => Ask::Uncordon { engine },
                None => return,
            },
        };
        self.note(|| format!("people ask: {ask:?}"));
        self.count("people's requests");
        // A rollback may refuse what comes in its middle: people ask again another time.
        drop(self.ask_dispatcher(ask));
    }

    /// Programs of a version that does not work end by themselves.
    pub(super) fn some_trap(&mut self) {
        if self.is_quiet {
            return; // What traps was undone.
        }
        let Some(acting) = &self.acting else { return };
        let traps = acting.wanted.traps.clone();
        for index in 0..self.engines.len() {
            let running: Vec<ProgramId> = self.engines[index].running().map(|(id, _)| id).collect();
            for program in running {
                let module = self.record_of(index, program).map(|(_, module)| module);
                if module.is_some_and(|module| traps.contains(&module)) {
                    self.forget_process(index, program);
                    let stored = self.engines[index].stored_counter(program, &self.library);
                    self.oracle.lost(program, stored);
                    let reason = "trapped".to_owned();
                    let state = ProgramState::Failed { reason };
                    self.count("programs trapped");
                    self.feed(index, Input::Ended { program, state });
                }
            }
        }
        self.after(TRAPS_WITHIN, Happening::SomeTrap);
    }

    fn record_of(&self, index: usize, program: ProgramId) -> Option<(Generation, Digest)> {
        match self.engines[index]
            .records
            .get(&wayfare_core::types::RecordKey::Program(program))
        {
            Some(Record::Program(record)) => Some((record.generation, record.spec.module.digest)),
            _ => None,
        }
    }

    /// Of a program and generation there is one live copy at most, whoever starts what.
    pub(super) fn check_generations(&mut self) {
        let mut seen = BTreeMap::new();
        let mut twice = None;
        for (index, engine) in self.engines.iter().enumerate() {
            for (program, _) in engine.running() {
                let Some((generation, _)) = self.record_of(index, program) else {
                    continue;
                };
                if let Some(other) = seen.insert((program, generation), index) {
                    twice = Some(format!(
                        "{program:?} runs as {generation} on e{other} and e{index}"
                    ));
                }
            }
        }
        if let Some(text) = twice {
            self.oracle.violation(text);
        }
    }

    /// Faults are over: everybody may have something again, and somebody acts.
    pub(super) fn people_are_content(&mut self) {
        if let Some(acting) = &mut self.acting {
            (acting.store_full_until, acting.former) = (0, None);
        }
        self.dispatcher_starts();
        let up = self.process_of_dispatcher();
        if let Some(number) = up.filter(|up| up.is_failing).map(|up| up.number) {
            self.store_tried(number);
        }
        let names: Vec<EngineId> = self.engines.iter().map(|engine| engine.name.clone()).collect();
        for engine in names {
            drop(self.ask_dispatcher(Ask::Uncordon { engine }));
        }
        let Some(acting) = &mut self.acting else { return };
        acting.wanted.drained.clear();
        // Whoever asked twice for what traps has nothing to go back to.
        acting.wanted.version = 0;
        let (spec, expects) = (acting.wanted.spec(), None);
        drop(self.ask_dispatcher(Ask::Apply { spec, expects }));
    }

    /// What the dispatcher says is wanted runs, each instance once and as it should, and nothing else does.
    pub(super) fn check_wanted(&mut self) -> Result<(), String> {
        let seed = self.seed;
        let fail = |wrong: String| Err(format!("seed {seed}: {wrong}"));
        let answer = self.ask_dispatcher(Ask::Status { application: None });
        let Some(Ok(answer)) = answer else {
            return fail(format!("no dispatcher says what is wanted: {answer:?}"));
        };
        let status: Vec<AppStatus> =
            serde_json::from_value(answer).map_err(|error| format!("seed {seed}: {error}"))?;
        let Some(status) = status.first() else {
            return fail("the application is not there".into());
        };
        let mut wanted = BTreeSet::new();
        for instance in &status.instances {
            let is_well = instance.healthy && instance.current;
            match instance.program.filter(|_| is_well) {
                Some(program) if wanted.insert(program) => {}
                _ => return fail(format!("{instance:?} is not as it should be: {status:?}")),
            }
        }
        let mut running = BTreeMap::<ProgramId, usize>::new();
        for engine in &self.engines {
            for (program, _) in engine.running() {
                *running.entry(program).or_default() += 1;
            }
            for record in engine.records.values() {
                if let Record::Program(record) = record
                    && matches!(record.disposition, Disposition::Offered { .. })
                {
                    return fail(format!(
                        "{:?} is in doubt for good on {}",
                        record.program, engine.name
                    ));
                }
            }
        }
        for program in &wanted {
            if running.get(program) != Some(&1) {
                return fail(format!(
                    "{program:?} runs {:?} times: {status:?}",
                    running.get(program)
                ));
            }
        }
        let nobodys = self.acting.as_ref().map(|acting| acting.nobodys.clone());
        let nobodys = nobodys.unwrap_or_default();
        let is_known = |program: &&ProgramId| wanted.contains(program) || nobodys.contains(program);
        if let Some(program) = running.keys().find(|program| !is_known(program)) {
            return fail(format!("{program:?} runs, and nobody wants it: {status:?}"));
        }
        self.count("applications as wanted");
        Ok(())
    }

    pub(super) fn count(&mut self, what: &str) {
        *self.oracle.outcomes.entry(what.to_owned()).or_default() += 1;
    }

    /// From the end of the faults until everything must be as it should: restarts wait, roll-outs have their
    /// time.
    pub(super) const CALM: u64 = 250 * SECOND;
    pub(super) const FAULTS_UNTIL: u64 = 70_000 * MS;
}
