//! The host calls for what programs ask of each other: services, calls and their answers, messages to addresses. The mail decides
//! (`wayfare_mail`); this waits. As everywhere in here a call either completes or has had no effect.

use std::time::Duration;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WAYFARE_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_abi::message::encode_outcome;
use wayfare_mail::{Mail, Refusal};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{FailureKind, Outcome};

use super::ProcessEvent;
use super::calls::{self, content, hand_over, nothing_within, refused, text};
use super::context::Context;
use super::wasi::guest::{Flow, Guest, call_blocking};

/// For [`outcome`]: whichever call ends first.
const ANY: u64 = u64::MAX;

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    provider(linker)?;
    caller(linker)
}

fn provider(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "serve",
        |caller: Caller<'_, Context>, name: i32, length: i32| {
            call_blocking(caller, |guest| {
                let name = text(guest, name, length)?;
                serve(guest.context, &name)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "answer",
        |caller: Caller<'_, Context>,
         to: i32,
         length: i32,
         number: i64,
         kind: i32,
         payload: i32,
         bytes: i32| {
            call_blocking(caller, |guest| {
                let to = text(guest, to, length)?;
                let payload = content(guest, payload, bytes)?;
                let outcome = match kind {
                    0 => Outcome::Done(payload),
                    kind => {
                        let kind = FailureKind::of_code(kind.cast_unsigned()).ok_or(Errno::INVAL)?;
                        let why = String::from_utf8(payload).map_err(|_| Errno::INVAL)?;
                        Outcome::Failed(kind, wayfare_protocol::reason::cut(why))
                    }
                };
                answer(guest.context, &to, number.cast_unsigned(), &outcome)
            })
        },
    )?;
    Ok(())
}

fn caller(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "call",
        |caller: Caller<'_, Context>,
         address: i32,
         length: i32,
         function: i32,
         letters: i32,
         arguments: i32,
         bytes: i32,
         deadline_ms: i64,
         number: i32| {
            call_blocking(caller, |guest| {
                guest.bytes(number, 8)?;
                let address = address_of(guest, address, length)?;
                let function = text(guest, function, letters)?;
                let arguments = content(guest, arguments, bytes)?;
                let deadline_ms = u64::try_from(deadline_ms).map_err(|_| Errno::INVAL)?;
                match call(guest.context, &address, (&function, &arguments), deadline_ms)? {
                    Some(call) => guest.write_u64(number, call).map(|()| Flow::Done),
                    None => Ok(Flow::Interrupted),
                }
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "send",
        |caller: Caller<'_, Context>,
         address: i32,
         length: i32,
         payload: i32,
         bytes: i32,
         timeout_ms: i64| {
            call_blocking(caller, |guest| {
                let address = address_of(guest, address, length)?;
                let payload = content(guest, payload, bytes)?;
                let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Errno::INVAL)?;
                send(guest.context, &address, &payload, timeout_ms)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "next_reply",
        |caller: Caller<'_, Context>, number: i64, timeout_ms: i64, buffer: i32, room: i32, length: i32| {
            call_blocking(caller, |guest| {
                outcome(guest, number.cast_unsigned(), timeout_ms, (buffer, room, length))
            })
        },
    )?;
    Ok(())
}

fn address_of(guest: &Guest, at: i32, length: i32) -> Result<Address, Errno> {
    text(guest, at, length)?.parse().map_err(|_| Errno::INVAL)
}

/// Waits until the broker has granted the program's inbox: who calls after that is heard.
pub(super) fn serve(context: &mut Context, name: &str) -> Result<Flow, Errno> {
    context.blocked_until_ns = None;
    let control = context.control.clone();
    let mut shared = control.lock();
    let asked = shared.mail.serve(name);
    control.outgoing.notify_one();
    if let Err(refusal) = asked {
        drop(shared);
        return Err(refused(context, "serve", name, refusal));
    }
    loop {
        match shared.mail.is_serving() {
            Some(true) => break,
            None => return Err(Errno::ACCES),
            Some(false) if shared.wants() => return Ok(Flow::Interrupted),
            Some(false) => shared = control.wait(shared, None),
        }
    }
    drop(shared);
    context.say(ProcessEvent::Serves);
    Ok(Flow::Done)
}

pub(super) fn answer(context: &mut Context, to: &str, number: u64, outcome: &Outcome) -> Result<Flow, Errno> {
    calls::outgoing(context, "answer", to, |mail| mail.answer(to, number, outcome))
}

/// The number of the call; `None`: the program shall stop first. Waits while nobody is known who can be called there, and fails when
/// the call's time is over: then nothing was done.
pub(super) fn call(
    context: &mut Context,
    address: &Address,
    what: (&str, &[u8]),
    deadline_ms: u64,
) -> Result<Option<u64>, Errno> {
    toward(
        context,
        ("call", address),
        deadline_ms,
        |mail, now_ns, until_ns| {
            let left_ms = until_ns.saturating_sub(now_ns).div_ceil(1_000_000);
            mail.call(address, what, left_ms, until_ns)
        },
    )
}

pub(super) fn send(
    context: &mut Context,
    address: &Address,
    payload: &[u8],
    timeout_ms: u64,
) -> Result<Flow, Errno> {
    let sent = toward(context, ("send", address), timeout_ms, |mail, _, _| {
        mail.send_to(address, payload)
            .map(|is_sent| is_sent.then_some(()))
    })?;
    Ok(sent.map_or(Flow::Interrupted, |()| Flow::Done))
}

/// Waits for somebody at the address, for room in the outbox, and for the rate at which the program may publish. Issued again
/// elsewhere it waits for what is left of the time.
fn toward<T>(
    context: &mut Context,
    (verb, address): (&str, &Address),
    timeout_ms: u64,
    mut ask: impl FnMut(&mut Mail, u64, u64) -> Result<Option<T>, Refusal>,
) -> Result<Option<T>, Errno> {
    let timeout_ms = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
    let until_ns = context.until_ns(timeout_ms).unwrap_or(u64::MAX);
    let control = context.control.clone();
    let mut shared = control.lock();
    let mut is_watched = false;
    let result = loop {
        let now_ns = context.clock.now_ns();
        // Asked again, it would be refused again, for ever.
        if is_watched && shared.mail.is_watch_refused(address) {
            break Err(Errno::ACCES);
        }
        let early_ns = context.publish_after_ns.saturating_sub(now_ns);
        let asked = match early_ns {
            0 => ask(&mut shared.mail, now_ns, until_ns),
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
    if let Some(rate) = shared.mail.publishes_per_second_max().filter(|_| result.is_ok()) {
        context.publish_after_ns = context.clock.now_ns() + 1_000_000_000 / u64::from(rate);
    }
    result.map(Some)
}

/// Waits for the end of a call. What does not fit into the program's buffer stays, and the program is told its length.
fn outcome(guest: &mut Guest, number: u64, timeout_ms: i64, room: (i32, i32, i32)) -> Result<Flow, Errno> {
    guest.bytes(room.0, u64::from(room.1.cast_unsigned()))?;
    guest.bytes(room.2, 4)?;
    let wanted = (number != ANY).then_some(number);
    let control = guest.context.control.clone();
    let until_ns = guest.context.until_ns(timeout_ms);
    let mut shared = control.lock();
    let (number, outcome) = loop {
        let now_ns = guest.context.clock.now_ns();
        let ended = shared.mail.outcome(wanted, now_ns);
        if let Some(ended) = ended.map_err(|_| Errno::INVAL)? {
            break ended;
        }
        if until_ns.is_some_and(|until| until <= now_ns) {
            return Err(nothing_within(timeout_ms));
        }
        if shared.wants() {
            guest.context.blocked_until_ns = until_ns;
            return Ok(Flow::Interrupted);
        }
        let due = [until_ns, shared.mail.outcome_due_ns(wanted)]
            .into_iter()
            .flatten()
            .min();
        shared = control.wait(
            shared,
            due.map(|due| Duration::from_nanos(due.saturating_sub(now_ns))),
        );
    };
    drop(shared);
    let encoded = match &outcome {
        Outcome::Done(result) => encode_outcome(number, 0, result),
        Outcome::Failed(kind, why) => encode_outcome(number, kind.code(), why.as_bytes()),
    };
    hand_over(guest, &encoded, room)?;
    control.lock().mail.end_call(number);
    Ok(Flow::Done)
}
