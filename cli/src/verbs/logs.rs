//! `wayfare logs`, and the printing that `wayfare run --follow` shares.

use std::io::Write;

use serde_json::json;
use wayfare_dispatcher::{Follow, LogItem, LogStream};
use wayfare_protocol::log::Stream;
use wayfare_protocol::status::ProgramState;

use crate::args::LogsArgs;
use crate::context::with_fleet;
use crate::fail::Result;
use crate::output::{Output, say};

/// How a followed program ended.
pub(crate) enum Ended {
    /// With code 0, or not while it was followed.
    Well,
    Badly(String),
}

pub(crate) async fn run(args: LogsArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let program = fleet.program(&args.program).await?.status.program;
        let follow = if args.follow {
            Follow::UntilEnded
        } else {
            Follow::No
        };
        let stream = fleet.logs(program, args.since, follow).await?;
        // That the program failed is not a failure of showing its log.
        if let Ended::Badly(how) = print_all(stream, output).await? {
            output.remark(&format!("({} {how})", program.short()));
        }
        Ok(())
    })
    .await
}

/// Prints lines as they come: standard output to standard output, standard error to standard error, byte for
/// byte; in JSON both to standard output.
pub(crate) async fn print_all(mut stream: LogStream, output: Output) -> Result<Ended> {
    while let Some(item) = stream.next().await {
        let item = item?;
        match (output, item) {
            (Output::Json, item) => say(&json!(item).to_string()),
            (Output::Human, LogItem::Gap { from, to }) => {
                eprintln!("(lines {from} to {} are kept nowhere any more)", to - 1);
            }
            (Output::Human, LogItem::Line(line)) => {
                let mut bytes = Vec::new();
                line.write_to(&mut bytes);
                match line.stream {
                    Stream::Stdout => write_out(&bytes),
                    Stream::Stderr => std::io::stderr().lock().write_all(&bytes)?,
                }
            }
        }
    }
    Ok(match stream.ended() {
        Some(ProgramState::Exited { code }) if *code != 0 => Ended::Badly(format!("exited with code {code}")),
        Some(ProgramState::Failed { reason }) => Ended::Badly(format!("failed: {reason}")),
        _ => Ended::Well,
    })
}

/// A reader that has gone away (`| head`) ends the command quietly.
fn write_out(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
