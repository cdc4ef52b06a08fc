//! The host calls of `wayfare-guest` but for those of `values` and `calling`: messages, and what a program
//! may know about where it runs. `guest/wayfare.h` is their documentation; errors are preview 1's numbers.
//!
//! As everywhere in here a call either completes or has had no effect, and those that can wait are named in
//! `wayfare_abi::calls`.

use std::time::Duration;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WAYFARE_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_abi::message::{self, AT_LEAST_ONCE, Handed, PLAIN, RETAIN};
use wayfare_mail::{Mail, Manner, RETAINED_BYTES_MAX, RETAINED_TOPICS_MAX, ReceivedMessage, Refusal};
use wayfare_protocol::call::Sent;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::Purpose;
use wayfare_protocol::topics::Topic;

use super::clock::now_ms;
use super::context::Context;
use super::wasi::guest::{Flow, Guest, call, call_blocking};

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    subscriptions(linker)?;
    outward(linker)?;
    inward(linker)?;
    identity(linker)
}

fn subscriptions(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "subscribe",
        |caller: Caller<'_, Context>, filter: i32, length: i32, flags: i32| {
            call_blocking(caller, |guest| {
                let filter = text(guest, filter, length)?;
                subscribe(guest.context, &filter, Qos::from_bit(flags & AT_LEAST_ONCE != 0))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "unsubscribe",
        |caller: Caller<'_, Context>, filter: i32, length: i32| {
            call(caller, |guest| {
                let filter = text(guest, filter, length)?;
                unsubscribe(guest.context, &filter)
            })
        },
    )?;
    Ok(())
}

fn outward(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "publish",
        |caller: Caller<'_, Context>, topic: i32, length: i32, payload: i32, bytes: i32, flags: i32| {
            call_blocking(caller, |guest| {
                let topic = text(guest, topic, length)?;
                let payload = content(guest, payload, bytes)?;
                let manner = Manner {
                    qos: Qos::from_bit(flags & AT_LEAST_ONCE != 0),
                    retain: flags & RETAIN != 0,
                    plain: flags & PLAIN != 0,
                };
                outgoing(guest.context, "publish", &topic, |mail| {
                    mail.publish(&topic, &payload, manner)
                })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "request",
        |caller: Caller<'_, Context>, topic: i32, length: i32, payload: i32, bytes: i32| {
            call_blocking(caller, |guest| {
                let topic = text(guest, topic, length)?;
                let payload = content(guest, payload, bytes)?;
                outgoing(guest.context, "request", &topic, |mail| {
                    mail.request(&topic, &payload)
                })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "reply",
        |caller: Caller<'_, Context>, topic: i32, length: i32, number: i64, payload: i32, bytes: i32| {
            call_blocking(caller, |guest| {
                let topic = text(guest, topic, length)?;
                let payload = content(guest, payload, bytes)?;
                outgoing(guest.context, "reply", &topic, |mail| {
                    mail.reply(&topic, number.cast_unsigned(), &payload)
                })
            })
        },
    )?;
    Ok(())
}

fn inward(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "receive",
        |caller: Caller<'_, Context>, timeout_ms: i64, buffer: i32, room: i32, length: i32| {
            call_blocking(caller, |guest| {
                let there = |mail: &Mail| Ok(mail.first().cloned());
                let waiting = Waiting {
                    timeout_ms,
                    for_replies: true,
                };
                wait_for(guest, waiting, (buffer, room, length), there, |mail| {
                    mail.set_time(now_ms());
                    mail.take_first();
                })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "await_reply",
        |caller: Caller<'_, Context>, timeout_ms: i64, buffer: i32, room: i32, length: i32| {
            call_blocking(caller, |guest| {
                let there = |mail: &Mail| mail.awaited_reply().map(Option::<&ReceivedMessage>::cloned);
                let waiting = Waiting {
                    timeout_ms,
                    for_replies: false,
                };
                let flow = wait_for(guest, waiting, (buffer, room, length), there, Mail::end_request);
                if matches!(flow, Err(Errno::TIMEDOUT)) {
                    guest.context.control.lock().mail.end_request();
                }
                flow
            })
        },
    )?;
    Ok(())
}

fn identity(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "program_id", |caller: Caller<'_, Context>, out: i32| {
        call(caller, |guest| {
            let program = guest.context.control.lock().mail.home().program;
            guest.write(out, &program.to_bytes())
        })
    })?;
    linker.func_wrap(
        MODULE,
        "engine_id",
        |caller: Caller<'_, Context>, buffer: i32, room: i32, length: i32| {
            call(caller, |guest| {
                let engine = guest.context.control.lock().mail.home().engine.clone();
                hand_over(guest, engine.as_bytes(), (buffer, room, length))
            })
        },
    )?;
    linker.func_wrap(MODULE, "was_moved", |caller: Caller<'_, Context>| {
        i32::from(caller.data().control.lock().mail.take_was_moved())
    })?;
    Ok(())
}

/// Waits until the broker has granted it: what is published after that comes. Issued again elsewhere, it goes
/// on waiting.
pub(super) fn subscribe(context: &mut Context, filter: &str, qos: Qos) -> Result<Flow, Errno> {
    context.blocked_until_ns = None;
    let control = context.control.clone();
    let mut shared = control.lock();
    let asked = shared.mail.subscribe(filter, qos);
    control.outgoing.notify_one();
    if let Err(refusal) = asked {
        drop(shared);
        return Err(refused(context, "subscribe", filter, refusal));
    }
    loop {
        match shared.mail.is_granted(filter) {
            Some(true) => return Ok(Flow::Done),
            None => return Err(Errno::ACCES),
            Some(false) if shared.wants() => return Ok(Flow::Interrupted),
            Some(false) => shared = control.wait(shared, None),
        }
    }
}

pub(super) fn unsubscribe(context: &Context, filter: &str) -> Result<(), Errno> {
    let result = context.control.lock().mail.unsubscribe(filter);
    context.control.outgoing.notify_one();
    result.map_err(|refusal| refused(context, "unsubscribe", filter, refusal))
}

/// Waits while the outbox is full, or the program has published as much as it may for now.
pub(super) fn outgoing(
    context: &mut Context,
    verb: &str,
    topic: &str,
    mut ask: impl FnMut(&mut Mail) -> Result<(), Refusal>,
) -> Result<Flow, Errno> {
    context.blocked_until_ns = None;
    let control = context.control.clone();
    let mut shared = control.lock();
    let result = loop {
        let early_ns = context.publish_after_ns.saturating_sub(context.clock.now_ns());
        let asked = match early_ns {
            0 => ask(&mut shared.mail),
            _ => Err(Refusal::Full),
        };
        if asked != Err(Refusal::Full) {
            break asked;
        }
        if shared.wants() {
            return Ok(Flow::Interrupted);
        }
        shared = control.wait(shared, (early_ns > 0).then(|| Duration::from_nanos(early_ns)));
    };
    drop(shared);
    if result.is_ok() {
        context.pace(1);
    }
    control.outgoing.notify_one();
    match result {
        Ok(()) => Ok(Flow::Done),
        Err(refusal) => Err(refused(context, verb, topic, refusal)),
    }
}

/// How long is waited, and for what else.
#[derive(Clone, Copy)]
struct Waiting {
    /// Below zero for ever, zero not at all.
    timeout_ms: i64,
    /// The end and progress of the call that the program attends to, as well.
    for_replies: bool,
}

/// Waits for a message. One that does not fit into the program's buffer stays, and the program is told its
/// length.
fn wait_for(
    guest: &mut Guest,
    waiting: Waiting,
    room: (i32, i32, i32),
    there: impl Fn(&Mail) -> Result<Option<ReceivedMessage>, Refusal>,
    done: impl FnOnce(&mut Mail),
) -> Result<Flow, Errno> {
    guest.bytes(room.0, u64::from(room.1.cast_unsigned()))?;
    guest.bytes(room.2, 4)?;
    let control = guest.context.control.clone();
    let until_ns = guest.context.until_ns(waiting.timeout_ms);
    let mut shared = control.lock();
    let message = loop {
        if let Some(message) = there(&shared.mail).map_err(|_| Errno::INVAL)? {
            break message;
        }
        let now_ns = guest.context.clock.now_ns();
        let reply = shared.mail.attention().reply.filter(|_| waiting.for_replies);
        if reply.is_some_and(|call| has_reply(&shared.mail, call, now_ns)) {
            return Err(Errno::INTR);
        }
        if until_ns.is_some_and(|until| until <= now_ns) {
            return Err(nothing_within(waiting.timeout_ms));
        }
        if shared.wants() {
            guest.context.blocked_until_ns = until_ns;
            return Ok(Flow::Interrupted);
        }
        let reply_ns = reply.and_then(|call| shared.mail.outcome_due_ns(Some(call)));
        let due_ns = until_ns.into_iter().chain(reply_ns).min();
        let left = due_ns.map(|due| Duration::from_nanos(due.saturating_sub(now_ns)));
        shared = control.wait(shared, left);
    };
    drop(shared);
    let handed = for_the_program(&control.lock().mail, &message);
    hand_over(guest, &handed, room)?;
    done(&mut control.lock().mail);
    control.outgoing.notify_one();
    Ok(Flow::Done)
}

fn has_reply(mail: &Mail, call: u64, now_ns: u64) -> bool {
    mail.first_progress(Some(call)).is_some() || !matches!(mail.outcome(Some(call), now_ns), Ok(None))
}

/// Writes what fits as a whole, and its length in any case.
pub(super) fn hand_over(
    guest: &mut Guest,
    bytes: &[u8],
    (buffer, room, length): (i32, i32, i32),
) -> Result<(), Errno> {
    guest.write_u32(length, u32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?)?;
    if bytes.len() > room.cast_unsigned() as usize {
        return Err(Errno::OVERFLOW);
    }
    guest.write(buffer, bytes)
}

fn for_the_program(mail: &Mail, message: &ReceivedMessage) -> Vec<u8> {
    let sent = mail.sent_here(message);
    let mut flags = if message.retained { message::RETAINED } else { 0 };
    let mut stamp = message
        .stamp
        .as_ref()
        .map(|stamp| (stamp.sender.to_bytes(), stamp.number));
    let mut reply_to = match message.stamp.as_ref().map(|stamp| &stamp.purpose) {
        Some(Purpose::Request { reply_to }) => reply_to.clone(),
        _ => String::new(),
    };
    let (topic, payload) = match &sent {
        Some((Sent::Call { to, function, .. }, arguments)) => {
            flags |= message::CALL;
            (format!("{to} {function}"), *arguments)
        }
        Some((Sent::Message { to, about }, payload)) if mail.attention().about => {
            flags |= message::ABOUT;
            let [kind, key] = [&about.kind, &about.ordered].map(|word| word.as_deref().unwrap_or(""));
            (format!("{to}\n{kind}\n{key}"), *payload)
        }
        Some((Sent::Message { to, .. }, payload)) => (to.to_string(), *payload),
        Some((Sent::Cancel { to, call }, _)) => {
            flags |= message::CANCELLED;
            if let Some((sender, number)) = &mut stamp {
                *number = *call;
                let sender = ProgramId::from_bytes(*sender);
                reply_to = mail.home().topics.topic(&Topic::ProgramReply(sender));
            }
            (to.to_string(), &[][..])
        }
        None => (message.topic.clone(), &message.payload[..]),
    };
    let handed = Handed {
        topic: &topic,
        reply_to: &reply_to,
        payload,
        flags,
        stamp,
    };
    handed.encode()
}

/// Bytes of a payload.
pub(super) fn content(guest: &Guest, at: i32, length: i32) -> Result<Vec<u8>, Errno> {
    let bytes = guest.bytes(at, u64::from(length.cast_unsigned()))?;
    Ok(bytes.to_vec())
}

/// Why there is nothing, of what was waited for as long as it was to be.
pub(super) fn nothing_within(timeout_ms: i64) -> Errno {
    match timeout_ms {
        0 => Errno::AGAIN,
        _ => Errno::TIMEDOUT,
    }
}

pub(super) fn text(guest: &Guest, at: i32, length: i32) -> Result<String, Errno> {
    let bytes = guest.bytes(at, u64::from(length.cast_unsigned()))?;
    let text = std::str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
    Ok(text.to_owned())
}

/// The error for the program; what it was not granted is also said in its log.
pub(super) fn refused(context: &Context, verb: &str, what: &str, refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Malformed | Refusal::NotRepliable => Errno::INVAL,
        Refusal::TooLarge => Errno::MSGSIZE,
        Refusal::TooMany => {
            if verb == "publish" {
                let line = format!(
                    "wayfare: a message was not published: a program has {RETAINED_TOPICS_MAX} retained messages with {} MiB at most; \
                     an empty one takes one away",
                    RETAINED_BYTES_MAX >> 20
                );
                context.control.tell(&line);
                context.say_lines();
            }
            Errno::NOBUFS
        }
        Refusal::Full => Errno::AGAIN,
        Refusal::NotGranted => {
            let option = match verb {
                "subscribe" => "--allow-sub",
                "serve" | "listen" => "--allow-serve",
                "call" => "--allow-call",
                "send" => "--allow-send",
                _ => "--allow-pub",
            };
            let what: String = what.chars().take(200).collect();
            let line = format!("wayfare: not granted: {verb} '{what}'; {option} at 'wayfare run' grants it");
            context.control.tell(&line);
            context.say_lines();
            Errno::NOTCAPABLE
        }
    }
}
