//! What is done with files and folders by their names.

use wayfare_abi::errno::Errno;
use wayfare_protocol::files::Opening;

use super::descriptors::{self, write_stat};
use super::{fleet, wayfare};
use crate::files::paths::{End, resolve};
use crate::files::scratch::{Stat, Times};
use crate::files::{Descriptor, Mount, Of};
use crate::wasi::environment::realtime_ns;
use crate::wasi::guest::{Flow, Guest};

const OFLAGS_CREAT: i32 = 1;
const OFLAGS_DIRECTORY: i32 = 2;
const OFLAGS_EXCL: i32 = 4;
const OFLAGS_TRUNC: i32 = 8;
const RIGHTS_FD_READ: i64 = 1 << 1;
const RIGHTS_FD_WRITE: i64 = 1 << 6;
const RIGHTS_FD_READDIR: i64 = 1 << 14;
/// Of the flags that set a time: to a given one, or to the present one. Those of reading come first, then
/// those of writing.
const FSTFLAGS_GIVEN: i32 = 1;
const FSTFLAGS_NOW: i32 = 2;
const FSTFLAGS_BITS: i32 = 2;

/// Entries of a folder that are looked at at a time.
const PAGE_ENTRIES_MAX: usize = 256;

/// What `path_open` was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) oflags: i32,
    pub(super) rights: i64,
    pub(super) fdflags: i32,
}

/// A path as a call means it.
pub(super) struct Path {
    mount: Mount,
    names: Vec<String>,
    end: End,
}

/// A path in the program's memory, relative to a descriptor's folder. All that it leads through is there and
/// a folder. `None`: to be asked again after a capture.
fn path_of(guest: &mut Guest, fd: i32, (at, length): (i32, i32)) -> Result<Option<Path>, Errno> {
    let (mount, folder) = guest.context.files.folder(fd)?;
    let text = guest.bytes(at, u64::from(length.cast_unsigned()))?;
    let path = resolve(folder, text)?;
    for folder in &path.through {
        if !is_folder(guest, mount, folder)? {
            return Ok(None);
        }
    }
    Ok(Some(Path {
        mount,
        names: path.names,
        end: path.end,
    }))
}

/// Fails unless this is a folder. False: to be asked again after a capture.
///
/// A call that asks the dispatcher for a change is issued again when the change may be done already, and what
/// it was done to may be no more: so of such a call nothing is asked that comes before it. It is known by the
/// time that it notes, and these questions note none.
fn is_folder(guest: &mut Guest, mount: Mount, names: &[String]) -> Result<bool, Errno> {
    if mount == Mount::Fleet && guest.context.blocked_until_ns.is_some() {
        return Ok(true);
    }
    if mount == Mount::Wayfare {
        return wayfare::is_folder(names);
    }
    match stat(guest, mount, names)? {
        Some(stat) if stat.is_folder => Ok(true),
        Some(_) => Err(Errno::NOTDIR),
        None => {
            guest.context.blocked_until_ns = None;
            Ok(false)
        }
    }
}

pub(super) fn open(
    guest: &mut Guest,
    fd: i32,
    path: (i32, i32),
    asked: Asked,
    out: i32,
) -> Result<Flow, Errno> {
    guest.bytes(out, 4)?;
    let (append, flags) = descriptors::flags(asked.fdflags)?;
    let Some(path) = path_of(guest, fd, path)? else {
        return Ok(Flow::Interrupted);
    };
    if guest.context.files.is_full() {
        return Err(Errno::MFILE);
    }
    let has = |flag: i32| asked.oflags & flag != 0;
    let (create, exclusive) = (has(OFLAGS_CREAT), has(OFLAGS_EXCL));
    let opening = Opening {
        // No file has such a name.
        create: create && !path.end.is_folder(),
        exclusive,
        truncate: has(OFLAGS_TRUNC),
        folder: has(OFLAGS_DIRECTORY) || path.end.is_folder(),
        write: asked.rights & RIGHTS_FD_WRITE != 0,
    };
    let of = match open_at(guest, &path, opening) {
        Err(Errno::NOENT) if create && path.end == End::Slash => return Err(Errno::ISDIR),
        Ok(Some(of)) if create && of.is_folder() => {
            return Err(if exclusive { Errno::EXIST } else { Errno::ISDIR });
        }
        Ok(Some(of)) => of,
        Ok(None) => return Ok(Flow::Interrupted),
        Err(errno) => return Err(errno),
    };
    let descriptor = match of.is_folder() {
        true => Descriptor::of(of),
        false => Descriptor {
            read: asked.rights & (RIGHTS_FD_READ | RIGHTS_FD_READDIR) != 0,
            write: opening.write,
            append,
            flags,
            ..Descriptor::of(of)
        },
    };
    let fd = guest.context.files.insert(descriptor)?;
    guest.write_u32(out, fd)?;
    Ok(Flow::Done)
}

/// `None`: to be asked again after a capture.
fn open_at(guest: &mut Guest, path: &Path, opening: Opening) -> Result<Option<Of>, Errno> {
    let folder = |node: u64| Of::Folder {
        mount: path.mount,
        path: path.names.clone(),
        node: Some(node),
    };
    match path.mount {
        Mount::Scratch => {
            let scratch = &mut guest.context.files.scratch;
            let stat = scratch.open(&path.names, opening, realtime_ns())?;
            Ok(Some(match stat.is_folder {
                true => folder(stat.node),
                false => Of::Scratch(stat.node),
            }))
        }
        Mount::Fleet => {
            let opened = fleet::open(guest, &path.names, opening)?;
            Ok(opened.map(|opened| match opened {
                fleet::Opened::Folder(node) => folder(node),
                fleet::Opened::File(file) => Of::Fleet(file),
            }))
        }
        Mount::Wayfare => {
            let opened = wayfare::open(guest, &path.names, opening)?;
            Ok(opened.map(|opened| match opened {
                wayfare::Opened::Folder(node) => folder(node),
                wayfare::Opened::File(file) => Of::Wayfare(file),
            }))
        }
        Mount::Folder(name) => {
            let given = guest.context.files.folders.get(name)?;
            let found = match given.find(&path.names) {
                Err(Errno::NOENT) if opening.create => return Err(Errno::ROFS),
                found => given.stat(found?)?,
            };
            match found.is_folder {
                _ if opening.create && opening.exclusive => Err(Errno::EXIST),
                true if opening.write => Err(Errno::ISDIR),
                true => Ok(Some(folder(found.node))),
                false if opening.folder => Err(Errno::NOTDIR),
                false if opening.write || opening.truncate => Err(Errno::ROFS),
                false => Ok(Some(Of::Given {
                    folder: name,
                    node: found.node,
                })),
            }
        }
    }
}

pub(super) fn status(guest: &mut Guest, fd: i32, path: (i32, i32), out: i32) -> Result<Flow, Errno> {
    let Some(path) = path_of(guest, fd, path)? else {
        return Ok(Flow::Interrupted);
    };
    match stat(guest, path.mount, &path.names)? {
        Some(stat) if path.end.is_folder() && !stat.is_folder => Err(Errno::NOTDIR),
        Some(stat) => write_stat(guest, path.mount, &stat, out),
        None => Ok(Flow::Interrupted),
    }
}

/// Nothing is a symbolic link. Of `/fleet` this call cannot ask what is there.
pub(super) fn read_link(guest: &mut Guest, fd: i32, (at, length): (i32, i32)) -> Result<(), Errno> {
    let (mount, folder) = guest.context.files.folder(fd)?;
    let path = resolve(folder, guest.bytes(at, u64::from(length.cast_unsigned()))?)?;
    if mount == Mount::Scratch {
        guest.context.files.scratch.find(&path.names)?;
    }
    Err(Errno::INVAL)
}

/// `None`: to be asked again after a capture.
pub(super) fn stat(guest: &mut Guest, mount: Mount, path: &[String]) -> Result<Option<Stat>, Errno> {
    match mount {
        Mount::Scratch => {
            let scratch = &guest.context.files.scratch;
            scratch.stat(scratch.find(path)?).map(Some)
        }
        Mount::Fleet => fleet::stat(guest, path),
        Mount::Wayfare => wayfare::stat(guest, path),
        Mount::Folder(name) => {
            let given = guest.context.files.folders.get(name)?;
            given.stat(given.find(path)?).map(Some)
        }
    }
}

/// What comes after the file with this number, a page of it; `None`: to be asked again after a capture.
pub(super) fn list(
    guest: &mut Guest,
    mount: Mount,
    path: &[String],
    after: u64,
) -> Result<Option<Vec<(Stat, String)>>, Errno> {
    match mount {
        Mount::Scratch => {
            let scratch = &guest.context.files.scratch;
            let entries = scratch.list(scratch.find(path)?, after)?;
            let page = entries.into_iter().take(PAGE_ENTRIES_MAX);
            Ok(Some(page.map(|(stat, name)| (stat, name.to_owned())).collect()))
        }
        Mount::Fleet => fleet::list(guest, path, after),
        Mount::Wayfare => wayfare::list(guest, path, after).map(Some),
        Mount::Folder(name) => {
            let given = guest.context.files.folders.get(name)?;
            let mut page = given.list(given.find(path)?, after)?;
            page.truncate(PAGE_ENTRIES_MAX);
            Ok(Some(page))
        }
    }
}

/// The calls that change names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    MakeFolder,
    RemoveFolder,
    Unlink,
}

pub(super) fn change(guest: &mut Guest, change: Change, fd: i32, path: (i32, i32)) -> Result<Flow, Errno> {
    let Some(path) = path_of(guest, fd, path)? else {
        return Ok(Flow::Interrupted);
    };
    match (change, path.end) {
        (Change::MakeFolder, End::Dot | End::DotDot) => return Err(Errno::EXIST),
        (Change::RemoveFolder, End::Dot) => return Err(Errno::INVAL),
        (Change::RemoveFolder, End::DotDot) => return Err(Errno::NOTEMPTY),
        (Change::Unlink, End::Slash | End::Dot | End::DotDot) => {
            return match stat(guest, path.mount, &path.names)? {
                Some(stat) if stat.is_folder => Err(Errno::ISDIR),
                Some(_) => Err(Errno::NOTDIR),
                None => Ok(Flow::Interrupted),
            };
        }
        (Change::MakeFolder | Change::RemoveFolder, End::Name | End::Slash) | (Change::Unlink, End::Name) => {
        }
    }
    let flow = match path.mount {
        Mount::Scratch => {
            let (scratch, now_ns) = (&mut guest.context.files.scratch, realtime_ns());
            match change {
                Change::MakeFolder => scratch.make_folder(&path.names, now_ns)?,
                Change::RemoveFolder => scratch.remove_folder(&path.names, now_ns)?,
                Change::Unlink => scratch.unlink(&path.names, now_ns)?,
            }
            Flow::Done
        }
        Mount::Fleet => fleet::change(guest, change, &path.names)?,
        Mount::Wayfare => wayfare::change(guest, change, &path.names)?,
        Mount::Folder(_) => return Err(Errno::ROFS),
    };
    if let (Flow::Done, Change::RemoveFolder) = (&flow, change) {
        guest.context.files.removed(path.mount, &path.names);
    }
    Ok(flow)
}

pub(super) fn rename(
    guest: &mut Guest,
    (from_fd, from): (i32, (i32, i32)),
    (to_fd, to): (i32, (i32, i32)),
) -> Result<Flow, Errno> {
    let Some(from) = path_of(guest, from_fd, from)? else {
        return Ok(Flow::Interrupted);
    };
    let Some(to) = path_of(guest, to_fd, to)? else {
        return Ok(Flow::Interrupted);
    };
    if from.mount != to.mount {
        // As between two disks: libraries copy and remove instead.
        return Err(Errno::XDEV);
    }
    let ends = [from.end, to.end];
    if ends.iter().any(|end| matches!(end, End::Dot | End::DotDot)) {
        return Err(Errno::INVAL);
    }
    if ends.contains(&End::Slash) && !is_folder(guest, from.mount, &from.names)? {
        return Ok(Flow::Interrupted);
    }
    let flow = match from.mount {
        Mount::Scratch => {
            let scratch = &mut guest.context.files.scratch;
            scratch.rename(&from.names, &to.names, realtime_ns())?;
            Flow::Done
        }
        Mount::Fleet => fleet::rename(guest, &from.names, &to.names)?,
        Mount::Wayfare => return Err(Errno::ACCES),
        Mount::Folder(_) => return Err(Errno::ROFS),
    };
    if let Flow::Done = flow {
        guest.context.files.renamed(from.mount, &from.names, &to.names);
    }
    Ok(flow)
}

/// What is asked for by two times and the flags of preview 1.
pub(super) fn times((accessed, modified): (i64, i64), flags: i32) -> Result<Times, Errno> {
    let now_ns = realtime_ns();
    let time = |given: i64, flags: i32| match flags {
        0 => Ok(None),
        FSTFLAGS_GIVEN => Ok(Some(given.cast_unsigned())),
        FSTFLAGS_NOW => Ok(Some(now_ns)),
        _ => Err(Errno::INVAL),
    };
    let mask = FSTFLAGS_GIVEN | FSTFLAGS_NOW;
    Ok(Times {
        accessed_ns: time(accessed, flags & mask)?,
        modified_ns: time(modified, flags >> FSTFLAGS_BITS)?,
    })
}

/// Of what is in `/tmp`; the dispatcher keeps no times but its own, and `/wayfare` has none.
pub(super) fn set_times(guest: &mut Guest, fd: i32, path: (i32, i32), times: Times) -> Result<(), Errno> {
    let (mount, _) = guest.context.files.folder(fd)?;
    if mount != Mount::Scratch {
        return Err(Errno::NOTSUP);
    }
    let path = path_of(guest, fd, path)?.ok_or(Errno::IO)?;
    let scratch = &mut guest.context.files.scratch;
    let node = scratch.find(&path.names)?;
    if path.end.is_folder() && !scratch.stat(node)?.is_folder {
        return Err(Errno::NOTDIR);
    }
    scratch.set_times(node, times)
}
