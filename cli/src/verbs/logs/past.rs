//! What a program has printed until now: first what the dispatcher keeps, then what its engine has beyond
//! that.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use wayfare_client::stored_logs::LinesWanted;
use wayfare_client::{ANSWER_TIMEOUT, Follow, LogItem};
use wayfare_protocol::life::first_number_of_line;

use super::filter::Filter;
use super::which::{Source, Store};
use crate::args::looking::LogsArgs;
use crate::fail::Result;

pub(super) struct Past {
    store: Store,
    source: Source,
    filter: Filter,
    from: u64,
    /// What its engine has comes while it is followed: lines that are printed meanwhile are kept for a
    /// follower alone.
    is_followed: bool,
    /// Only so many, at the end.
    last: Option<usize>,
    kept: VecDeque<LogItem>,
}

impl Past {
    pub(super) fn new(store: Store, source: Source, args: &LogsArgs) -> Result<Self> {
        Ok(Self {
            store,
            source,
            filter: Filter::of(args)?,
            from: args.from_line,
            // The last lines can only be told apart from others in what is there now.
            is_followed: args.follow && args.lines.is_none(),
            last: args.lines.map(|lines| lines as usize),
            kept: VecDeque::new(),
        })
    }

    /// Sends all that is wanted, and answers with the number of the line after the last. Ends early when
    /// nobody receives.
    pub(super) async fn send_all(mut self, to: mpsc::Sender<LogItem>) -> Result<u64> {
        let mut next = self.from;
        if self.source.is_stored {
            next = self.stored(&to).await?;
        }
        if self.source.is_there && !self.is_followed {
            next = self.of_engine(next, &to).await?;
        }
        for item in std::mem::take(&mut self.kept) {
            if to.send(item).await.is_err() {
                break;
            }
        }
        Ok(next)
    }

    async fn stored(&mut self, to: &mpsc::Sender<LogItem>) -> Result<u64> {
        let mut wanted = LinesWanted {
            program: self.source.program,
            from: self.from,
            // Which of them match is found out here.
            last: self
                .last
                .filter(|_| self.filter.takes_all())
                .and_then(|last| u32::try_from(last).ok()),
            since_ms: self.filter.since_ms,
            until_ms: self.filter.until_ms,
        };
        let mut next = self.from;
        let shows_gaps = wanted.last.is_none();
        loop {
            let page = self.store.fleet().stored_lines(&wanted, ANSWER_TIMEOUT).await?;
            for line in page.lines {
                let from = next.max(first_number_of_line(line.line)).min(line.line);
                if shows_gaps && from < line.line {
                    self.give(LogItem::Gap { from, to: line.line }, to).await;
                }
                next = line.line + 1;
                self.give(LogItem::Line(line), to).await;
            }
            match page.next {
                Some(from) => (wanted.from, wanted.last) = (from, None),
                None => return Ok(next.max(page.end)),
            }
        }
    }

    async fn of_engine(&mut self, since: u64, to: &mpsc::Sender<LogItem>) -> Result<u64> {
        let mut next = since;
        let mut stream = self
            .store
            .fleet()
            .logs(self.source.program, since, Follow::No)
            .await?;
        while let Some(item) = stream.next().await {
            let item = match item {
                Ok(item) => item,
                // What is stored can be read all the same.
                Err(error) if self.source.is_stored => {
                    let label = &self.source.label;
                    let remark = format!("({label}: {error}; what was printed last may be missing)");
                    self.store.output.remark(remark);
                    return Ok(next);
                }
                Err(error) => return Err(error.into()),
            };
            next = match &item {
                LogItem::Line(line) => line.line + 1,
                LogItem::Gap { to, .. } => *to,
            };
            self.give(item, to).await;
        }
        Ok(next)
    }

    async fn give(&mut self, item: LogItem, to: &mpsc::Sender<LogItem>) {
        if !self.filter.takes(&item) {
            return;
        }
        let Some(last) = self.last else {
            // Nobody receives any more: what follows is for nobody either.
            let _ = to.send(item).await;
            return;
        };
        if matches!(item, LogItem::Line(_)) {
            self.kept.push_back(item);
        }
        while self.kept.len() > last {
            self.kept.pop_front();
        }
    }
}
