//! What a follower of a log tells the program's engine: that it is there, and how far it has got. Until then
//! the engine keeps the lines, and the program waits when these are too many.
//!
//! Always: it is told only by who pulls the stream, so a reader that stands still does not hold the program
//! for longer than the lease; and before the program has printed all that it may, so one that keeps up does
//! not slow it down.

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};
use wayfare_protocol::ids::{EngineId, Generation, OperationId};
use wayfare_protocol::limits::{FOLLOW_LEASE_MS, LOG_WINDOW_BYTES, LOG_WINDOW_LINES};
use wayfare_protocol::log::Follower;
use wayfare_protocol::status::ProgramStatus;

use crate::log_merge::LogItem;
use crate::operation::Operation;

/// It says so at least this often, and as soon as it has received a part of what the engine keeps.
const TELL_PERIOD: Duration = Duration::from_millis(FOLLOW_LEASE_MS / 4);
const TELL_LINES: u64 = LOG_WINDOW_LINES / 4;
const TELL_BYTES: usize = LOG_WINDOW_BYTES / 4;
/// Between two tries while the engine cannot be reached.
const TELL_RETRY: Duration = Duration::from_millis(500);

/// One follower's side.
#[derive(Debug)]
pub(crate) struct Following {
    id: OperationId,
    /// Below: given out.
    given_below: u64,
    /// Below: given out, and done with, because more was asked for.
    received_below: u64,
    told_below: u64,
    untold_bytes: usize,
    told: Told,
    /// Whom it was told last.
    home: Option<(EngineId, Generation)>,
    /// The first line that must not be missing.
    attached: Option<u64>,
    missing: u64,
}

#[derive(Debug)]
enum Told {
    Due(Instant),
    UnderWay(Box<Operation>),
}

impl Following {
    /// `attached`: the engine knows of it since before that line; `None`: it is not known yet where it
    /// begins.
    pub(crate) fn new(id: OperationId, since: u64, attached: Option<u64>) -> Self {
        Self {
            id,
            given_below: since,
            received_below: since,
            told_below: since,
            untold_bytes: 0,
            told: Told::Due(Instant::now() + TELL_PERIOD),
            home: None,
            attached,
            missing: 0,
        }
    }

    /// The engine has answered, and keeps everything from `line` on.
    pub(crate) fn attach(&mut self, line: u64) {
        self.attached.get_or_insert(line);
    }

    /// An item is given out.
    pub(crate) fn give(&mut self, item: &LogItem) {
        match item {
            LogItem::Line(line) => {
                self.attach(line.line);
                self.untold_bytes += line.cost_bytes();
                self.given_below = line.line + 1;
            }
            LogItem::Gap { from, to } => {
                let attached = *self.attached.get_or_insert(*to);
                self.missing += to.saturating_sub(attached.max(*from));
                self.given_below = *to;
            }
        }
    }

    /// What was given out is where it should be.
    pub(crate) fn receive(&mut self) {
        self.received_below = self.given_below;
    }

    /// Lines that were lost although it followed.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    /// What to say now; it counts as told.
    pub(crate) fn words(&mut self) -> Follower {
        self.told_below = self.received_below;
        self.untold_bytes = 0;
        Follower {
            id: self.id,
            received_below: self.received_below,
            lease_ms: FOLLOW_LEASE_MS,
        }
    }

    /// The last thing to say.
    pub(crate) fn farewell(&self) -> Follower {
        Follower {
            id: self.id,
            received_below: self.received_below,
            lease_ms: 0,
        }
    }

    /// Whether it is time to say something. An answer that has come is taken note of.
    pub(crate) fn is_due(&mut self) -> bool {
        if let Told::UnderWay(operation) = &mut self.told {
            while let Some(news) = operation.progressed().now_or_never() {
                if news.is_none() {
                    self.told = Told::Due(Instant::now() + TELL_PERIOD);
                    break;
                }
            }
        }
        match self.told {
            Told::UnderWay(_) => false,
            Told::Due(at) => {
                at <= Instant::now()
                    || self.received_below.saturating_sub(self.told_below) >= TELL_LINES
                    || self.untold_bytes >= TELL_BYTES
            }
        }
    }

    /// It is on its way, or could not be sent.
    pub(crate) fn telling(&mut self, sent: Option<Operation>) {
        self.told = match sent {
            Some(operation) => Told::UnderWay(Box::new(operation)),
            None => Told::Due(Instant::now() + TELL_RETRY),
        };
    }

    /// Where the program is now: whoever has it anew knows nothing of followers.
    pub(crate) fn at(&mut self, status: &ProgramStatus) {
        let home = (status.engine.clone(), status.generation);
        if self.home.as_ref() != Some(&home) && self.home.replace(home).is_some() {
            self.told = Told::Due(Instant::now());
        }
    }

    /// Until [`Following::is_due`] may have changed by itself. Safe to give up.
    pub(crate) async fn wait(&mut self) {
        match &mut self.told {
            Told::Due(at) => sleep_until(*at).await,
            Told::UnderWay(operation) => {
                while operation.progressed().await.is_some() {}
                // Its end is taken note of by who looks next.
            }
        }
    }
}

/// For a reader that follows nothing.
pub(crate) async fn wait(following: Option<&mut Following>) {
    match following {
        Some(following) => following.wait().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::log::{LogLine, LogText, Stream};

    use super::*;

    fn line(line: u64) -> LogItem {
        LogItem::Line(LogLine {
            line,
            stream: Stream::Stdout,
            text: LogText::Text(String::new()),
            open: false,
            at_ms: 0,
        })
    }

    fn following(attached: Option<u64>) -> Following {
        Following::new(OperationId::from_random([1; 16]), 0, attached)
    }

    #[tokio::test]
    async fn it_says_so_before_the_program_has_to_wait() {
        let mut follower = following(Some(0));
        for number in 0..TELL_LINES {
            assert!(!follower.is_due(), "{number}");
            follower.give(&line(number));
            follower.receive();
        }
        assert!(follower.is_due());
        assert_eq!(follower.words().received_below, TELL_LINES);
        assert!(!follower.is_due());
    }

    #[tokio::test]
    async fn what_was_only_given_out_is_not_received() {
        let mut follower = following(Some(0));
        follower.give(&line(0));
        assert_eq!(follower.words().received_below, 0);
        follower.receive();
        assert_eq!(follower.words().received_below, 1);
    }

    #[tokio::test]
    async fn lines_count_as_missing_from_where_it_began_to_follow() {
        for (attached, items, missing) in [
            (Some(0), vec![LogItem::Gap { from: 0, to: 10 }, line(10)], 10),
            (None, vec![LogItem::Gap { from: 0, to: 10 }, line(10)], 0),
            (None, vec![line(10), LogItem::Gap { from: 11, to: 13 }], 2),
            (Some(5), vec![LogItem::Gap { from: 0, to: 10 }], 5),
            (Some(0), vec![line(0), line(1)], 0),
        ] {
            let mut follower = following(attached);
            items.iter().for_each(|item| follower.give(item));
            assert_eq!(follower.missing(), missing, "{attached:?} {items:?}");
        }
    }
}
