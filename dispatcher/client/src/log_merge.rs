//! Log lines from two sources, the engine's tail and the live topic, in order and without repeats.
//!
//! Live lines are held back until the tail is known, because the tail comes before them. Lines carry numbers
//! for a program's whole life, so a repeat is a number already passed; a number skipped is asked for once
//! more, and only then reported as a gap. A program that begins another life goes on with higher numbers
//! ([`life`]): what is between those of two lives was never printed.
//!
//! What is held is bounded. What has no room is let go of, and asked for like all that is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wayfare_protocol::ids::Generation;
use wayfare_protocol::life::first_number_of_line;
use wayfare_protocol::limits::{LOG_WINDOW_BYTES, LOG_WINDOW_LINES};
use wayfare_protocol::log::{LogBatch, LogLine};

/// Lines held back before the oldest are given out past a gap: more than an engine keeps for a follower.
const HELD_LINES_MAX: usize = 2 * LOG_WINDOW_LINES as usize;
/// The same of their bytes.
const HELD_BYTES_MAX: usize = 2 * LOG_WINDOW_BYTES;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogItem {
    Line(LogLine),
    /// These lines, `to` excluded, are kept nowhere any more.
    Gap {
        from: u64,
        to: u64,
    },
}

/// Puts lines in order.
#[derive(Debug)]
pub struct LogMerge {
    next: u64,
    held: BTreeMap<u64, LogLine>,
    /// What these cost.
    held_bytes: usize,
    generation: Generation,
    /// Everything before this has been asked of an engine's tail.
    asked_to: Option<u64>,
    /// Lines that were held when the tail was asked for.
    held_when_asked: BTreeSet<u64>,
    /// The last tail was cut: more of it is to be had.
    more: bool,
    /// There was no room for what came since the tail was asked for.
    has_let_go: bool,
    /// Lines were given out.
    has_begun: bool,
}

impl LogMerge {
    pub fn new(since: u64) -> Self {
        Self {
            next: since,
            held: BTreeMap::new(),
            held_bytes: 0,
            generation: Generation(0),
            asked_to: None,
            held_when_asked: BTreeSet::new(),
            more: false,
            has_let_go: false,
            has_begun: false,
        }
    }

    /// The number of the next line to be given out.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of the lines that wait for others.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Lets go of all that waits: it is to be asked for.
    pub fn let_go(&mut self) {
        self.has_let_go |= !self.held.is_empty();
        self.held.clear();
        self.held_bytes = 0;
    }

    /// From the live topic. What an older owner says after a newer one has spoken is not the program's.
    pub fn live(&mut self, batch: LogBatch) {
        if batch.generation < self.generation {
            return;
        }
        self.generation = batch.generation;
        self.hold(batch.lines);
    }

    /// The tail is asked for now, from the line on that is returned.
    pub fn ask(&mut self) -> u64 {
        self.held_when_asked = self.held.keys().copied().collect();
        self.has_let_go = false;
        self.next
    }

    /// From an engine's tail, which was asked from [`LogMerge::next`] on. `log_next` is the number of the
    /// first line not yet written: when `lines` end before it they were cut, and the rest must be asked for.
    /// What had come before it was asked and is not written yet is not the program's: whoever has its
    /// engine's part at the broker has made it up.
    pub fn tail(&mut self, lines: Vec<LogLine>, log_next: u64) {
        for line in std::mem::take(&mut self.held_when_asked).split_off(&log_next) {
            self.forget(line);
        }
        let last = lines.last().map(|line| line.line);
        self.hold_of_tail(lines);
        // What the program's own engine does not have is nowhere: whatever is missing before `end` is a gap.
        // What is missing behind it is asked for once more, if anything came that is further on.
        let (end, is_cut) = match last {
            Some(last) if last + 1 < log_next => (last + 1, true),
            Some(_) | None => (log_next, false),
        };
        let before = self.asked_to.unwrap_or(0);
        self.asked_to = Some(before.max(end));
        // Live lines may have overtaken the part that came, and still not be all that there is.
        self.more = is_cut && end > before && self.received_to() < log_next;
    }

    /// The first line that has not come yet.
    fn received_to(&self) -> u64 {
        let mut to = self.next;
        for line in self.held.keys() {
            if *line != to {
                break;
            }
            to += 1;
        }
        to
    }

    /// The tail cannot be had: go on with what is live.
    pub fn without_tail(&mut self) {
        self.held_when_asked.clear();
        let first_held = self.held.keys().next().copied().unwrap_or(self.next);
        self.asked_to = Some(self.asked_to.unwrap_or(0).max(first_held));
        self.more = false;
    }

    /// Whether the tail must be asked for again before more can come out: lines are held behind a gap.
    pub fn wants_tail(&self) -> bool {
        self.asked_to.is_none()
            || self.more
            || self.has_let_go
            || self.held.keys().next().is_some_and(|first| *first > self.next)
    }

    /// What can be given out now.
    pub fn drain(&mut self) -> Vec<LogItem> {
        let Some(asked_to) = self.asked_to else {
            return Vec::new();
        };
        let mut items = Vec::new();
        while let Some(first) = self.held.keys().next().copied() {
            if first > self.next {
                // Known to be missing when the tail was asked past it; hopeless when too much is held.
                let missing_to = first.min(asked_to);
                let overfull = self.is_full();
                if missing_to <= self.next && !overfull {
                    break;
                }
                let to = if overfull { first } else { missing_to };
                items.extend(self.skip_to(to));
                continue;
            }
            let line = self.forget(first).expect("just looked at");
            self.next += 1;
            self.has_begun = true;
            items.push(LogItem::Line(line));
        }
        // Nothing is held, and the tail says that lines were written which it no longer has.
        if self.held.is_empty() && self.next < asked_to {
            items.extend(self.skip_to(asked_to));
        }
        items
    }

    /// Passes lines over that are nowhere; a gap, unless another life begins with `to`.
    fn skip_to(&mut self, to: u64) -> Option<LogItem> {
        let from = self.from(to).min(to);
        self.next = to;
        (from < to).then_some(LogItem::Gap { from, to })
    }

    /// Where what is to be given out next begins, in the life that `line` belongs to.
    fn from(&self, line: u64) -> u64 {
        self.next.max(first_number_of_line(line))
    }

    /// What a later life has from before it began was given out when it was printed.
    fn hold_of_tail(&mut self, mut lines: Vec<LogLine>) {
        if self.has_begun {
            let life = first_number_of_line(self.next);
            lines.retain(|line| {
                let its = first_number_of_line(line.line);
                its == life || line.line >= its
            });
        }
        // Its engine's own word counts more than what anybody may have published.
        for line in &lines {
            self.forget(line.line);
        }
        self.hold(lines);
    }

    fn hold(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            if line.line >= self.next && !self.held.contains_key(&line.line) {
                self.held_bytes += line.cost_bytes();
                self.held.insert(line.line, line);
            }
        }
        // The last ones wait longest.
        while let Some((last, line)) = self.held.last_key_value() {
            let last = *last;
            let has_room =
                self.held.len() <= HELD_LINES_MAX && self.held_bytes - line.cost_bytes() < HELD_BYTES_MAX;
            if has_room {
                break;
            }
            self.forget(last);
            self.has_let_go = true;
        }
    }

    fn is_full(&self) -> bool {
        self.held.len() >= HELD_LINES_MAX || self.held_bytes >= HELD_BYTES_MAX
    }

    fn forget(&mut self, line: u64) -> Option<LogLine> {
        let held = self.held.remove(&line)?;
        self.held_bytes -= held.cost_bytes();
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::ProgramId;
    use wayfare_protocol::log::{LogText, Stream};

    use super::*;

    fn lines(numbers: std::ops::Range<u64>) -> Vec<LogLine> {
        let line = |line| LogLine {
            line,
            stream: Stream::Stdout,
            text: LogText::Text(line.to_string()),
            open: false,
            at_ms: 0,
        };
        numbers.map(line).collect()
    }

    fn batch(generation: u64, numbers: std::ops::Range<u64>) -> LogBatch {
        LogBatch {
            program: ProgramId::from_random([0; 16]),
            generation: Generation(generation),
            engine: "a".parse().unwrap(),
            lines: lines(numbers),
        }
    }

    /// Compact: numbers of lines, and gaps as (from, to).
    fn shown(items: Vec<LogItem>) -> Vec<String> {
        let show = |item| match item {
            LogItem::Line(line) => line.line.to_string(),
            LogItem::Gap { from, to } => format!("gap {from}..{to}"),
        };
        items.into_iter().map(show).collect()
    }

    #[test]
    fn live_lines_wait_for_the_tail_and_repeats_are_dropped() {
        let mut merge = LogMerge::new(0);
        merge.live(batch(1, 3..5));
        assert!(merge.drain().is_empty());
        assert!(merge.wants_tail());
        merge.tail(lines(0..4), 4);
        assert!(!merge.wants_tail());
        assert_eq!(shown(merge.drain()), ["0", "1", "2", "3", "4"]);
        merge.live(batch(1, 2..7));
        assert_eq!(shown(merge.drain()), ["5", "6"]);
    }

    #[test]
    fn a_tail_that_was_cut_is_asked_for_again() {
        let mut merge = LogMerge::new(0);
        merge.tail(lines(0..3), 6);
        assert!(merge.wants_tail());
        assert_eq!(shown(merge.drain()), ["0", "1", "2"]);
        assert_eq!(merge.next(), 3);
        merge.tail(lines(3..6), 6);
        assert!(!merge.wants_tail());
        assert_eq!(shown(merge.drain()), ["3", "4", "5"]);
    }

    #[test]
    fn a_cut_tail_that_live_lines_have_overtaken_is_asked_for_again() {
        let mut merge = LogMerge::new(0);
        merge.tail(vec![], 0);
        // Asked from 0 on; the answer is cut at 3, live lines have come up to 5, and 9 were written.
        merge.live(batch(1, 0..5));
        assert_eq!(merge.drain().len(), 5);
        merge.tail(lines(0..3), 9);
        assert!(merge.wants_tail());
        assert!(merge.drain().is_empty());
        merge.tail(lines(5..9), 9);
        assert!(!merge.wants_tail());
        assert_eq!(shown(merge.drain()), ["5", "6", "7", "8"]);
        // A hole behind the cut is not known to be one.
        let mut merge = LogMerge::new(0);
        merge.tail(vec![], 0);
        merge.live(batch(1, 0..5));
        merge.drain();
        merge.live(batch(1, 7..9));
        merge.tail(lines(0..3), 9);
        assert!(merge.drain().is_empty(), "5 and 6 may be there");
        merge.tail(lines(5..9), 9);
        assert_eq!(shown(merge.drain()), ["5", "6", "7", "8"]);
    }

    #[test]
    fn what_the_tail_forgot_is_reported_once() {
        let mut merge = LogMerge::new(0);
        merge.tail(lines(10..12), 12);
        assert_eq!(shown(merge.drain()), ["gap 0..10", "10", "11"]);
        merge.live(batch(1, 12..13));
        assert_eq!(shown(merge.drain()), ["12"]);
        // A program that forgot everything.
        let mut merge = LogMerge::new(0);
        merge.tail(vec![], 5);
        assert_eq!(shown(merge.drain()), ["gap 0..5"]);
    }

    #[test]
    fn a_line_skipped_live_is_asked_for_before_it_is_called_a_gap() {
        let mut merge = LogMerge::new(0);
        merge.tail(vec![], 0);
        merge.live(batch(1, 0..2));
        merge.live(batch(1, 4..6));
        assert_eq!(shown(merge.drain()), ["0", "1"]);
        assert!(merge.wants_tail());
        merge.tail(lines(3..6), 6);
        assert_eq!(shown(merge.drain()), ["gap 2..3", "3", "4", "5"]);
        assert!(!merge.wants_tail());
    }

    #[test]
    fn after_a_move_it_goes_on_and_the_old_owner_is_not_believed() {
        let mut merge = LogMerge::new(0);
        merge.tail(lines(0..2), 2);
        merge.drain();
        merge.live(batch(2, 1..4));
        merge.live(batch(1, 4..9));
        assert_eq!(shown(merge.drain()), ["2", "3"]);
    }

    #[test]
    fn a_life_that_begins_anew_is_shown_from_its_first_line_on() {
        const FIRST: u64 = 1000 << 32;
        let mut merge = LogMerge::new(0);
        merge.tail(lines(0..700), 700);
        merge.drain();
        merge.live(batch(1001, FIRST..FIRST + 2));
        assert!(merge.wants_tail(), "there may be more of the life before");
        merge.tail(lines(FIRST..FIRST + 2), FIRST + 2);
        assert_eq!(shown(merge.drain()), [FIRST.to_string(), (FIRST + 1).to_string()]);
        merge.live(batch(1001, FIRST + 3..FIRST + 4));
        merge.tail(lines(FIRST + 3..FIRST + 4), FIRST + 4);
        let gap = format!("gap {}..{}", FIRST + 2, FIRST + 3);
        assert_eq!(shown(merge.drain()), [gap, (FIRST + 3).to_string()]);
        merge.live(batch(1, 700..701));
        assert!(merge.drain().is_empty(), "the copy that was given up");
        // Nothing was printed yet.
        merge.tail(vec![], 2 * FIRST);
        assert!(merge.drain().is_empty());
        // Whoever comes later.
        let mut merge = LogMerge::new(0);
        merge.tail(lines(FIRST..FIRST + 1), FIRST + 1);
        assert_eq!(shown(merge.drain()), [FIRST.to_string()]);
    }

    #[test]
    fn what_a_life_has_from_before_is_shown_once() {
        const FIRST: u64 = 1000 << 32;
        let mut follower = LogMerge::new(0);
        follower.tail(lines(0..10), 10);
        follower.drain();
        follower.live(batch(1001, FIRST..FIRST + 1));
        follower.tail(lines(FIRST - 10..FIRST + 1), FIRST + 1);
        assert_eq!(shown(follower.drain()), [FIRST.to_string()]);
        let mut reader = LogMerge::new(0);
        reader.tail(lines(FIRST - 10..FIRST + 1), FIRST + 1);
        let expected: Vec<String> = (FIRST - 10..=FIRST).map(|line| line.to_string()).collect();
        assert_eq!(shown(reader.drain()), expected);
    }

    #[test]
    fn without_an_engine_live_lines_come_out_all_the_same() {
        let mut merge = LogMerge::new(0);
        merge.live(batch(1, 7..9));
        merge.without_tail();
        assert_eq!(shown(merge.drain()), ["gap 0..7", "7", "8"]);
        let mut merge = LogMerge::new(5);
        merge.without_tail();
        merge.live(batch(1, 5..6));
        assert_eq!(shown(merge.drain()), ["5"]);
    }

    #[test]
    fn a_line_that_its_engine_has_not_written_is_nobodys_and_silences_nobody() {
        let mut merge = LogMerge::new(0);
        merge.tail(lines(0..3), 3);
        merge.drain();
        merge.live(batch(1, 1_000_000..1_000_001));
        assert!(merge.wants_tail());
        assert_eq!(merge.ask(), 3);
        // What comes meanwhile may have been written after the answer.
        merge.live(batch(1, 4..5));
        merge.tail(lines(3..4), 4);
        assert_eq!(shown(merge.drain()), ["3", "4"]);
        assert!(!merge.wants_tail());
        merge.live(batch(1, 5..7));
        assert_eq!(shown(merge.drain()), ["5", "6"]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut merge = LogMerge::new(0);
        merge.tail(vec![], 0);
        merge.live(batch(1, 1..HELD_LINES_MAX as u64 + 1));
        assert_eq!(shown(merge.drain())[..2], ["gap 0..1", "1"]);
        // Before anybody has answered, too: what there is no room for is asked for again.
        let mut merge = LogMerge::new(0);
        assert_eq!(merge.ask(), 0);
        let many = HELD_LINES_MAX as u64;
        merge.live(batch(1, 3..3 * many));
        merge.tail(lines(0..4), 4);
        assert_eq!(merge.drain().len() as u64, many);
        assert!(merge.wants_tail());
        assert_eq!(merge.ask(), many);
        merge.tail(lines(many..many + 2), many + 2);
        assert_eq!(merge.drain().len(), 2);
        assert!(!merge.wants_tail());
        // And few that are long.
        let long = |number| LogLine {
            text: LogText::Bytes(vec![0; 100_000]),
            ..lines(number..number + 1).remove(0)
        };
        let mut merge = LogMerge::new(0);
        for number in (1..100).rev() {
            let lines = vec![long(number)];
            merge.live(LogBatch {
                lines,
                ..batch(1, 0..0)
            });
            assert!(merge.held_bytes() < HELD_BYTES_MAX + 200_000);
        }
        merge.tail(lines(0..1), 100);
        let given = shown(merge.drain());
        assert!(given.len() > 10, "{given:?}");
        let first: Vec<String> = (0..11).map(|number: u64| number.to_string()).collect();
        assert_eq!(given[..11], first, "those that come next stay");
        merge.live(batch(1, 200..300));
        assert!(merge.held_bytes() > 0);
        merge.let_go();
        assert_eq!(merge.held_bytes(), 0);
        assert!(merge.wants_tail());
    }
}
