//! What was measured of each engine and program: the last time, the time before, for rates, and coarsely for
//! an hour. No clock and no I/O.
//!
//! Always: what is kept is bounded ([`PROGRAMS_MAX`] programs, of which [`HISTORIES_MAX`] have a history of
//! [`POINTS_MAX`] points); a rate is of one process of an engine, or of one program while it stays where it
//! is, so that no counter is compared with one that began anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wayfare_client::numbers::{EngineLoad, EnginesPage, Point, ProgramLoad, ProgramsPage};
use wayfare_protocol::ids::{BootId, EngineId, ProgramId};
use wayfare_protocol::numbers::{EngineNumbers, MachineNumbers, ProgramNumbers};

use super::coarse::Subject;

/// Two points of a history are at least so far apart,
const POINT_PERIOD_MS: u64 = 30_000;
/// and there are so many: an hour's.
const POINTS_MAX: usize = 120;
/// Programs of which is kept what was measured last: as many as brokers hold statuses for a client.
const PROGRAMS_MAX: usize = 200_000;
/// Those of them whose history is kept.
const HISTORIES_MAX: usize = 10_000;
/// A rate is over no less than this.
const RATE_MIN_US: u64 = 500_000;
/// What was not measured for so long is not shown any more.
const SHOWN_MS: u64 = 60_000;
/// Entries of one answer.
const PAGE_MAX: usize = 100;

/// One engine's answer.
pub(super) struct Measured {
    pub(super) numbers: EngineNumbers,
    /// When it was asked and when it had answered, by the dispatcher's clock.
    pub(super) asked_ms: u64,
    pub(super) answered_ms: u64,
}

#[derive(Default)]
pub(super) struct Numbers {
    engines: BTreeMap<EngineId, EngineSeen>,
    programs: BTreeMap<ProgramId, ProgramSeen>,
    /// How many of the programs have a history.
    histories: usize,
}

struct EngineSeen {
    boot: BootId,
    clock_ahead_ms: i64,
    seen: Seen<MachineNumbers>,
}

struct ProgramSeen {
    engine: EngineId,
    boot: BootId,
    seen: Seen<ProgramNumbers>,
}

impl EngineSeen {
    fn load(&self, engine: &EngineId, now_ms: u64) -> EngineLoad {
        EngineLoad {
            engine: engine.clone(),
            measured_ago_ms: now_ms.saturating_sub(self.seen.at_ms),
            cpu_millicores: self.seen.millicores(),
            clock_ahead_ms: Some(self.clock_ahead_ms),
            numbers: self.seen.last.clone(),
        }
    }
}

impl ProgramSeen {
    fn load(&self, now_ms: u64) -> ProgramLoad {
        ProgramLoad {
            engine: self.engine.clone(),
            measured_ago_ms: now_ms.saturating_sub(self.seen.at_ms),
            cpu_millicores: self.seen.millicores(),
            received_per_minute: self.seen.per_minute(|counters| counters.received),
            sent_per_minute: self.seen.per_minute(|counters| counters.sent),
            numbers: self.seen.last.clone(),
        }
    }
}

/// What rates are made of: counters, and the time on the clock that they were read by.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    uptime_us: u64,
    cpu_us: Option<u64>,
    received: u64,
    sent: u64,
}

trait Counted {
    fn counters(&self) -> Counters;
    fn memory_bytes(&self) -> u64;
}

impl Counted for MachineNumbers {
    fn counters(&self) -> Counters {
        Counters {
            uptime_us: self.uptime_us,
            cpu_us: self.cpu_us,
            ..Counters::default()
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or(0)
    }
}

impl Counted for ProgramNumbers {
    fn counters(&self) -> Counters {
        Counters {
            uptime_us: self.uptime_us,
            cpu_us: self.cpu_us,
            received: self.traffic.received_messages,
            sent: self.traffic.sent_messages,
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

struct Seen<N> {
    last: N,
    at_ms: u64,
    /// What the last is compared with; zero at the beginning.
    base: Counters,
    /// `None`: its history is not kept.
    points: Option<VecDeque<Point>>,
}

impl<N: Counted> Seen<N> {
    fn new(numbers: N, at_ms: u64, history: Option<VecDeque<Point>>) -> Self {
        let mut seen = Self {
            last: numbers,
            at_ms,
            base: Counters::default(),
            points: history,
        };
        seen.note();
        seen
    }

    /// Of the same process or program if `goes_on`; its counters may have begun anew all the same.
    /// Answers with a new point of its history, if there is one.
    fn renew(&mut self, numbers: N, at_ms: u64, goes_on: bool) -> Option<Point> {
        let (before, now) = (self.last.counters(), numbers.counters());
        let goes_on = goes_on && now.uptime_us >= before.uptime_us && now.cpu_us >= before.cpu_us;
        if !goes_on {
            self.base = Counters::default();
        } else if now.uptime_us - before.uptime_us >= RATE_MIN_US {
            self.base = before;
        }
        (self.last, self.at_ms) = (numbers, at_ms);
        self.note()
    }

    fn note(&mut self) -> Option<Point> {
        let last = self.points.as_ref()?.back();
        let is_due = last.is_none_or(|last| self.at_ms.abs_diff(last.at_ms) >= POINT_PERIOD_MS);
        if !is_due {
            return None;
        }
        let point = Point {
            at_ms: self.at_ms,
            cpu_millicores: self.millicores(),
            memory_bytes: self.last.memory_bytes(),
        };
        let points = self.points.as_mut()?;
        points.push_back(point);
        if points.len() > POINTS_MAX {
            points.pop_front();
        }
        Some(point)
    }

    fn history(&self) -> Vec<Point> {
        self.points.iter().flatten().copied().collect()
    }

    fn millicores(&self) -> Option<u64> {
        let now = self.last.counters();
        let base_us = self.base.cpu_us.unwrap_or(0);
        Some(self.rate(now.cpu_us?.saturating_sub(base_us), 1_000))
    }

    fn per_minute(&self, counter: fn(&Counters) -> u64) -> u64 {
        let more = counter(&self.last.counters()).saturating_sub(counter(&self.base));
        self.rate(more, 60_000_000)
    }

    /// So many times `unit` microseconds for each that went by.
    fn rate(&self, more: u64, unit: u64) -> u64 {
        let us = self.last.counters().uptime_us.saturating_sub(self.base.uptime_us);
        let rate = u128::from(more) * u128::from(unit) / u128::from(us.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl Numbers {
    /// Answers with the new points of histories.
    pub(super) fn take_in(&mut self, measured: Measured) -> Vec<(Subject, Point)> {
        let mut points = Vec::new();
        let Measured {
            numbers,
            asked_ms,
            answered_ms,
        } = measured;
        let EngineNumbers {
            engine,
            boot,
            clock_ms,
            machine,
            programs,
            next: _,
        } = numbers;
        // The answer was made half-way, as far as anybody knows.
        let half_way_ms = asked_ms + answered_ms.saturating_sub(asked_ms) / 2;
        let clock_ahead_ms = clock_ms.cast_signed().saturating_sub(half_way_ms.cast_signed());
        match self.engines.get_mut(&engine) {
            Some(known) => {
                let point = known.seen.renew(machine, answered_ms, known.boot == boot);
                points.extend(point.map(|point| (Subject::Engine(engine.clone()), point)));
                (known.boot, known.clock_ahead_ms) = (boot, clock_ahead_ms);
            }
            None => {
                let seen = Seen::new(machine, answered_ms, Some(VecDeque::new()));
                let known = EngineSeen {
                    boot,
                    clock_ahead_ms,
                    seen,
                };
                self.engines.insert(engine.clone(), known);
            }
        }
        for program in programs {
            let subject = Subject::Program(program.program);
            let point = self.take_in_program(&engine, boot, program, answered_ms);
            points.extend(point.map(|point| (subject, point)));
        }
        points
    }

    fn take_in_program(
        &mut self,
        engine: &EngineId,
        boot: BootId,
        numbers: ProgramNumbers,
        at_ms: u64,
    ) -> Option<Point> {
        let program = numbers.program;
        let is_full = self.programs.len() >= PROGRAMS_MAX;
        let mut history = (self.histories < HISTORIES_MAX).then(VecDeque::new);
        match self.programs.get_mut(&program) {
            // Late, of where it was before.
            Some(known) if known.seen.last.generation > numbers.generation => None,
            Some(known) => {
                let goes_on = (&known.engine, known.boot) == (engine, boot);
                if known.seen.points.is_none() {
                    self.histories += usize::from(history.is_some());
                    known.seen.points = history.take();
                }
                let point = known.seen.renew(numbers, at_ms, goes_on);
                (known.engine, known.boot) = (engine.clone(), boot);
                point
            }
            None if is_full => None,
            None => {
                self.histories += usize::from(history.is_some());
                let seen = Seen::new(numbers, at_ms, history);
                let known = ProgramSeen {
                    engine: engine.clone(),
                    boot,
                    seen,
                };
                self.programs.insert(program, known);
                None
            }
        }
    }

    /// What was measured last of an engine's machine, unless that is long ago.
    pub(super) fn machine(&self, engine: &EngineId, now_ms: u64) -> Option<&MachineNumbers> {
        let known = self.engines.get(engine)?;
        is_shown(known.seen.at_ms, now_ms).then_some(&known.seen.last)
    }

    pub(super) fn is_fresh(&self, engine: &EngineId, now_ms: u64, within: Duration) -> bool {
        let known = self.engines.get(engine);
        known.is_some_and(|known| u128::from(now_ms.abs_diff(known.seen.at_ms)) < within.as_millis())
    }

    /// What has no history any more is forgotten.
    pub(super) fn forget(&mut self, now_ms: u64) {
        let is_kept = |at_ms: u64| now_ms.abs_diff(at_ms) < POINT_PERIOD_MS * POINTS_MAX as u64;
        self.engines.retain(|_, known| is_kept(known.seen.at_ms));
        self.programs.retain(|_, known| is_kept(known.seen.at_ms));
        let with_history = self.programs.values().filter(|known| known.seen.points.is_some());
        self.histories = with_history.count();
    }

    pub(super) fn engines_page(&self, from: Option<&EngineId>, now_ms: u64) -> EnginesPage {
        let mut shown = self.engines.iter().filter(|(engine, known)| {
            from.is_none_or(|from| *engine >= from) && is_shown(known.seen.at_ms, now_ms)
        });
        let load = |(engine, known): (&EngineId, &EngineSeen)| known.load(engine, now_ms);
        EnginesPage {
            engines: shown.by_ref().take(PAGE_MAX).map(load).collect(),
            next: shown.next().map(|(engine, _)| engine.clone()),
        }
    }

    pub(super) fn programs_page(&self, from: Option<ProgramId>, now_ms: u64) -> ProgramsPage {
        let from = from.unwrap_or(ProgramId::from_bytes([0; 16]));
        let mut shown = self
            .programs
            .range(from..)
            .filter(|(_, known)| is_shown(known.seen.at_ms, now_ms));
        let load = |(_, known): (&ProgramId, &ProgramSeen)| known.load(now_ms);
        ProgramsPage {
            programs: shown.by_ref().take(PAGE_MAX).map(load).collect(),
            next: shown.next().map(|(program, _)| *program),
        }
    }

    /// One engine, unless it was measured long ago.
    pub(super) fn engine(&self, engine: &EngineId, now_ms: u64) -> Option<EngineLoad> {
        let known = self.engines.get(engine)?;
        is_shown(known.seen.at_ms, now_ms).then(|| known.load(engine, now_ms))
    }

    /// One program, unless it was measured long ago.
    pub(super) fn program(&self, program: ProgramId, now_ms: u64) -> Option<ProgramLoad> {
        let known = self.programs.get(&program)?;
        is_shown(known.seen.at_ms, now_ms).then(|| known.load(now_ms))
    }

    pub(super) fn engine_history(&self, engine: &EngineId) -> Vec<Point> {
        let known = self.engines.get(engine);
        known.map_or_else(Vec::new, |known| known.seen.history())
    }

    pub(super) fn program_history(&self, program: ProgramId) -> Vec<Point> {
        let known = self.programs.get(&program);
        known.map_or_else(Vec::new, |known| known.seen.history())
    }
}

/// What was measured later than now is as old as it is new: the clock was set back since.
fn is_shown(at_ms: u64, now_ms: u64) -> bool {
    now_ms.abs_diff(at_ms) < SHOWN_MS
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::Generation;
    use wayfare_protocol::numbers::Traffic;

    use super::*;

    fn program(number: u8, uptime_ms: u64, cpu_ms: u64) -> ProgramNumbers {
        ProgramNumbers {
            program: ProgramId::from_random([number; 16]),
            generation: Generation(1),
            uptime_us: uptime_ms * 1_000,
            cpu_us: Some(cpu_ms * 1_000),
            memory_bytes: 7,
            traffic: Traffic {
                sent_messages: cpu_ms / 10,
                ..Traffic::default()
            },
            waiting_messages: 0,
            log_lines: 0,
            checkpoint_age_ms: None,
            baseline: false,
        }
    }

    fn measured(engine: &str, boot: u8, at_ms: u64, programs: Vec<ProgramNumbers>) -> Measured {
        let numbers = EngineNumbers {
            engine: engine.parse().unwrap(),
            boot: BootId::from_random([boot; 16]),
            clock_ms: at_ms + 505,
            machine: MachineNumbers {
                uptime_us: at_ms * 1_000,
                cpu_us: Some(at_ms * 100),
                memory_bytes: Some(9),
                ..MachineNumbers::default()
            },
            programs,
            next: None,
        };
        Measured {
            numbers,
            asked_ms: at_ms,
            answered_ms: at_ms + 10,
        }
    }

    fn first(numbers: &Numbers, now_ms: u64) -> (Option<u64>, u64) {
        let load = numbers.programs_page(None, now_ms).programs.remove(0);
        (load.cpu_millicores, load.sent_per_minute)
    }

    #[test]
    fn rates_are_since_the_time_before_and_at_first_since_the_start() {
        let mut numbers = Numbers::default();
        numbers.take_in(measured("a", 1, 1_000, vec![program(1, 1_000, 500)]));
        assert_eq!(first(&numbers, 1_000), (Some(500), 3_000));
        numbers.take_in(measured("a", 1, 3_000, vec![program(1, 3_000, 700)]));
        assert_eq!(first(&numbers, 3_000), (Some(100), 600));
        // A moment later there is too little to tell: the time before that still counts.
        numbers.take_in(measured("a", 1, 3_100, vec![program(1, 3_100, 790)]));
        assert_eq!(first(&numbers, 3_100).0, Some(290 * 1_000 / 2_100));
        let engine = numbers.engines_page(None, 3_100).engines.remove(0);
        assert_eq!(
            (engine.cpu_millicores, engine.clock_ahead_ms),
            (Some(100), Some(500))
        );
    }

    #[test]
    fn counters_that_begin_anew_are_not_compared_with_those_before() {
        for (name, engine, boot, uptime_ms) in [
            ("moved", "b", 2, 1_000),
            ("the engine began anew", "a", 2, 1_000),
            ("so did the program", "a", 1, 1_000),
        ] {
            let mut numbers = Numbers::default();
            numbers.take_in(measured("a", 1, 9_000, vec![program(1, 9_000, 9_000)]));
            let mut next = program(1, uptime_ms, 250);
            next.generation = Generation(2);
            numbers.take_in(measured(engine, boot, 10_000, vec![next]));
            assert_eq!(first(&numbers, 10_000).0, Some(250), "{name}");
            // What comes late from where it was changes nothing.
            numbers.take_in(measured("a", 1, 10_100, vec![program(1, 10_000, 9_900)]));
            assert_eq!(first(&numbers, 10_100).0, Some(250), "{name}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut numbers = Numbers::default();
        let day_ms = 86_400_000;
        numbers.take_in(measured("a", 1, day_ms, vec![program(1, 1_000, 500)]));
        numbers.take_in(measured("gone", 1, day_ms, vec![]));
        // Of engines that do not answer any more, nothing is shown for the day that the clock was ahead.
        assert_eq!(numbers.engines_page(None, 1_000).engines, vec![]);
        numbers.take_in(measured("a", 1, 1_000, vec![program(1, 2_000, 600)]));
        assert_eq!(first(&numbers, 1_000).0, Some(100));
        assert_eq!(numbers.engine_history(&"a".parse().unwrap()).len(), 2);
        numbers.forget(1_000);
        assert_eq!(numbers.engine_history(&"gone".parse().unwrap()), vec![]);
    }

    #[test]
    fn what_was_measured_last_is_kept_of_more_programs_than_have_a_history() {
        let numbered = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            ProgramNumbers {
                program: ProgramId::from_bytes(bytes),
                ..program(0, 1_000, 500)
            }
        };
        let last = HISTORIES_MAX;
        let mut numbers = Numbers::default();
        let all = |at_ms| measured("a", 1, at_ms, (0..=last).map(numbered).collect());
        numbers.take_in(all(1_000));
        numbers.take_in(all(2_000));
        let (first, last) = (numbered(0), numbered(last));
        let cpu = |program| numbers.program(program, 2_010).unwrap().cpu_millicores;
        assert_eq!((cpu(first.program), cpu(last.program)), (Some(500), Some(500)));
        assert_eq!(numbers.program_history(first.program).len(), 1);
        assert_eq!(numbers.program_history(last.program), vec![]);
        // Where others are forgotten there is room for its history.
        let hour_ms = POINT_PERIOD_MS * POINTS_MAX as u64;
        let later = measured("a", 1, hour_ms, vec![last.clone()]);
        numbers.take_in(later);
        assert_eq!(numbers.program_history(last.program), vec![]);
        numbers.forget(hour_ms + 2_100);
        numbers.take_in(measured("a", 1, hour_ms + 3_000, vec![last.clone()]));
        assert_eq!(numbers.program_history(last.program).len(), 1);
        assert_eq!(numbers.program_history(first.program), vec![]);
    }

    #[test]
    fn histories_are_coarse_and_bounded_and_pages_give_everything_once() {
        let mut numbers = Numbers::default();
        let engine = "a".parse().unwrap();
        for second in 0..8_000_u64 {
            numbers.take_in(measured(
                "a",
                1,
                second * 1_000,
                vec![program(1, second * 1_000, 0)],
            ));
        }
        let points = numbers.engine_history(&engine);
        assert_eq!(points.len(), POINTS_MAX);
        assert!(
            points
                .windows(2)
                .all(|two| two[1].at_ms - two[0].at_ms >= POINT_PERIOD_MS)
        );
        assert_eq!(
            numbers.program_history(ProgramId::from_random([1; 16])).len(),
            POINTS_MAX
        );

        let many = (0..=250).map(|number| program(number, 1, 0)).collect();
        numbers.take_in(measured("a", 1, 8_000_000, many));
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = numbers.programs_page(from, 8_000_000);
            found.extend(page.programs.iter().map(|load| load.numbers.program));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 251);
        assert!(found.is_sorted());
        // What is not measured any more is not shown, and later not known.
        assert_eq!(numbers.programs_page(None, 8_000_010 + SHOWN_MS).programs, vec![]);
        numbers.forget(8_000_010 + POINT_PERIOD_MS * POINTS_MAX as u64);
        assert_eq!(numbers.engine_history(&engine), vec![]);
    }
}
