//! The functions for files and folders, below the mounts of `files`. On the standard streams they do what a
//! system would that has these as pipes.
//!
//! There are no links: a name is a file's only one.

mod descriptors;
mod fleet;
mod listing;
mod paths;
mod sockets;
mod wayfare;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::Errno;

use super::guest::{Guest, call, call_blocking};
use crate::context::Context;
use crate::files::Of;

pub(super) use descriptors::{At, file_status, read, set_flags, status, write};
use paths::{Asked, Change};

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    mounts(linker)?;
    positions(linker)?;
    lengths_and_times(linker)?;
    folders(linker)?;
    names(linker)?;
    sockets::define(linker)
}

/// What such a call says of the standard streams, and of the lines of `/wayfare`.
fn not_of_stream(guest: &Guest, fd: i32, errno: Errno) -> Result<(), Errno> {
    match &guest.context.files.get(fd)?.of {
        Of::Stream(_) => Err(errno),
        Of::Wayfare(file) if file.is_stream() => Err(errno),
        _ => Ok(()),
    }
}

fn mounts(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_prestat_get",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call(caller, |guest| {
                let name = mount_name(guest, fd)?;
                // The tag 0 is that of folders.
                guest.write_u32(out, 0)?;
                guest.write_u32(out.wrapping_add(4), name.len() as u32)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |caller: Caller<'_, Context>, fd: i32, buffer: i32, room: i32| {
            call(caller, |guest| {
                let name = mount_name(guest, fd)?;
                match name.len() <= room.cast_unsigned() as usize {
                    true => guest.write(buffer, name.as_bytes()),
                    false => Err(Errno::NAMETOOLONG),
                }
            })
        },
    )?;
    linker.func_wrap(MODULE, "fd_close", |caller: Caller<'_, Context>, fd: i32| {
        call(caller, |guest| guest.context.files.close(fd))
    })?;
    linker.func_wrap(
        MODULE,
        "fd_renumber",
        |caller: Caller<'_, Context>, fd: i32, to: i32| {
            call(caller, |guest| guest.context.files.renumber(fd, to))
        },
    )?;
    Ok(())
}

fn mount_name(guest: &Guest, fd: i32) -> Result<&'static str, Errno> {
    match &guest.context.files.get(fd)?.of {
        Of::Mount(mount) => Ok(mount.name()),
        _ => Err(Errno::BADF),
    }
}

fn positions(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |caller: Caller<'_, Context>, fd: i32, by: i64, whence: i32, out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::SPIPE)?;
                descriptors::seek(guest, (fd, by, whence), out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_tell",
        |caller: Caller<'_, Context>, fd: i32, out: i32| {
            call_blocking(caller, |guest| {
                const FROM_HERE: i32 = 1;
                not_of_stream(guest, fd, Errno::SPIPE)?;
                descriptors::seek(guest, (fd, 0, FROM_HERE), out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pread",
        |caller: Caller<'_, Context>, fd: i32, buffers: i32, count: i32, offset: i64, out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::SPIPE)?;
                let at = At::Position(offset.cast_unsigned());
                read(guest, (fd, at), (buffers, count), out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pwrite",
        |caller: Caller<'_, Context>, fd: i32, buffers: i32, count: i32, offset: i64, out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::SPIPE)?;
                let at = At::Position(offset.cast_unsigned());
                write(guest, (fd, at), (buffers, count), out)
            })
        },
    )?;
    Ok(())
}

fn lengths_and_times(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_advise",
        |caller: Caller<'_, Context>, fd: i32, offset: i64, length: i64, advice: i32| {
            call(caller, |guest| {
                /// The last of preview 1's pieces of advice, none of which changes anything here.
                const ADVICE_MAX: i32 = 5;
                not_of_stream(guest, fd, Errno::SPIPE)?;
                match offset >= 0 && length >= 0 && (0..=ADVICE_MAX).contains(&advice) {
                    true => Ok(()),
                    false => Err(Errno::INVAL),
                }
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_allocate",
        |caller: Caller<'_, Context>, fd: i32, offset: i64, length: i64| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::SPIPE)?;
                descriptors::allocate(guest, fd, offset, length)
            })
        },
    )?;
    // A write is as durable when it returns as it will ever be.
    for name in ["fd_datasync", "fd_sync"] {
        linker.func_wrap(MODULE, name, |caller: Caller<'_, Context>, fd: i32| {
            call(caller, |guest| not_of_stream(guest, fd, Errno::INVAL))
        })?;
    }
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_rights",
        |caller: Caller<'_, Context>, fd: i32, _: i64, _: i64| {
            call(caller, |guest| {
                guest.context.files.get(fd).and(Err(Errno::NOTSUP))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_size",
        |caller: Caller<'_, Context>, fd: i32, length: i64| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::INVAL)?;
                descriptors::set_length(guest, fd, length)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |caller: Caller<'_, Context>, fd: i32, accessed: i64, modified: i64, flags: i32| {
            call(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTSUP)?;
                let times = paths::times((accessed, modified), flags)?;
                descriptors::set_times(guest, fd, times)
            })
        },
    )?;
    Ok(())
}

fn folders(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |caller: Caller<'_, Context>, fd: i32, buffer: i32, room: i32, cookie: i64, out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                listing::list(guest, fd, (buffer, room), cookie, out)
            })
        },
    )?;
    for (name, change) in [
        ("path_create_directory", Change::MakeFolder),
        ("path_remove_directory", Change::RemoveFolder),
        ("path_unlink_file", Change::Unlink),
    ] {
        linker.func_wrap(
            MODULE,
            name,
            move |caller: Caller<'_, Context>, fd: i32, path: i32, length: i32| {
                call_blocking(caller, |guest| {
                    not_of_stream(guest, fd, Errno::NOTDIR)?;
                    paths::change(guest, change, fd, (path, length))
                })
            },
        )?;
    }
    Ok(())
}

fn names(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |caller: Caller<'_, Context>,
         fd: i32,
         _follow: i32,
         path: i32,
         length: i32,
         oflags: i32,
         rights: i64,
         _inherited: i64,
         fdflags: i32,
         out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                let asked = Asked {
                    oflags,
                    rights,
                    fdflags,
                };
                paths::open(guest, fd, (path, length), asked, out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |caller: Caller<'_, Context>, fd: i32, _follow: i32, path: i32, length: i32, out: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                paths::status(guest, fd, (path, length), out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_rename",
        |caller: Caller<'_, Context>, fd: i32, path: i32, length: i32, to: i32, name: i32, bytes: i32| {
            call_blocking(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                not_of_stream(guest, to, Errno::NOTDIR)?;
                paths::rename(guest, (fd, (path, length)), (to, (name, bytes)))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |caller: Caller<'_, Context>,
         fd: i32,
         _follow: i32,
         path: i32,
         length: i32,
         accessed: i64,
         modified: i64,
         flags: i32| {
            call(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                let times = paths::times((accessed, modified), flags)?;
                paths::set_times(guest, fd, (path, length), times)
            })
        },
    )?;
    links(linker)
}

fn links(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    fn refuse(guest: &Guest, fd: i32, errno: Errno) -> Result<(), Errno> {
        not_of_stream(guest, fd, Errno::NOTDIR)?;
        guest.context.files.folder(fd).and(Err(errno))
    }
    linker.func_wrap(
        MODULE,
        "path_link",
        |caller: Caller<'_, Context>, fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32, _: i32| {
            call(caller, |guest| refuse(guest, fd, Errno::NOTSUP))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |caller: Caller<'_, Context>, _: i32, _: i32, fd: i32, _: i32, _: i32| {
            call(caller, |guest| refuse(guest, fd, Errno::NOTSUP))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |caller: Caller<'_, Context>, fd: i32, path: i32, length: i32, _: i32, _: i32, _: i32| {
            call(caller, |guest| {
                not_of_stream(guest, fd, Errno::NOTDIR)?;
                paths::read_link(guest, fd, (path, length))
            })
        },
    )?;
    Ok(())
}
