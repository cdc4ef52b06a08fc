//! The host calls for what programs ask of each other: services, calls and their answers, messages to
//! addresses. The mail decides (`wayfare_mail`); this waits. As everywhere in here a call either completes or
//! has had no effect.

use std::time::Duration;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WAYFARE_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_abi::message::{PROGRESS, encode_outcome};
use wayfare_mail::{Attention, CallOptions, Mail, Refusal};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{About, Expiry, FailureKind, Outcome};
use wayfare_protocol::health::Claims;

use super::ProcessEvent;
use super::calls::{self, content, hand_over, nothing_within, refused, text};
use super::channel::format::{Action, parse_action};
use super::choosing;
use super::clock::now_ms;
use super::context::Context;
use super::toward::{left_ms, toward};
use super::wasi::guest::{Flow, Guest, call_blocking};

/// For [`outcome`]: whichever call ends first.
const ANY: u64 = u64::MAX;
/// A clock that shows an earlier time was never set (the beginning of 2024).
const PLAUSIBLE_MS: u64 = 1_704_067_200_000;

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
                serve(guest.context, &name, None)
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
                let address = text(guest, address, length)?;
                let function = text(guest, function, letters)?;
                let arguments = content(guest, arguments, bytes)?;
                let deadline_ms = u64::try_from(deadline_ms).map_err(|_| Errno::INVAL)?;
                // No address begins so: an action as a line of `/wayfare` has it, for what came later than
                // this import.
                let done = match address.starts_with('{') && function.is_empty() {
                    true => act(guest.context, &address, arguments)?,
                    false => {
                        let address = address.parse().map_err(|_| Errno::INVAL)?;
                        let options = CallOptions::default();
                        call(
                            guest.context,
                            &address,
                            (&function, &arguments),
                            (deadline_ms, &options),
                        )?
                    }
                };
                match done {
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
                let limits = (timeout_ms, None);
                let sent = send(guest.context, &address, &payload, About::default(), limits)?;
                Ok(done_if(sent))
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

fn done_if<T>(done: Option<T>) -> Flow {
    done.map_or(Flow::Interrupted, |_| Flow::Done)
}

/// What programs ask for by the import `call` that is no plain call. The number of what was begun, or 0;
/// `None`: the program shall stop first.
fn act(context: &mut Context, line: &str, payload: Vec<u8>) -> Result<Option<u64>, Errno> {
    let flow = match parse_action(line.as_bytes(), payload).map_err(|_| Errno::INVAL)? {
        Action::Call {
            address,
            function,
            arguments,
            deadline_ms,
            options,
        } => {
            let what = (function.as_str(), arguments.as_slice());
            return call(context, &address, what, (deadline_ms, &options));
        }
        Action::Send {
            address,
            payload,
            timeout_ms,
            about,
            expires_ms,
        } => return send(context, &address, &payload, about, (timeout_ms, expires_ms)),
        Action::Cancel { call } => cancel(context, call)?,
        Action::Progress {
            reply_to,
            answers,
            payload,
        } => progress(context, &reply_to, answers, &payload)?,
        Action::HandOn {
            reply_to,
            answers,
            address,
            function,
            arguments,
            deadline_ms,
        } => {
            let what = (function.as_str(), arguments.as_slice());
            hand_on(context, (&reply_to, answers), &address, what, deadline_ms)?
        }
        Action::Serve { name, schema } => serve(context, &name, schema.as_deref())?,
        Action::Listen => listen(context)?,
        Action::Attend(attention) => attend(context, attention),
        Action::Handled { key } => handled(context, &key)?,
        Action::Healthy(health) => claim(context, |claims| claims.health = Some(health)),
        Action::Hold(hold) => claim(context, |claims| claims.hold = Some(hold)),
        // These have imports of their own.
        _ => return Err(Errno::INVAL),
    };
    Ok(match flow {
        Flow::Done => Some(0),
        Flow::Interrupted => None,
    })
}

/// Waits until the broker has granted the program's inbox: who calls after that is heard.
pub(super) fn serve(context: &mut Context, name: &str, schema: Option<&str>) -> Result<Flow, Errno> {
    be_reached(context, ("serve", name), |mail| mail.serve(name, schema))
}

/// The same for messages alone.
pub(super) fn listen(context: &mut Context) -> Result<Flow, Errno> {
    be_reached(context, ("listen", ""), Mail::listen)
}

fn be_reached(
    context: &mut Context,
    (verb, what): (&str, &str),
    ask: impl FnOnce(&mut Mail) -> Result<(), Refusal>,
) -> Result<Flow, Errno> {
    context.blocked_until_ns = None;
    let control = context.control.clone();
    let mut shared = control.lock();
    let asked = ask(&mut shared.mail);
    control.outgoing.notify_one();
    if let Err(refusal) = asked {
        drop(shared);
        return Err(refused(context, verb, what, refusal));
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

pub(super) fn attend(context: &Context, attention: Attention) -> Flow {
    context.control.lock().mail.attend(attention);
    Flow::Done
}

/// What the program says of itself.
pub(super) fn claim(context: &Context, claim: impl FnOnce(&mut Claims)) -> Flow {
    context.claim(claim);
    Flow::Done
}

pub(super) fn handled(context: &Context, key: &str) -> Result<Flow, Errno> {
    match context.control.lock().mail.handled(key) {
        true => Ok(Flow::Done),
        false => Err(Errno::INVAL),
    }
}

pub(super) fn progress(context: &mut Context, to: &str, number: u64, payload: &[u8]) -> Result<Flow, Errno> {
    calls::outgoing(context, "progress", to, |mail| mail.progress(to, number, payload))
}

/// Ends a call of the program's own.
pub(super) fn cancel(context: &mut Context, call: u64) -> Result<Flow, Errno> {
    calls::outgoing(context, "cancel", "", |mail| match mail.cancel(call)? {
        true => Ok(()),
        false => Err(Refusal::NotRepliable),
    })
}

/// Waits as [`call`] does.
pub(super) fn hand_on(
    context: &mut Context,
    received: (&str, u64),
    address: &Address,
    what: (&str, &[u8]),
    deadline_ms: u64,
) -> Result<Flow, Errno> {
    let handed = toward(
        context,
        ("call", address),
        deadline_ms,
        |mail, now_ns, until_ns| mail.hand_on(received, address, what, left_ms(now_ns, until_ns), until_ns),
    )?;
    Ok(done_if(handed))
}

pub(super) fn answer(context: &mut Context, to: &str, number: u64, outcome: &Outcome) -> Result<Flow, Errno> {
    calls::outgoing(context, "answer", to, |mail| mail.answer(to, number, outcome))
}

/// The number of the call; `None`: the program shall stop first. Waits while nobody is known who can be
/// called there, and fails when the call's time is over: then nothing was done.
pub(super) fn call(
    context: &mut Context,
    address: &Address,
    what: (&str, &[u8]),
    (deadline_ms, options): (u64, &CallOptions),
) -> Result<Option<u64>, Errno> {
    if options.choose.is_asked() {
        return choosing::call(context, address, what, (deadline_ms, options));
    }
    toward(
        context,
        ("call", address),
        deadline_ms,
        |mail, now_ns, until_ns| mail.call(address, what, left_ms(now_ns, until_ns), until_ns, options),
    )
}

/// The number of the message; `None`: the program shall stop first. `timeout_ms` is how long somebody is
/// waited for at the address.
pub(super) fn send(
    context: &mut Context,
    address: &Address,
    payload: &[u8],
    mut about: About,
    (timeout_ms, expires_ms): (u64, Option<u64>),
) -> Result<Option<u64>, Errno> {
    let sent_ms = now_ms();
    about.expires = expires_ms
        .filter(|_| sent_ms >= PLAUSIBLE_MS)
        .map(|after_ms| Expiry { sent_ms, after_ms });
    toward(context, ("send", address), timeout_ms, |mail, now_ns, _| {
        let until_ns = expires_ms.map_or(u64::MAX, |ms| now_ns.saturating_add(ms.saturating_mul(1_000_000)));
        mail.send_to(address, payload, &about, until_ns)
    })
}

/// Waits for the end of a call. What does not fit into the program's buffer stays, and the program is told
/// its length.
fn outcome(guest: &mut Guest, number: u64, timeout_ms: i64, room: (i32, i32, i32)) -> Result<Flow, Errno> {
    guest.bytes(room.0, u64::from(room.1.cast_unsigned()))?;
    guest.bytes(room.2, 4)?;
    let wanted = (number != ANY).then_some(number);
    let control = guest.context.control.clone();
    let until_ns = guest.context.until_ns(timeout_ms);
    let mut shared = control.lock();
    let (number, outcome) = loop {
        let now_ns = guest.context.clock.now_ns();
        if let Some((number, payload)) = shared.mail.first_progress(wanted) {
            let encoded = encode_outcome(number, PROGRESS, payload);
            drop(shared);
            hand_over(guest, &encoded, room)?;
            control.lock().mail.take_progress(number);
            return Ok(Flow::Done);
        }
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
