//! What authors of Wayfare programs link against: messages, [`calls`] of each other, values that outlive the program ([`state`]), and what a program may know about
//! where it runs. Files need nothing of this crate: `/tmp` is the program's own, 8 MiB in all, and moves with it;
//! `/fleet` is the fleet's, as far as it was granted, and the same from everywhere. There a call waits for the fleet's dispatcher, for 30 s at most
//! (`EIO`), and writing over what somebody else has changed since the file was opened is an error (`EBUSY`); appending never is.
//!
//! A program is an ordinary WASI preview 1 command, written as plain blocking code. Standard output, standard input, arguments,
//! environment, clocks, sleep and random numbers need nothing of this crate, and neither does being moved: whatever a program
//! waits for in here, it goes on waiting for on the other engine, with what is left of the time.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest as wayfare;
//!
//! fn main() -> Result<(), wayfare::Error> {
//!     wayfare::subscribe("home/+/temperature")?;
//!     loop {
//!         let message = wayfare::receive()?;
//!         if message.text().and_then(|text| text.parse().ok()).is_some_and(|degrees: f64| degrees < 19.0) {
//!             wayfare::publish("home/heating", "on")?;
//!         }
//!     }
//! }
//! ```
//!
//! What a program may publish and subscribe to is granted when it is run: `wayfare run --allow-sub 'home/+/temperature' --allow-pub
//! home/heating`. Everything else is refused with [`Error::NotGranted`], and named in the program's log.
//!
//! Programs call each other's services, wherever they are: see [`calls`], and `services` for calls that have types and providers that are traits; and send each other messages: see [`messages`]. What comes is
//! sorted by rules: see [`rules`].
//!
//! Programs answer HTTP, for browsers and whoever else speaks it: see [`http`].
//!
//! A program can say that it is ready, that it is well, and that it must not be stopped now: see [`health`].
//!
//! Devices are asked for by alias, and found wherever the program is: see [`device`].
//!
//! # What holds
//! Messages at least once ([`Qos::AtLeastOnce`], the default) are not lost, doubled or reordered by a move. What this crate
//! publishes carries an id, and what it receives with an id it receives once. The book says in a table what holds in which
//! case (`book/src/failures.md`).
//!
//! # Testing
//! Outside of an engine every call fails with [`Error::Unavailable`], so that a program's own code can be tested anywhere:
//!
//! ```
//! use wayfare_guest as wayfare;
//!
//! assert_eq!(wayfare::publish("home/heating", "on"), Err(wayfare::Error::Unavailable));
//! assert_eq!(wayfare::state::get("count"), Err(wayfare::Error::Unavailable));
//! ```
//!
//! # Limits
//! A topic has at most 1024 bytes and 8 levels, a payload 120 KiB with its id; a program has at most 1024 subscriptions. A program that
//! publishes faster than the broker takes waits in [`publish`]; one that receives more slowly than others publish leaves
//! messages with the broker.

mod action;
mod attention;
pub mod calls;
pub mod device;
mod error;
pub mod health;
pub mod http;
mod imports;
mod message;
pub mod messages;
#[cfg(feature = "rules")]
pub mod rules;
#[cfg(feature = "services")]
pub mod services;
pub mod state;

use std::time::Duration;

pub use error::Error;
pub use message::{Call, Message, ProgramId, Request};

type Result<T> = std::result::Result<T, Error>;

/// How hard delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Qos {
    /// Lost when a connection breaks.
    AtMostOnce,
    /// Kept until it is acknowledged.
    #[default]
    AtLeastOnce,
}

/// Asks for messages to topics that `filter` matches, at least once, and waits until the broker has granted it: what is published
/// after that comes. Asked again, it is as if asked once.
///
/// # Errors
/// [`Error::Malformed`], [`Error::NotGranted`], [`Error::TooMany`], [`Error::RefusedByBroker`].
pub fn subscribe(filter: &str) -> Result<()> {
    subscribe_with(filter, Qos::AtLeastOnce)
}

/// As [`subscribe`], choosing.
pub fn subscribe_with(filter: &str, qos: Qos) -> Result<()> {
    imports::subscribe(filter, qos_flag(qos))
}

/// What is on its way may still come.
///
/// # Errors
/// [`Error::Malformed`].
pub fn unsubscribe(filter: &str) -> Result<()> {
    imports::unsubscribe(filter)
}

/// Publishes at least once, not retained, with an id by which receivers that use this crate drop repeats. Waits while too many
/// messages are on their way, or the granted rate is reached.
///
/// # Errors
/// [`Error::Malformed`], [`Error::NotGranted`], [`Error::TooLarge`].
pub fn publish(topic: &str, payload: impl AsRef<[u8]>) -> Result<()> {
    Publish::new(topic, payload).send()
}

/// A message to be published, where [`publish`] is not meant.
#[derive(Debug, Clone)]
pub struct Publish<'a, P> {
    topic: &'a str,
    payload: P,
    qos: Qos,
    retain: bool,
    plain: bool,
}

impl<'a, P: AsRef<[u8]>> Publish<'a, P> {
    pub fn new(topic: &'a str, payload: P) -> Self {
        Self {
            topic,
            payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            plain: false,
        }
    }

    pub fn at_most_once(self) -> Self {
        Self {
            qos: Qos::AtMostOnce,
            ..self
        }
    }

    /// The broker keeps it for whoever subscribes later.
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    /// The payload and nothing else, for receivers that know nothing of Wayfare. Without an id, a message that an engine's crash
    /// repeats is a second message to them.
    pub fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// As [`publish`].
    ///
    /// # Errors
    /// See [`publish`].
    pub fn send(self) -> Result<()> {
        let mut flags = qos_flag(self.qos);
        if self.retain {
            flags |= imports::RETAIN;
        }
        if self.plain {
            flags |= imports::PLAIN;
        }
        imports::publish(self.topic, self.payload.as_ref(), flags)
    }
}

/// Waits for the next message, for as long as it takes.
///
/// # Errors
/// None that can be foreseen.
pub fn receive() -> Result<Message> {
    imports::receive(-1)
}

/// Waits for the next message, at most so long, in whole milliseconds. The program's time counts: not that of a move or a pause.
///
/// # Errors
/// [`Error::TimedOut`].
pub fn receive_timeout(timeout: Duration) -> Result<Message> {
    imports::receive(milliseconds(timeout).max(1))
}

/// The next message, if there is one.
pub fn try_receive() -> Option<Message> {
    imports::receive(0).ok()
}

/// Publishes a request and waits for its reply; messages that come meanwhile wait for [`receive`].
///
/// # Errors
/// Those of [`publish`], and [`Error::TimedOut`]: whether the request was received is not known then.
pub fn request(topic: &str, payload: impl AsRef<[u8]>, timeout: Duration) -> Result<Message> {
    imports::request(topic, payload.as_ref())?;
    imports::await_reply(milliseconds(timeout).max(1))
}

/// Replies to a request, once.
///
/// # Errors
/// [`Error::Malformed`] where it was replied to, or received more than 1024 requests ago; [`Error::TooLarge`].
pub fn reply(request: &Request, payload: impl AsRef<[u8]>) -> Result<()> {
    imports::reply(&request.reply_to, request.number, payload.as_ref())
}

/// The same for the program's whole life, wherever it is.
pub fn program_id() -> ProgramId {
    imports::program_id()
}

/// The name of the engine that the program runs on now. It may be another by the next call.
pub fn engine_id() -> String {
    imports::engine_id()
}

/// Whether the program was moved, or restored elsewhere, since this was last asked.
pub fn was_moved() -> bool {
    imports::was_moved()
}

fn qos_flag(qos: Qos) -> i32 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => imports::AT_LEAST_ONCE,
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
