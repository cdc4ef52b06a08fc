//! There are no sockets: programs talk through the broker.

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::Errno;

use crate::context::Context;
use crate::wasi::guest::call;

pub(in crate::wasi) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    fn refuse(caller: Caller<'_, Context>, fd: i32) -> wasmtime::Result<i32> {
        call(caller, |guest| {
            guest.context.files.get(fd).and(Err(Errno::NOTSOCK))
        })
    }
    linker.func_wrap(
        MODULE,
        "sock_accept",
        |caller: Caller<'_, Context>, fd: i32, _: i32, _: i32| refuse(caller, fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        |caller: Caller<'_, Context>, fd: i32, _: i32, _: i32, _: i32, _: i32, _: i32| refuse(caller, fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_send",
        |caller: Caller<'_, Context>, fd: i32, _: i32, _: i32, _: i32, _: i32| refuse(caller, fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_shutdown",
        |caller: Caller<'_, Context>, fd: i32, _: i32| refuse(caller, fd),
    )?;
    Ok(())
}
