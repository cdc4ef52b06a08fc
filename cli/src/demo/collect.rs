//! All that a program prints, collected while it runs and moves, and compared at the end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use wayfare_client::{Client, Follow, LogItem, LogStream};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::Stream;
use wayfare_protocol::status::ProgramState;

use crate::fail::{Fail, Result};

/// Longest silence of a program that should be printing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a program printed to its standard output, all of it or from `first_line` on.
pub(crate) struct Collected {
    pub(crate) name: String,
    /// A copy inherits no more of its original's lines than engines keep of a log.
    pub(crate) first_line: u64,
    pub(crate) stdout: Vec<u8>,
}

impl Collected {
    /// The part of the standard output that begins with `line`.
    pub(crate) fn starting_at(&self, line: u64) -> &[u8] {
        let mut rest = self.stdout.as_slice();
        for _ in self.first_line..line {
            let end = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |newline| newline + 1);
            rest = &rest[end..];
        }
        rest
    }

    pub(crate) fn lines(&self) -> usize {
        self.stdout.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Follows one program's log in a task of its own until the program ends.
pub(crate) struct Collector {
    pub(crate) program: ProgramId,
    name: String,
    progress: watch::Receiver<(u64, String)>,
    task: JoinHandle<Result<Collected>>,
}

impl Collector {
    pub(crate) async fn start(fleet: &Client, name: &str, program: ProgramId) -> Result<Self> {
        let stream = fleet.logs(program, 0, Follow::UntilEnded).await?;
        let (sender, progress) = watch::channel((0, String::new()));
        let task = tokio::spawn(collect(stream, name.to_owned(), sender));
        Ok(Self {
            program,
            name: name.to_owned(),
            progress,
            task,
        })
    }

    /// Waits until the program has printed so many lines. Fails if it ends before, or says nothing for long.
    pub(crate) async fn printed(&mut self, lines: u64) -> Result {
        while self.progress.borrow_and_update().0 < lines {
            let changed = timeout(SILENCE_MAX, self.progress.changed()).await;
            if changed.map_err(|_| silent(&self.name))?.is_err() {
                // The collector has ended: with an error of its own, or because the program did.
                (&mut self.task).await.map_err(crashed)??;
                return Err(super::too_fast());
            }
        }
        Ok(())
    }

    /// Lines it has printed, as far as they have arrived.
    pub(crate) fn lines(&self) -> u64 {
        self.progress.borrow().0
    }

    /// What it printed last.
    pub(crate) fn last_line(&self) -> String {
        self.progress.borrow().1.clone()
    }

    pub(crate) async fn finish(self) -> Result<Collected> {
        self.task.await.map_err(crashed)?
    }
}

async fn collect(
    mut stream: LogStream,
    name: String,
    progress: watch::Sender<(u64, String)>,
) -> Result<Collected> {
    let mut stdout = Vec::new();
    let mut first_line = 0;
    loop {
        let item = timeout(SILENCE_MAX, stream.next())
            .await
            .map_err(|_| silent(&name))?;
        match item {
            None => break,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(LogItem::Gap { from: 0, to })) => first_line = to,
            Some(Ok(LogItem::Gap { from, to })) => {
                return Err(Fail::new(
                    "missing",
                    format!("'{name}': lines {from} to {} are missing", to - 1),
                ));
            }
            Some(Ok(LogItem::Line(line))) => {
                if line.stream == Stream::Stdout {
                    line.write_to(&mut stdout);
                }
                let text = String::from_utf8_lossy(line.text.as_bytes()).into_owned();
                progress.send_replace((line.line + 1, text));
            }
        }
    }
    match stream.ended() {
        Some(ProgramState::Exited { code: 0 }) => Ok(Collected {
            name,
            first_line,
            stdout,
        }),
        Some(state) => {
            let how = wayfare_client::fleet::describe(state);
            Err(Fail::new("demo", format!("'{name}' {how}")))
        }
        None => Err(Fail::new("demo", format!("'{name}' has vanished"))),
    }
}

fn crashed(error: JoinError) -> Fail {
    Fail::new("demo", format!("collecting failed: {error}"))
}

fn silent(name: &str) -> Fail {
    Fail::new(
        "demo",
        format!("'{name}' printed nothing for {} s", SILENCE_MAX.as_secs()),
    )
}

/// Where two outputs part, in words; their lines are counted from `first_line`.
pub(crate) fn difference(expected: &[u8], found: &[u8], first_line: u64) -> String {
    let (mut expected, mut found) = (expected.split(|b| *b == b'\n'), found.split(|b| *b == b'\n'));
    let mut line = first_line;
    loop {
        line += 1;
        match (expected.next(), found.next()) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(expected), Some(found)) => {
                return format!(
                    "line {line} is \"{}\" instead of \"{}\"",
                    String::from_utf8_lossy(found),
                    String::from_utf8_lossy(expected)
                );
            }
            (Some(_), None) => return format!("ends at line {line}, too early"),
            (None, Some(_)) => return format!("goes on after line {line}"),
            (None, None) => return "is the same".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_line() {
        for (other, says) in [
            ("a\nb\n", "is the same"),
            ("a\nc\n", "line 12 is \"c\" instead of \"b\""),
            ("a\nb", "ends at line 13, too early"),
            ("a\nb\nc\n", "line 13 is \"c\" instead of \"\""),
        ] {
            assert_eq!(difference(b"a\nb\n", other.as_bytes(), 10), says);
        }
    }

    #[test]
    fn a_part_begins_at_its_line() {
        let collected = |first_line, text: &str| Collected {
            name: "x".into(),
            first_line,
            stdout: text.into(),
        };
        for (first_line, line, part) in [
            (0, 0, "a\nb\nc"),
            (0, 1, "b\nc"),
            (0, 2, "c"),
            (0, 9, ""),
            (5, 6, "b\nc"),
        ] {
            assert_eq!(
                collected(first_line, "a\nb\nc").starting_at(line),
                part.as_bytes(),
                "{first_line} {line}"
            );
        }
    }
}
