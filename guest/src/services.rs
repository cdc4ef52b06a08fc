//! Calls whose arguments and results are types: JSON on their way, by serde.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::services;
//!
//! let doubled: i64 = services::call("service/calc", "double", &21, Duration::from_secs(5))?;
//! # Ok::<(), services::Error>(())
//! ```
//!
//! `wayfare service stub NAME --lang rust` prints the types of a service, and a client with a function for each of its own.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::calls::{self, CallError};

/// Why a call has no result of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Call(CallError),
    /// The arguments are none in JSON, or the result is of another type: why. In the second case it was done.
    Type(String),
}

/// Calls a function as [`calls::call`] does. A result without any bytes is `null`.
///
/// # Errors
/// Those of [`calls::call`]; [`Error::Type`].
pub fn call<A, R>(address: &str, function: &str, arguments: &A, deadline: Duration) -> Result<R, Error>
where
    A: Serialize + ?Sized,
    R: DeserializeOwned,
{
    let arguments = serde_json::to_vec(arguments).map_err(|error| Error::of("the arguments", &error))?;
    let result = calls::call(address, function, arguments, deadline)?;
    let result: &[u8] = match result.as_slice() {
        [] => b"null",
        result => result,
    };
    serde_json::from_slice(result).map_err(|error| Error::of("the result", &error))
}

impl Error {
    fn of(what: &str, error: &serde_json::Error) -> Self {
        Self::Type(format!("{what}: {error}"))
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Type(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
