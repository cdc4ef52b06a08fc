//! What a program wrote to its standard output and error, as numbered lines: those that the broker has not
//! acknowledged or a follower has not received, and the last ones for `wayfare logs`.
//!
//! Always: the lines kept are numbered without gaps and end at `next`; `unacknowledged_from <= taken <=
//! next`; lines at or above `needed_from` are kept; their number and size are bounded. What is kept only for
//! followers is in no checkpoint, but goes with a program that stands still to go on elsewhere.

use std::collections::VecDeque;

use wayfare_protocol::limits::{
    LOG_LINE_BYTES_MAX, LOG_TAIL_BYTES_MAX, LOG_TAIL_LINES_MAX, LOG_WINDOW_BYTES, LOG_WINDOW_LINES,
};
use wayfare_protocol::log::{LogLine, LogText, Stream};
use wayfare_protocol::snapshot::HostState;

/// What a line takes in JSON apart from its text, at most.
const LINE_OVERHEAD_BYTES: usize = 104;

pub(super) struct Log {
    lines: VecDeque<LogLine>,
    /// Bytes of `lines`, and of those that are needed.
    bytes: usize,
    needed_bytes: usize,
    next: u64,
    unacknowledged_from: u64,
    /// What followers have not received.
    held_from: Option<u64>,
    /// The next line that [`Log::take`] gives.
    taken: u64,
    stdout_open: Vec<u8>,
    stderr_open: Vec<u8>,
    pub(super) connected: bool,
    /// Whoever takes the lines was told that there are some.
    announced: bool,
    /// Lines written since the program came here.
    written: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            needed_bytes: 0,
            next: 0,
            unacknowledged_from: 0,
            held_from: None,
            taken: 0,
            stdout_open: Vec::new(),
            stderr_open: Vec::new(),
            connected: true,
            announced: false,
            written: 0,
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// As a snapshot has it; says what is wrong with one that breaks the invariants.
    pub(super) fn restore(&mut self, host: HostState) -> Result<(), String> {
        let kept_from = host
            .log_next
            .checked_sub(host.log_tail.len() as u64)
            .ok_or("more log lines than were ever written")?;
        if host
            .log_tail
            .iter()
            .zip(kept_from..)
            .any(|(line, number)| line.line != number)
        {
            return Err("its log lines are not numbered in order".into());
        }
        if host.log_unacknowledged_from > host.log_next || host.log_unacknowledged_from < kept_from {
            return Err("its unacknowledged log lines are missing".into());
        }
        if host.stdout_open.len().max(host.stderr_open.len()) > LOG_LINE_BYTES_MAX
            || host
                .log_tail
                .iter()
                .any(|line| line.text.as_bytes().len() > LOG_LINE_BYTES_MAX)
        {
            return Err("a log line is too long".into());
        }
        let unacknowledged_from = host.log_unacknowledged_from;
        let held_from = self.held_from;
        *self = Self {
            bytes: host.log_tail.iter().map(LogLine::cost_bytes).sum(),
            needed_bytes: host
                .log_tail
                .iter()
                .filter(|line| line.line >= unacknowledged_from)
                .map(LogLine::cost_bytes)
                .sum(),
            lines: host.log_tail.into(),
            next: host.log_next,
            unacknowledged_from,
            held_from: None,
            taken: unacknowledged_from,
            stdout_open: host.stdout_open,
            stderr_open: host.stderr_open,
            connected: self.connected,
            announced: false,
            written: self.written,
        };
        // Whoever was heard before that is still there.
        self.hold(held_from);
        Ok(())
    }

    /// The life whose first number this is begins, unless it has begun: what is printed from here on has its
    /// numbers, and the lines that are kept from before have the numbers just below.
    pub(super) fn begin_life(&mut self, first: u64) {
        let Some(raised) = first.checked_sub(self.next) else {
            return;
        };
        self.next = first;
        self.unacknowledged_from += raised;
        self.taken += raised;
        self.held_from = self.held_from.map(|held| held + raised);
        self.lines.iter_mut().for_each(|line| line.line += raised);
    }

    /// Adds the log's part to a snapshot.
    pub(super) fn save(&self, host: &mut HostState) {
        host.stdout_open.clone_from(&self.stdout_open);
        host.stderr_open.clone_from(&self.stderr_open);
        host.log_next = self.next;
        host.log_unacknowledged_from = self.unacknowledged_from;
        host.log_tail = self.without_held().0;
    }

    /// The same for a program that goes on elsewhere: what followers have not received is published again
    /// there, because nobody there knows of them yet.
    pub(super) fn save_with_held(&self, host: &mut HostState) {
        self.save(host);
        host.log_unacknowledged_from = self.needed_from();
        host.log_tail = self.lines.iter().cloned().collect();
    }

    /// What would be kept if nobody followed, and the number of the next line: for the disk.
    pub(super) fn without_held(&self) -> (Vec<LogLine>, u64) {
        let (mut skipped, mut bytes) = (0, self.bytes);
        for line in &self.lines {
            if line.line >= self.unacknowledged_from || !is_above_tail(self.lines.len() - skipped, bytes) {
                break;
            }
            skipped += 1;
            bytes -= line.cost_bytes();
        }
        (self.lines.iter().skip(skipped).cloned().collect(), self.next)
    }

    /// Keeps lines from there on for followers, as far as they are kept at all; `None`: there are none.
    pub(super) fn hold(&mut self, from: Option<u64>) {
        let kept_from = self.next - self.lines.len() as u64;
        let from = from.map(|from| from.clamp(kept_from, self.next));
        self.needing(|log| log.held_from = from);
        self.trim();
    }

    pub(super) fn has_room(&self) -> bool {
        self.may_lose() || !self.is_full()
    }

    /// Takes what there is room for, and says how many bytes that was: at least one, given [`Log::has_room`].
    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8], at_ms: u64) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.has_room() {
            let open = self.open(stream);
            let room = LOG_LINE_BYTES_MAX - open.len();
            match rest.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(end) => {
                    open.extend_from_slice(&rest[..end]);
                    rest = &rest[end + 1..];
                    let text = std::mem::take(open);
                    self.push(stream, text, false, at_ms);
                }
                None if rest.len() <= room => {
                    open.extend_from_slice(rest);
                    rest = &[];
                }
                None => {
                    open.extend_from_slice(&rest[..room]);
                    rest = &rest[room..];
                    let after = open.split_off(characters_end(open));
                    let text = std::mem::replace(open, after);
                    self.push(stream, text, true, at_ms);
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// The program ended: what stands open becomes lines.
    pub(super) fn close(&mut self, at_ms: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = std::mem::take(self.open(stream));
            if !text.is_empty() {
                self.push(stream, text, true, at_ms);
            }
        }
    }

    /// True once after lines came, until they were all taken.
    pub(super) fn announce(&mut self) -> bool {
        let news = self.taken < self.next && !self.announced;
        self.announced |= news;
        news
    }

    pub(super) fn take(&mut self, json_bytes_max: usize) -> Vec<LogLine> {
        let mut room = json_bytes_max.saturating_sub(2);
        let mut taken = Vec::new();
        for line in self.lines.iter().skip(self.index_of(self.taken)) {
            let Some(left) = room
                .checked_sub(json_bytes(line))
                .or(taken.is_empty().then_some(0))
            else {
                break;
            };
            room = left;
            taken.push(line.clone());
        }
        self.taken += taken.len() as u64;
        self.announced = self.taken < self.next;
        taken
    }

    /// What was taken and not acknowledged will be taken again.
    pub(super) fn rewind(&mut self) {
        self.taken = self.unacknowledged_from;
        self.announced = self.taken < self.next;
    }

    /// Only lines that were taken can be acknowledged.
    pub(super) fn acknowledge(&mut self, below_line: u64) {
        self.let_go_below(below_line.min(self.taken));
        self.trim();
    }

    pub(super) fn tail(&self, since: u64) -> (Vec<LogLine>, u64) {
        (
            self.lines.iter().skip(self.index_of(since)).cloned().collect(),
            self.next,
        )
    }

    fn open(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout_open,
            Stream::Stderr => &mut self.stderr_open,
        }
    }

    fn is_full(&self) -> bool {
        self.next - self.needed_from() >= LOG_WINDOW_LINES || self.needed_bytes >= LOG_WINDOW_BYTES
    }

    /// Nobody is there who could receive them: the oldest lines go, rather than that the program waits.
    fn may_lose(&self) -> bool {
        !self.connected && self.held_from.is_none()
    }

    fn needed_from(&self) -> u64 {
        self.held_from.map_or(self.unacknowledged_from, |held| {
            held.min(self.unacknowledged_from)
        })
    }

    /// Makes a change that moves `needed_from`, and counts the bytes anew.
    fn needing(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.index_of(self.needed_from());
        change(self);
        let after = self.index_of(self.needed_from());
        let bytes =
            |from: usize, to: usize| self.lines.range(from..to).map(LogLine::cost_bytes).sum::<usize>();
        self.needed_bytes = if after > before {
            self.needed_bytes - bytes(before, after)
        } else {
            self.needed_bytes + bytes(after, before)
        };
    }

    fn push(&mut self, stream: Stream, text: Vec<u8>, open: bool, at_ms: u64) {
        // Full here means disconnected, or the last words of a program that has ended.
        while self.is_full() && self.may_lose() {
            self.let_go_below(self.unacknowledged_from + 1);
        }
        let line = LogLine {
            line: self.next,
            stream,
            text: LogText::from_bytes(text),
            open,
            at_ms,
        };
        self.next += 1;
        self.written += 1;
        self.bytes += line.cost_bytes();
        self.needed_bytes += line.cost_bytes();
        self.lines.push_back(line);
        self.trim();
    }

    fn let_go_below(&mut self, line: u64) {
        self.needing(|log| log.unacknowledged_from = log.unacknowledged_from.max(line));
        self.taken = self.taken.max(self.unacknowledged_from);
    }

    fn trim(&mut self) {
        while is_above_tail(self.lines.len(), self.bytes) {
            match self.lines.front() {
                Some(line) if line.line < self.needed_from() => {
                    self.bytes -= line.cost_bytes();
                    self.lines.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Where a line is among those kept, or would be.
    fn index_of(&self, line: u64) -> usize {
        let kept_from = self.next - self.lines.len() as u64;
        line.clamp(kept_from, self.next).saturating_sub(kept_from) as usize
    }
}

fn is_above_tail(lines: usize, bytes: usize) -> bool {
    lines > LOG_TAIL_LINES_MAX || bytes > LOG_TAIL_BYTES_MAX
}

/// At least what the line takes in JSON.
fn json_bytes(line: &LogLine) -> usize {
    let text: usize = match &line.text {
        LogText::Text(text) => text
            .bytes()
            .map(|byte| match byte {
                b'"' | b'\\' => 2,
                0..0x20 => 6,
                _ => 1,
            })
            .sum(),
        LogText::Bytes(bytes) => bytes.len() * "255,".len(),
    };
    text + LINE_OVERHEAD_BYTES
}

/// Where to cut a part of a line so that no character is cut; anywhere, if it is no text.
fn characters_end(part: &[u8]) -> usize {
    match std::str::from_utf8(part) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => part.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[LogLine]) -> Vec<u8> {
        let mut out = Vec::new();
        lines.iter().for_each(|line| line.write_to(&mut out));
        out
    }

    fn written(bytes: &[u8]) -> Log {
        let mut log = Log::new();
        assert_eq!(log.append(Stream::Stdout, bytes, 1), bytes.len());
        log
    }

    #[test]
    fn output_is_kept_byte_for_byte_whatever_it_is() {
        let long: Vec<u8> = "x€".bytes().cycle().take(3 * LOG_LINE_BYTES_MAX + 17).collect();
        for output in [
            &b"one\ntwo\n\nfour"[..],
            b"",
            b"\n",
            b"\xff\xfe\n\xff",
            &[long.as_slice(), b"\n", &long].concat(),
            &[&vec![b'a'; LOG_LINE_BYTES_MAX], &b"\n"[..]].concat(),
        ] {
            for step in [1, 7, output.len().max(1)] {
                let mut log = Log::new();
                for part in output.chunks(step) {
                    log.append(Stream::Stdout, part, 1);
                }
                log.close(1);
                assert_eq!(text(&log.take(usize::MAX)), output);
            }
        }
        let mut log = written(&[&vec![b'a'; LOG_LINE_BYTES_MAX], &b"\n"[..]].concat());
        assert_eq!(
            log.take(usize::MAX).len(),
            1,
            "a line of exactly the most bytes is one line"
        );
        let mut log = written(&long);
        assert!(
            log.take(usize::MAX)
                .iter()
                .all(|line| matches!(line.text, LogText::Text(_)))
        );
    }

    #[test]
    fn a_batch_fits_the_payload_it_was_asked_for() {
        let mut log = written("\u{1}\"\\é\n".repeat(900).as_bytes());
        log.append(
            Stream::Stderr,
            &[b"\xff".repeat(3000), b"\n".to_vec()].concat(),
            u64::MAX,
        );
        let mut lines = 0;
        loop {
            let batch = log.take(16_000);
            if batch.is_empty() {
                break;
            }
            lines += batch.len();
            assert!(serde_json::to_vec(&batch).unwrap().len() <= 16_000);
        }
        assert_eq!(lines, 901);
    }

    #[test]
    fn a_full_log_takes_no_more_until_lines_are_acknowledged() {
        let mut log = Log::new();
        let much = b"\n".repeat(LOG_WINDOW_LINES as usize + 100);
        assert_eq!(log.append(Stream::Stdout, &much, 1), LOG_WINDOW_LINES as usize);
        assert!(!log.has_room());
        log.acknowledge(50);
        assert!(!log.has_room(), "what nobody took cannot be acknowledged");
        log.take(usize::MAX);
        log.acknowledge(50);
        assert!(log.has_room());
        assert_eq!(log.append(Stream::Stdout, &much, 1), 50);
    }

    #[test]
    fn without_a_broker_the_oldest_lines_go_and_the_numbers_show_it() {
        let mut log = Log::new();
        log.connected = false;
        let much = b"\n".repeat(LOG_WINDOW_LINES as usize + 100);
        assert_eq!(log.append(Stream::Stdout, &much, 1), much.len());
        let lines = log.take(usize::MAX);
        assert_eq!(lines.len() as u64, LOG_WINDOW_LINES);
        assert_eq!(lines[0].line, 100);
    }

    #[test]
    fn a_program_waits_for_its_follower_and_for_nobody_else() {
        let mut log = Log::new();
        let much = b"\n".repeat(LOG_WINDOW_LINES as usize + 100);
        log.hold(Some(0));
        log.connected = false;
        let window = LOG_WINDOW_LINES as usize;
        assert_eq!(
            log.append(Stream::Stdout, &much, 1),
            window,
            "whatever the broker does"
        );
        log.connected = true;
        log.take(usize::MAX);
        log.acknowledge(LOG_WINDOW_LINES);
        assert!(!log.has_room());
        assert_eq!(
            log.tail(0).0.len(),
            window,
            "all that it has not received is there"
        );
        assert_eq!(log.without_held().0.len(), LOG_TAIL_LINES_MAX, "on disk as ever");
        let mut host = HostState::default();
        log.save(&mut host);
        assert_eq!(host.log_tail.len(), LOG_TAIL_LINES_MAX);
        log.save_with_held(&mut host);
        let mut moved = Log::new();
        moved.restore(host).unwrap();
        assert_eq!(moved.take(usize::MAX).len(), window, "published again elsewhere");

        log.hold(Some(1000));
        assert_eq!(log.append(Stream::Stdout, &much, 1), 1000);
        assert_eq!(log.tail(0).0[0].line, 1000);
        // Another one, from where nothing is kept any more, and then none.
        log.hold(Some(5));
        assert_eq!(log.tail(0).0[0].line, 1000);
        log.take(usize::MAX);
        log.acknowledge(u64::MAX);
        log.hold(None);
        assert!(log.has_room());
        assert_eq!(log.tail(0).0.len(), LOG_TAIL_LINES_MAX);
        assert_eq!(log.needed_bytes, 0);
    }

    #[test]
    fn lines_are_announced_once_until_all_are_taken() {
        let mut log = written(b"a\n");
        assert!(log.announce());
        log.append(Stream::Stdout, b"b\nc\n", 1);
        assert!(!log.announce());
        assert_eq!(log.take(1).len(), 1);
        assert!(!log.announce(), "there are more to take");
        assert_eq!(log.take(usize::MAX).len(), 2);
        assert!(!log.announce());
        log.append(Stream::Stdout, b"d\n", 1);
        assert!(log.announce());
    }

    #[test]
    fn what_is_not_acknowledged_is_taken_again_after_a_restore() {
        let mut log = written("line\n".repeat(2000).as_bytes());
        log.append(Stream::Stderr, b"open", 1);
        log.take(usize::MAX);
        log.acknowledge(1500);
        let mut host = HostState::default();
        log.save(&mut host);
        assert_eq!(host.log_tail.len(), LOG_TAIL_LINES_MAX.max(500));
        let mut restored = Log::new();
        restored.restore(host.clone()).unwrap();
        assert!(restored.announce());
        let lines = restored.take(usize::MAX);
        assert_eq!((lines[0].line, lines.len()), (1500, 500));
        let mut again = HostState::default();
        restored.save(&mut again);
        assert_eq!(again, host);
        assert_eq!(restored.tail(1999).0.len(), 1);
        assert_eq!(restored.tail(0).1, 2000);
    }

    #[test]
    fn a_life_has_lines_of_its_own_and_those_from_before_just_below() {
        const FIRST: u64 = 1000 << 32;
        let mut log = written("line\n".repeat(10).as_bytes());
        log.take(usize::MAX);
        log.acknowledge(7);
        let mut host = HostState::default();
        log.save(&mut host);
        let mut restored = Log::new();
        restored.restore(host).unwrap();
        for _ in 0..2 {
            restored.begin_life(FIRST);
        }
        restored.append(Stream::Stdout, b"other\n", 1);
        let numbers = |lines: Vec<LogLine>| lines.iter().map(|line| line.line).collect::<Vec<_>>();
        let expected: Vec<u64> = (FIRST - 3..=FIRST).collect();
        assert_eq!(
            numbers(restored.take(usize::MAX)),
            expected,
            "unacknowledged ones too"
        );
        assert_eq!(restored.tail(0).0.len(), 11);
        let mut host = HostState::default();
        restored.save(&mut host);
        let mut moved = Log::new();
        moved.restore(host).unwrap();
        moved.begin_life(0);
        assert_eq!(moved.tail(FIRST), (restored.tail(FIRST).0, FIRST + 1));
    }

    #[test]
    fn a_log_that_contradicts_itself_is_refused() {
        let mut good = HostState::default();
        written(b"a\nb\nc\n").save(&mut good);
        let spoiled = |spoil: fn(&mut HostState)| {
            let mut host = good.clone();
            spoil(&mut host);
            Log::new().restore(host)
        };
        assert!(spoiled(|_| {}).is_ok());
        assert!(spoiled(|host| host.log_next = 2).is_err());
        assert!(spoiled(|host| host.log_next = u64::MAX).is_err());
        assert!(spoiled(|host| host.log_unacknowledged_from = 4).is_err());
        assert!(spoiled(|host| host.log_tail[1].line = 0).is_err());
        assert!(spoiled(|host| host.stdout_open = vec![0; LOG_LINE_BYTES_MAX + 1]).is_err());
        let mut short = good.clone();
        short.log_tail.remove(0);
        assert!(Log::new().restore(short).is_err());
    }
}
