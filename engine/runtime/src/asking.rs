//! Host calls that wait for the dispatcher: its answer, the end of the time, or whoever wants the program to
//! stop.
//!
//! Always: a call that is left for a capture is issued again with the time that it had left, as the request
//! that it was.

use std::time::Duration;

use wayfare_abi::errno::Errno;

use super::ProcessEvent;
use super::context::Context;
use super::service_requests::{Reply, ServiceAsk};

/// How long a program waits for the dispatcher, by its own clock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits for the dispatcher's answer; `None`: the program shall stop first, and will ask again.
pub(super) fn ask(context: &mut Context, what: &ServiceAsk) -> Result<Option<Reply>, Errno> {
    let limit_ns = u64::try_from(ANSWER_TIMEOUT.as_nanos()).unwrap_or(u64::MAX);
    // Issued again after a capture, it ends when it should have ended.
    let again = context.blocked_until_ns.take();
    let until_ns = again.unwrap_or_else(|| context.clock.now_ns().saturating_add(limit_ns));
    wait(context, what, until_ns, again.is_some())
}

/// Waits until a time by the program's clock, for what changes nothing.
pub(super) fn ask_until(
    context: &mut Context,
    what: &ServiceAsk,
    until_ns: u64,
) -> Result<Option<Reply>, Errno> {
    let limit_ns = u64::try_from(ANSWER_TIMEOUT.as_nanos()).unwrap_or(u64::MAX);
    let asked_until_ns = until_ns.min(context.clock.now_ns().saturating_add(limit_ns));
    let answer = wait(context, what, asked_until_ns, false)?;
    if answer.is_none() {
        context.blocked_until_ns = Some(until_ns);
    }
    Ok(answer)
}

fn wait(
    context: &mut Context,
    what: &ServiceAsk,
    until_ns: u64,
    is_again: bool,
) -> Result<Option<Reply>, Errno> {
    let since_ns = context.clock.now_ns();
    let control = context.control.clone();
    let mut shared = control.lock();
    let life = shared.mail.life();
    // What was asked before a life, and had no answer when the snapshot was made that it begins from, is
    // asked as what it was.
    let mut begun = shared
        .service_requests
        .begin(what, if is_again { 0 } else { life });
    let failure = loop {
        if let Some(asked) = begun.take() {
            drop(shared);
            context.say(ProcessEvent::Asks(asked));
            shared = control.lock();
        }
        let is_earlier = what.is_change() && shared.service_requests.next() < life;
        match shared.service_requests.take_answer() {
            // Nobody knows any more whether it was done, by the life that went on since: this one does it as
            // its own.
            Some(Ok(answer)) if is_earlier && answer.is_stale() => {
                begun = shared.service_requests.begin(what, life);
                continue;
            }
            Some(Ok(answer)) => return Ok(Some(answer)),
            Some(Err(failure)) => break failure.to_string(),
            None => {}
        }
        let left_ns = until_ns.saturating_sub(context.clock.now_ns());
        if left_ns == 0 {
            shared.service_requests.end();
            let waited_ns = context.clock.now_ns().saturating_sub(since_ns);
            let waited = match is_again {
                true => ANSWER_TIMEOUT.as_secs(),
                false => waited_ns / 1_000_000_000,
            };
            break format!("no dispatcher answered for {waited} s; start one with 'wayfare dispatcher'");
        }
        if shared.wants() {
            context.blocked_until_ns = Some(until_ns);
            return Ok(None);
        }
        shared = control.wait(shared, Some(Duration::from_nanos(left_ns)));
    };
    drop(shared);
    context
        .control
        .tell(&format!("wayfare: {}: {failure}", what.words()));
    context.say_lines();
    Err(Errno::IO)
}
