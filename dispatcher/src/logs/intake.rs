//! Lines on their way into the store: each program's in order and once, from what is published and, where
//! that lacks some, from the program's engine. Pure: programs to be asked for come out, answers go in.
//!
//! What always holds: a program whose lines come in order from the next one on is not asked; one that was
//! there before this dispatcher acted, or whose lines skip a number, is asked once. What its engine does not
//! have either is lost, and the numbers show it.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_client::{LogItem, LogMerge};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::life::first_number_of_line;
use wayfare_protocol::log::{LogBatch, LogLine};

/// Programs whose lines are put in order. What more there are print to nobody.
const PROGRAMS_MAX: usize = 100_000;
/// Bytes of lines that wait for others, of one engine's programs and of all. What comes on top of that is let
/// go of, and asked for.
const WAITING_OF_ENGINE_BYTES_MAX: usize = 8 << 20;
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Programs of one engine that are asked for at the same time: one that does not answer holds up no other
/// engine's.
const ASKED_OF_ENGINE_MAX: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Intake {
    programs: BTreeMap<ProgramId, Arriving>,
    /// Of which something may be ready,
    changed: BTreeSet<ProgramId>,
    /// and whose engine is to be asked.
    wanting: BTreeSet<ProgramId>,
    /// Bytes that wait, by whose they are, and of all.
    waiting: BTreeMap<EngineId, usize>,
    waiting_bytes: usize,
    /// How many questions to an engine have no answer yet.
    asked: BTreeMap<EngineId, usize>,
}

#[derive(Debug)]
struct Arriving {
    merge: LogMerge,
    /// Who published last, or has it by its status.
    engine: EngineId,
    /// Who has been asked and has not answered.
    asked: Option<EngineId>,
    /// For whom so many bytes are counted that wait.
    counted: Option<(EngineId, usize)>,
}

impl Intake {
    /// A program that was there before: its engine may have lines that nobody has taken. `next` is the first
    /// that is not stored.
    pub(super) fn found(&mut self, program: ProgramId, engine: &EngineId, next: u64) {
        if self.programs.len() < PROGRAMS_MAX && !self.programs.contains_key(&program) {
            let arriving = Arriving::new(LogMerge::new(next), engine.clone());
            self.programs.insert(program, arriving);
            self.touched(program);
        }
    }

    /// Lines were published; `next` is the first that is not stored.
    pub(super) fn published(&mut self, batch: LogBatch, next: u64) {
        let is_full = self.programs.len() >= PROGRAMS_MAX;
        let Some(first) = batch.lines.first().map(|line| line.line) else {
            return;
        };
        let (program, engine) = (batch.program, batch.engine.clone());
        let arriving = match self.programs.get_mut(&program) {
            Some(arriving) => arriving,
            None if is_full => return,
            None => {
                // Of a program that has just begun nothing is missing.
                let merge = if first == next.max(first_number_of_line(first)) {
                    let mut merge = LogMerge::new(first);
                    merge.tail(Vec::new(), first);
                    merge
                } else {
                    LogMerge::new(next)
                };
                let arriving = Arriving::new(merge, engine.clone());
                self.programs.entry(program).or_insert(arriving)
            }
        };
        arriving.engine = engine;
        arriving.merge.live(batch);
        self.touched(program);
    }

    fn touched(&mut self, program: ProgramId) {
        self.changed.insert(program);
        let wants = |arriving: &Arriving| arriving.asked.is_none() && arriving.merge.wants_tail();
        if self.programs.get(&program).is_some_and(wants) {
            self.wanting.insert(program);
        }
    }

    /// Programs to be asked for; each is to be answered by [`Intake::answered`].
    pub(super) fn take_wanted(&mut self, count: usize) -> Vec<(ProgramId, u64)> {
        let mut taken = Vec::new();
        if count == 0 {
            return taken;
        }
        for program in &self.wanting {
            let Some(arriving) = self.programs.get_mut(program) else {
                continue;
            };
            let of_engine = self.asked.entry(arriving.engine.clone()).or_default();
            if *of_engine < ASKED_OF_ENGINE_MAX {
                *of_engine += 1;
                arriving.asked = Some(arriving.engine.clone());
                taken.push((*program, arriving.merge.ask()));
                if taken.len() == count {
                    break;
                }
            }
        }
        for (program, _) in &taken {
            self.wanting.remove(program);
        }
        taken
    }

    /// An engine has answered with its lines and the number of the next, or there is no answer to be had.
    pub(super) fn answered(&mut self, program: ProgramId, tail: Option<(EngineId, Vec<LogLine>, u64)>) {
        let Some(arriving) = self.programs.get_mut(&program) else {
            return;
        };
        let asked = arriving.asked.take();
        match tail {
            Some((engine, lines, next)) => {
                arriving.engine = engine;
                arriving.merge.tail(lines, next);
            }
            None => arriving.merge.without_tail(),
        }
        self.not_asked(asked);
        self.touched(program);
    }

    /// Lines that can be stored, in order. What cannot be stored yet, and has no room, is let go of.
    pub(super) fn take_ready(&mut self) -> Vec<(ProgramId, EngineId, Vec<LogLine>)> {
        let mut ready = Vec::new();
        for program in std::mem::take(&mut self.changed) {
            let Some(arriving) = self.programs.get_mut(&program) else {
                continue;
            };
            let line = |item| match item {
                LogItem::Line(line) => Some(line),
                LogItem::Gap { .. } => None,
            };
            let lines: Vec<LogLine> = arriving.merge.drain().into_iter().filter_map(line).collect();
            if !lines.is_empty() {
                ready.push((program, arriving.engine.clone(), lines));
            }
            self.bound(program);
            // A number that is skipped is seen once what is before it is out.
            let wants = |arriving: &Arriving| arriving.asked.is_none() && arriving.merge.wants_tail();
            if self.programs.get(&program).is_some_and(wants) {
                self.wanting.insert(program);
            } else {
                self.wanting.remove(&program);
            }
        }
        ready
    }

    /// Counts what waits of a program, and lets go of it where that is too much.
    fn bound(&mut self, program: ProgramId) {
        self.count(program);
        let Some(arriving) = self.programs.get_mut(&program) else {
            return;
        };
        let of_engine = self.waiting.get(&arriving.engine).copied().unwrap_or(0);
        if of_engine > WAITING_OF_ENGINE_BYTES_MAX || self.waiting_bytes > WAITING_BYTES_MAX {
            arriving.merge.let_go();
            self.count(program);
        }
    }

    fn count(&mut self, program: ProgramId) {
        let Some(arriving) = self.programs.get_mut(&program) else {
            return;
        };
        let bytes = arriving.merge.held_bytes();
        let now = (bytes > 0).then(|| (arriving.engine.clone(), bytes));
        let before = std::mem::replace(&mut arriving.counted, now.clone());
        self.not_waiting(before);
        if let Some((engine, bytes)) = now {
            *self.waiting.entry(engine).or_default() += bytes;
            self.waiting_bytes += bytes;
        }
    }

    fn not_waiting(&mut self, counted: Option<(EngineId, usize)>) {
        let Some((engine, bytes)) = counted else { return };
        self.waiting_bytes -= bytes;
        if let Some(of_engine) = self.waiting.get_mut(&engine) {
            *of_engine -= bytes;
            if *of_engine == 0 {
                self.waiting.remove(&engine);
            }
        }
    }

    fn not_asked(&mut self, asked: Option<EngineId>) {
        let Some(engine) = asked else { return };
        if let Some(of_engine) = self.asked.get_mut(&engine) {
            *of_engine = of_engine.saturating_sub(1);
            if *of_engine == 0 {
                self.asked.remove(&engine);
            }
        }
    }

    /// Forgets programs that are no more: nobody can be asked for them.
    pub(super) fn keep(&mut self, is_there: impl Fn(&ProgramId) -> bool) {
        let programs = self.programs.keys().copied();
        let gone: Vec<ProgramId> = programs.filter(|program| !is_there(program)).collect();
        for program in gone {
            if let Some(arriving) = self.programs.remove(&program) {
                self.not_waiting(arriving.counted);
                self.not_asked(arriving.asked);
            }
            self.wanting.remove(&program);
        }
    }
}

impl Arriving {
    fn new(merge: LogMerge, engine: EngineId) -> Self {
        Self {
            merge,
            engine,
            asked: None,
            counted: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::Generation;
    use wayfare_protocol::log::{LogText, Stream};

    use super::*;

    fn lines(numbers: std::ops::Range<u64>) -> Vec<LogLine> {
        let line = |line| LogLine {
            line,
            stream: Stream::Stdout,
            text: LogText::Text(line.to_string()),
            open: false,
            at_ms: 1,
        };
        numbers.map(line).collect()
    }

    fn batch(numbers: std::ops::Range<u64>) -> LogBatch {
        LogBatch {
            program: program(),
            generation: Generation::FIRST,
            engine: engine(),
            lines: lines(numbers),
        }
    }

    fn program() -> ProgramId {
        ProgramId::from_random([7; 16])
    }

    fn engine() -> EngineId {
        "a".parse().unwrap()
    }

    fn ready(intake: &mut Intake) -> Vec<u64> {
        let taken = intake.take_ready().into_iter();
        taken
            .flat_map(|(_, _, lines)| lines.into_iter().map(|line| line.line))
            .collect()
    }

    #[test]
    fn what_comes_in_order_is_stored_without_asking() {
        let mut intake = Intake::default();
        intake.published(batch(0..3), 0);
        assert!(intake.take_wanted(9).is_empty());
        assert_eq!(ready(&mut intake), [0, 1, 2]);
        intake.published(batch(2..5), 3);
        assert_eq!(ready(&mut intake), [3, 4]);
        // A life that begins anew.
        const FIRST: u64 = 1000 << 32;
        let mut intake = Intake::default();
        intake.published(batch(FIRST..FIRST + 1), 700);
        assert!(intake.take_wanted(9).is_empty());
        assert_eq!(ready(&mut intake), [FIRST]);
    }

    #[test]
    fn what_was_printed_while_nobody_acted_is_asked_for() {
        let mut intake = Intake::default();
        intake.found(program(), &engine(), 3);
        assert_eq!(intake.take_wanted(9), [(program(), 3)]);
        assert!(intake.take_wanted(9).is_empty(), "once");
        intake.published(batch(5..7), 3);
        assert!(ready(&mut intake).is_empty());
        intake.answered(program(), Some((engine(), lines(3..6), 6)));
        assert_eq!(ready(&mut intake), [3, 4, 5, 6]);
    }

    #[test]
    fn a_skipped_line_is_asked_for_and_given_up_where_nobody_has_it() {
        let mut intake = Intake::default();
        intake.published(batch(0..1), 0);
        intake.published(batch(4..5), 0);
        assert_eq!(ready(&mut intake), [0]);
        assert_eq!(intake.take_wanted(9), [(program(), 1)]);
        intake.answered(program(), None);
        assert_eq!(ready(&mut intake), [4]);
        assert!(intake.take_wanted(9).is_empty());
    }

    /// What is printed as somebody else's, with numbers that skip some, so that it waits for an engine that
    /// does not answer.
    #[test]
    fn what_waits_is_bounded_for_each_engine_and_holds_up_no_other() {
        const FORGED: u32 = 300;
        let forged = |number: u32| {
            let mut bytes = [9; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let long = |line| LogLine {
                text: LogText::Bytes(vec![0; 50_000]),
                ..lines(line..line + 1).remove(0)
            };
            LogBatch {
                program: ProgramId::from_random(bytes),
                engine: "b".parse().unwrap(),
                lines: vec![long(5), long(6)],
                ..batch(0..0)
            }
        };
        let mut intake = Intake::default();
        for number in 0..FORGED {
            intake.published(forged(number), 0);
            assert!(ready(&mut intake).is_empty());
        }
        assert!(
            intake.waiting_bytes <= WAITING_OF_ENGINE_BYTES_MAX,
            "{}",
            intake.waiting_bytes
        );
        let asked = intake.take_wanted(8);
        assert_eq!(asked.len(), ASKED_OF_ENGINE_MAX);
        // Another engine's lines wait, and are asked for, as if there were none of those.
        intake.published(batch(0..1), 0);
        intake.published(batch(4..5), 0);
        assert_eq!(ready(&mut intake), [0]);
        assert_eq!(intake.take_wanted(8), [(program(), 1)]);
        intake.answered(program(), Some((engine(), lines(1..5), 5)));
        assert_eq!(ready(&mut intake), [1, 2, 3, 4]);
        // Once it is known that they are not there, nothing is left of them.
        intake.keep(|known| *known == program());
        assert_eq!((intake.programs.len(), intake.waiting_bytes), (1, 0));
        assert!(intake.waiting.is_empty() && intake.asked.is_empty() && intake.wanting.is_empty());
        for (program, _) in asked {
            intake.answered(program, None);
        }
        assert!(intake.take_wanted(8).is_empty());
    }

    #[test]
    fn what_had_no_room_to_wait_is_asked_for_and_stored() {
        let mut intake = Intake::default();
        intake.published(batch(0..1), 0);
        assert_eq!(ready(&mut intake), [0]);
        // As much waits of the same engine's as may.
        intake.waiting.insert(engine(), WAITING_OF_ENGINE_BYTES_MAX);
        intake.waiting_bytes = WAITING_OF_ENGINE_BYTES_MAX;
        intake.published(batch(4..6), 0);
        assert!(ready(&mut intake).is_empty());
        assert_eq!(intake.waiting_bytes, WAITING_OF_ENGINE_BYTES_MAX);
        assert_eq!(intake.take_wanted(8), [(program(), 1)]);
        intake.answered(program(), Some((engine(), lines(1..6), 6)));
        assert_eq!(ready(&mut intake), [1, 2, 3, 4, 5]);
        assert!(intake.take_wanted(8).is_empty());
    }
}
