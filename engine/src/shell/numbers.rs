//! What the engine measures when it is asked: of itself, of the machine, and of each program. Nobody asks, nothing is measured.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use wayfare_link::Link;
use wayfare_protocol::dispatcher::{Answered, Asker};
use wayfare_protocol::ids::{ProgramId, Term};
use wayfare_protocol::numbers::{EngineNumbers, MachineNumbers, PROGRAMS_PER_ANSWER, ProgramNumbers};
use wayfare_runtime::{Process, Tier};

use super::agent::Agent;
use super::machine;
use super::programs::Hosted;

/// How long the broker takes to acknowledge: measured with an answer, and told with the next.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    last_us: Option<u64>,
    /// One at a time.
    under_way: JoinSet<Option<u64>>,
}

impl RoundTrip {
    /// The last one that was measured.
    fn last_us(&mut self) -> Option<u64> {
        while let Some(measured) = self.under_way.try_join_next() {
            self.last_us = measured.ok().flatten().or(self.last_us);
        }
        self.last_us
    }

    /// Of what was just published.
    fn measure(&mut self, link: &Link) {
        if !self.under_way.is_empty() {
            return;
        }
        let (link, since) = (link.clone(), Instant::now());
        self.under_way.spawn(async move {
            link.flushed().await.ok()?;
            Some(micros_since(since))
        });
    }
}

impl Agent {
    pub(super) fn numbers_asked(&mut self, asker: &Asker, from: Option<ProgramId>) {
        let numbers = self.numbers(from);
        let answer = serde_json::to_value(numbers).expect("plain data serialises");
        self.out.answer(asker, Term::default(), Answered::Done(answer));
        self.round_trip.measure(&self.out.link);
    }

    pub(super) fn machine_numbers(&mut self) -> MachineNumbers {
        let disk = self.store.disk_bytes();
        MachineNumbers {
            disk_free_bytes: disk.map(|(free, _)| free),
            disk_bytes: disk.map(|(_, all)| all),
            round_trip_us: self.round_trip.last_us(),
            ..machine::measured(self.times.begun)
        }
    }

    /// Of all programs that run.
    #[cfg(feature = "metrics")]
    pub(super) fn program_numbers(&self) -> impl Iterator<Item = ProgramNumbers> {
        self.programs.live_from(None).map(of_program)
    }

    fn numbers(&mut self, from: Option<ProgramId>) -> EngineNumbers {
        let machine = self.machine_numbers();
        let mut live = self.programs.live_from(from);
        let programs = live.by_ref().take(PROGRAMS_PER_ANSWER).map(of_program).collect();
        let next = live.next().map(|(program, ..)| program);
        EngineNumbers {
            engine: self.out.engine.clone(),
            boot: self.boot,
            clock_ms: clock_ms(),
            machine,
            programs,
            next,
        }
    }
}

fn of_program((program, hosted, process): (ProgramId, &Hosted, &Process)) -> ProgramNumbers {
    let measured = process.measured();
    let stored_us = hosted.stored_at.map(micros_since);
    ProgramNumbers {
        program,
        generation: hosted.generation,
        uptime_us: micros_since(hosted.begun_at),
        cpu_us: measured
            .cpu
            .map(|cpu| u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX)),
        memory_bytes: measured.memory_bytes,
        traffic: measured.traffic,
        waiting_messages: measured.waiting_messages,
        log_lines: measured.log_lines,
        checkpoint_age_ms: stored_us.map(|stored_us| stored_us / 1_000),
        baseline: hosted
            .loaded()
            .is_some_and(|loaded| loaded.tier() == Tier::Baseline),
    }
}

fn clock_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}

fn micros_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
