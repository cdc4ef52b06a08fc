//! Why a call failed: WASI preview 1's error numbers, as far as Wayfare's calls return them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No topic, no filter, no key, or no request that can still be replied to.
    Malformed,
    /// It was not granted when the program was run. The program's log says what would grant it.
    NotGranted,
    /// The payload is over 120 KiB, or the value over 64 KiB.
    TooLarge,
    /// The broker refused the subscription.
    RefusedByBroker,
    /// No room for another subscription, or another value.
    TooMany,
    /// The value's version is another by now.
    Conflict,
    /// There is no such value.
    NotFound,
    /// The fleet's dispatcher did not answer: is there one? Or it could not do what was asked, and has logged why.
    NoAnswer,
    /// The time was over.
    TimedOut,
    /// Not run by a Wayfare engine.
    Unavailable,
    /// Another of preview 1's numbers.
    Other(i32),
}

impl Error {
    pub(crate) fn of(number: i32) -> Result<(), Self> {
        Err(match number {
            0 => return Ok(()),
            2 => Self::RefusedByBroker,
            6 | 73 => Self::TimedOut,
            10 => Self::Conflict,
            28 => Self::Malformed,
            29 => Self::NoAnswer,
            35 => Self::TooLarge,
            42 => Self::TooMany,
            44 => Self::NotFound,
            52 => Self::Unavailable,
            76 => Self::NotGranted,
            number => Self::Other(number),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed topic, filter or key, or a request that cannot be replied to",
            Self::NotGranted => "not granted to this program",
            Self::TooLarge => "payload or value too large",
            Self::RefusedByBroker => "refused by the broker",
            Self::TooMany => "no room for more",
            Self::Conflict => "the value has changed meanwhile",
            Self::NotFound => "no such value",
            Self::NoAnswer => "no answer from the fleet's dispatcher",
            Self::TimedOut => "timed out",
            Self::Unavailable => "not run by a Wayfare engine",
            Self::Other(number) => return write!(f, "WASI error {number}"),
        })
    }
}

impl std::error::Error for Error {}
