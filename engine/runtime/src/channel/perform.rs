//! What is written to `/wayfare/out`: each line is an action, carried out by the code of the imports.

use wayfare_abi::errno::Errno;
use wayfare_mail::CallOptions;
use wayfare_protocol::address::Address;
use wayfare_protocol::values::{Value, ValueAnswer, ValueAsk};

use super::format::{Action, Event, Number, Trouble, parse};
use super::{Awaiting, LINE_BYTES_MAX, Taken};
use crate::context::Context;
use crate::values;
use crate::wasi::guest::Flow;
use crate::{calling, calls};

/// How many of the bytes were taken, at least one: all, unless there is no more room for answers. `None`: the
/// program shall stop first, and the same call is issued again.
pub(crate) fn write(context: &mut Context, bytes: &[u8]) -> Result<Option<usize>, Errno> {
    let again = std::mem::take(&mut context.files.channel.noted.written);
    let mut taken = usize::try_from(again).map_or(0, |again| again.min(bytes.len()));
    while taken < bytes.len() {
        let rest = &bytes[taken..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        if end.is_some() && context.files.channel.is_full() {
            return match taken {
                0 => Err(Errno::NOBUFS),
                _ => Ok(Some(taken)),
            };
        }
        let before = context.files.channel.begun.len();
        let was_too_long = context.files.channel.noted.is_too_long;
        match context
            .files
            .channel
            .take(&rest[..end.unwrap_or(rest.len())], end.is_some())
        {
            Taken::Begun => {}
            Taken::TooLong => {
                let reason = format!("a line has more than {LINE_BYTES_MAX} bytes");
                answer(context, Event::error(None, &Trouble::new("too-large", reason)));
            }
            Taken::Line(line) => {
                if let Flow::Interrupted = carry_out(context, &line) {
                    let channel = &mut context.files.channel;
                    channel.begun = line;
                    channel.begun.truncate(before);
                    channel.noted.is_too_long = was_too_long;
                    channel.noted.written = taken as u64;
                    return Ok(None);
                }
            }
        }
        taken += end.map_or(rest.len(), |end| end + 1);
    }
    Ok(Some(taken))
}

fn answer(context: &mut Context, event: Event) {
    context.files.channel.answer(event.line());
}

/// What a line asks for, and the answer to it.
fn carry_out(context: &mut Context, line: &[u8]) -> Flow {
    // An empty line does nothing: a person at a terminal may press return.
    if line.trim_ascii().is_empty() {
        return Flow::Done;
    }
    let line = parse(line);
    let done = line
        .action
        .map_err(Failed::from)
        .and_then(|action| perform(context, line.number, action));
    match done {
        Ok(Done::Interrupted) => return Flow::Interrupted,
        Ok(Done::Quietly) => {
            if line.number.is_some() {
                answer(context, Event::answer(line.number));
            }
        }
        Ok(Done::With(event)) => answer(context, *event),
        Ok(Done::Later) => {}
        Err(Failed { trouble, version }) => {
            let mut event = Event::error(line.number, &trouble);
            if let Some(version) = version {
                event = event.with("version", version);
            }
            answer(context, event);
        }
    }
    Flow::Done
}

enum Done {
    /// Answered only where the action has a number.
    Quietly,
    /// Answered in any case.
    With(Box<Event>),
    /// Its answer is awaited.
    Later,
    Interrupted,
}

struct Failed {
    trouble: Trouble,
    /// That of the value, where it is another than was expected.
    version: Option<u64>,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        let version = None;
        Self { trouble, version }
    }
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        trouble(errno).into()
    }
}

fn perform(context: &mut Context, number: Option<Number>, action: Action) -> Result<Done, Failed> {
    let flow = match action {
        Action::Publish {
            topic,
            payload,
            manner,
        } => calls::outgoing(context, "publish", &topic, |mail| {
            mail.publish(&topic, &payload, manner)
        })?,
        Action::Subscribe { filter, qos } => calls::subscribe(context, &filter, qos)?,
        Action::Unsubscribe { filter } => {
            calls::unsubscribe(context, &filter)?;
            Flow::Done
        }
        Action::Request {
            topic,
            payload,
            timeout_ms,
        } => return request(context, number, (&topic, &payload), timeout_ms),
        Action::Reply {
            reply_to,
            answers,
            payload,
        } => calls::outgoing(context, "reply", &reply_to, |mail| {
            mail.reply(&reply_to, answers, &payload)
        })
        .map_err(not_repliable)?,
        Action::Serve { name, schema } => calling::serve(context, &name, schema.as_deref())?,
        Action::Call {
            address,
            function,
            arguments,
            deadline_ms,
            options,
        } => {
            let what = (function.as_str(), arguments.as_slice());
            return call(context, number, &address, what, (deadline_ms, &options));
        }
        Action::Cancel { call } => {
            let calls = &context.files.channel.noted.calls;
            let found = calls.iter().find(|(_, number)| number.0 == call);
            let (call, _) = found.ok_or_else(|| Trouble::new("gone", "no such call is open"))?;
            calling::cancel(context, *call)?
        }
        Action::Progress {
            reply_to,
            answers,
            payload,
        } => calling::progress(context, &reply_to, answers, &payload).map_err(not_repliable)?,
        Action::HandOn {
            reply_to,
            answers,
            address,
            function,
            arguments,
            deadline_ms,
        } => {
            let what = (function.as_str(), arguments.as_slice());
            calling::hand_on(context, (&reply_to, answers), &address, what, deadline_ms).map_err(|errno| {
                match errno {
                    Errno::INVAL => not_repliable(errno),
                    other => nobody_there(other),
                }
            })?
        }
        Action::Listen => calling::listen(context)?,
        Action::Attend(attention) => calling::attend(context, attention),
        Action::Handled { key } => calling::handled(context, &key)
            .map_err(|_| Trouble::new("gone", "no message that was taken is ordered by this key"))?,
        Action::Healthy(health) => calling::claim(context, |claims| claims.health = Some(health)),
        Action::Hold(hold) => calling::claim(context, |claims| claims.hold = Some(hold)),
        Action::Answer {
            reply_to,
            answers,
            outcome,
        } => calling::answer(context, &reply_to, answers, &outcome).map_err(not_repliable)?,
        Action::Send {
            address,
            payload,
            timeout_ms,
            about,
            expires_ms,
        } => {
            if about.receipt && number.is_none() {
                return Err(Trouble::new("malformed", "'id' is missing: the receipt has it").into());
            }
            let has_receipt = about.receipt;
            let limits = (timeout_ms, expires_ms);
            let sent = calling::send(context, &address, &payload, about, limits).map_err(nobody_there)?;
            match (sent, number) {
                (None, _) => Flow::Interrupted,
                (Some(sent), Some(number)) if has_receipt => {
                    context.files.channel.noted.calls.insert(sent, number);
                    return Ok(Done::Later);
                }
                (Some(_), _) => Flow::Done,
            }
        }
        Action::Get { key } => {
            let key = values::key_named(context, "get", &key)?;
            return value(context, number, ValueAsk::Get { key });
        }
        Action::Set {
            key,
            value: bytes,
            expected,
        } => {
            let key = values::key_named(context, "set", &key)?;
            let new = Value::new(bytes).ok_or(Errno::MSGSIZE)?;
            let ask = match expected {
                None => ValueAsk::Set { key, value: new },
                Some(expected) => ValueAsk::CompareAndSet {
                    key,
                    expected,
                    value: new,
                },
            };
            return value(context, number, ask);
        }
        Action::Remove { key } => {
            let key = values::key_named(context, "remove", &key)?;
            return value(context, number, ValueAsk::Remove { key });
        }
    };
    Ok(match flow {
        Flow::Done => Done::Quietly,
        Flow::Interrupted => Done::Interrupted,
    })
}

/// Sends it; its reply comes as a line when it is there. One at a time, as with the imports.
fn request(
    context: &mut Context,
    number: Option<Number>,
    (topic, payload): (&str, &[u8]),
    timeout_ms: u64,
) -> Result<Done, Failed> {
    if context.files.channel.noted.awaiting.is_some() {
        let reason = "the reply to another request is awaited: read '/wayfare/in' until it has come";
        return Err(Trouble::new("busy", reason).into());
    }
    let flow = calls::outgoing(context, "request", topic, |mail| mail.request(topic, payload))?;
    if let Flow::Interrupted = flow {
        return Ok(Done::Interrupted);
    }
    let timeout_ns = timeout_ms.saturating_mul(1_000_000);
    let until_ns = context.clock.now_ns().saturating_add(timeout_ns);
    context.files.channel.noted.awaiting = Some(Awaiting { number, until_ns });
    Ok(Done::Later)
}

/// Makes it; what becomes of it comes as a line with the number of the action.
fn call(
    context: &mut Context,
    number: Option<Number>,
    address: &Address,
    what: (&str, &[u8]),
    how: (u64, &CallOptions),
) -> Result<Done, Failed> {
    let number = number.ok_or_else(|| Trouble::new("malformed", "'id' is missing: the answer has it"))?;
    match calling::call(context, address, what, how).map_err(nobody_there)? {
        None => Ok(Done::Interrupted),
        Some(call) => {
            context.files.channel.noted.calls.insert(call, number);
            Ok(Done::Later)
        }
    }
}

fn not_repliable(errno: Errno) -> Trouble {
    match errno {
        Errno::INVAL => Trouble::new(
            "not-repliable",
            "nobody waits for a reply to this request any more",
        ),
        other => trouble(other),
    }
}

fn nobody_there(errno: Errno) -> Trouble {
    match errno {
        Errno::NOENT => Trouble::new("not-found", "nobody serves this address"),
        other => trouble(other),
    }
}

fn value(context: &mut Context, number: Option<Number>, ask: ValueAsk) -> Result<Done, Failed> {
    let Some(answer) = values::ask(context, ask)? else {
        return Ok(Done::Interrupted);
    };
    match answer {
        ValueAnswer::Value { version, value } => {
            let event = Event::answer(number).with("version", version);
            Ok(Done::With(Box::new(event.with_bytes("value", value.as_bytes()))))
        }
        ValueAnswer::Set { version } if number.is_some() => {
            let event = Event::answer(number).with("version", version);
            Ok(Done::With(Box::new(event)))
        }
        ValueAnswer::Set { .. } | ValueAnswer::Removed => Ok(Done::Quietly),
        ValueAnswer::Conflict { version } => Err(Failed {
            trouble: Trouble::new("conflict", format!("the value has version {version}")),
            version: Some(version),
        }),
        ValueAnswer::Full => Err(Trouble::new("full", "the dispatcher has no room for it").into()),
        other => Err(values::refusal(&other).into()),
    }
}

/// An error of the imports as a line has it.
fn trouble(errno: Errno) -> Trouble {
    let (kind, reason) = match errno {
        Errno::NOTCAPABLE => (
            "not-granted",
            "it is not granted: the log names the option that grants it",
        ),
        Errno::ACCES => ("refused", "the broker refused it"),
        Errno::MSGSIZE => ("too-large", "it is longer than a message or value may be"),
        Errno::NOBUFS => ("too-many", "there are too many of these"),
        Errno::NOENT => ("absent", "there is no such value"),
        Errno::IO => (
            "unavailable",
            "the dispatcher has not answered, or the program lives on elsewhere: see the log",
        ),
        // The outbox was full all the time.
        Errno::TIMEDOUT => ("timeout", "it could not be sent in time"),
        _ => ("malformed", "it is not a topic, filter or key"),
    };
    Trouble::new(kind, reason)
}
