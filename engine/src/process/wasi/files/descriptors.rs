//! What is done with an open file or folder: reading, writing, offsets, lengths.

use super::fleet;
use crate::process::files::Of;
use crate::process::files::scratch::Stat;
use crate::process::wasi::environment::realtime_ns;
use crate::process::wasi::errno::Errno;
use crate::process::wasi::guest::{Flow, Guest};

/// A call reads or writes no more than this; libraries issue another for the rest.
const BYTES_MAX: usize = 64 * 1024;
const FILETYPE_DIRECTORY: u8 = 3;
const FILETYPE_REGULAR_FILE: u8 = 4;
const FDFLAGS_APPEND: u16 = 1;
const RIGHTS_ALL: u64 = (1 << 29) - 1;
const RIGHTS_READ: u64 = 1 << 1;
/// Writing, allocating, setting a length and times.
const RIGHTS_WRITE: u64 = 1 << 6 | 1 << 8 | 1 << 22 | 1 << 23;
const DIRENT_BYTES: usize = 24;

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
        At::Position(offset) => offset,
    };
    let bytes = match &descriptor.of {
        Of::Mount(_) | Of::Folder { .. } => return Err(Errno::ISDIR),
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
    advance(guest, fd, at, offset + bytes.len() as u64)
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
        At::Position(offset) => offset,
    };
    let end = match descriptor.of {
        Of::Mount(_) | Of::Folder { .. } => return Err(Errno::ISDIR),
        Of::Scratch(node) => {
            let is_append = descriptor.append && at == At::Offset;
            let scratch = &mut guest.context.files.scratch;
            let offset = if is_append {
                scratch.stat(node)?.bytes
            } else {
                offset
            };
            scratch.write(node, offset, &bytes, realtime_ns())?;
            offset + bytes.len() as u64
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
    let from = match whence {
        0 => 0,
        1 => descriptor.offset,
        2 => match stat(guest, fd)? {
            Some(stat) => stat.bytes,
            None => return Ok(Flow::Interrupted),
        },
        _ => return Err(Errno::INVAL),
    };
    if guest.context.files.folder(fd).is_ok() {
        return Err(Errno::ISDIR);
    }
    let offset = from.checked_add_signed(by).ok_or(Errno::INVAL)?;
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
        Of::Mount(_) | Of::Folder { .. } => Err(Errno::ISDIR),
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

pub(in crate::process::wasi) fn status(guest: &mut Guest, fd: i32, out: i32) -> Result<Flow, Errno> {
    let descriptor = guest.context.files.get(fd)?;
    let is_folder = guest.context.files.folder(fd).is_ok();
    let mut status = [0; 24];
    status[0] = filetype(is_folder);
    let flags = if descriptor.append { FDFLAGS_APPEND } else { 0 };
    status[2..4].copy_from_slice(&flags.to_le_bytes());
    let mut rights = RIGHTS_ALL;
    if !is_folder {
        rights &= if descriptor.read { u64::MAX } else { !RIGHTS_READ };
        rights &= if descriptor.write { u64::MAX } else { !RIGHTS_WRITE };
    }
    status[8..16].copy_from_slice(&rights.to_le_bytes());
    status[16..24].copy_from_slice(&RIGHTS_ALL.to_le_bytes());
    guest.write(out, &status)?;
    Ok(Flow::Done)
}

pub(in crate::process::wasi) fn set_flags(guest: &mut Guest, fd: i32, flags: i32) -> Result<(), Errno> {
    let append = i32::from(FDFLAGS_APPEND);
    // The others change nothing: every write is as durable when it returns as it will ever be.
    guest.context.files.get_mut(fd)?.append = flags & append != 0;
    Ok(())
}

pub(in crate::process::wasi) fn file_status(guest: &mut Guest, fd: i32, out: i32) -> Result<Flow, Errno> {
    match stat(guest, fd)? {
        Some(stat) => write_stat(guest, &stat, out),
        None => Ok(Flow::Interrupted),
    }
}

/// `None`: to be asked again after a capture.
fn stat(guest: &mut Guest, fd: i32) -> Result<Option<Stat>, Errno> {
    let files = &guest.context.files;
    match &files.get(fd)?.of {
        Of::Scratch(node) => files.scratch.stat(*node).map(Some),
        Of::Fleet(file) => {
            let file = *file;
            fleet::stat_open(guest, file)
        }
        Of::Mount(_) | Of::Folder { .. } => {
            let (mount, path) = files.folder(fd)?;
            let (mount, path) = (mount, path.to_vec());
            super::paths::stat(guest, mount, &path)
        }
    }
}

pub(super) fn write_stat(guest: &mut Guest, stat: &Stat, out: i32) -> Result<Flow, Errno> {
    let mut bytes = [0; 64];
    bytes[8..16].copy_from_slice(&stat.node.to_le_bytes());
    bytes[16] = filetype(stat.is_folder);
    bytes[24] = 1; // links
    bytes[32..40].copy_from_slice(&stat.bytes.to_le_bytes());
    for at in [40, 48, 56] {
        bytes[at..at + 8].copy_from_slice(&stat.modified_ns.to_le_bytes());
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

/// Fills the program's buffer with entries; the last may be cut off, and comes again. The cookie is the number of the last entry's file.
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
    while entries.len() < room {
        let Some(page) = super::paths::list(guest, mount, &path, after)? else {
            return Ok(Flow::Interrupted);
        };
        let Some(last) = page.last() else { break };
        after = last.0.node;
        for (stat, name) in &page {
            let mut entry = [0; DIRENT_BYTES];
            entry[..8].copy_from_slice(&stat.node.to_le_bytes());
            entry[8..16].copy_from_slice(&stat.node.to_le_bytes());
            entry[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
            entry[20] = filetype(stat.is_folder);
            entries.extend(entry);
            entries.extend_from_slice(name.as_bytes());
        }
    }
    entries.truncate(room);
    guest.write(buffer, &entries)?;
    guest.write_u32(out, entries.len() as u32)?;
    Ok(Flow::Done)
}
