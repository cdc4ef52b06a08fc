//! The host calls for values that outlive the program. The fleet's dispatcher keeps them: each call waits for
//! its answer.

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WAYFARE_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_protocol::values::{Key, Value, ValueAnswer, ValueAsk, is_shared_key};

use super::asking;
use super::calls::{hand_over, text};
use super::context::Context;
use super::service_requests::{Reply, ServiceAsk};
use super::wasi::guest::{Flow, Guest, call_blocking};

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "state_get",
        |caller: Caller<'_, Context>,
         key: i32,
         length: i32,
         buffer: i32,
         room: i32,
         bytes: i32,
         version: i32| {
            call_blocking(caller, |guest| {
                guest.bytes(buffer, u64::from(room.cast_unsigned()))?;
                guest.bytes(bytes, 4)?;
                guest.bytes(version, 8)?;
                let key = key_of(guest, "get", key, length)?;
                let answer = ask(guest.context, ValueAsk::Get { key })?;
                finish(answer, |answer| match answer {
                    ValueAnswer::Value { version: its, value } => {
                        guest.write_u64(version, its)?;
                        hand_over(guest, value.as_bytes(), (buffer, room, bytes))
                    }
                    other => Err(refusal(&other)),
                })
            })
        },
    )?;
    define_setting(linker)?;
    linker.func_wrap(
        MODULE,
        "state_remove",
        |caller: Caller<'_, Context>, key: i32, length: i32| {
            call_blocking(caller, |guest| {
                let key = key_of(guest, "remove", key, length)?;
                let answer = ask(guest.context, ValueAsk::Remove { key })?;
                finish(answer, |answer| match answer {
                    ValueAnswer::Removed => Ok(()),
                    other => Err(refusal(&other)),
                })
            })
        },
    )?;
    Ok(())
}

fn define_setting(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "state_set",
        |caller: Caller<'_, Context>, key: i32, length: i32, value: i32, bytes: i32, version: i32| {
            call_blocking(caller, |guest| {
                guest.bytes(version, 8)?;
                let key = key_of(guest, "set", key, length)?;
                let value = value_of(guest, value, bytes)?;
                let answer = ask(guest.context, ValueAsk::Set { key, value })?;
                finish(answer, |answer| was_set(guest, answer, version))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "state_compare_and_set",
        |caller: Caller<'_, Context>,
         key: i32,
         length: i32,
         expected: i64,
         value: i32,
         bytes: i32,
         version: i32| {
            call_blocking(caller, |guest| {
                guest.bytes(version, 8)?;
                let what = ValueAsk::CompareAndSet {
                    key: key_of(guest, "set", key, length)?,
                    expected: expected.cast_unsigned(),
                    value: value_of(guest, value, bytes)?,
                };
                let answer = ask(guest.context, what)?;
                finish(answer, |answer| was_set(guest, answer, version))
            })
        },
    )?;
    Ok(())
}

/// `None`: the program shall stop first, and will ask again.
fn finish(
    answer: Option<ValueAnswer>,
    then: impl FnOnce(ValueAnswer) -> Result<(), Errno>,
) -> Result<Flow, Errno> {
    match answer {
        Some(answer) => then(answer).map(|()| Flow::Done),
        None => Ok(Flow::Interrupted),
    }
}

fn was_set(guest: &mut Guest, answer: ValueAnswer, version: i32) -> Result<(), Errno> {
    match answer {
        ValueAnswer::Set { version: its } => guest.write_u64(version, its),
        other => Err(refusal(&other)),
    }
}

pub(super) fn refusal(answer: &ValueAnswer) -> Errno {
    match answer {
        ValueAnswer::Absent => Errno::NOENT,
        ValueAnswer::Conflict { .. } => Errno::BUSY,
        ValueAnswer::Full => Errno::NOBUFS,
        // Answers to something else do not come; a program whose copy lives on elsewhere has nothing more to
        // say.
        ValueAnswer::Stale
        | ValueAnswer::Value { .. }
        | ValueAnswer::Set { .. }
        | ValueAnswer::Removed
        | ValueAnswer::Listed { .. }
        | ValueAnswer::Matching { .. }
        | ValueAnswer::SetMany { .. }
        | ValueAnswer::ConflictAt { .. } => Errno::IO,
    }
}

fn key_of(guest: &mut Guest, verb: &str, at: i32, length: i32) -> Result<Key, Errno> {
    let key = text(guest, at, length)?;
    key_named(guest.context, verb, &key)
}

/// The key as the fleet knows it, if the program may use it.
pub(super) fn key_named(context: &Context, verb: &str, key: &str) -> Result<Key, Errno> {
    let name = context.arguments.first().map_or("", String::as_str);
    let full = Key::of_program(name, key).ok_or(Errno::INVAL)?;
    if is_shared_key(key) && !context.grants.may_share(key) {
        let key: String = key.chars().take(200).collect();
        let line = format!("wayfare: not granted: {verb} '{key}'; --allow-state at 'wayfare run' grants it");
        context.control.tell(&line);
        context.say_lines();
        return Err(Errno::NOTCAPABLE);
    }
    Ok(full)
}

fn value_of(guest: &Guest, at: i32, bytes: i32) -> Result<Value, Errno> {
    let bytes = guest.bytes(at, u64::from(bytes.cast_unsigned()))?;
    Value::new(bytes.to_vec()).ok_or(Errno::MSGSIZE)
}

/// Waits for the dispatcher's answer; `None`: the program shall stop first.
pub(super) fn ask(context: &mut Context, what: ValueAsk) -> Result<Option<ValueAnswer>, Errno> {
    match asking::ask(context, &ServiceAsk::Value(what))? {
        Some(Reply::Value(answer)) => Ok(Some(answer)),
        Some(Reply::File(_) | Reply::Loads(_)) => Err(Errno::IO),
        None => Ok(None),
    }
}
