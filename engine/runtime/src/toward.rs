//! What is addressed to others than the dispatcher: host calls that wait for somebody at an address, for room
//! in the outbox, and for the rate at which the program may publish.
//!
//! Always: a call that is left for a capture has had no effect, and waits elsewhere for what is left of its
//! time.

use std::time::Duration;

use wayfare_abi::errno::Errno;
use wayfare_mail::{Mail, Refusal};
use wayfare_protocol::address::Address;

use super::calls::refused;
use super::clock::now_ms;
use super::context::Context;

pub(super) fn left_ms(now_ns: u64, until_ns: u64) -> u64 {
    until_ns.saturating_sub(now_ns).div_ceil(1_000_000)
}

/// Waits for somebody at the address, for room in the outbox, and for the rate at which the program may
/// publish. Issued again elsewhere it waits for what is left of the time.
pub(super) fn toward<T>(
    context: &mut Context,
    (verb, address): (&str, &Address),
    timeout_ms: u64,
    mut ask: impl FnMut(&mut Mail, u64, u64) -> Result<Option<T>, Refusal>,
) -> Result<Option<T>, Errno> {
    let timeout_ms = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
    let until_ns = context.until_ns(timeout_ms).unwrap_or(u64::MAX);
    toward_until(
        context,
        (verb, address),
        (until_ns, Pace::EachDone),
        |mail, now_ns| ask(mail, now_ns, until_ns),
    )
}

/// What counts against the rate at which the program may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    EachDone,
    /// What the caller says by [`Context::pace`].
    ByCaller,
}

/// [`toward`] until a time by the program's clock.
pub(super) fn toward_until<T>(
    context: &mut Context,
    (verb, address): (&str, &Address),
    (until_ns, pace): (u64, Pace),
    mut ask: impl FnMut(&mut Mail, u64) -> Result<Option<T>, Refusal>,
) -> Result<Option<T>, Errno> {
    let control = context.control.clone();
    let mut shared = control.lock();
    let mut is_watched = false;
    let result = loop {
        let now_ns = context.clock.now_ns();
        // Asked again, it would be refused again, for ever.
        if is_watched && shared.mail.is_watch_refused(address) {
            break Err(Errno::ACCES);
        }
        shared.mail.end_overdue(now_ns);
        shared.mail.set_time(now_ms());
        let early_ns = context.publish_after_ns.saturating_sub(now_ns);
        let asked = match early_ns {
            0 => ask(&mut shared.mail, now_ns),
            _ => Err(Refusal::Full),
        };
        control.outgoing.notify_one();
        match asked {
            Ok(Some(done)) => break Ok(done),
            Ok(None) if now_ns >= until_ns => break Err(Errno::NOENT),
            Err(Refusal::Full) if now_ns >= until_ns => break Err(Errno::TIMEDOUT),
            Ok(None) => is_watched = true,
            Err(Refusal::Full) => {}
            Err(refusal) => {
                drop(shared);
                return Err(refused(context, verb, address.as_str(), refusal));
            }
        }
        if shared.wants() {
            context.blocked_until_ns = Some(until_ns);
            return Ok(None);
        }
        let left_ns = match early_ns {
            0 => until_ns - now_ns,
            early_ns => early_ns.min(until_ns - now_ns),
        };
        shared = control.wait(shared, Some(Duration::from_nanos(left_ns)));
    };
    drop(shared);
    if result.is_ok() && pace == Pace::EachDone {
        context.pace(1);
    }
    result.map(Some)
}
