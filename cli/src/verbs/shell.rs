//! `wayfare shell`: verbs without the word, over one connection.
//!
//! Always: a verb that fails ends alone, and the shell goes on. One that is interrupted ends the file that it
//! is in as well: who presses Ctrl-C does not want the next line of it. What was ordered goes on in the
//! fleet.

mod history;

use std::io::IsTerminal;

use tokio::task::spawn_blocking;

use self::history::History;
use super::batch::{STANDARD, not_here, read, verb, verb_of, verbs};
use crate::args::fleet::FleetArgs;
use crate::context::with_shared;
use crate::fail::{Fail, INTERRUPTED, Result};
use crate::folders::state_folder;
use crate::interrupt::or_interrupted;
use crate::output::{Output, Text, prompt, say};

/// Files that name files.
const SOURCES_MAX: usize = 8;
/// Lines that `history` shows unless more are asked for.
const SHOWN_MAX: usize = 50;

pub(super) async fn run(args: FleetArgs, output: Output) -> Result {
    with_shared(&args, None, async {
        if std::io::stdin().is_terminal() {
            return typed(output).await;
        }
        let text = read(STANDARD)?;
        match lines(&text, output, 0).await? {
            (_, Some(fail)) => Err(fail),
            (_, None) => Ok(()),
        }
    })
    .await
}

/// Whether the shell goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Line,
    End,
}

async fn typed(output: Output) -> Result {
    output.remark("verbs are typed without the word `wayfare`; `help` lists them, `exit` ends this");
    let (mut history, error) = History::open(state_folder().map(|folder| folder.join("shell-history")));
    if let Some(error) = error {
        output.remark(format!("(what is typed is not kept: {error})"));
    }
    loop {
        prompt()?;
        // Reading a line waits, so it does on a thread of its own.
        let line = spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|bytes| (bytes, line))
        });
        let line = line
            .await
            .map_err(|error| Fail::new("terminal", error.to_string()))?;
        let (bytes, line) = line?;
        if bytes == 0 {
            return Ok(());
        }
        let (next, fail) = match meant(&line, &mut history, output) {
            Ok(Some(line)) => one(&line, output, 0).await,
            Ok(None) => (Next::Line, None),
            Err(fail) => (Next::Line, Some(fail)),
        };
        if let Some(fail) = fail {
            fail.print(output);
        }
        if next == Next::End {
            return Ok(());
        }
    }
}

/// The line to be done, which is kept; `None`: it was about the history.
fn meant(line: &str, history: &mut History, output: Output) -> Result<Option<String>> {
    if let ["history", count @ ..] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
        let count = match count {
            [] => SHOWN_MAX,
            [count] => count
                .parse()
                .map_err(|_| Fail::usage(format!("'{count}' is not a number of lines")))?,
            _ => return Err(Fail::usage("`history` takes a number of lines")),
        };
        let lines: Text = history
            .last(count)
            .map(|(number, line)| format!("{number:5}  {line}"))
            .collect();
        return say(lines).map(|()| None);
    }
    let recalled = match history.recalled(line) {
        Some(recalled) => Some(recalled.map_err(Fail::usage)?.to_owned()),
        None => None,
    };
    // Who recalls a line sees which.
    if let Some(recalled) = &recalled {
        output.remark(recalled.as_str());
    }
    let line = recalled.unwrap_or_else(|| line.to_owned());
    if let Err(error) = history.add(&line) {
        output.remark(format!("(what is typed is not kept any more: {error})"));
    }
    Ok(Some(line))
}

/// All lines, or those up to one that was interrupted; the last failure is theirs.
async fn lines(text: &str, output: Output, depth: usize) -> Result<(Next, Option<Fail>)> {
    let mut last = None;
    for line in text.lines() {
        let (next, fail) = Box::pin(one(line, output, depth)).await;
        let is_interrupted = fail.as_ref().is_some_and(|fail| fail.is(INTERRUPTED));
        if let Some(before) = fail.and_then(|fail| last.replace(fail)) {
            before.print(output);
        }
        if next == Next::End || is_interrupted {
            return Ok((next, last));
        }
    }
    Ok((Next::Line, last))
}

async fn one(line: &str, output: Output, depth: usize) -> (Next, Option<Fail>) {
    let words = match shlex::split(line) {
        Some(words) => words,
        None => return (Next::Line, Some(Fail::usage("a quote is not closed"))),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => (Next::Line, None),
        [first, ..] if first.starts_with('#') => (Next::Line, None),
        ["exit" | "quit"] => (Next::End, None),
        ["help"] => {
            let all: Text = verbs().chunks(8).map(|some| some.join("  ")).collect();
            let all =
                all.line("`VERB --help` says more. Also: source FILE, history, !!, !12, !mov, help, exit");
            (Next::Line, say(all).err())
        }
        ["source", file] => match source(file, output, depth).await {
            Ok(ended) => ended,
            Err(fail) => (Next::Line, Some(fail)),
        },
        words => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            (Next::Line, in_the_shell(&words, output).await.err())
        }
    }
}

async fn source(file: &str, output: Output, depth: usize) -> Result<(Next, Option<Fail>)> {
    if depth >= SOURCES_MAX {
        return Err(Fail::usage(format!(
            "files name files more than {SOURCES_MAX} deep"
        )));
    }
    if file == STANDARD {
        return Err(Fail::usage(
            "standard input is what the shell reads already: name a file",
        ));
    }
    let text = read(file)?;
    lines(&text, output, depth + 1).await
}

async fn in_the_shell(words: &[String], output: Output) -> Result {
    // The word itself is typed by habit.
    let words = match words.split_first() {
        Some((first, rest)) if first == "wayfare" && !rest.is_empty() => rest,
        _ => words,
    };
    let meant = match verb_of(words) {
        Ok(meant) => meant,
        Err(not_run) if not_run.is_asked() => {
            not_run.print();
            return Ok(());
        }
        Err(not_run) => return Err(Fail::usage(not_run.in_a_line())),
    };
    if let Some(why) = not_here(&meant) {
        return Err(Fail::usage(format!("{}: {why}", words.join(" "))));
    }
    // A verb that waits says itself what goes on.
    or_interrupted(verb(meant, output), || {
        Fail::interrupted("what was ordered goes on").hint("`ops` shows it")
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_without_an_end_and_files_that_name_themselves_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let itself = folder.path().join("itself").display().to_string();
        std::fs::write(&itself, format!("# again\nsource '{itself}'\n")).unwrap();
        for (file, says) in [
            ("/dev/zero", "more than 4194304 bytes"),
            ("-", "name a file"),
            (itself.as_str(), "more than 8 deep"),
        ] {
            let (next, fail) = one(&format!("source '{file}'"), Output::Json, 0).await;
            assert_eq!(next, Next::Line);
            let fail = fail.unwrap().in_a_line();
            assert!(fail.contains(says), "{file}: {fail}");
        }
        std::fs::write(&itself, "exit\nsource /dev/zero\n").unwrap();
        let (next, fail) = one(&format!("source '{itself}'"), Output::Json, 0).await;
        assert_eq!((next, fail.is_none()), (Next::End, true));
    }
}
