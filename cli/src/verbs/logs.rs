//! `wayfare logs`, and the printing that `wayfare run --follow` shares.

use wayfare_client::{Follow, LogItem, LogStream};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::Stream;
use wayfare_protocol::status::ProgramState;

use crate::args::{LogsArgs, ShownStream};
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Foreign, Output, say_json, tell};

pub(crate) async fn run(args: LogsArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let program = fleet.program(&args.program).await?.status.program;
        let follow = if args.follow {
            Follow::UntilEnded
        } else {
            Follow::No
        };
        let mut stream = fleet.logs(program, args.since, follow).await?;
        print_all(&mut stream, program, output, Lines::Together(args.stream)).await?;
        // That the program failed is not a failure of showing its log.
        if let Some(how) = stream.ended().and_then(badly) {
            output.remark(format!("({} {how})", program.short()));
        }
        Ok(())
    })
    .await
}

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
            Self::Together(shown) => match (shown, stream) {
                (ShownStream::All, _)
                | (ShownStream::Stdout, Stream::Stdout)
                | (ShownStream::Stderr, Stream::Stderr) => Some(Stream::Stdout),
                (ShownStream::Stdout | ShownStream::Stderr, _) => None,
            },
        }
    }
}

/// Prints lines as they come. It is a failure if lines were lost while they were followed.
pub(crate) async fn print_all(
    stream: &mut LogStream,
    program: ProgramId,
    output: Output,
    shown: Lines,
) -> Result {
    let printed = print_lines(stream, output, shown).await;
    if printed.is_err() {
        stream.leave().await;
    }
    printed?;
    match stream.missing() {
        0 => Ok(()),
        missing => Err(Fail::new(
            "missing",
            format!("{} of program {} are missing", lines(missing), program.short()),
        )
        .hint("a program waits for at most 20 s for a command that is not read, or cannot be reached")),
    }
}

async fn print_lines(stream: &mut LogStream, output: Output, shown: Lines) -> Result {
    let mut foreign = Foreign::new();
    while let Some(item) = stream.next().await {
        let item = item?;
        let place = match &item {
            LogItem::Line(line) => shown.place(line.stream),
            LogItem::Gap { .. } => Some(Stream::Stderr),
        };
        match (output, item, place) {
            (_, _, None) => {}
            (Output::Json, item, Some(_)) => say_json(&item)?,
            (Output::Human, LogItem::Gap { from, to }, Some(_)) => tell(gap(from, to)),
            (Output::Human, LogItem::Line(line), Some(place)) => foreign.line(&line, place)?,
        }
    }
    foreign.finish()
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
pub(super) fn badly(state: &ProgramState) -> Option<String> {
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
