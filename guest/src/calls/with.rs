//! Calls that more is said about.

use std::time::Duration;

use super::CallNumber;
use crate::action::Action;
use crate::{Result, milliseconds};

/// A call that more is said about than with [`begin`](super::begin). Engines of earlier releases do not make it: [`Error::Malformed`](crate::Error::Malformed).
#[derive(Debug, Clone)]
pub struct With<'a, P> {
    address: &'a str,
    function: &'a str,
    arguments: P,
    deadline: Duration,
    progress: bool,
    idempotent: bool,
    coalesce: Option<&'a str>,
    supersede: Option<&'a str>,
    choose: Option<&'a str>,
}

impl<'a, P: AsRef<[u8]>> With<'a, P> {
    pub fn new(address: &'a str, function: &'a str, arguments: P, deadline: Duration) -> Self {
        Self {
            address,
            function,
            arguments,
            deadline,
            progress: false,
            idempotent: false,
            coalesce: None,
            supersede: None,
            choose: None,
        }
    }

    /// Takes what the provider says of how far the call is. Of more than 64 that are not read, the newest are kept.
    pub fn progress(self) -> Self {
        let progress = true;
        Self { progress, ..self }
    }

    /// It may be done twice. So it is sent again where the provider's engine is lost and the provider goes on from before it had the
    /// call, which is [`FailureKind::Unavailable`](super::FailureKind::Unavailable) otherwise. Up to 1 MiB of such calls that are open.
    pub fn idempotent(self) -> Self {
        let idempotent = true;
        Self { idempotent, ..self }
    }

    /// While a call of this program with the same address, function and key is open, this one is not made: both get its end. The key has at
    /// most 64 bytes, without spaces.
    pub fn coalesce(self, key: &'a str) -> Self {
        let coalesce = Some(key);
        Self { coalesce, ..self }
    }

    /// Calls of this program with the same address, function and key that are open are [`cancel`](super::cancel)led.
    pub fn supersede(self, key: &'a str) -> Self {
        let supersede = Some(key);
        Self { supersede, ..self }
    }

    /// Which of several providers is called: those with `same-engine`, `engine=pi-1`, `host=attic` or `label=zone=attic`, and of these
    /// `first`, `round-robin`, `least-cpu`, `most-free-memory`, or the one that a service such as `service/coolest` picks (the book's page
    /// "Calls"). Several are written with commas between them. Where none fits, one is waited for within the deadline.
    pub fn choose(self, choose: &'a str) -> Self {
        let choose = Some(choose);
        Self { choose, ..self }
    }

    /// Makes the call.
    ///
    /// # Errors
    /// Those of [`begin`](super::begin). [`Error::NoAnswer`](crate::Error::NoAnswer): no dispatcher told what a choice is made by.
    pub fn begin(self) -> Result<CallNumber> {
        let deadline_ms = u64::try_from(milliseconds(self.deadline)).unwrap_or_default();
        Action::new("call")
            .text("address", self.address)
            .text("function", self.function)
            .number("deadline_ms", deadline_ms)
            .flag("progress", self.progress)
            .flag("idempotent", self.idempotent)
            .maybe_text("coalesce", self.coalesce)
            .maybe_text("supersede", self.supersede)
            .maybe_text("choose", self.choose)
            .perform(self.arguments.as_ref())
            .map(CallNumber)
    }
}
