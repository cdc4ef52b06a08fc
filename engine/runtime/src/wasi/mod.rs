//! WASI preview 1, for programs with arguments, environment, standard streams, clocks, randomness and files.
//! All functions are there, so that any command links; those for sockets say that there are none.
//!
//! Always: a call either completes or has had no effect. That is what lets a program be captured in the
//! middle of one. Those that can wait are named in `wayfare_abi::calls`.

mod environment;
mod files;
pub(super) mod guest;
mod poll;
mod streams;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::{Errno, SUCCESS};

use super::context::Context;
use guest::call;

/// `proc_exit`, on its way out through the program's frames.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("exited with code {0}")]
pub(super) struct Exit(pub(super) i32);

/// Defines every function of preview 1.
pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    environment::define(linker)?;
    streams::define(linker)?;
    poll::define(linker)?;
    files::define(linker)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(Exit(code).into())
    })?;
    linker.func_wrap(MODULE, "proc_raise", |_: i32| Errno::NOSYS.0)?;
    linker.func_wrap(MODULE, "sched_yield", || {
        std::thread::yield_now();
        SUCCESS
    })?;
    linker.func_wrap(
        MODULE,
        "random_get",
        |caller: Caller<'_, Context>, at: i32, count: i32| {
            call(caller, |guest| {
                let bytes = guest.bytes_mut(at, u64::from(count.cast_unsigned()))?;
                getrandom::fill(bytes).map_err(|_| Errno::IO)
            })
        },
    )?;
    Ok(())
}
