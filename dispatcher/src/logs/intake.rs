//! Lines on their way into the store: each program's in order and once, from what is published and, where that lacks some, from
//! the program's engine. Pure: programs to be asked for come out, answers go in.
//!
//! What always holds: a program whose lines come in order from the next one on is not asked; one that was there before this dispatcher acted, or
//! whose lines skip a number, is asked once. What its engine does not have either is lost, and the numbers show it.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_client::{LogItem, LogMerge};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::life::first_number_of_line;
use wayfare_protocol::log::{LogBatch, LogLine};

/// Programs whose lines are put in order. What more there are print to nobody.
const PROGRAMS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Intake {
    programs: BTreeMap<ProgramId, Arriving>,
    /// Of which something may be ready,
    changed: BTreeSet<ProgramId>,
    /// and whose engine is to be asked.
    wanting: BTreeSet<ProgramId>,
}

#[derive(Debug)]
struct Arriving {
    merge: LogMerge,
    /// Who published last.
    engine: Option<EngineId>,
    /// Its engine has been asked and has not answered.
    is_asked: bool,
}

impl Intake {
    /// A program that was there before: its engine may have lines that nobody has taken. `next` is the first that is not stored.
    pub(super) fn found(&mut self, program: ProgramId, next: u64) {
        if self.programs.len() < PROGRAMS_MAX && !self.programs.contains_key(&program) {
            self.programs.insert(program, Arriving::new(LogMerge::new(next)));
            self.touched(program);
        }
    }

    /// Lines were published; `next` is the first that is not stored.
    pub(super) fn published(&mut self, batch: LogBatch, next: u64) {
        let is_full = self.programs.len() >= PROGRAMS_MAX;
        let Some(first) = batch.lines.first().map(|line| line.line) else {
            return;
        };
        let arriving = match self.programs.get_mut(&batch.program) {
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
                self.programs.entry(batch.program).or_insert(Arriving::new(merge))
            }
        };
        arriving.engine = Some(batch.engine.clone());
        let program = batch.program;
        arriving.merge.live(batch);
        self.touched(program);
    }

    fn touched(&mut self, program: ProgramId) {
        self.changed.insert(program);
        let wants = |arriving: &Arriving| !arriving.is_asked && arriving.merge.wants_tail();
        if self.programs.get(&program).is_some_and(wants) {
            self.wanting.insert(program);
        }
    }

    /// Programs to be asked for; each is to be answered by [`Intake::answered`].
    pub(super) fn take_wanted(&mut self, count: usize) -> Vec<(ProgramId, u64)> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(program) = self.wanting.pop_first()
        {
            if let Some(arriving) = self.programs.get_mut(&program) {
                arriving.is_asked = true;
                taken.push((program, arriving.merge.ask()));
            }
        }
        taken
    }

    /// An engine has answered with its lines and the number of the next, or there is no answer to be had.
    pub(super) fn answered(&mut self, program: ProgramId, tail: Option<(EngineId, Vec<LogLine>, u64)>) {
        let Some(arriving) = self.programs.get_mut(&program) else {
            return;
        };
        arriving.is_asked = false;
        match tail {
            Some((engine, lines, next)) => {
                arriving.engine.get_or_insert(engine);
                arriving.merge.tail(lines, next);
            }
            None => arriving.merge.without_tail(),
        }
        self.touched(program);
    }

    /// Lines that can be stored, in order.
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
            if let (false, Some(engine)) = (lines.is_empty(), &arriving.engine) {
                ready.push((program, engine.clone(), lines));
            }
            // A number that is skipped is seen once what is before it is out.
            if !arriving.is_asked && arriving.merge.wants_tail() {
                self.wanting.insert(program);
            } else {
                self.wanting.remove(&program);
            }
        }
        ready
    }

    /// The program is no more, and nobody can be asked for it.
    pub(super) fn forget(&mut self, program: ProgramId) {
        self.programs.remove(&program);
        self.wanting.remove(&program);
    }
}

impl Arriving {
    fn new(merge: LogMerge) -> Self {
        Self {
            merge,
            engine: None,
            is_asked: false,
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
        intake.found(program(), 3);
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
}
