//! What is read from `/wayfare/in`: the next line, when there is one.

use std::time::Duration;

use wayfare_abi::errno::Errno;
use wayfare_mail::{Mail, ReceivedMessage};
use wayfare_protocol::call::Sent;
use wayfare_protocol::topics::Topic;

use super::Channel;
use super::format::{Event, Trouble};
use crate::clock::now_ms;
use crate::context::Context;
use crate::control::Shared;

/// Bytes of the line that comes next, at most `count`; waits for it unless `at_once`. `None`: the program
/// shall stop first.
pub(crate) fn read(context: &mut Context, count: usize, at_once: bool) -> Result<Option<Vec<u8>>, Errno> {
    let control = context.control.clone();
    let mut shared = control.lock();
    while context.files.channel.reading.is_empty() {
        let now_ns = context.clock.now_ns();
        if let Some(line) = next(&mut context.files.channel, &mut shared, now_ns) {
            context.files.channel.begin_reading(line);
            control.outgoing.notify_one();
            break;
        }
        if at_once {
            return Err(Errno::AGAIN);
        }
        if shared.wants() {
            return Ok(None);
        }
        let left = time_left(&context.files.channel, &shared, now_ns);
        shared = control.wait(shared, left);
    }
    drop(shared);
    Ok(Some(context.files.channel.read(count)))
}

/// Whether reading would not wait.
pub(crate) fn is_ready(channel: &Channel, shared: &Shared, now_ns: u64) -> bool {
    let is_answered = channel.noted.awaiting.is_some_and(|awaiting| {
        awaiting.until_ns <= now_ns || !matches!(shared.mail.awaited_reply(), Ok(None))
    });
    let has_ended = |call: &u64| {
        let is_open = matches!(shared.mail.outcome(Some(*call), now_ns), Ok(None));
        !is_open || shared.mail.first_progress(Some(*call)).is_some()
    };
    !channel.reading.is_empty()
        || channel.noted.calls.keys().any(has_ended)
        || !channel.noted.answers.is_empty()
        || is_answered
        || shared.mail.was_moved()
        || shared.mail.first().is_some()
}

/// How long it takes until there is a line in any case.
pub(crate) fn time_left(channel: &Channel, shared: &Shared, now_ns: u64) -> Option<Duration> {
    let awaiting = channel.noted.awaiting.map(|awaiting| awaiting.until_ns);
    let calls = channel.noted.calls.keys();
    let calls = calls.filter_map(|call| shared.mail.outcome_due_ns(Some(*call)));
    let due_ns = awaiting.into_iter().chain(calls).min()?;
    Some(Duration::from_nanos(due_ns.saturating_sub(now_ns)))
}

fn next(channel: &mut Channel, shared: &mut Shared, now_ns: u64) -> Option<String> {
    let mail = &mut shared.mail;
    if let Some(answer) = channel.noted.answers.pop_front() {
        return Some(answer);
    }
    if let Some(awaiting) = channel.noted.awaiting {
        let event = match mail.awaited_reply().map(Option::<&ReceivedMessage>::cloned) {
            Ok(Some(message)) => Some(Event::answer(awaiting.number).with_bytes("payload", &message.payload)),
            Ok(None) if awaiting.until_ns > now_ns => None,
            Ok(None) => {
                let trouble = Trouble::new("timeout", "no reply came in time");
                Some(Event::error(awaiting.number, &trouble))
            }
            Err(_) => {
                let reason =
                    "the reply went to another request, or to the program that this one is a copy of";
                Some(Event::error(awaiting.number, &Trouble::new("gone", reason)))
            }
        };
        if let Some(event) = event {
            mail.end_request();
            channel.noted.awaiting = None;
            return Some(event.line());
        }
    }
    if let Some(event) = ended_call(channel, mail, now_ns) {
        return Some(event.line());
    }
    if mail.take_was_moved() {
        return Some(Event::moved(&mail.home().engine).line());
    }
    let first = mail.first()?;
    let event = match (mail.sent_here(first), &first.stamp) {
        (Some((Sent::Cancel { to, call }, _)), Some(stamp)) => {
            let reply_to = mail.home().topics.topic(&Topic::ProgramReply(stamp.sender));
            Event::cancelled(call, &reply_to, &to)
        }
        (sent, _) => Event::message(first, sent),
    };
    mail.set_time(now_ms());
    mail.take_first();
    Some(event.line())
}

/// How far a call is, or what became of the first that has ended.
fn ended_call(channel: &mut Channel, mail: &mut Mail, now_ns: u64) -> Option<Event> {
    let calls = &mut channel.noted.calls;
    let progress = calls.iter().find_map(|(call, number)| {
        let (_, payload) = mail.first_progress(Some(*call))?;
        Some((*call, Event::progress(*number, payload)))
    });
    if let Some((call, event)) = progress {
        mail.take_progress(call);
        return Some(event);
    }
    let ended = calls
        .iter()
        .find_map(|(call, number)| match mail.outcome(Some(*call), now_ns) {
            Ok(None) => None,
            Ok(Some((_, outcome))) => Some((*call, Event::outcome(*number, &outcome))),
            Err(_) => {
                let reason = "the call was made by the program that this one is a copy of";
                Some((*call, Event::error(Some(*number), &Trouble::new("gone", reason))))
            }
        });
    let (call, event) = ended?;
    calls.remove(&call);
    mail.end_call(call);
    Some(event)
}
