//! Standard input from the bytes that came with the program, standard output and error into its log.
//!
//! The outputs claim to be terminals, so that C programs write line by line; the input claims nothing.

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::Errno;
use super::files::{self, At};
use super::guest::{Flow, Guest, call, call_blocking};
use crate::process::context::{Context, now_ms};
use wayfare_protocol::log::Stream;

pub(super) const STDIN: i32 = 0;
/// A write takes no more than this at once; libraries issue another for the rest.
const WRITE_BYTES_MAX: usize = 64 * 1024;

const FILETYPE_UNKNOWN: u8 = 0;
const FILETYPE_CHARACTER_DEVICE: u8 = 2;
const FDFLAGS_APPEND: u16 = 1;
const RIGHTS_FD_READ: u64 = 1 << 1;
const RIGHTS_FD_WRITE: u64 = 1 << 6;
const RIGHTS_FD_FILESTAT_GET: u64 = 1 << 21;
const RIGHTS_POLL_FD_READWRITE: u64 = 1 << 27;

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |caller: Caller<'_, Context>, fd: i32, buffers: i32, count: i32, out: i32| {
            call_blocking(caller, |guest| match files::is_stream(fd) {
                true => write(guest, fd, buffers, count, out),
                false => files::write(guest, (fd, At::Offset), (buffers, count), out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |caller: Caller<'_, Context>, fd: i32, buffers: i32, count: i32, out: i32| {
            call_blocking(caller, |guest| match files::is_stream(fd) {
                true => read(guest, fd, buffers, count, out),
                false => files::read(guest, (fd, At::Offset), (buffers, count), out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call_blocking(caller, |guest| {
                if !files::is_stream(fd) {
                    return files::status(guest, fd, out);
                }
                let mut stat = [0; 24];
                stat[0] = filetype(fd)?;
                let (flags, right) = match fd {
                    STDIN => (0, RIGHTS_FD_READ),
                    _ => (FDFLAGS_APPEND, RIGHTS_FD_WRITE),
                };
                stat[2..4].copy_from_slice(&flags.to_le_bytes());
                let rights = right | RIGHTS_FD_FILESTAT_GET | RIGHTS_POLL_FD_READWRITE;
                stat[8..16].copy_from_slice(&rights.to_le_bytes());
                guest.write(out, &stat)?;
                Ok(Flow::Done)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_get",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call_blocking(caller, |guest| {
                if !files::is_stream(fd) {
                    return files::file_status(guest, fd, out);
                }
                let mut stat = [0; 64];
                stat[16] = filetype(fd)?;
                stat[24] = 1; // links
                if fd == STDIN {
                    stat[32..40].copy_from_slice(&(guest.context.stdin().len() as u64).to_le_bytes());
                }
                guest.write(out, &stat)?;
                Ok(Flow::Done)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_flags",
        |caller: Caller<'_, Context>, fd: i32, flags: i32| {
            call(caller, |guest| match files::is_stream(fd) {
                false => files::set_flags(guest, fd, flags),
                true if flags & !i32::from(FDFLAGS_APPEND) == 0 => Ok(()),
                true => Err(Errno::NOTSUP),
            })
        },
    )?;
    Ok(())
}

pub(super) fn stream(fd: i32) -> Result<Stream, Errno> {
    match fd {
        1 => Ok(Stream::Stdout),
        2 => Ok(Stream::Stderr),
        _ => Err(Errno::BADF),
    }
}

pub(super) fn filetype(fd: i32) -> Result<u8, Errno> {
    match fd {
        STDIN => Ok(FILETYPE_UNKNOWN),
        _ => stream(fd).map(|_| FILETYPE_CHARACTER_DEVICE),
    }
}

/// Waits while the log is full. What it takes it takes at once, in the end, so that leaving has no effect.
fn write(guest: &mut Guest, fd: i32, buffers: i32, count: i32, out: i32) -> Result<Flow, Errno> {
    let stream = stream(fd)?;
    let buffers = guest.buffers(buffers, count)?;
    guest.bytes(out, 4)?;
    let mut text = Vec::new();
    for (at, length) in buffers {
        let room = (WRITE_BYTES_MAX - text.len()) as u64;
        text.extend_from_slice(guest.bytes(at, length.min(room))?);
    }
    let context = &mut *guest.context;
    context.blocked_until_ns = None;
    let (taken, news) = {
        let mut shared = context.control.lock();
        while !text.is_empty() && !shared.log.has_room() {
            if shared.wants() {
                return Ok(Flow::Interrupted);
            }
            shared = context.control.wait(shared, None);
        }
        (shared.log.append(stream, &text, now_ms()), shared.log.announce())
    };
    if news {
        context.say_lines_ready();
    }
    guest.write_u32(out, taken as u32)?;
    Ok(Flow::Done)
}

/// Never waits: all of the input is there.
fn read(guest: &mut Guest, fd: i32, buffers: i32, count: i32, out: i32) -> Result<Flow, Errno> {
    if fd != STDIN {
        return Err(stream(fd).map_or(Errno::BADF, |_| Errno::NOTSUP));
    }
    let buffers = guest.buffers(buffers, count)?;
    guest.bytes(out, 4)?;
    let input = guest.context.stdin();
    let start = usize::try_from(guest.context.stdin_offset).map_or(input.len(), |at| at.min(input.len()));
    let mut rest = &input[start..];
    for (at, length) in buffers {
        let length = (length as usize).min(rest.len());
        guest.write(at, &rest[..length])?;
        rest = &rest[length..];
    }
    let taken = input.len() - start - rest.len();
    guest.context.stdin_offset = (start + taken) as u64;
    // More than 4 GiB of input is refused long before it gets here.
    guest.write_u32(out, taken as u32)?;
    Ok(Flow::Done)
}
