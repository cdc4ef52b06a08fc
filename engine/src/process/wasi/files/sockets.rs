//! There are no sockets: programs talk through the broker.

use wasmtime::Linker;

use crate::process::context::Context;
use crate::process::wasi::MODULE;
use crate::process::wasi::errno::Errno;
use crate::process::wasi::streams::filetype;

pub(in crate::process::wasi) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    let socket = |fd: i32| filetype(fd).map_or(Errno::BADF, |_| Errno::NOTSOCK).0;
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
