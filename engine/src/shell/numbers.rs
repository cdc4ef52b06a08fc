//! What the engine measures when it is asked: of itself, of the machine, and of each program. Nobody asks,
//! nothing is measured.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use wayfare_link::Link;
use wayfare_protocol::ids::{BootId, ProgramId};
use wayfare_protocol::numbers::{EngineNumbers, MachineNumbers, PROGRAMS_PER_ANSWER, ProgramNumbers};
use wayfare_runtime::{Process, Tier};

use super::machine;
use super::outbound::Outbound;
use super::programs::{Hosted, Programs};
use super::store::Store;

/// How long the broker takes to acknowledge: measured with an answer, and told with the next.
#[derive(Debug, Default)]
struct RoundTrip {
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

/// What is measured when it is asked for.
pub(super) struct Numbers {
    begun: Instant,
    boot: BootId,
    round_trip: RoundTrip,
}

impl Numbers {
    pub(super) fn new(begun: Instant, boot: BootId) -> Self {
        Self {
            begun,
            boot,
            round_trip: RoundTrip::default(),
        }
    }

    /// Of the engine and as many programs as an answer holds, from this one on.
    pub(super) fn all(
        &mut self,
        from: Option<ProgramId>,
        programs: &Programs,
        store: &Store,
        out: &Outbound,
    ) -> EngineNumbers {
        let machine = self.machine(store);
        let mut live = programs.live_from(from);
        let measured = live.by_ref().take(PROGRAMS_PER_ANSWER).map(of_program).collect();
        let next = live.next().map(|(program, ..)| program);
        EngineNumbers {
            engine: out.engine.clone(),
            boot: self.boot,
            clock_ms: clock_ms(),
            machine,
            programs: measured,
            next,
        }
    }

    /// An answer was just published: how long the broker takes to acknowledge it is told by the next one.
    pub(super) fn measure_round_trip(&mut self, out: &Outbound) {
        self.round_trip.measure(&out.link);
    }

    pub(super) fn machine(&mut self, store: &Store) -> MachineNumbers {
        let disk = store.disk_bytes();
        MachineNumbers {
            disk_free_bytes: disk.map(|(free, _)| free),
            disk_bytes: disk.map(|(_, all)| all),
            round_trip_us: self.round_trip.last_us(),
            ..machine::measured(self.begun)
        }
    }
}

/// Of all programs that run.
#[cfg(feature = "metrics")]
pub(super) fn of_programs(programs: &Programs) -> impl Iterator<Item = ProgramNumbers> {
    programs.live_from(None).map(of_program)
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
