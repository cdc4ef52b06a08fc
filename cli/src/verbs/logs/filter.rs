//! Which lines are wanted, by time and by text.

use std::sync::Arc;

use regex::bytes::Regex;
use wayfare_client::LogItem;
use wayfare_client::query::Query;
use wayfare_client::rows::LINE_FIELDS;
use wayfare_protocol::log::LogLine;

use crate::args::looking::{LogsArgs, ShownStream};
use crate::fail::{Fail, Result};

#[derive(Debug, Clone)]
pub(super) struct Filter {
    pattern: Option<Regex>,
    /// In the read language.
    asked: Option<Arc<Query<LogLine>>>,
    shown: ShownStream,
    pub(super) since_ms: Option<u64>,
    pub(super) until_ms: Option<u64>,
}

impl Filter {
    pub(super) fn of(args: &LogsArgs) -> Result<Self> {
        let pattern = args.grep.as_deref().map(Regex::new).transpose();
        let pattern = pattern.map_err(|error| Fail::usage(format!("--grep: {error}")))?;
        let asked = args.filter.as_deref().map(|text| {
            let query = Query::new(Some(text), None, None, &LINE_FIELDS);
            query.map_err(|error| Fail::usage(format!("--where: {error}")))
        });
        Ok(Self {
            pattern,
            asked: asked.transpose()?.map(Arc::new),
            shown: match args.stderr {
                true => ShownStream::Stderr,
                false => args.stream,
            },
            since_ms: args.since,
            until_ms: args.until,
        })
    }

    /// Gaps are always shown: nobody knows what was in them.
    pub(super) fn takes(&self, item: &LogItem) -> bool {
        let LogItem::Line(line) = item else {
            return !self.is_of_times();
        };
        // Without a time of its own it may be of any.
        let is_in_time = line.at_ms == 0
            || (line.at_ms >= self.since_ms.unwrap_or(0) && line.at_ms < self.until_ms.unwrap_or(u64::MAX));
        let matches = |pattern: &Regex| pattern.is_match(line.text.as_bytes());
        is_in_time
            && self.shown.takes(line.stream)
            && self.pattern.as_ref().is_none_or(matches)
            && self.asked.as_ref().is_none_or(|asked| asked.takes(line))
    }

    /// Whether every line of the wanted times is taken.
    pub(super) fn takes_all(&self) -> bool {
        self.pattern.is_none() && self.asked.is_none() && self.shown == ShownStream::All
    }

    /// Lines before and behind are left out on purpose, so that numbers do not tell what is missing.
    fn is_of_times(&self) -> bool {
        self.since_ms.is_some() || self.until_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::log::{LogLine, LogText, Stream};

    use super::*;

    #[test]
    fn lines_are_taken_by_time_and_text() {
        let item = |at_ms, text: &[u8]| {
            LogItem::Line(LogLine {
                line: 0,
                stream: Stream::Stdout,
                text: LogText::from_bytes(text.to_vec()),
                open: false,
                at_ms,
            })
        };
        let filter = Filter {
            pattern: Some(Regex::new("err(or)?").unwrap()),
            asked: None,
            shown: ShownStream::All,
            since_ms: Some(10),
            until_ms: Some(20),
        };
        for (at_ms, text, takes) in [
            (10, &b"an error"[..], true),
            (19, b"err\xff", true),
            (9, b"err", false),
            (20, b"err", false),
            (15, b"fine", false),
            (0, b"err", true),
        ] {
            assert_eq!(filter.takes(&item(at_ms, text)), takes, "{at_ms} {text:?}");
        }
        assert!(!filter.takes(&LogItem::Gap { from: 0, to: 1 }));
        let of_errors = Filter {
            shown: ShownStream::Stderr,
            ..filter.clone()
        };
        assert!(!of_errors.takes(&item(15, b"err")));
        for (text, takes) in [
            ("text ~ err and stream = stdout", true),
            ("text = err", true),
            ("line > 0", false),
            ("age < 1m", false),
            ("not (text ~ err)", false),
        ] {
            let query = Query::new(Some(text), None, None, &LINE_FIELDS).unwrap();
            let asked = Filter {
                asked: Some(Arc::new(query)),
                ..filter.clone()
            };
            assert!(!asked.takes_all());
            assert_eq!(asked.takes(&item(15, b"err")), takes, "{text}");
        }
    }
}
