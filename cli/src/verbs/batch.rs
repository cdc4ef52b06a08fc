//! `wayfare batch`: many orders as one operation, over one connection.
//!
//! Always: all orders are read and understood before the first is given; after a failure none is begun any
//! more, unless that was asked for; whoever reads what is printed knows of each order whether it is done, has
//! failed, or was not begun.

mod orders;

use std::cell::Cell;
use std::io::Read;

use clap::CommandFactory;
use futures::future::{FutureExt, LocalBoxFuture};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use wayfare_protocol::ids::OperationId;

use self::orders::Words;
use crate::args::batch::BatchArgs;
use crate::args::{Cli, NotRun, Verb, parse};
use crate::context::with_shared;
use crate::fail::{Fail, INTERRUPTED, Result};
use crate::output::{Output, Text};

/// Bytes of a file of orders.
const ORDERS_BYTES_MAX: u64 = 4 << 20;
/// Stands for standard input where a file is named.
pub(super) const STANDARD: &str = "-";

/// An order that was understood.
struct Order {
    words: Words,
    verb: Verb,
}

/// What became of an order.
#[derive(Debug, Serialize)]
struct Ended {
    /// Counted from 1.
    order: usize,
    #[serde(rename = "do")]
    words: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Done,
    Failed,
    NotBegun,
}

pub(super) async fn run(args: BatchArgs, output: Output) -> Result {
    let text = read(&args.file)?;
    let words = match args.file.ends_with(".toml") {
        true => orders::of_toml(&text)?,
        false => orders::of_lines(&text)?,
    };
    let orders = words.into_iter().map(|words| understood(words, args.dry.dry_run));
    let orders: Vec<Order> = orders.collect::<Result<_>>()?;
    if orders.is_empty() {
        return Err(Fail::usage(format!("{}: no orders", args.file)));
    }
    let batch = OperationId::random();
    let at_once = usize::from(args.parallel.unwrap_or(1));
    let ended = with_shared(&args.fleet, Some(batch), async {
        Ok(give_all(orders, at_once, args.keep_going, output).await)
    })
    .await?;
    let count = |state| ended.iter().filter(|one| one.state == state).count();
    let (done, failed, rest) = (count(State::Done), count(State::Failed), count(State::NotBegun));
    let document = json!({
        "batch": batch, "done": done, "failed": failed, "not_begun": rest, "orders": ended,
    });
    output.print(&document, |_| {
        summary(batch, &ended, (done, failed, rest), args.dry.dry_run)
    })?;
    match failed {
        0 => Ok(()),
        _ => Err(Fail::quiet()),
    }
}

fn summary(
    batch: OperationId,
    ended: &[Ended],
    (done, failed, rest): (usize, usize, usize),
    dry: bool,
) -> Text {
    let wrong = ended
        .iter()
        .filter(|one| one.state != State::Done)
        .map(|one| match &one.error {
            Some(error) => format!("order {} ({}) failed: {error}", one.order, one.words),
            None => format!("order {} ({}) was not begun", one.order, one.words),
        });
    let last = match dry {
        true => format!("{done} would be given, {failed} refused, {rest} not tried"),
        false => format!(
            "batch {}: {done} done, {failed} failed, {rest} not begun",
            batch.short()
        ),
    };
    wrong.collect::<Text>().line(last)
}

/// In their order, or some at a time.
async fn give_all(orders: Vec<Order>, at_once: usize, keep_going: bool, output: Output) -> Vec<Ended> {
    let is_over = Cell::new(false);
    let mut ended: Vec<Ended> = stream::iter(orders)
        .map(|order| {
            let is_over = &is_over;
            async move {
                let words = order.words.to_string();
                let number = order.words.order;
                let mut is_interrupted = false;
                let (state, error) = match is_over.get() {
                    true => (State::NotBegun, None),
                    false => match verb(order.verb, output).await {
                        Ok(()) => (State::Done, None),
                        Err(fail) => {
                            is_interrupted = fail.is(INTERRUPTED);
                            (State::Failed, Some(fail.in_a_line()))
                        }
                    },
                };
                let ends = state == State::Failed && (!keep_going || is_interrupted);
                is_over.set(is_over.get() || ends);
                Ended {
                    order: number,
                    words,
                    state,
                    error,
                }
            }
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    ended.sort_by_key(|one| one.order);
    ended
}

/// Boxed, because a verb's future is in that of the verb which runs others.
pub(super) fn verb(verb: Verb, output: Output) -> LocalBoxFuture<'static, Result> {
    super::run_async(verb, output).boxed_local()
}

/// Orders, as a file has them.
pub(super) fn read(file: &str) -> Result<String> {
    let mut text = String::new();
    let read =
        |reader: &mut dyn Read, text: &mut String| reader.take(ORDERS_BYTES_MAX + 1).read_to_string(text);
    let path = std::path::Path::new(file);
    let read = match file {
        STANDARD => read(&mut std::io::stdin(), &mut text),
        _ => std::fs::File::open(path).and_then(|mut opened| read(&mut opened, &mut text)),
    };
    read.map_err(|error| Fail::file(path, &error))?;
    if text.len() as u64 > ORDERS_BYTES_MAX {
        return Err(Fail::usage(format!(
            "{file}: more than {ORDERS_BYTES_MAX} bytes of orders"
        )));
    }
    Ok(text)
}

fn understood(words: Words, dry: bool) -> Result<Order> {
    let wrong = |words: &Words, why: &str| Fail::usage(format!("order {} ({words}): {why}", words.order));
    let verb = verb_of(&words.words).map_err(|not_run| wrong(&words, &not_run.in_a_line()))?;
    if let Some(why) = not_here(&verb) {
        return Err(wrong(&words, why));
    }
    if !dry {
        return Ok(Order { words, verb });
    }
    match verb_of(&words.dry().words) {
        Ok(verb) => Ok(Order { words, verb }),
        Err(_) if is_reading(&verb) => Ok(Order { words, verb }),
        Err(_) => Err(wrong(&words, "it has no --dry-run, so nothing can be tried")),
    }
}

/// The verb that such words mean, or what is wrong with them.
pub(super) fn verb_of(words: &[String]) -> std::result::Result<Verb, NotRun> {
    let all = std::iter::once("wayfare").chain(words.iter().map(String::as_str));
    parse(all.map(Into::into)).map(|cli| cli.verb)
}

/// Why a verb is none of those that run beside others.
pub(super) fn not_here(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Up(_) | Verb::Dispatcher(_) | Verb::Demo(_) => {
            Some("it goes on until it is ended, so give it by itself")
        }
        #[cfg(feature = "gateway")]
        Verb::Ui(_) => Some("it goes on until it is ended, so give it by itself"),
        Verb::Engine(args) => match &args.verb {
            None | Some(crate::args::engines::EngineVerb::Start(_)) => {
                Some("it goes on until it is ended, so give it by itself")
            }
            Some(_) => None,
        },
        Verb::Top(args) if !args.once => Some("it has the terminal to itself, so give it by itself"),
        Verb::Batch(_) | Verb::Shell(_) => Some("one within another helps nobody"),
        _ => None,
    }
}

/// It changes nothing, so that it is done in a dry run as well.
fn is_reading(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Ps(_)
            | Verb::Engines(_)
            | Verb::Status(_)
            | Verb::Inspect(_)
            | Verb::Events(_)
            | Verb::Logs(_)
            | Verb::Services(_)
            | Verb::Service { .. }
    )
}

/// All verbs, for who asks what there is.
pub(super) fn verbs() -> Vec<String> {
    let command = Cli::command();
    command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        orders::of_lines(line).unwrap().remove(0)
    }

    #[test]
    fn what_cannot_be_given_is_said_before_anything_is() {
        for (line, why) in [
            ("fly p", "order 1 (fly p): unrecognized subcommand 'fly'"),
            (
                "move p",
                "order 1 (move p): the following required arguments were not provided",
            ),
            ("up", "order 1 (up): it goes on until it is ended"),
            ("engine start --id a", "order 1 (engine start --id a): it goes on"),
            ("batch f", "order 1 (batch f): one within another"),
            #[cfg(feature = "gateway")]
            ("ui", "order 1 (ui): it goes on until it is ended"),
        ] {
            let fail = understood(words(line), false).err().unwrap();
            assert!(fail.in_a_line().starts_with(why), "{}", fail.in_a_line());
        }
        for good in [
            "move p --to b",
            "app apply a.toml",
            "engine drain a",
            "ps -q",
            "run m -- 5",
        ] {
            assert!(understood(words(good), false).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_dry_run_asks_each_verb_for_one() {
        let is_dry = |line: &str| match understood(words(line), true).map(|order| order.verb) {
            Ok(Verb::Move(args)) => args.command.dry.dry_run,
            Ok(Verb::Run(args)) => args.command.dry.dry_run,
            Ok(Verb::Ps(_)) => true,
            other => panic!("{other:?}"),
        };
        for line in ["move p --to b", "run m -- --dry-run", "ps"] {
            assert!(is_dry(line), "{line}");
        }
        let fail = understood(words("key show"), true).err().unwrap();
        assert!(fail.in_a_line().contains("no --dry-run"), "{}", fail.in_a_line());
    }
}
