//! What is done with files and folders by their names.

use wayfare_protocol::files::Opening;

use super::descriptors::write_stat;
use super::fleet;
use crate::process::files::paths::resolve;
use crate::process::files::scratch::Stat;
use crate::process::files::{Descriptor, Mount, Of};
use crate::process::wasi::environment::realtime_ns;
use crate::process::wasi::errno::Errno;
use crate::process::wasi::guest::{Flow, Guest};

const OFLAGS_CREAT: i32 = 1;
const OFLAGS_DIRECTORY: i32 = 2;
const OFLAGS_EXCL: i32 = 4;
const OFLAGS_TRUNC: i32 = 8;
const FDFLAGS_APPEND: i32 = 1;
const RIGHTS_FD_READ: i64 = 1 << 1;
const RIGHTS_FD_WRITE: i64 = 1 << 6;
const RIGHTS_FD_READDIR: i64 = 1 << 14;
const FSTFLAGS_MTIM: i32 = 4;
const FSTFLAGS_MTIM_NOW: i32 = 8;

/// Entries of a folder that are looked at at a time.
const PAGE_ENTRIES_MAX: usize = 256;

/// What `path_open` was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) oflags: i32,
    pub(super) rights: i64,
    pub(super) fdflags: i32,
}

/// A path in the program's memory, relative to a descriptor's folder.
pub(super) fn path_of(
    guest: &Guest,
    fd: i32,
    (at, length): (i32, i32),
) -> Result<(Mount, Vec<String>), Errno> {
    let (mount, folder) = guest.context.files.folder(fd)?;
    let text = guest.bytes(at, u64::from(length.cast_unsigned()))?;
    Ok((mount, resolve(folder, text)?))
}

pub(super) fn open(
    guest: &mut Guest,
    fd: i32,
    path: (i32, i32),
    asked: Asked,
    out: i32,
) -> Result<Flow, Errno> {
    guest.bytes(out, 4)?;
    let (mount, path) = path_of(guest, fd, path)?;
    if guest.context.files.is_full() {
        return Err(Errno::MFILE);
    }
    let has = |flag: i32| asked.oflags & flag != 0;
    let opening = Opening {
        create: has(OFLAGS_CREAT),
        exclusive: has(OFLAGS_EXCL),
        truncate: has(OFLAGS_TRUNC),
        folder: has(OFLAGS_DIRECTORY),
        write: asked.rights & RIGHTS_FD_WRITE != 0 && !has(OFLAGS_DIRECTORY),
    };
    let of = match mount {
        Mount::Scratch => {
            let files = &mut guest.context.files;
            let stat = files.scratch.open(&path, opening, realtime_ns())?;
            match stat.is_folder {
                true => Of::Folder { mount, path },
                false => Of::Scratch(stat.node),
            }
        }
        Mount::Fleet => match fleet::open(guest, &path, opening)? {
            None => return Ok(Flow::Interrupted),
            Some(fleet::Opened::Folder) => Of::Folder { mount, path },
            Some(fleet::Opened::File(file)) => Of::Fleet(file),
        },
    };
    let descriptor = match of {
        Of::Folder { .. } | Of::Mount(_) => Descriptor::of(of),
        Of::Scratch(_) | Of::Fleet(_) => Descriptor {
            read: asked.rights & (RIGHTS_FD_READ | RIGHTS_FD_READDIR) != 0,
            write: opening.write,
            append: asked.fdflags & FDFLAGS_APPEND != 0,
            ..Descriptor::of(of)
        },
    };
    let fd = guest.context.files.insert(descriptor)?;
    guest.write_u32(out, fd)?;
    Ok(Flow::Done)
}

pub(super) fn status(guest: &mut Guest, fd: i32, path: (i32, i32), out: i32) -> Result<Flow, Errno> {
    let (mount, path) = path_of(guest, fd, path)?;
    match stat(guest, mount, &path)? {
        Some(stat) => write_stat(guest, &stat, out),
        None => Ok(Flow::Interrupted),
    }
}

/// `None`: to be asked again after a capture.
pub(super) fn stat(guest: &mut Guest, mount: Mount, path: &[String]) -> Result<Option<Stat>, Errno> {
    match mount {
        Mount::Scratch => {
            let scratch = &guest.context.files.scratch;
            scratch.stat(scratch.find(path)?).map(Some)
        }
        Mount::Fleet => fleet::stat(guest, path),
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
    let (mount, path) = path_of(guest, fd, path)?;
    match mount {
        Mount::Scratch => {
            let (scratch, now_ns) = (&mut guest.context.files.scratch, realtime_ns());
            match change {
                Change::MakeFolder => scratch.make_folder(&path, now_ns)?,
                Change::RemoveFolder => scratch.remove_folder(&path, now_ns)?,
                Change::Unlink => scratch.unlink(&path, now_ns)?,
            }
            Ok(Flow::Done)
        }
        Mount::Fleet => fleet::change(guest, change, &path),
    }
}

pub(super) fn rename(
    guest: &mut Guest,
    (from_fd, from): (i32, (i32, i32)),
    (to_fd, to): (i32, (i32, i32)),
) -> Result<Flow, Errno> {
    let (from_mount, from) = path_of(guest, from_fd, from)?;
    let (to_mount, to) = path_of(guest, to_fd, to)?;
    match (from_mount, to_mount) {
        (Mount::Scratch, Mount::Scratch) => {
            let scratch = &mut guest.context.files.scratch;
            scratch.rename(&from, &to, realtime_ns())?;
            Ok(Flow::Done)
        }
        (Mount::Fleet, Mount::Fleet) => fleet::rename(guest, &from, &to),
        // As between two disks: libraries copy and remove instead.
        (Mount::Scratch, Mount::Fleet) | (Mount::Fleet, Mount::Scratch) => Err(Errno::XDEV),
    }
}

/// When it was written to last; nobody keeps when it was read.
pub(super) fn set_times(
    guest: &mut Guest,
    of: (Mount, Vec<String>),
    modified: i64,
    flags: i32,
) -> Result<(), Errno> {
    let (mount, path) = of;
    match mount {
        Mount::Scratch => {
            let node = guest.context.files.scratch.find(&path)?;
            set_node_times(guest, node, modified, flags)
        }
        Mount::Fleet => Err(Errno::NOTSUP),
    }
}

pub(super) fn set_node_times(guest: &mut Guest, node: u64, modified: i64, flags: i32) -> Result<(), Errno> {
    let scratch = &mut guest.context.files.scratch;
    if flags & FSTFLAGS_MTIM_NOW != 0 {
        scratch.set_modified(node, realtime_ns())?;
    } else if flags & FSTFLAGS_MTIM != 0 {
        scratch.set_modified(node, modified.cast_unsigned())?;
    }
    Ok(())
}
