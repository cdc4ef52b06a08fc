//! Lines as people and programs see them.

use wayfare_client::{LogItem, LogStream};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::Stream;
use wayfare_protocol::status::ProgramState;

use crate::args::looking::ShownStream;
use crate::fail::{Fail, Result};
use crate::output::{Foreign, Output, moment, say_json_with, tell};

/// Which lines of a program people see, and where. In JSON, each line says its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Each on the stream that the program wrote it to, as if it ran here.
    Apart,
    /// On standard output, in the order in which they were written.
    Together(ShownStream),
}

impl Lines {
    /// Where a line of this stream is shown, if it is.
    fn place(self, stream: Stream) -> Option<Stream> {
        match self {
            Self::Apart => Some(stream),
            Self::Together(shown) => shown.takes(stream).then_some(Stream::Stdout),
        }
    }
}

/// Prints items of one program, or of several with their names in front.
pub(crate) struct LinePrinter {
    shown: Lines,
    timestamps: bool,
    output: Output,
    foreign: Foreign,
    /// Columns of the longest name; `None`: names are not shown.
    name_columns: Option<usize>,
}

impl LinePrinter {
    pub(crate) fn new(shown: Lines, timestamps: bool, output: Output) -> Self {
        Self {
            shown,
            timestamps,
            output,
            foreign: Foreign::new(),
            name_columns: None,
        }
    }

    /// Shows which program each line is of, one of these.
    pub(crate) fn name<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.name_columns = names.map(|name| name.chars().count()).max();
    }

    pub(crate) fn item(&mut self, name: &str, item: &LogItem) -> Result {
        let place = match item {
            LogItem::Line(line) => self.shown.place(line.stream),
            LogItem::Gap { .. } => Some(Stream::Stderr),
        };
        let (Some(place), columns) = (place, self.name_columns) else {
            return Ok(());
        };
        if self.output == Output::Json {
            return match columns {
                Some(_) => say_json_with(item, &[("name", name)]),
                None => say_json_with(item, &[]),
            };
        }
        let mut prefix = columns.map_or_else(String::new, |columns| format!("{name:columns$} | "));
        match item {
            LogItem::Gap { from, to } => tell(format!("{prefix}{}", gap(*from, *to))),
            LogItem::Line(line) => {
                if self.timestamps {
                    prefix.push_str(&moment(line.at_ms));
                    prefix.push(' ');
                }
                self.foreign.line(&prefix, line, place)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result {
        self.foreign.finish()
    }
}

/// Prints lines as they come. It is a failure if lines were lost while they were followed.
pub(crate) async fn print_all(
    stream: &mut LogStream,
    program: ProgramId,
    mut printer: LinePrinter,
) -> Result {
    let printed = async {
        while let Some(item) = stream.next().await {
            printer.item("", &item?)?;
        }
        printer.finish()
    };
    let printed = printed.await;
    if printed.is_err() {
        stream.leave().await;
    }
    printed?;
    check_missing(stream, program)
}

/// Fails if lines were lost while they were followed.
pub(super) fn check_missing(stream: &LogStream, program: ProgramId) -> Result {
    match stream.missing() {
        0 => Ok(()),
        missing => Err(Fail::new(
            "missing",
            format!("{} of program {} are missing", lines(missing), program.short()),
        )
        .hint("a program waits for at most 20 s for a command that is not read, or cannot be reached")),
    }
}

/// In the place of lines, `to` excluded, that are kept nowhere any more.
fn gap(from: u64, to: u64) -> String {
    match to.saturating_sub(from) {
        1 => format!("... 1 line is missing ({from})"),
        count => format!(
            "... {count} lines are missing ({from} to {})",
            to.saturating_sub(1)
        ),
    }
}

fn lines(count: u64) -> String {
    match count {
        1 => "1 line".into(),
        count => format!("{count} lines"),
    }
}

/// How a program ended, unless it ended well.
pub(crate) fn badly(state: &ProgramState) -> Option<String> {
    match state {
        ProgramState::Exited { code } if *code != 0 => Some(format!("exited with code {code}")),
        ProgramState::Failed { reason } => Some(format!("failed: {reason}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_one_stream_in_the_order_of_writing_unless_one_is_asked_for() {
        use Stream::{Stderr, Stdout};
        for (shown, of_stdout, of_stderr) in [
            (Lines::Apart, Some(Stdout), Some(Stderr)),
            (Lines::Together(ShownStream::All), Some(Stdout), Some(Stdout)),
            (Lines::Together(ShownStream::Stdout), Some(Stdout), None),
            (Lines::Together(ShownStream::Stderr), None, Some(Stdout)),
        ] {
            assert_eq!(
                (shown.place(Stdout), shown.place(Stderr)),
                (of_stdout, of_stderr),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn gaps_are_counted_for_people() {
        assert_eq!(gap(3, 4), "... 1 line is missing (3)");
        assert_eq!(gap(0, 936), "... 936 lines are missing (0 to 935)");
    }
}
