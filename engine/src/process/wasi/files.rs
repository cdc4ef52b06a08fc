//! The functions for files, directories and sockets. There are none of these yet: no directory is open to begin with, so
//! a program can name no file. Each function says so as it would of a system without them.

use wasmtime::Linker;

use super::MODULE;
use super::errno::Errno;
use super::streams::filetype;
use crate::process::context::Context;

/// What `operation` would say of the standard streams, `EBADF` of all other descriptors.
fn refuse(fd: i32, of_stream: Errno) -> i32 {
    filetype(fd).map_or(Errno::BADF, |_| of_stream).0
}

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    descriptors(linker)?;
    paths(linker)?;
    sockets(linker)
}

fn descriptors(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_close", |fd: i32| {
        filetype(fd).map_or_else(|e| e.0, |_| super::SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_renumber", |fd: i32, _: i32| refuse(fd, Errno::NOTSUP))?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| Errno::BADF.0)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| {
        Errno::BADF.0
    })?;
    linker.func_wrap(MODULE, "fd_readdir", |fd: i32, _: i32, _: i32, _: i64, _: i32| {
        refuse(fd, Errno::NOTDIR)
    })?;
    linker.func_wrap(MODULE, "fd_seek", |fd: i32, _: i64, _: i32, _: i32| {
        refuse(fd, Errno::SPIPE)
    })?;
    linker.func_wrap(MODULE, "fd_tell", |fd: i32, _: i32| refuse(fd, Errno::SPIPE))?;
    linker.func_wrap(MODULE, "fd_pread", |fd: i32, _: i32, _: i32, _: i64, _: i32| {
        refuse(fd, Errno::SPIPE)
    })?;
    linker.func_wrap(MODULE, "fd_pwrite", |fd: i32, _: i32, _: i32, _: i64, _: i32| {
        refuse(fd, Errno::SPIPE)
    })?;
    linker.func_wrap(MODULE, "fd_advise", |fd: i32, _: i64, _: i64, _: i32| {
        refuse(fd, Errno::SPIPE)
    })?;
    linker.func_wrap(MODULE, "fd_allocate", |fd: i32, _: i64, _: i64| {
        refuse(fd, Errno::SPIPE)
    })?;
    linker.func_wrap(MODULE, "fd_datasync", |fd: i32| refuse(fd, Errno::INVAL))?;
    linker.func_wrap(MODULE, "fd_sync", |fd: i32| refuse(fd, Errno::INVAL))?;
    linker.func_wrap(MODULE, "fd_fdstat_set_rights", |fd: i32, _: i64, _: i64| {
        refuse(fd, Errno::NOTSUP)
    })?;
    linker.func_wrap(MODULE, "fd_filestat_set_size", |fd: i32, _: i64| {
        refuse(fd, Errno::INVAL)
    })?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |fd: i32, _: i64, _: i64, _: i32| refuse(fd, Errno::NOTSUP),
    )?;
    Ok(())
}

fn paths(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    let directory = |fd: i32| refuse(fd, Errno::NOTDIR);
    for name in [
        "path_create_directory",
        "path_remove_directory",
        "path_unlink_file",
    ] {
        linker.func_wrap(MODULE, name, move |fd: i32, _: i32, _: i32| directory(fd))?;
    }
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        move |fd: i32, _: i32, _: i32, _: i32, _: i32| directory(fd),
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        move |fd: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32| directory(fd),
    )?;
    linker.func_wrap(
        MODULE,
        "path_link",
        move |fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32, _: i32| directory(fd),
    )?;
    linker.func_wrap(
        MODULE,
        "path_open",
        move |fd: i32, _: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32, _: i32| directory(fd),
    )?;
    for name in ["path_readlink", "path_rename"] {
        linker.func_wrap(
            MODULE,
            name,
            move |fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32| directory(fd),
        )?;
    }
    linker.func_wrap(
        MODULE,
        "path_symlink",
        move |_: i32, _: i32, fd: i32, _: i32, _: i32| directory(fd),
    )?;
    Ok(())
}

fn sockets(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    let socket = |fd: i32| refuse(fd, Errno::NOTSOCK);
    linker.func_wrap(MODULE, "sock_accept", move |fd: i32, _: i32, _: i32| socket(fd))?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        move |fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32| socket(fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_send",
        move |fd: i32, _: i32, _: i32, _: i32, _: i32| socket(fd),
    )?;
    linker.func_wrap(MODULE, "sock_shutdown", move |fd: i32, _: i32| socket(fd))?;
    Ok(())
}
