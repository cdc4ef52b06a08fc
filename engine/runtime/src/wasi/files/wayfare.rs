//! `/wayfare`: what the imports offer, as files. Lines are the channel's (`channel`); plain files
//! are read and written here, by the code of the imports. `None` is always: to be issued again after a
//! capture.

use wayfare_abi::errno::Errno;
use wayfare_devices::Trouble;
use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::files::Opening;
use wayfare_protocol::values::{VALUE_BYTES_MAX, Value, ValueAnswer, ValueAsk};

use super::paths::Change;
use crate::channel::{perform, receive};
use crate::context::Context;
use crate::device_calls::{SEND_LOOK, SERIAL_BYTES_MAX, on_named, wait_named};
use crate::files::scratch::Stat;
use crate::files::wayfare::{self as model, Content, DEVICE_NODES, Place, Plain, ROOT, WayfareFile};
use crate::files::{Descriptor, Of};
use crate::me;
use crate::values;
use crate::wasi::guest::{Flow, Guest};

type Answered<T> = Result<Option<T>, Errno>;

const FDFLAGS_NONBLOCK: u16 = 4;
/// Waits for ever.
const NO_TIMEOUT_MS: i64 = -1;

pub(super) enum Opened {
    /// With the number of its node.
    Folder(u64),
    File(WayfareFile),
}

/// What of a write was done.
pub(super) struct Written {
    pub(super) count: usize,
    /// Where it ended.
    pub(super) end: u64,
}

pub(super) fn open(guest: &mut Guest, path: &[String], opening: Opening) -> Answered<Opened> {
    let place = Place::of(path)?;
    if let Some(node) = place.folder_node() {
        return match opening.write || opening.truncate {
            true => Err(Errno::ISDIR),
            false => Ok(Some(Opened::Folder(node))),
        };
    }
    if opening.folder {
        return Err(Errno::NOTDIR);
    }
    if opening.exclusive && opening.create {
        // Whether a value is there could change until it is written: that is what 'compare_and_set' is for.
        return Err(Errno::NOTSUP);
    }
    let file = match place {
        Place::In if opening.write => return Err(Errno::ACCES),
        Place::In => WayfareFile::In,
        Place::Out => WayfareFile::Out,
        Place::Plain(of) => {
            let Some(content) = content_to_begin_with(guest.context, &of, opening)? else {
                return Ok(None);
            };
            WayfareFile::Plain {
                of,
                content: Content(content),
                is_fresh: true,
            }
        }
        Place::Root | Place::Values | Place::Devices => return Err(Errno::ISDIR),
    };
    Ok(Some(Opened::File(file)))
}

fn content_to_begin_with(context: &mut Context, of: &Plain, opening: Opening) -> Answered<Vec<u8>> {
    match of {
        Plain::Me if opening.write => Err(Errno::ACCES),
        Plain::Me => Ok(Some(me::text(context).into_bytes())),
        Plain::Value(key) => {
            values::key_named(context, if opening.write { "set" } else { "get" }, key)?;
            if opening.truncate {
                return Ok(Some(Vec::new()));
            }
            match taken(context, of) {
                Err(Errno::NOENT) if opening.create => Ok(Some(Vec::new())),
                content => content,
            }
        }
        // What is read from it is taken when it is read.
        Plain::Device(alias) => {
            on_named(context, alias, |held, alias| match held.read(alias) {
                Err(Trouble::WrongKind { .. }) | Ok(_) => Ok(()),
                Err(trouble) => Err(trouble),
            })?;
            Ok(Some(Vec::new()))
        }
    }
}

/// A plain file's content as it is now.
fn taken(context: &mut Context, of: &Plain) -> Answered<Vec<u8>> {
    match of {
        Plain::Me => Ok(Some(me::text(context).into_bytes())),
        Plain::Value(key) => {
            let key = values::key_named(context, "get", key)?;
            match values::ask(context, ValueAsk::Get { key })? {
                None => Ok(None),
                Some(ValueAnswer::Value { value, .. }) => Ok(Some(value.as_bytes().to_vec())),
                Some(other) => Err(values::refusal(&other)),
            }
        }
        Plain::Device(alias) => on_named(context, alias, |held, alias| match held.read(alias) {
            Ok(active) => Ok(format!("{}\n", u8::from(active))),
            Err(Trouble::WrongKind {
                actual: DeviceKind::Adc,
            }) => held.sample(alias).map(|sample| format!("{}\n", sample.scaled)),
            Err(trouble) => Err(trouble),
        })
        .map(|text| Some(text.into_bytes())),
    }
}

/// At most `wanted` bytes; none at the end of a plain file.
pub(super) fn read(guest: &mut Guest, fd: i32, offset: u64, wanted: usize) -> Answered<Vec<u8>> {
    let context = &mut *guest.context;
    let descriptor = context.files.get(fd)?;
    let (of, is_fresh) = match &descriptor.of {
        Of::Wayfare(WayfareFile::In) => {
            let at_once = descriptor.flags & FDFLAGS_NONBLOCK != 0;
            context.blocked_until_ns = None;
            return match wanted {
                0 => Ok(Some(Vec::new())),
                wanted => receive::read(context, wanted, at_once),
            };
        }
        Of::Wayfare(WayfareFile::Plain { of, is_fresh, .. }) => (of.clone(), *is_fresh),
        _ => return Err(Errno::BADF),
    };
    if let Plain::Device(alias) = &of
        && is_serial(context, alias)
    {
        return receive_serial(context, alias, wanted);
    }
    let is_to_be_taken = offset == 0 && (!is_fresh || matches!(of, Plain::Device(_)));
    let taken = match is_to_be_taken {
        true => match taken(context, &of)? {
            Some(content) => Some(content),
            None => return Ok(None),
        },
        false => None,
    };
    let Of::Wayfare(WayfareFile::Plain {
        content, is_fresh, ..
    }) = &mut context.files.get_mut(fd)?.of
    else {
        return Err(Errno::BADF);
    };
    if let Some(taken) = taken {
        content.0 = taken;
    }
    *is_fresh = false;
    let start = usize::try_from(offset).map_or(content.0.len(), |offset| offset.min(content.0.len()));
    let rest = &content.0[start..];
    Ok(Some(rest[..rest.len().min(wanted)].to_vec()))
}

fn is_serial(context: &mut Context, alias: &Alias) -> bool {
    let kind = DeviceKind::Serial;
    matches!(context.held.read(alias), Err(Trouble::WrongKind { actual }) if actual == kind)
}

fn receive_serial(context: &mut Context, alias: &Alias, wanted: usize) -> Answered<Vec<u8>> {
    if wanted == 0 {
        return Ok(Some(Vec::new()));
    }
    wait_named(context, alias, NO_TIMEOUT_MS, |held, alias, wake| {
        let there = held.receive(alias, wanted.min(SERIAL_BYTES_MAX), wake)?;
        Ok(Some(there).filter(|there| !there.is_empty()))
    })
}

/// At an offset, or to the end.
pub(super) fn write(guest: &mut Guest, fd: i32, offset: Option<u64>, bytes: &[u8]) -> Answered<Written> {
    let context = &mut *guest.context;
    let Descriptor { of, .. } = context.files.get(fd)?;
    let of = match of {
        Of::Wayfare(WayfareFile::Out) => {
            let count = perform::write(context, bytes)?;
            return Ok(count.map(|count| Written { count, end: 0 }));
        }
        Of::Wayfare(WayfareFile::Plain { of, .. }) => of.clone(),
        _ => return Err(Errno::BADF),
    };
    let whole = |end: u64| Written {
        count: bytes.len(),
        end,
    };
    match &of {
        Plain::Me => Err(Errno::ACCES),
        Plain::Value(key) => {
            let end = set(context, fd, (key, offset), bytes)?;
            Ok(end.map(whole))
        }
        Plain::Device(alias) if is_serial(context, alias) => {
            let sent = send_serial(context, alias, bytes)?;
            Ok(sent.map(|count| Written { count, end: 0 }))
        }
        Plain::Device(alias) => {
            let active = match bytes.trim_ascii() {
                b"1" | b"on" => true,
                b"0" | b"off" => false,
                b"" => return Ok(Some(whole(0))),
                _ => return Err(Errno::INVAL),
            };
            on_named(context, alias, |held, alias| held.write(alias, active))?;
            Ok(Some(whole(0)))
        }
    }
}

/// What the file holds so far becomes the value with each write. Where it ended.
fn set(context: &mut Context, fd: i32, (key, offset): (&str, Option<u64>), bytes: &[u8]) -> Answered<u64> {
    let Of::Wayfare(WayfareFile::Plain { content, .. }) = &context.files.get(fd)?.of else {
        return Err(Errno::BADF);
    };
    let mut content = content.0.clone();
    let offset = match offset {
        Some(offset) => usize::try_from(offset).map_err(|_| Errno::FBIG)?,
        None => content.len(),
    };
    let end = offset
        .checked_add(bytes.len())
        .filter(|end| *end <= VALUE_BYTES_MAX);
    let end = end.ok_or(Errno::FBIG)?;
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(bytes);
    let key = values::key_named(context, "set", key)?;
    let value = Value::new(content.clone()).ok_or(Errno::FBIG)?;
    match values::ask(context, ValueAsk::Set { key, value })? {
        None => return Ok(None),
        Some(ValueAnswer::Set { .. }) => {}
        Some(other) => return Err(values::refusal(&other)),
    }
    if let Of::Wayfare(WayfareFile::Plain { content: held, .. }) = &mut context.files.get_mut(fd)?.of {
        held.0 = content;
    }
    Ok(Some(end as u64))
}

fn send_serial(context: &mut Context, alias: &Alias, bytes: &[u8]) -> Answered<usize> {
    let bytes = &bytes[..bytes.len().min(SERIAL_BYTES_MAX)];
    loop {
        let sent = on_named(context, alias, |held, alias| held.send(alias, bytes, SEND_LOOK))?;
        if sent > 0 || bytes.is_empty() {
            return Ok(Some(sent));
        }
        if context.control.lock().wants() {
            return Ok(None);
        }
    }
}

pub(super) fn stat(guest: &mut Guest, path: &[String]) -> Answered<Stat> {
    let place = Place::of(path)?;
    if let Some(node) = place.folder_node() {
        return Ok(Some(model::stat(node, true, 0)));
    }
    let context = &mut *guest.context;
    Ok(Some(match place {
        Place::In => WayfareFile::In.stat(),
        Place::Out => WayfareFile::Out.stat(),
        Place::Plain(of @ (Plain::Me | Plain::Value(_))) => {
            let Some(content) = taken(context, &of)? else {
                return Ok(None);
            };
            model::stat(of.node(), false, content.len() as u64)
        }
        Place::Plain(Plain::Device(alias)) => {
            let numbered = (DEVICE_NODES..).zip(&context.grants.devices);
            let node = numbered.into_iter().find(|(_, granted)| **granted == alias);
            let (node, _) = node.ok_or(Errno::NOENT)?;
            model::stat(node, false, 0)
        }
        Place::Root | Place::Values | Place::Devices => return Err(Errno::ISDIR),
    }))
}

/// Whether a path may lead through it: a key may have slashes, and what stands before one is a folder's name.
/// Fails if not.
pub(super) fn is_folder(path: &[String]) -> Result<bool, Errno> {
    match Place::of(path)? {
        Place::Root | Place::Values | Place::Devices | Place::Plain(Plain::Value(_)) => Ok(true),
        Place::In | Place::Out | Place::Plain(_) => Err(Errno::NOTDIR),
    }
}

/// What is in a folder behind the node `after`. Of values only the dispatcher knows which there are.
pub(super) fn list(guest: &Guest, path: &[String], after: u64) -> Result<Vec<(Stat, String)>, Errno> {
    let all: Vec<(Stat, String)> = match Place::of(path)? {
        Place::Root => ROOT
            .iter()
            .map(|(node, name)| {
                let is_folder = matches!(*name, "state" | "shared" | "device");
                (model::stat(*node, is_folder, 0), (*name).to_owned())
            })
            .collect(),
        Place::Devices => (DEVICE_NODES..)
            .zip(&guest.context.grants.devices)
            .map(|(node, alias)| (model::stat(node, false, 0), alias.to_string()))
            .collect(),
        Place::Values => return Err(Errno::NOTSUP),
        Place::In | Place::Out | Place::Plain(_) => return Err(Errno::NOTDIR),
    };
    Ok(all.into_iter().filter(|(stat, _)| stat.node > after).collect())
}

/// Only values can be removed.
pub(super) fn change(guest: &mut Guest, change: Change, path: &[String]) -> Result<Flow, Errno> {
    let context = &mut *guest.context;
    match (change, Place::of(path)?) {
        (Change::Unlink, Place::Plain(Plain::Value(key))) => {
            let key = values::key_named(context, "remove", &key)?;
            match values::ask(context, ValueAsk::Remove { key })? {
                None => Ok(Flow::Interrupted),
                Some(ValueAnswer::Removed) => Ok(Flow::Done),
                Some(other) => Err(values::refusal(&other)),
            }
        }
        (Change::MakeFolder, place) if place.folder_node().is_some() => Err(Errno::EXIST),
        _ => Err(Errno::ACCES),
    }
}
