//! `wayfare logs`, and the printing that `wayfare run --follow` shares.

use wayfare_dispatcher::{Follow, LogItem, LogStream};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::ProgramState;

use crate::args::LogsArgs;
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
        print_all(&mut stream, program, output).await?;
        // That the program failed is not a failure of showing its log.
        if let Some(how) = stream.ended().and_then(badly) {
            output.remark(format!("({} {how})", program.short()));
        }
        Ok(())
    })
    .await
}

/// Prints lines as they come: standard output to standard output, standard error to standard error; in JSON both to
/// standard output. It is a failure if lines were lost while they were followed.
pub(crate) async fn print_all(stream: &mut LogStream, program: ProgramId, output: Output) -> Result {
    let printed = print_lines(stream, output).await;
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

async fn print_lines(stream: &mut LogStream, output: Output) -> Result {
    let mut foreign = Foreign::new();
    while let Some(item) = stream.next().await {
        match (output, item?) {
            (Output::Json, item) => say_json(&item)?,
            (Output::Human, LogItem::Gap { from, to }) => tell(gap(from, to)),
            (Output::Human, LogItem::Line(line)) => foreign.line(&line)?,
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
    fn gaps_are_counted_for_people() {
        assert_eq!(gap(3, 4), "... 1 line is missing (3)");
        assert_eq!(gap(0, 936), "... 936 lines are missing (0 to 935)");
    }
}
