//! `wayfare shell`: verbs without the word, over one connection.
//!
//! Always: a verb that fails, or is interrupted, ends alone; the shell goes on. What was ordered goes on in the fleet.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::batch::{not_here, verb, verb_of, verbs};
use crate::args::FleetArgs;
use crate::context::with_shared;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, prompt, say};

/// Files that name files.
const SOURCES_MAX: usize = 8;

pub(super) async fn run(args: FleetArgs, output: Output) -> Result {
    with_shared(&args, None, async {
        if std::io::stdin().is_terminal() {
            return typed(output).await;
        }
        let text = std::io::read_to_string(std::io::stdin())?;
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
        let (next, fail) = one(&line, output, 0).await;
        if let Some(fail) = fail {
            fail.print(output);
        }
        if next == Next::End {
            return Ok(());
        }
    }
}

/// All lines; the last failure is theirs.
async fn lines(text: &str, output: Output, depth: usize) -> Result<(Next, Option<Fail>)> {
    let mut last = None;
    for line in text.lines() {
        let (next, fail) = Box::pin(one(line, output, depth)).await;
        if let Some(before) = fail.and_then(|fail| last.replace(fail)) {
            before.print(output);
        }
        if next == Next::End {
            return Ok((Next::End, last));
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
            let all = all.line("`VERB --help` says more. Also: source FILE, help, exit");
            (Next::Line, say(all).err())
        }
        ["source", file] => match source(&PathBuf::from(file), output, depth).await {
            Ok(ended) => ended,
            Err(fail) => (Next::Line, Some(fail)),
        },
        words => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            (Next::Line, in_the_shell(&words, output).await.err())
        }
    }
}

async fn source(file: &Path, output: Output, depth: usize) -> Result<(Next, Option<Fail>)> {
    if depth >= SOURCES_MAX {
        return Err(Fail::usage(format!(
            "files name files more than {SOURCES_MAX} deep"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Fail::file(file, &error))?;
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
    tokio::select! {
        ended = verb(meant, output) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Err(Fail::new("interrupted", "interrupted: what was ordered goes on, and `ops` shows it"))
        }
    }
}
