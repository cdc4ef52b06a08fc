//! Programs that call each other: services with functions, found by address wherever their providers are.
//!
//! A provider serves a name, and is asked through [`receive`](crate::receive), beside everything else:
//!
//! ```no_run
//! use wayfare_guest::{self as wayfare, calls};
//!
//! fn main() -> Result<(), wayfare::Error> {
//!     calls::serve("calc")?;
//!     loop {
//!         let message = wayfare::receive()?;
//!         let Some(call) = &message.call else { continue };
//!         match (call.function.as_str(), message.text().and_then(|text| text.parse::<i64>().ok())) {
//!             ("double", Some(number)) => calls::answer(call, (2 * number).to_string())?,
//!             ("double", None) => calls::fail(call, calls::FailureKind::Refused, "a whole number is doubled")?,
//!             _ => calls::fail(call, calls::FailureKind::NotFound, "there is 'double'")?,
//!         }
//!     }
//! }
//! ```
//!
//! A caller waits, or has many calls open at once:
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::calls;
//!
//! const DEADLINE: Duration = Duration::from_secs(5);
//! let four = calls::call("service/calc", "double", "2", DEADLINE)?;
//! let numbers = [calls::begin("service/calc", "double", "3", DEADLINE)?, calls::begin("service/calc", "double", "4", DEADLINE)?];
//! for _ in numbers {
//!     let reply = calls::next_reply(None, None)?;
//!     println!("{:?}: {:?}", reply.number, reply.result);
//! }
//! # Ok::<(), calls::CallError>(())
//! ```
//!
//! Who may serve and call what is granted when a program is run: `--allow-serve calc`, `--allow-call service/calc`.
//!
//! # What holds
//! Calls that are open move with the caller, and those that were received with the provider. Each call has one end: its answer, or a
//! [`Failure`] that says which kind. While both sides live, each call is received once and its answer once. A call whose time is over
//! may have been done or not. Of several providers each call goes to one, and calls are spread over all of them.
//!
//! A call with more to say is made by [`With`]: one that takes progress, may be done twice, or has something in common with others.
//!
//! Addresses are `service/NAME`, `program/NAME` and `program/ID`, for programs that serve anything; of the sets of
//! [`messages`](crate::messages) one program is called.

mod with;

use std::fmt;
use std::time::{Duration, Instant};

use crate::action::Action;
use crate::attention::{attend, attended};
use crate::error::Error;
use crate::message::{Call, Message};
use crate::{Result, imports, milliseconds};
pub use with::With;

/// For whichever call ends first.
const ANY: u64 = u64::MAX;
const FOR_EVER_MS: i64 = -1;
/// In place of a kind of failure: how far a call is.
const PROGRESS: u32 = 100;

/// A call that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(u64);

impl CallNumber {
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub number: CallNumber,
    pub result: std::result::Result<Vec<u8>, Failure>,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The provider has no such function.
    NotFound = 1,
    /// The provider has ended or was killed: whether the call was done is not known.
    Unavailable = 2,
    /// No answer came in time: whether the call was done is not known.
    DeadlineExceeded = 3,
    Cancelled = 4,
    /// The provider does not do it, or not with these arguments.
    Refused = 5,
    Conflict = 6,
    TooLarge = 7,
    Expired = 8,
    Failed = 9,
    /// The receiver of a message has ended before it took it.
    Ended = 10,
}

/// How far a call is, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// What its provider has said with [`progress`].
    Progress {
        number: CallNumber,
        payload: Vec<u8>,
    },
    End(Reply),
}

impl Failure {
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

/// Why [`call`] has no result: the call was not made, or it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    NotMade(Error),
    Failed(Failure),
}

/// Provides a service, and waits until the broker has granted that it is asked. Asked again, it is as if asked once; a program has at
/// most 16. From then on the program is also called, and sent to, as `program/NAME` and `program/ID`.
///
/// # Errors
/// [`Error::Malformed`], [`Error::NotGranted`], [`Error::TooMany`], [`Error::RefusedByBroker`].
pub fn serve(name: &str) -> Result<()> {
    imports::serve(name)
}

/// The same with a schema: a JSON object that says what functions there are, and JSON Schemas of what they take and give. Whoever asks is told
/// it, such as `wayfare inspect service/NAME`, and `wayfare service stub NAME` makes clients of it. The book's page "Calls" has its
/// fields. Served again, the service has the schema that was given last, or none.
///
/// # Errors
/// Those of [`serve`]. [`Error::Malformed`] also where the schema is no JSON object, and from engines of earlier releases.
/// [`Error::TooLarge`]: over 32 KiB with those of the program's other services.
pub fn serve_with(name: &str, schema: &str) -> Result<()> {
    Action::new("serve")
        .text("name", name)
        .perform(schema.as_bytes())
        .map(drop)
}

/// Answers a call, once.
///
/// # Errors
/// [`Error::Malformed`] where it was answered, or received more than 1024 calls ago; [`Error::TooLarge`].
pub fn answer(call: &Call, result: impl AsRef<[u8]>) -> Result<()> {
    imports::answer(&call.request.reply_to, call.request.number, 0, result.as_ref())
}

/// Says why a call has no result, in place of [`answer`]. A text over 2 KiB is cut.
///
/// # Errors
/// Those of [`answer`].
pub fn fail(call: &Call, kind: FailureKind, text: &str) -> Result<()> {
    imports::answer(
        &call.request.reply_to,
        call.request.number,
        kind as i32,
        text.as_bytes(),
    )
}

/// Calls a function and waits for its end; messages and calls that come meanwhile wait for [`receive`](crate::receive). Two programs
/// that serve each other and both wait in here wait until a deadline: such a program uses [`begin`].
///
/// # Errors
/// [`CallError::NotMade`] with those of [`begin`]; [`CallError::Failed`].
pub fn call(
    address: &str,
    function: &str,
    arguments: impl AsRef<[u8]>,
    deadline: Duration,
) -> std::result::Result<Vec<u8>, CallError> {
    let number = begin(address, function, arguments, deadline)?;
    next_reply(Some(number), None)?.result.map_err(CallError::Failed)
}

/// Calls a function, and returns the number by which [`next_reply`] tells its end. Returns at once where a provider is known; otherwise,
/// as with the first call of an address, it waits for one, within the deadline. The time is the program's own: that of a move does not count.
///
/// # Errors
/// [`Error::NotFound`]: nobody has served the address for that time, and the call was not made. [`Error::Malformed`],
/// [`Error::NotGranted`], [`Error::TooLarge`], [`Error::RefusedByBroker`]. [`Error::TooMany`]: 128 calls are open, or 64 addresses were called.
pub fn begin(
    address: &str,
    function: &str,
    arguments: impl AsRef<[u8]>,
    deadline: Duration,
) -> Result<CallNumber> {
    imports::call(address, function, arguments.as_ref(), milliseconds(deadline)).map(CallNumber)
}

/// Waits for the end of a call, or of whichever ends first, at most so long. Without a time it waits for the end, which comes with the
/// call's deadline at the latest. Progress is passed over: [`next`] has it.
///
/// # Errors
/// [`Error::TimedOut`]: the call is open. [`Error::Malformed`]: no such call is open, or none at all.
pub fn next_reply(number: Option<CallNumber>, timeout: Option<Duration>) -> Result<Reply> {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut left = timeout;
    loop {
        if let Next::End(reply) = next(number, left)? {
            return Ok(reply);
        }
        left = until.map(|until| until.saturating_duration_since(Instant::now()));
    }
}

/// As [`next_reply`], with the progress of calls that take it.
///
/// # Errors
/// Those of [`next_reply`].
pub fn next(number: Option<CallNumber>, timeout: Option<Duration>) -> Result<Next> {
    let number = number.map_or(ANY, |CallNumber(number)| number);
    let bytes = imports::next_reply(number, timeout.map_or(FOR_EVER_MS, milliseconds))?;
    Next::parse(&bytes).ok_or(Error::Malformed)
}

/// Ends a call of the program's own: it has failed as [`FailureKind::Cancelled`], if it had no end, and its provider is told. It may have
/// been done.
///
/// # Errors
/// [`Error::Malformed`]: no such call is open.
pub fn cancel(number: CallNumber) -> Result<()> {
    Action::new("cancel")
        .number("call", number.0)
        .perform(&[])
        .map(drop)
}

/// Tells the caller how far its call is, if it takes that.
///
/// # Errors
/// Those of [`answer`].
pub fn progress(call: &Call, payload: impl AsRef<[u8]>) -> Result<()> {
    Action::new("progress")
        .text("to", &call.request.text())
        .perform(payload.as_ref())
        .map(drop)
}

/// Hands a call that was received on: a function at the address is called in its place, and the end of that is the end of the call. It goes
/// back the way it came, so the program that has handed it on must live until then.
///
/// # Errors
/// Those of [`answer`] and of [`begin`].
pub fn hand_on(
    call: &Call,
    address: &str,
    function: &str,
    arguments: impl AsRef<[u8]>,
    deadline: Duration,
) -> Result<()> {
    let deadline_ms = u64::try_from(milliseconds(deadline)).unwrap_or_default();
    Action::new("hand_on")
        .text("to", &call.request.text())
        .text("address", address)
        .text("function", function)
        .number("deadline_ms", deadline_ms)
        .perform(arguments.as_ref())
        .map(drop)
}

/// From now on [`receive`](crate::receive) also tells of calls that were received and that their callers have cancelled
/// ([`Message::cancelled`](crate::Message::cancelled)). They may be answered or not.
///
/// # Errors
/// [`Error::Malformed`] by engines of earlier releases.
pub fn attend_to_cancels() -> Result<()> {
    attend(|attention| attention.cancels = true)
}

/// Calls a function and waits for its end, and has messages and calls that come meanwhile handled by `serve`. So programs that
/// call each other do not wait for each other.
///
/// # Errors
/// Those of [`call`], and what `serve` gives.
pub fn call_while(
    address: &str,
    function: &str,
    arguments: impl AsRef<[u8]>,
    deadline: Duration,
    mut serve: impl FnMut(Message) -> Result<()>,
) -> std::result::Result<Vec<u8>, CallError> {
    let number = begin(address, function, arguments, deadline)?;
    let outer = attended().reply;
    let result = loop {
        // What `serve` has called meanwhile was attended to in its place.
        attend(|attention| attention.reply = Some(number.0))?;
        match next_reply(Some(number), Some(Duration::ZERO)) {
            Ok(reply) => break reply.result.map_err(CallError::Failed),
            Err(Error::TimedOut) => {}
            Err(error) => break Err(error.into()),
        }
        match crate::receive().and_then(&mut serve) {
            Ok(()) => {}
            // The call has an end.
            Err(Error::Interrupted) => {}
            Err(error) => break Err(error.into()),
        }
    };
    attend(|attention| attention.reply = outer)?;
    result
}

/// Sends a message to one program at the address, which [`receive`](crate::receive)s it with the address as its topic. Waits for one at
/// most so long. It is granted by `--allow-call` or `--allow-send`. [`messages::Send`](crate::messages::Send) can say more about a message.
///
/// # Errors
/// Those of [`begin`].
pub fn send(address: &str, payload: impl AsRef<[u8]>, timeout: Duration) -> Result<()> {
    imports::send(address, payload.as_ref(), milliseconds(timeout))
}

impl Next {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
        let result = match u32::from_le_bytes(*kind) {
            PROGRESS => {
                return Some(Self::Progress {
                    number: CallNumber(u64::from_le_bytes(*number)),
                    payload: payload.to_vec(),
                });
            }
            0 => Ok(payload.to_vec()),
            kind => Err(Failure {
                kind: FailureKind::of(kind),
                text: String::from_utf8_lossy(payload).into_owned(),
            }),
        };
        let number = CallNumber(u64::from_le_bytes(*number));
        Some(Self::End(Reply { number, result }))
    }
}

impl FailureKind {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::NotFound,
            2 => Self::Unavailable,
            3 => Self::DeadlineExceeded,
            4 => Self::Cancelled,
            5 => Self::Refused,
            6 => Self::Conflict,
            7 => Self::TooLarge,
            8 => Self::Expired,
            10 => Self::Ended,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FailureKind::NotFound => "not found",
            FailureKind::Unavailable => "unavailable",
            FailureKind::DeadlineExceeded => "deadline exceeded",
            FailureKind::Cancelled => "cancelled",
            FailureKind::Refused => "refused",
            FailureKind::Conflict => "conflict",
            FailureKind::TooLarge => "too large",
            FailureKind::Expired => "expired",
            FailureKind::Failed => "failed",
            FailureKind::Ended => "ended",
        };
        write!(f, "{kind}: {}", self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::NotMade(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade(error) => write!(f, "not called: {error}"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_the_engine_writes_them() {
        let bytes = |kind: u32| {
            let mut bytes = 7u64.to_le_bytes().to_vec();
            bytes.extend(kind.to_le_bytes());
            bytes.extend(3u32.to_le_bytes());
            bytes.extend(b"why");
            bytes
        };
        let number = CallNumber(7);
        let done = Next::parse(&bytes(0)).unwrap();
        let result = Ok(b"why".to_vec());
        assert_eq!(done, Next::End(Reply { number, result }));
        let payload = b"why".to_vec();
        let progress = Next::parse(&bytes(PROGRESS)).unwrap();
        assert_eq!(progress, Next::Progress { number, payload });
        for kind in 1..=10 {
            let Some(Next::End(Reply {
                result: Err(failure), ..
            })) = Next::parse(&bytes(kind))
            else {
                panic!("{kind} is a failure");
            };
            assert_eq!((failure.kind as u32, failure.text.as_str()), (kind, "why"));
        }
        for end in 0..bytes(0).len() {
            assert_eq!(Next::parse(&bytes(0)[..end]), None, "cut at {end}");
        }
    }
}
