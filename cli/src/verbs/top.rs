//! `wayfare top`: what everything uses, again and again, on the whole screen; or once, for scripts.
//!
//! ```text
//!  keys, measurements, ends of orders --> state (pure) --> screen (drawn from it)
//!                                            '--> orders: kill, move
//! ```
//! What always holds: each measurement is asked for because this runs, so engines rest when it ends; the
//! terminal is as it was before, however it ends, also by SIGTERM or SIGINT.

mod screen;
mod state;

use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::FuturesUnordered;
use ratatui::termion::input::TermRead;
use ratatui::termion::{self, AsyncReader};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};
use wayfare_client::{Client, CommandOptions, Order};

use self::screen::Screen;
use self::state::{Key, Seen, Top, Wanted};
use super::fleet::{measured, with_numbers};
use crate::args::looking::TopArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, now_ms, output_is_terminal};

/// How often keys are looked for.
const KEYS_PERIOD: Duration = Duration::from_millis(40);
/// How long an order from here may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: TopArgs, output: Output) -> Result {
    let mut top = Top::new(&args)?;
    let is_whole_screen = !args.once && output == Output::Human;
    if is_whole_screen && !output_is_terminal() {
        return Err(Fail::usage("`wayfare top` needs a terminal to draw on")
            .hint("--once prints once, and --json prints a document for each measurement"));
    }
    with_fleet(&args.fleet, async |fleet| {
        if is_whole_screen {
            return watch(fleet, &args, &mut top).await;
        }
        // The first only begins what the next is compared with.
        fleet.numbers().await?;
        loop {
            sleep(args.every).await;
            top.take_in(look(fleet).await?);
            print(&top, output)?;
            if args.once {
                return Ok(());
            }
        }
    })
    .await
}

fn print(top: &Top, output: Output) -> Result {
    let programs: Vec<_> = top.programs().collect();
    let document = json!({ "engines": top.engines(), "programs": programs });
    output.print(&document, |_| {
        let now_ms = now_ms();
        let engines = top.engines().iter().map(|one| screen::engine_cells(one).into());
        let programs = programs
            .iter()
            .map(|one| screen::program_cells(one, now_ms).into());
        Text::table(&screen::ENGINE_HEAD, engines)
            .line("")
            .then(Text::table(&screen::PROGRAM_HEAD, programs))
    })
}

async fn look(fleet: &Client) -> Result<Seen> {
    let (programs, numbers) = measured(fleet).await?;
    let is_measured = !numbers.is_empty();
    let engines = with_numbers(fleet.engines_marked().await?, numbers);
    Ok(Seen {
        programs,
        engines,
        is_measured,
    })
}

/// What became of something that was begun.
enum News {
    Seen(Result<Seen>),
    Ordered(String),
}

async fn watch(fleet: &Client, args: &TopArgs, top: &mut Top) -> Result {
    // Before the terminal is changed: whoever is ended by one of these changes nothing back.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut screen = Screen::open()?;
    let mut keys = Keys::read();
    let mut ticks = interval(args.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way: FuturesUnordered<LocalBoxFuture<'_, News>> = FuturesUnordered::new();
    let mut is_measuring = false;
    loop {
        screen.draw(top, now_ms())?;
        let key = tokio::select! {
            _ = ticks.tick(), if !is_measuring => {
                is_measuring = true;
                under_way.push(look(fleet).map(News::Seen).boxed_local());
                continue;
            }
            Some(news) = under_way.next(), if !under_way.is_empty() => {
                match news {
                    News::Seen(seen) => {
                        is_measuring = false;
                        match seen {
                            Ok(seen) => top.take_in(seen),
                            Err(fail) => top.tell(fail.in_a_line()),
                        }
                    }
                    News::Ordered(end) => top.tell(end),
                }
                continue;
            }
            key = keys.next() => key,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let key = key.map_err(|error| Fail::new("terminal", format!("the terminal: {error}")))?;
        match top.key(key) {
            Wanted::Nothing => {}
            Wanted::End => return Ok(()),
            Wanted::Order(name, order) => {
                under_way.push(give(fleet, name, order).map(News::Ordered).boxed_local());
            }
        }
    }
}

/// Gives an order; answers what became of it, in a line.
async fn give(fleet: &Client, name: String, order: Order) -> String {
    let options = CommandOptions {
        time_limit: ORDER_TIMEOUT,
        ..CommandOptions::default()
    };
    let done = match &order {
        Order::Kill { .. } => format!("{name} is gone"),
        Order::Move { to, .. } => format!("{name} moved to {to}"),
        _ => format!("{name}: done"),
    };
    let ended = async { fleet.apply(order, &options).await?.wait().await }.await;
    match ended {
        Ok(_) => done,
        Err(error) => format!("{name}: {}", Fail::from(error).in_a_line()),
    }
}

/// The terminal's keys. They come through a thread of the library's, which ends with the process, so they are
/// looked for now and then.
struct Keys(termion::input::Keys<AsyncReader>);

impl Keys {
    fn read() -> Self {
        Self(termion::async_stdin().keys())
    }

    /// The next one. Safe to give up and call again.
    async fn next(&mut self) -> io::Result<Key> {
        let size = termion::terminal_size().ok();
        loop {
            if let Some(key) = self.0.next() {
                return key.map(key_of);
            }
            sleep(KEYS_PERIOD).await;
            if termion::terminal_size().ok() != size {
                // To be drawn anew.
                return Ok(Key::Other);
            }
        }
    }
}

fn key_of(key: termion::event::Key) -> Key {
    use termion::event::Key as Typed;
    match key {
        Typed::Ctrl('c') => Key::Interrupt,
        Typed::Char('\n' | '\r') => Key::Enter,
        Typed::Char(character) => Key::Char(character),
        Typed::Esc => Key::Escape,
        Typed::Backspace => Key::Backspace,
        Typed::Up => Key::Up,
        Typed::Down => Key::Down,
        Typed::PageUp => Key::PageUp,
        Typed::PageDown => Key::PageDown,
        Typed::Home => Key::Home,
        Typed::End => Key::End,
        _ => Key::Other,
    }
}
