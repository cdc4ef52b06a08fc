//! What is done with an open file or folder: reading, writing, offsets, lengths.

use super::fleet;
use crate::process::files::scratch::{Stat, Times};
use crate::process::files::{Mount, Of};
use crate::process::wasi::environment::realtime_ns;
use crate::process::wasi::errno::Errno;
use crate::process::wasi::guest::{Flow, Guest};

/// A call reads or writes no more than this; libraries issue another for the rest.
const BYTES_MAX: usize = 64 * 1024;
const FILETYPE_DIRECTORY: u8 = 3;
const FILETYPE_REGULAR_FILE: u8 = 4;
const FDFLAGS_APPEND: u16 = 1;
/// All flags that preview 1 has.
const FDFLAGS_ALL: u16 = 0x1f;
/// Syncing, reading, seeking, flags, advice, the status and times of a file, and polling.
const RIGHTS_FILE: u64 = 0b1_1111 << 1 | 1 | 1 << 7 | 1 << 21 | 1 << 23 | 1 << 27;
const RIGHTS_READ: u64 = 1 << 1;
/// Writing, allocating and setting a length.
const RIGHTS_WRITE: u64 = 1 << 6 | 1 << 8 | 1 << 22;
/// All with paths but for setting lengths; listing, and the folder's own status and times.
const RIGHTS_FOLDER: u64 = 0x3ff << 9 | 1 << 20 | 1 << 21 | 0b1111 << 23;
const DIRENT_BYTES: usize = 24;
/// Places in a listing behind `.` and `..`. Behind another entry it is the number of its node, which is
/// higher than that of the root.
const BEHIND_DOT: u64 = u64::MAX;
const BEHIND_DOT_DOT: u64 = 1;

/// Where a call reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process::wasi) enum At {
    /// At the descriptor's offset, which moves on.
    Offset,
    Position(u64),
}

pub(in crate::process::wasi) fn read(
    guest: &mut Guest,
    (fd, at): (i32, At),
    (buffers, count): (i32, i32),
    out: i32,
) -> Result<Flow, Errno> {
    let buffers = guest.buffers(buffers, count)?;
    guest.bytes(out, 4)?;
    let wanted = total(&buffers);
    let descriptor = guest.context.files.get(fd)?;
    if !descriptor.read {
        return Err(Errno::BADF);
    }
    let offset = match at {
        At::Offset => descriptor.offset,
        At::Position(offset) => checked(offset)?,
    };
    let bytes = match &descriptor.of {
        Of::Stream(_) => return Err(Errno::SPIPE),
        Of::Mount(_) | Of::Folder { .. } | Of::Removed { .. } => return Err(Errno::ISDIR),
        Of::Scratch(node) => guest.context.files.scratch.read(*node, offset, wanted)?.to_vec(),
        Of::Fleet(file) => {
            let file = *file;
            match fleet::read(guest, file, offset, wanted)? {
                Some(bytes) => bytes,
                None => return Ok(Flow::Interrupted),
            }
        }
    };
    let mut rest = &bytes[..];
    for (at, length) in buffers {
        let (here, others) = rest.split_at(rest.len().min(length as usize));
        guest.write(at, here)?;
        rest = others;
    }
    guest.write_u32(out, bytes.len() as u32)?;
    advance(guest, fd, at, offset.saturating_add(bytes.len() as u64))
}

pub(in crate::process::wasi) fn write(
    guest: &mut Guest,
    (fd, at): (i32, At),
    (buffers, count): (i32, i32),
    out: i32,
) -> Result<Flow, Errno> {
    let buffers = guest.buffers(buffers, count)?;
    guest.bytes(out, 4)?;
    let mut bytes = Vec::with_capacity(total(&buffers));
    for (at, length) in buffers {
        let room = (BYTES_MAX - bytes.len()) as u64;
        bytes.extend_from_slice(guest.bytes(at, length.min(room))?);
    }
    // No more than fits.
    let count = bytes.len() as u32;
    let descriptor = guest.context.files.get(fd)?;
    if !descriptor.write {
        return Err(Errno::BADF);
    }
    let offset = match at {
        At::Offset => descriptor.offset,
        At::Position(offset) => checked(offset)?,
    };
    let end = match descriptor.of {
        Of::Stream(_) => return Err(Errno::SPIPE),
        Of::Mount(_) | Of::Folder { .. } | Of::Removed { .. } => return Err(Errno::ISDIR),
        Of::Scratch(node) => {
            let is_append = descriptor.append && at == At::Offset;
            let scratch = &mut guest.context.files.scratch;
            let offset = if is_append {
                scratch.stat(node)?.bytes
            } else {
                offset
            };
            scratch.write(node, offset, &bytes, realtime_ns())?;
            offset.saturating_add(bytes.len() as u64)
        }
        Of::Fleet(file) => {
            let is_append = descriptor.append && at == At::Offset;
            match fleet::write(guest, file, (!is_append).then_some(offset), bytes)? {
                Some((end, file)) => {
                    guest.context.files.get_mut(fd)?.of = Of::Fleet(file);
                    end
                }
                None => return Ok(Flow::Interrupted),
            }
        }
    };
    guest.write_u32(out, count)?;
    advance(guest, fd, at, end)
}

/// Offsets are signed in preview 1's libraries.
fn checked(offset: u64) -> Result<u64, Errno> {
    i64::try_from(offset)
        .map(i64::cast_unsigned)
        .map_err(|_| Errno::INVAL)
}

fn total(buffers: &[(i32, u64)]) -> usize {
    let bytes = buffers.iter().map(|(_, length)| length).sum::<u64>();
    usize::try_from(bytes).map_or(BYTES_MAX, |bytes| bytes.min(BYTES_MAX))
}

fn advance(guest: &mut Guest, fd: i32, at: At, end: u64) -> Result<Flow, Errno> {
    if at == At::Offset {
        guest.context.files.get_mut(fd)?.offset = end;
    }
    Ok(Flow::Done)
}

pub(in crate::process::wasi) fn seek(
    guest: &mut Guest,
    (fd, by, whence): (i32, i64, i32),
    out: i32,
) -> Result<Flow, Errno> {
    guest.bytes(out, 8)?;
    let descriptor = guest.context.files.get(fd)?;
    if descriptor.of.is_folder() {
        return Err(Errno::ISDIR);
    }
    let from = match whence {
        0 => 0,
        1 => descriptor.offset,
        2 => match stat(guest, fd)? {
            Some(stat) => stat.bytes,
            None => return Ok(Flow::Interrupted),
        },
        _ => return Err(Errno::INVAL),
    };
    let offset = checked(from.checked_add_signed(by).ok_or(Errno::INVAL)?)?;
    guest.context.files.get_mut(fd)?.offset = offset;
    guest.write_u64(out, offset)?;
    Ok(Flow::Done)
}

pub(in crate::process::wasi) fn set_length(guest: &mut Guest, fd: i32, length: i64) -> Result<Flow, Errno> {
    let length = u64::try_from(length).map_err(|_| Errno::INVAL)?;
    let descriptor = guest.context.files.get(fd)?;
    if !descriptor.write {
        return Err(Errno::BADF);
    }
    match descriptor.of {
        Of::Stream(_) => Err(Errno::INVAL),
        Of::Mount(_) | Of::Folder { .. } | Of::Removed { .. } => Err(Errno::ISDIR),
        Of::Scratch(node) => {
            let scratch = &mut guest.context.files.scratch;
            scratch.set_length(node, length, realtime_ns())?;
            Ok(Flow::Done)
        }
        Of::Fleet(file) => match fleet::set_length(guest, file, length)? {
            Some((_, file)) => {
                guest.context.files.get_mut(fd)?.of = Of::Fleet(file);
                Ok(Flow::Done)
            }
            None => Ok(Flow::Interrupted),
        },
    }
}

/// Makes a file at least so long.
pub(in crate::process::wasi) fn allocate(
    guest: &mut Guest,
    fd: i32,
    offset: i64,
    length: i64,
) -> Result<Flow, Errno> {
    let end = offset.checked_add(length).filter(|_| offset >= 0 && length > 0);
    let end = end.ok_or(Errno::INVAL)?;
    match stat(guest, fd)? {
        None => Ok(Flow::Interrupted),
        Some(stat) if stat.bytes >= end.cast_unsigned() => Ok(Flow::Done),
        Some(_) => set_length(guest, fd, end),
    }
}

pub(in crate::process::wasi) fn status(guest: &mut Guest, fd: i32, out: i32) -> Result<(), Errno> {
    let descriptor = guest.context.files.get(fd)?;
    let is_folder = descriptor.of.is_folder();
    let (rights, inherited) = if is_folder {
        (RIGHTS_FOLDER, RIGHTS_FOLDER | RIGHTS_FILE | RIGHTS_WRITE)
    } else {
        let without = if descriptor.read { 0 } else { RIGHTS_READ };
        let with = if descriptor.write { RIGHTS_WRITE } else { 0 };
        (RIGHTS_FILE & !without | with, 0)
    };
    let flags = descriptor.flags | if descriptor.append { FDFLAGS_APPEND } else { 0 };
    let mut status = [0; 24];
    status[0] = filetype(is_folder);
    status[2..4].copy_from_slice(&flags.to_le_bytes());
    status[8..16].copy_from_slice(&rights.to_le_bytes());
    status[16..24].copy_from_slice(&inherited.to_le_bytes());
    guest.write(out, &status)
}

/// Whether what is written goes to the end, and the other flags.
pub(super) fn flags(flags: i32) -> Result<(bool, u16), Errno> {
    let flags = u16::try_from(flags)
        .ok()
        .filter(|flags| flags & !FDFLAGS_ALL == 0);
    let flags = flags.ok_or(Errno::INVAL)?;
    Ok((flags & FDFLAGS_APPEND != 0, flags & !FDFLAGS_APPEND))
}

pub(in crate::process::wasi) fn set_flags(guest: &mut Guest, fd: i32, to: i32) -> Result<(), Errno> {
    let (append, others) = flags(to)?;
    let descriptor = guest.context.files.get_mut(fd)?;
    if !descriptor.of.is_folder() {
        (descriptor.append, descriptor.flags) = (append, others);
    }
    Ok(())
}

pub(super) fn set_times(guest: &mut Guest, fd: i32, times: Times) -> Result<(), Errno> {
    let files = &mut guest.context.files;
    let node = match &files.get(fd)?.of {
        Of::Scratch(node) => *node,
        Of::Mount(Mount::Scratch)
        | Of::Folder {
            mount: Mount::Scratch,
            ..
        } => {
            let (_, path) = files.folder(fd)?;
            files.scratch.find(path)?
        }
        Of::Removed { .. } => return Err(Errno::NOENT),
        Of::Stream(_) | Of::Fleet(_) | Of::Mount(Mount::Fleet) | Of::Folder { .. } => {
            return Err(Errno::NOTSUP);
        }
    };
    files.scratch.set_times(node, times)
}

pub(in crate::process::wasi) fn file_status(guest: &mut Guest, fd: i32, out: i32) -> Result<Flow, Errno> {
    let mount = guest.context.files.get(fd)?.of.mount().ok_or(Errno::BADF)?;
    match stat(guest, fd)? {
        Some(stat) => write_stat(guest, mount, &stat, out),
        None => Ok(Flow::Interrupted),
    }
}

/// `None`: to be asked again after a capture.
fn stat(guest: &mut Guest, fd: i32) -> Result<Option<Stat>, Errno> {
    let files = &guest.context.files;
    match &files.get(fd)?.of {
        Of::Stream(_) => Err(Errno::SPIPE),
        Of::Scratch(node) => files.scratch.stat(*node).map(Some),
        Of::Fleet(file) => {
            let file = *file;
            fleet::stat_open(guest, file)
        }
        Of::Removed { node, .. } => Ok(Some(Stat {
            node: *node,
            is_folder: true,
            is_named: false,
            bytes: 0,
            modified_ns: 0,
            accessed_ns: 0,
        })),
        Of::Mount(_) | Of::Folder { .. } => {
            let (mount, path) = files.folder(fd)?;
            let (mount, path) = (mount, path.to_vec());
            super::paths::stat(guest, mount, &path)
        }
    }
}

pub(super) fn write_stat(guest: &mut Guest, mount: Mount, stat: &Stat, out: i32) -> Result<Flow, Errno> {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&mount.device().to_le_bytes());
    bytes[8..16].copy_from_slice(&stat.node.to_le_bytes());
    bytes[16] = filetype(stat.is_folder);
    bytes[24] = u8::from(stat.is_named); // links
    bytes[32..40].copy_from_slice(&stat.bytes.to_le_bytes());
    let (accessed, modified) = (stat.accessed_ns, stat.modified_ns);
    for (at, time) in [(40, accessed), (48, modified), (56, modified)] {
        bytes[at..at + 8].copy_from_slice(&time.to_le_bytes());
    }
    guest.write(out, &bytes)?;
    Ok(Flow::Done)
}

fn filetype(is_folder: bool) -> u8 {
    if is_folder {
        FILETYPE_DIRECTORY
    } else {
        FILETYPE_REGULAR_FILE
    }
}

/// Fills the program's buffer with entries, first `.` and `..`; the last may be cut off, and comes again. The
/// cookie is the place behind the last entry.
pub(in crate::process::wasi) fn list(
    guest: &mut Guest,
    fd: i32,
    (buffer, room): (i32, i32),
    cookie: i64,
    out: i32,
) -> Result<Flow, Errno> {
    let room = room.cast_unsigned() as usize;
    guest.bytes(buffer, room as u64)?;
    guest.bytes(out, 4)?;
    let (mount, path) = guest.context.files.folder(fd)?;
    let (mount, path) = (mount, path.to_vec());
    let mut after = cookie.cast_unsigned();
    let mut entries = Vec::new();
    if after == 0 {
        let Some(stat) = super::paths::stat(guest, mount, &path)? else {
            return Ok(Flow::Interrupted);
        };
        after = BEHIND_DOT;
        entries.extend(entry(after, stat.node, true, "."));
    }
    if after == BEHIND_DOT {
        after = BEHIND_DOT_DOT;
        entries.extend(entry(after, parent(guest, mount, &path), true, ".."));
    }
    while entries.len() < room {
        let Some(page) = super::paths::list(guest, mount, &path, after)? else {
            return Ok(Flow::Interrupted);
        };
        let Some(last) = page.last() else { break };
        after = last.0.node;
        for (stat, name) in &page {
            entries.extend(entry(stat.node, stat.node, stat.is_folder, name));
        }
    }
    entries.truncate(room);
    guest.write(buffer, &entries)?;
    guest.write_u32(out, entries.len() as u32)?;
    Ok(Flow::Done)
}

fn entry(behind: u64, node: u64, is_folder: bool, name: &str) -> Vec<u8> {
    let mut entry = vec![0; DIRENT_BYTES];
    entry[..8].copy_from_slice(&behind.to_le_bytes());
    entry[8..16].copy_from_slice(&node.to_le_bytes());
    entry[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    entry[20] = filetype(is_folder);
    entry.extend_from_slice(name.as_bytes());
    entry
}

/// The number of the folder above; 0, as in preview 1 for one that is not known, where the program might not
/// even look at it.
fn parent(guest: &Guest, mount: Mount, path: &[String]) -> u64 {
    let above = &path[..path.len().saturating_sub(1)];
    match mount {
        Mount::Scratch => guest.context.files.scratch.find(above).unwrap_or(0),
        Mount::Fleet => 0,
    }
}
