//! Standard input from the bytes that came with the program, standard output and error into its log.
//! Descriptors 0 to 2 have them until the program closes these or gives them to something else.
//!
//! Standard output claims to be a terminal, and nothing else does. C libraries hold back what is written to
//! anything else until some KiB are together, and a line that a program prints before it computes for an hour
//! belongs into the log at once. They never hold back standard error, so that one need not claim it: programs
//! that ask there whether to use colours are told no.

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_protocol::log::Stream;

use super::files::{self, At};
use super::guest::{Flow, Guest, call, call_blocking};
use crate::clock::now_ms;
use crate::context::Context;
use crate::files::StandardStream;

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
            call_blocking(caller, |guest| match guest.context.files.stream(fd)? {
                Some(stream) => write(guest, stream, (buffers, count), out),
                None => files::write(guest, (fd, At::Offset), (buffers, count), out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |caller: Caller<'_, Context>, fd: i32, buffers: i32, count: i32, out: i32| {
            call_blocking(caller, |guest| match guest.context.files.stream(fd)? {
                Some(stream) => read(guest, stream, (buffers, count), out),
                None => files::read(guest, (fd, At::Offset), (buffers, count), out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call(caller, |guest| match guest.context.files.stream(fd)? {
                Some(stream) => status(guest, stream, out),
                None => files::status(guest, fd, out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_get",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call_blocking(caller, |guest| match guest.context.files.stream(fd)? {
                Some(stream) => file_status(guest, stream, out),
                None => files::file_status(guest, fd, out),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_flags",
        |caller: Caller<'_, Context>, fd: i32, flags: i32| {
            call(caller, |guest| match guest.context.files.stream(fd)? {
                None => files::set_flags(guest, fd, flags),
                Some(_) if flags & !i32::from(FDFLAGS_APPEND) == 0 => Ok(()),
                Some(_) => Err(Errno::NOTSUP),
            })
        },
    )?;
    Ok(())
}

/// Where what is written goes; standard input is not written to.
fn output(stream: StandardStream) -> Result<Stream, Errno> {
    match stream {
        StandardStream::Input => Err(Errno::BADF),
        StandardStream::Output => Ok(Stream::Stdout),
        StandardStream::Error => Ok(Stream::Stderr),
    }
}

fn filetype(stream: StandardStream) -> u8 {
    match stream {
        StandardStream::Output => FILETYPE_CHARACTER_DEVICE,
        StandardStream::Input | StandardStream::Error => FILETYPE_UNKNOWN,
    }
}

fn status(guest: &mut Guest, stream: StandardStream, out: i32) -> Result<(), Errno> {
    let (flags, right) = match stream {
        StandardStream::Input => (0, RIGHTS_FD_READ),
        StandardStream::Output | StandardStream::Error => (FDFLAGS_APPEND, RIGHTS_FD_WRITE),
    };
    let rights = right | RIGHTS_FD_FILESTAT_GET | RIGHTS_POLL_FD_READWRITE;
    let mut status = [0; 24];
    status[0] = filetype(stream);
    status[2..4].copy_from_slice(&flags.to_le_bytes());
    status[8..16].copy_from_slice(&rights.to_le_bytes());
    guest.write(out, &status)
}

fn file_status(guest: &mut Guest, stream: StandardStream, out: i32) -> Result<Flow, Errno> {
    /// Not that of a mount.
    const DEVICE: u64 = 1;
    let (number, bytes) = match stream {
        StandardStream::Input => (1_u64, guest.context.stdin().len() as u64),
        StandardStream::Output => (2, 0),
        StandardStream::Error => (3, 0),
    };
    let mut status = [0; 64];
    status[..8].copy_from_slice(&DEVICE.to_le_bytes());
    status[8..16].copy_from_slice(&number.to_le_bytes());
    status[16] = filetype(stream);
    status[24] = 1; // links
    status[32..40].copy_from_slice(&bytes.to_le_bytes());
    guest.write(out, &status)?;
    Ok(Flow::Done)
}

/// Waits while the log is full. What it takes it takes at once, in the end, so that leaving has no effect.
fn write(
    guest: &mut Guest,
    stream: StandardStream,
    (buffers, count): (i32, i32),
    out: i32,
) -> Result<Flow, Errno> {
    let stream = output(stream)?;
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
fn read(
    guest: &mut Guest,
    stream: StandardStream,
    (buffers, count): (i32, i32),
    out: i32,
) -> Result<Flow, Errno> {
    if stream != StandardStream::Input {
        return Err(Errno::BADF);
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
