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
//!
//! A provider in Rust is a trait: [`service`] makes its provider and its client of it.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::calls::{Failure, FailureKind};
//! use wayfare_guest::services::{self, service};
//!
//! /// Doubles numbers.
//! #[service("calc")]
//! trait Calc {
//!     /// Doubles a whole number.
//!     fn double(&mut self, number: i64) -> Result<i64, Failure>;
//!     /// How many it has doubled.
//!     fn count(&mut self) -> u64;
//! }
//!
//! struct Hall(u64);
//!
//! impl Calc for Hall {
//!     fn double(&mut self, number: i64) -> Result<i64, Failure> {
//!         self.0 += 1;
//!         let doubled = number.checked_mul(2);
//!         doubled.ok_or_else(|| Failure::new(FailureKind::Refused, "that is too large"))
//!     }
//!     fn count(&mut self) -> u64 {
//!         self.0
//!     }
//! }
//!
//! fn main() -> Result<(), wayfare_guest::Error> {
//!     if std::env::args().len() > 1 {
//!         services::run(&mut CalcProvider(Hall(0)))?;
//!     }
//!     println!("{:?}", CalcClient::new(Duration::from_secs(5)).double(21));
//!     Ok(())
//! }
//! ```
//!
//! The arguments of a function are one JSON object with a field for each, `null` where there are none; comments are descriptions. Types of arguments and
//! results have serde's traits and `schemars::JsonSchema`, of schemars 1. A function whose type ends in `Result` may fail. What is no such call, or is
//! answered later, is the program's own to receive: [`handle`] in place of [`run`].

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
pub use wayfare_guest_macros::service;

use crate::calls::{self, CallError, Failure, FailureKind};
use crate::message::Message;

/// Why a call has no result of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Call(CallError),
    /// The arguments are none in JSON, or the result is of another type: why. In the second case it was done.
    Type(String),
}

/// What [`service`] makes of a trait.
pub trait Provider {
    /// As in `service/NAME`.
    const NAME: &'static str;

    /// What its functions take and give.
    fn schema() -> String;

    /// Does what a call asks for.
    ///
    /// # Errors
    /// [`FailureKind::NotFound`], [`FailureKind::Refused`] for arguments of other types, and the function's own.
    fn call(&mut self, function: &str, payload: &[u8]) -> Result<Vec<u8>, Failure>;
}

/// Provides the service, with its schema where the engine knows of these, and returns when it can be called.
///
/// # Errors
/// Those of [`calls::serve_with`].
pub fn serve<P: Provider>() -> crate::Result<()> {
    match calls::serve_with(P::NAME, &P::schema()) {
        // Of an engine of an earlier release, since a schema is an object.
        Err(crate::Error::Malformed) => calls::serve(P::NAME),
        served => served,
    }
}

/// Answers a call of the service. `false`: the message is no call, or one of another service.
///
/// # Errors
/// Those of [`calls::answer`].
pub fn handle<P: Provider>(provider: &mut P, message: &Message) -> crate::Result<bool> {
    let Some(call) = &message.call else {
        return Ok(false);
    };
    // At an address of the program's own it is the first service that is asked.
    if call
        .address
        .strip_prefix("service/")
        .is_some_and(|name| name != P::NAME)
    {
        return Ok(false);
    }
    let answered = match provider.call(&call.function, &message.payload) {
        Ok(result) => match calls::answer(call, result) {
            Err(crate::Error::TooLarge) => calls::fail(
                call,
                FailureKind::TooLarge,
                "the result is too large for a message",
            ),
            answered => answered,
        },
        Err(failure) => calls::fail(call, failure.kind, &failure.text),
    };
    answered.map(|()| true)
}

/// Provides the service for as long as the program runs. Messages that are no calls of it are passed over.
///
/// # Errors
/// Those of [`serve`] and [`handle`].
pub fn run<P: Provider>(provider: &mut P) -> crate::Result<Infallible> {
    serve::<P>()?;
    loop {
        handle(provider, &crate::receive()?)?;
    }
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

/// What `service` writes names these.
#[doc(hidden)]
pub mod __private {
    pub use schemars;
    use schemars::generate::SchemaSettings;
    use schemars::{JsonSchema, SchemaGenerator};
    pub use serde;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value, json};

    use crate::calls::{Failure, FailureKind};

    /// # Errors
    /// [`FailureKind::Refused`].
    pub fn arguments<A: DeserializeOwned>(payload: &[u8]) -> Result<A, Failure> {
        serde_json::from_slice(payload)
            .map_err(|error| Failure::new(FailureKind::Refused, format!("the arguments: {error}")))
    }

    /// # Errors
    /// [`FailureKind::Failed`].
    pub fn result<R: Serialize>(result: &R) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(result)
            .map_err(|error| Failure::new(FailureKind::Failed, format!("the result: {error}")))
    }

    /// A schema in the making.
    #[derive(Debug)]
    pub struct Schema {
        description: &'static str,
        functions: Map<String, Value>,
        generator: SchemaGenerator,
    }

    impl Schema {
        pub fn new(description: &'static str) -> Self {
            Self {
                description,
                functions: Map::new(),
                generator: SchemaSettings::draft2020_12().into_generator(),
            }
        }

        pub fn add<R: JsonSchema>(&mut self, name: &str, description: &str) {
            let result = self.generator.subschema_for::<R>();
            self.functions.insert(
                name.to_owned(),
                described(json!({ "result": result }), description),
            );
        }

        pub fn add_with<A: JsonSchema, R: JsonSchema>(&mut self, name: &str, description: &str) {
            self.add::<R>(name, description);
            let arguments = self.generator.subschema_for::<A>();
            self.functions[name]["arguments"] = json!(arguments);
        }

        pub fn finish(mut self) -> String {
            let mut schema = described(json!({ "functions": self.functions }), self.description);
            let definitions = self.generator.take_definitions(true);
            if !definitions.is_empty() {
                schema["$defs"] = json!(definitions);
            }
            schema.to_string()
        }
    }

    fn described(mut of: Value, description: &str) -> Value {
        if !description.is_empty() {
            of["description"] = description.into();
        }
        of
    }
}
