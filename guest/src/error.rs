//! Why a call failed: WASI preview 1's error numbers, as far as Wayfare's calls return them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No topic, no filter, no key, no alias, no address, no request that can still be replied to, or no call that is open.
    Malformed,
    /// It was not granted when the program was run. The program's log says what would grant it.
    NotGranted,
    /// The payload is over 120 KiB, the value over 64 KiB, or the transfer over 4096 bytes.
    TooLarge,
    /// The broker refused the subscription: its access list may not know of calls yet.
    RefusedByBroker,
    /// No room for another subscription, another value, or another call.
    TooMany,
    /// The value's version is another by now.
    Conflict,
    /// There is no such value, or nobody who can be called at the address.
    NotFound,
    /// The fleet's dispatcher did not answer: is there one? Or it could not do what was asked, and has logged why.
    NoAnswer,
    /// The engine has no such device. A program comes only to engines that have all that it is granted, so this one lost it.
    NoDevice,
    /// The device is of another kind than the call is for.
    WrongKind,
    /// Another program has the device.
    DeviceTaken,
    /// The device did not do it. The program's log says why.
    DeviceFailed,
    /// The time was over.
    TimedOut,
    /// A call of the program's own has ended while it received, which it attends to.
    Interrupted,
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
            27 => Self::Interrupted,
            10 => Self::Conflict,
            28 => Self::Malformed,
            29 => Self::NoAnswer,
            35 => Self::TooLarge,
            42 => Self::TooMany,
            43 => Self::NoDevice,
            44 => Self::NotFound,
            52 => Self::Unavailable,
            59 => Self::WrongKind,
            76 => Self::NotGranted,
            number => Self::Other(number),
        })
    }

    /// Of a call to a device, where two of the numbers mean something else.
    pub(crate) fn of_device(number: i32) -> Result<(), Self> {
        match number {
            10 => Err(Self::DeviceTaken),
            29 => Err(Self::DeviceFailed),
            number => Self::of(number),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "malformed topic, filter, key, alias or address, or a request or call that is over"
            }
            Self::NotGranted => "not granted to this program",
            Self::TooLarge => "payload, value or transfer too large",
            Self::RefusedByBroker => "refused by the broker",
            Self::TooMany => "no room for more",
            Self::Conflict => "the value has changed meanwhile",
            Self::NotFound => "no such value, or nobody at the address",
            Self::NoAnswer => "no answer from the fleet's dispatcher",
            Self::NoDevice => "no such device on this engine",
            Self::WrongKind => "a device of another kind",
            Self::DeviceTaken => "another program has the device",
            Self::DeviceFailed => "the device failed",
            Self::TimedOut => "timed out",
            Self::Interrupted => "a call has ended",
            Self::Unavailable => "not run by a Wayfare engine",
            Self::Other(number) => return write!(f, "WASI error {number}"),
        })
    }
}

impl std::error::Error for Error {}
