//! Messages to addresses: to one program, wherever it is, or to each of a set.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::messages::Send;
//!
//! Send::new("service/kitchen", "soup").kind("order").order("table-4").send()?;
//! let receipt = Send::new("app/shop/web", "reload").expires(Duration::from_secs(60)).send_with_receipt()?;
//! match receipt.wait(None)? {
//!     Ok(()) => println!("all have it"),
//!     Err(failure) => println!("{failure}"),
//! }
//! # Ok::<(), wayfare_guest::Error>(())
//! ```
//!
//! What may be sent where is granted when a program is run: `--allow-send 'app/shop/#'`, or with calls, `--allow-call`. Who receives messages
//! provides a service ([`calls::serve`](crate::calls::serve)), or [`listen`]s; they come through [`receive`](crate::receive), with the
//! address as their topic.
//!
//! # Addresses
//! Those of calls, and sets, whose members get one copy each: `app/NAME`, `app/NAME/COMPONENT`, `engine/NAME`, `label/KEY=VALUE`. Who sends
//! to a set that it belongs to gets none. A message is kept while its receiver is away, moves with it, and is received once.

use std::time::Duration;

use crate::action::Action;
use crate::attention::attend;
use crate::calls::{CallNumber, Failure, next_reply};
use crate::error::Error;
use crate::message::Message;
use crate::{Result, milliseconds};

/// How long somebody is waited for at an address where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Send<'a, P> {
    address: &'a str,
    payload: P,
    kind: Option<&'a str>,
    order: Option<&'a str>,
    expires: Option<Duration>,
    timeout: Duration,
}

impl<'a, P: AsRef<[u8]>> Send<'a, P> {
    pub fn new(address: &'a str, payload: P) -> Self {
        Self {
            address,
            payload,
            kind: None,
            order: None,
            expires: None,
            timeout: TIMEOUT,
        }
    }

    /// What messages of this sort are called, at most 64 bytes without spaces: [`Message::kind`].
    pub fn kind(self, kind: &'a str) -> Self {
        let kind = Some(kind);
        Self { kind, ..self }
    }

    /// Of messages with one key the receiver handles one at a time, if it says when it has ([`attend_to_order`]). At most 64 bytes without
    /// spaces.
    pub fn order(self, key: &'a str) -> Self {
        let order = Some(key);
        Self { order, ..self }
    }

    /// A receiver that it reaches later than that is not handed it. By the clocks of both engines, so whole seconds at least; where the
    /// sender's clock was never set it does not expire.
    pub fn expires(self, after: Duration) -> Self {
        let expires = Some(after);
        Self { expires, ..self }
    }

    /// How long to wait while nobody is known at the address: 30 s where nothing is said.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends it, and returns once it is on its way: it will be sent, whatever happens to the engine.
    ///
    /// # Errors
    /// [`Error::NotFound`]: nobody is at the address. [`Error::Malformed`], also by engines of earlier releases; [`Error::NotGranted`],
    /// [`Error::TooLarge`], [`Error::RefusedByBroker`].
    pub fn send(self) -> Result<()> {
        self.action(false).perform(self.payload.as_ref()).map(drop)
    }

    /// Sends it, and learns what becomes of it.
    ///
    /// # Errors
    /// Those of [`Send::send`], and [`Error::TooMany`]: 128 receipts and calls are open.
    pub fn send_with_receipt(self) -> Result<Receipt> {
        self.action(true)
            .perform(self.payload.as_ref())
            .map(|number| Receipt(CallNumber::of(number)))
    }

    fn action(&self, receipt: bool) -> Action {
        let whole = |time: Duration| u64::try_from(milliseconds(time)).unwrap_or_default();
        let action = Action::new("send")
            .text("address", self.address)
            .number("timeout_ms", whole(self.timeout))
            .maybe_text("type", self.kind)
            .maybe_text("order", self.order)
            .flag("receipt", receipt);
        match self.expires {
            Some(after) => action.number("expires_ms", whole(after)),
            None => action,
        }
    }
}

/// For a message whose delivery is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(CallNumber);

impl Receipt {
    /// Waits until all receivers have taken the message, or one never will. Failures are [`Ended`](crate::calls::FailureKind::Ended): the
    /// receiver has ended; [`Expired`](crate::calls::FailureKind::Expired): it was reached too late, or nothing was heard of it when the
    /// message expired; [`Unavailable`](crate::calls::FailureKind::Unavailable): it was set back to before it had the message.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: neither is known yet.
    pub fn wait(self, timeout: Option<Duration>) -> Result<std::result::Result<(), Failure>> {
        next_reply(Some(self.0), timeout).map(|reply| reply.result.map(drop))
    }
}

/// Takes messages to the program's own addresses, without providing a service. Any `--allow-serve` grants it.
///
/// # Errors
/// [`Error::NotGranted`], [`Error::RefusedByBroker`]; [`Error::Malformed`] by engines of earlier releases.
pub fn listen() -> Result<()> {
    Action::new("listen").perform(&[]).map(drop)
}

/// From now on the program is handed the next message of a key only when it has said that the one before is [`handled`]. Without, taking a
/// message is handling it.
///
/// # Errors
/// [`Error::Malformed`] by engines of earlier releases.
pub fn attend_to_order() -> Result<()> {
    attend(|attention| attention.order = true)
}

/// The next message of this one's key may come.
///
/// # Errors
/// [`Error::Malformed`]: it has no key, or was handled.
pub fn handled(message: &Message) -> Result<()> {
    let key = message.order.as_deref().ok_or(Error::Malformed)?;
    Action::new("handled").text("order", key).perform(&[]).map(drop)
}
