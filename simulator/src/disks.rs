//! Engines' disks: full for a while, so that writes fail in the middle of anything, or lost with all that was
//! on them.
//!
//! A full disk costs nothing but time: every promise holds as it does without.
//!
//! A wiped one costs what was on it and nowhere else. Its engine comes back under its id and knows nothing.
//! So a program that it had may be gone, or be back where its last owner has not heard that it was taken:
//! with the state it had there, also if it had ended since. Whatever is not mentioned there keeps every
//! promise: programs that have left, and were heard to have arrived, stay where they are, once; nobody takes
//! a wiped engine's ignorance for an answer to anything that it had answered. Of transfers, what an engine
//! was sent before it lost its disk does not reach it after: that was on another connection. Orders do, late
//! and as often as they are repeated, and are not carried out once more.

pub(crate) mod state;

use wayfare_core::types::{Disk as DiskState, Disposition, ProgramRecord, Record, RecordKey, Verdict};
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Generation, OperationId, ProgramId};

use crate::happening::Happening;
use crate::packet::Packet;
use crate::time::SECOND;
use crate::world::World;

impl World {
    /// What becomes of disks, in some worlds.
    pub(super) fn plan_disks(&mut self) {
        let engines = self.engines.len() as u64;
        if matches!(self.seed % 10, 0 | 4 | 5) {
            for _ in 0..1 + self.random.below(4) {
                let engine = self.random.below(engines) as usize;
                let at = self.base + self.random.below(60 * SECOND);
                self.at(at, Happening::DiskFills { engine });
            }
        }
        if matches!(self.seed % 10, 1 | 5 | 6) {
            for _ in 0..1 + self.random.below(3) {
                let engine = self.random.below(engines) as usize;
                let at = self.base + self.random.below(60 * SECOND);
                self.at(at, Happening::DiskLost { engine });
            }
        }
    }

    pub(super) fn disk_fills(&mut self, index: usize) {
        self.note(|| format!("e{index}'s disk is full"));
        let records_fail = match self.random.below(4) {
            0 => 0,
            1 => 1000,
            _ => self.random.below(600),
        };
        let disk = &mut self.engines[index].disk;
        disk.full_until = self.now + 1 + self.random.below(15 * SECOND);
        disk.records_fail = records_fail;
        disk.blobs_fail = 300 + self.random.below(701);
    }

    pub(super) fn disk_is_full(&self, index: usize) -> Failure {
        Failure::Storage {
            engine: self.engines[index].name.clone(),
            reason: "its disk is full".into(),
        }
    }

    pub(super) fn write_snapshot(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.now;
        match self.engines[index].disk.refuses_blob(now, &mut self.random) {
            true => Err(self.disk_is_full(index)),
            false => Ok(()),
        }
    }

    /// What the shell does not give to the core while the disk is as it is.
    pub(super) fn is_refused_for_disk(&mut self, index: usize, packet: &Packet) -> bool {
        let is_full = self.engines[index].disk.is_full(self.now);
        let Some(up) = &self.engines[index].up else {
            return true;
        };
        match packet {
            Packet::Command(command) => {
                let disk = match (up.is_stalled, is_full) {
                    (true, _) => DiskState::Stalled,
                    (false, true) => DiskState::Full,
                    (false, false) => DiskState::HasRoom,
                };
                let refused = up.core.may_take(command, disk).is_err();
                if refused {
                    self.note(|| format!("e{index} refuses {:?}: {disk:?}", command.operation));
                    *self
                        .oracle
                        .outcomes
                        .entry(format!("{} refused for the disk", command.action.verb()))
                        .or_default() += 1;
                }
                refused
            }
            Packet::Message(_) | Packet::Chunk { .. } => up.is_stalled,
            Packet::Status { .. } => false,
        }
    }

    /// It comes back under its id with an empty disk.
    pub(super) fn lose_disk(&mut self, index: usize) {
        self.crash(index);
        self.note(|| format!("e{index}'s disk is lost"));
        *self.oracle.outcomes.entry("disks lost".into()).or_default() += 1;
        for (program, is_known_elsewhere) in self.only_on_disk(index) {
            self.oracle.wiped(program, is_known_elsewhere);
        }
        self.newest_may_be_lost(index);
        let engine = &mut self.engines[index];
        engine.disk.wipes += 1;
        for record in engine.records.values() {
            if let Record::Operation(record) = record {
                engine.disk.forgotten.insert(record.command.operation);
            }
        }
        engine.disk.boots.clear();
        engine.records.clear();
        engine.blobs.clear();
        engine.inboxes.clear();
    }

    /// Where the copy that took messages last was there, an older one that has not heard of it goes on, as
    /// whatever is left of the program.
    fn newest_may_be_lost(&mut self, index: usize) {
        let records = self.engines[index].records.values();
        let lost: Vec<(ProgramId, Generation)> = records
            .filter_map(|record| match record {
                Record::Program(record) => Some((record.program, record.generation)),
                Record::Operation(_) | Record::Arrival(_) => None,
            })
            .collect();
        for (program, generation) in lost {
            let elsewhere = self.newest_elsewhere(index, program);
            if let Some(kept) = self.broker.kept.get_mut(&program)
                && kept.newest == generation
            {
                kept.newest = elsewhere;
            }
        }
    }

    /// Nothing has replaced a life that begins where no newer copy is left, as by an order that came late.
    pub(super) fn may_have_no_newer(&mut self, index: usize, record: &ProgramRecord) {
        let key = RecordKey::Program(record.program);
        let begins = record.begun == record.generation && !self.engines[index].records.contains_key(&key);
        if begins
            && self.newest_elsewhere(index, record.program) < record.generation
            && let Some(kept) = self.broker.kept.get_mut(&record.program)
        {
            kept.newest = kept.newest.min(record.generation);
        }
    }

    fn newest_elsewhere(&self, index: usize, program: ProgramId) -> Generation {
        let others = self
            .engines
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let records = others.filter_map(|(_, engine)| engine.records.get(&RecordKey::Program(program)));
        let generations = records.filter_map(|record| match record {
            Record::Program(record) => Some(record.generation),
            Record::Operation(_) | Record::Arrival(_) => None,
        });
        generations.max().unwrap_or(Generation(0))
    }

    /// Programs of which something is on this disk that is nowhere else; and whether another engine still has
    /// what it will take back, not knowing how far the program has come since.
    fn only_on_disk(&self, index: usize) -> Vec<(ProgramId, bool)> {
        let engine = &self.engines[index];
        let mut all: Vec<(ProgramId, bool)> = Vec::new();
        for record in engine.records.values() {
            match record {
                Record::Program(record) => all.push((record.program, false)),
                // It may have been carried out, and nobody has heard.
                Record::Operation(record) if !self.oracle.is_answered(record.command.operation) => {
                    if let Action::Kill { on } = &record.command.action {
                        all.push((on.program, false));
                    }
                }
                Record::Operation(_) | Record::Arrival(_) => {}
            }
        }
        for other in &self.engines {
            for record in other.records.values() {
                if let Record::Program(offered) = record
                    && let Disposition::Offered {
                        operation, target, ..
                    } = &offered.disposition
                    && *target == engine.name
                    && self.was_adopted(index, *operation)
                {
                    all.push((offered.program, true));
                }
            }
        }
        all
    }

    fn was_adopted(&self, index: usize, operation: OperationId) -> bool {
        let records = &self.engines[index].records;
        let said = matches!(
            records.get(&RecordKey::Arrival(operation)),
            Some(Record::Arrival(record)) if matches!(record.verdict, Verdict::Adopted { .. })
        );
        said || records
            .values()
            .any(|record| matches!(record, Record::Program(record) if record.arrived == operation))
    }
}
