//! What is done with an open file or folder: reading, writing, offsets, lengths.

use wayfare_abi::errno::Errno;

use super::{fleet, wayfare};
use crate::files::scratch::{Stat, Times};
use crate::files::{Mount, Of};
use crate::wasi::environment::realtime_ns;
use crate::wasi::guest::{Flow, Guest};

/// A call reads or writes no more than this; libraries issue another for the rest.
const BYTES_MAX: usize = 64 * 1024;
/// What the lines of `/wayfare` claim to be, so that libraries hand over each line when it is complete.
const FILETYPE_CHARACTER_DEVICE: u8 = 2;
const FILETYPE_DIRECTORY: u8 = 3;
const FILETYPE_REGULAR_FILE: u8 = 4;
const FDFLAGS_APPEND: u16 = 1;
/// All flags that preview 1 has.
const FDFLAGS_ALL: u16 = 0x1f;
/// Syncing, reading, seeking, flags, advice, the status and times of a file, and polling.
const RIGHTS_FILE: u64 = 0b1_1111 << 1 | 1 | 1 << 7 | 1 << 21 | 1 << 23 | 1 << 27;
const RIGHTS_READ: u64 = 1 << 1;
/// Reading, flags, status and polling. Without seeking, libraries take a character device for a terminal.
const RIGHTS_STREAM: u64 = RIGHTS_READ | 1 << 3 | 1 << 21 | 1 << 27;
const RIGHT_TO_WRITE: u64 = 1 << 6;
/// Writing, allocating and setting a length.
const RIGHTS_WRITE: u64 = 1 << 6 | 1 << 8 | 1 << 22;
/// All with paths but for setting lengths; listing, and the folder's own status and times.
const RIGHTS_FOLDER: u64 = 0x3ff << 9 | 1 << 20 | 1 << 21 | 0b1111 << 23;

/// Where a call reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wasi) enum At {
    /// At the descriptor's offset, which moves on.
    Offset,
    Position(u64),
}

pub(in crate::wasi) fn read(
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
        Of::Given { folder, node } => {
            let folder = guest.context.files.folders.get(*folder)?;
            folder.read(*node, offset, wanted)?.to_vec()
        }
        Of::Wayfare(_) => match wayfare::read(guest, fd, offset, wanted)? {
            Some(bytes) => bytes,
            None => return Ok(Flow::Interrupted),
        },
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

pub(in crate::wasi) fn write(
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
    let mut count = bytes.len() as u32;
    let descriptor = guest.context.files.get(fd)?;
    if !descriptor.write {
        return Err(Errno::BADF);
    }
    let offset = match at {
        At::Offset => descriptor.offset,
        At::Position(offset) => checked(offset)?,
    };
    let end = match &descriptor.of {
        Of::Stream(_) => return Err(Errno::SPIPE),
        Of::Mount(_) | Of::Folder { .. } | Of::Removed { .. } => return Err(Errno::ISDIR),
        Of::Given { .. } => return Err(Errno::ROFS),
        Of::Scratch(node) => {
            let node = *node;
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
        Of::Wayfare(_) => {
            let is_append = descriptor.append && at == At::Offset;
            match wayfare::write(guest, fd, (!is_append).then_some(offset), &bytes)? {
                Some(written) => {
                    count = written.count as u32;
                    written.end
                }
                None => return Ok(Flow::Interrupted),
            }
        }
        Of::Fleet(file) => {
            let file = *file;
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

pub(in crate::wasi) fn seek(
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

pub(in crate::wasi) fn set_length(guest: &mut Guest, fd: i32, length: i64) -> Result<Flow, Errno> {
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
        // A value is as long as what was last written, and the others have no length.
        Of::Wayfare(_) => Err(Errno::NOTSUP),
        Of::Given { .. } => Err(Errno::ROFS),
    }
}

/// Makes a file at least so long.
pub(in crate::wasi) fn allocate(guest: &mut Guest, fd: i32, offset: i64, length: i64) -> Result<Flow, Errno> {
    let end = offset.checked_add(length).filter(|_| offset >= 0 && length > 0);
    let end = end.ok_or(Errno::INVAL)?;
    match stat(guest, fd)? {
        None => Ok(Flow::Interrupted),
        Some(stat) if stat.bytes >= end.cast_unsigned() => Ok(Flow::Done),
        Some(_) => set_length(guest, fd, end),
    }
}

pub(in crate::wasi) fn status(guest: &mut Guest, fd: i32, out: i32) -> Result<(), Errno> {
    let descriptor = guest.context.files.get(fd)?;
    let is_folder = descriptor.of.is_folder();
    let is_stream = matches!(&descriptor.of, Of::Wayfare(file) if file.is_stream());
    let (rights, inherited) = if is_folder {
        (RIGHTS_FOLDER, RIGHTS_FOLDER | RIGHTS_FILE | RIGHTS_WRITE)
    } else if is_stream {
        let with = if descriptor.write { RIGHT_TO_WRITE } else { 0 };
        let without = if descriptor.read { 0 } else { RIGHTS_READ };
        (RIGHTS_STREAM & !without | with, 0)
    } else {
        let without = if descriptor.read { 0 } else { RIGHTS_READ };
        let with = if descriptor.write { RIGHTS_WRITE } else { 0 };
        (RIGHTS_FILE & !without | with, 0)
    };
    let flags = descriptor.flags | if descriptor.append { FDFLAGS_APPEND } else { 0 };
    let mut status = [0; 24];
    status[0] = if is_stream {
        FILETYPE_CHARACTER_DEVICE
    } else {
        filetype(is_folder)
    };
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

pub(in crate::wasi) fn set_flags(guest: &mut Guest, fd: i32, to: i32) -> Result<(), Errno> {
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
        Of::Stream(_)
        | Of::Fleet(_)
        | Of::Wayfare(_)
        | Of::Given { .. }
        | Of::Mount(_)
        | Of::Folder { .. } => {
            return Err(Errno::NOTSUP);
        }
    };
    files.scratch.set_times(node, times)
}

pub(in crate::wasi) fn file_status(guest: &mut Guest, fd: i32, out: i32) -> Result<Flow, Errno> {
    let mount = guest.context.files.get(fd)?.of.mount().ok_or(Errno::BADF)?;
    let is_stream = matches!(&guest.context.files.get(fd)?.of, Of::Wayfare(file) if file.is_stream());
    match stat(guest, fd)? {
        Some(stat) => {
            let flow = write_stat(guest, mount, &stat, out)?;
            if is_stream {
                guest.write(out.wrapping_add(16), &[FILETYPE_CHARACTER_DEVICE])?;
            }
            Ok(flow)
        }
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
        Of::Wayfare(file) => Ok(Some(file.stat())),
        Of::Given { folder, node } => files.folders.get(*folder)?.stat(*node).map(Some),
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

pub(super) fn filetype(is_folder: bool) -> u8 {
    if is_folder {
        FILETYPE_DIRECTORY
    } else {
        FILETYPE_REGULAR_FILE
    }
}
