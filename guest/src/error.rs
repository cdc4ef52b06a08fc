//! Why a call failed: WASI preview 1's error numbers, as far as Wayfare's calls return them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No topic, no filter, or no request that can still be replied to.
    Malformed,
    /// It was not granted when the program was run. The program's log says what would grant it.
    NotGranted,
    /// The payload is over 120 KiB.
    TooLarge,
    /// The broker refused the subscription.
    RefusedByBroker,
    /// No room for another subscription.
    TooMany,
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
            28 => Self::Malformed,
            35 => Self::TooLarge,
            42 => Self::TooMany,
            52 => Self::Unavailable,
            76 => Self::NotGranted,
            number => Self::Other(number),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed topic or filter, or a request that cannot be replied to",
            Self::NotGranted => "not granted to this program",
            Self::TooLarge => "payload too large",
            Self::RefusedByBroker => "refused by the broker",
            Self::TooMany => "too many subscriptions",
            Self::TimedOut => "timed out",
            Self::Unavailable => "not run by a Wayfare engine",
            Self::Other(number) => return write!(f, "WASI error {number}"),
        })
    }
}

impl std::error::Error for Error {}
