//! Arguments, environment and clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::Errno;

use super::guest::{Guest, call};
use crate::context::Context;

pub(super) const CLOCK_REALTIME: i32 = 0;
pub(super) const CLOCK_MONOTONIC: i32 = 1;
/// What both clocks really resolve; whatever the system's do.
const RESOLUTION_NS: u64 = 1;

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |caller: Caller<'_, Context>, count: i32, bytes: i32| {
            call(caller, |guest| {
                sizes(guest, |context| &context.arguments, count, bytes)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        |caller: Caller<'_, Context>, pointers: i32, text: i32| {
            call(caller, |guest| {
                list(guest, |context| &context.arguments, pointers, text)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |caller: Caller<'_, Context>, count: i32, bytes: i32| {
            call(caller, |guest| {
                sizes(guest, |context| &context.environment, count, bytes)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_get",
        |caller: Caller<'_, Context>, pointers: i32, text: i32| {
            call(caller, |guest| {
                list(guest, |context| &context.environment, pointers, text)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |caller: Caller<'_, Context>, clock: i32, out: i32| {
            call(caller, |guest| {
                now_ns(guest.context, clock).and_then(|_| guest.write_u64(out, RESOLUTION_NS))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |caller: Caller<'_, Context>, clock: i32, _precision: i64, out: i32| {
            call(caller, |guest| {
                now_ns(guest.context, clock).and_then(|ns| guest.write_u64(out, ns))
            })
        },
    )?;
    Ok(())
}

/// The program's monotonic clock, or the system's of the engine it happens to run on. There is no clock of
/// processor time: one that survives moves would mean nothing.
pub(super) fn now_ns(context: &Context, clock: i32) -> Result<u64, Errno> {
    match clock {
        CLOCK_REALTIME => Ok(realtime_ns()),
        CLOCK_MONOTONIC => Ok(context.clock.now_ns()),
        _ => Err(Errno::INVAL),
    }
}

pub(super) fn realtime_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Texts without their final NUL; the limits of `ProgramSpec::check` keep all of this small.
fn sizes(
    guest: &mut Guest,
    texts: impl Fn(&Context) -> &[String],
    count: i32,
    bytes: i32,
) -> Result<(), Errno> {
    let texts = texts(guest.context);
    let number = texts.len() as u32;
    let total = texts.iter().map(|text| text.len() as u32 + 1).sum();
    guest.write_u32(count, number)?;
    guest.write_u32(bytes, total)
}

fn list(
    guest: &mut Guest,
    texts: impl Fn(&Context) -> &[String],
    pointers: i32,
    text: i32,
) -> Result<(), Errno> {
    let mut table = Vec::new();
    let mut bytes = Vec::new();
    for item in texts(guest.context) {
        let at = text
            .cast_unsigned()
            .checked_add(bytes.len() as u32)
            .ok_or(Errno::FAULT)?;
        table.extend(at.to_le_bytes());
        bytes.extend_from_slice(item.as_bytes());
        bytes.push(0);
    }
    guest.bytes(pointers, table.len() as u64)?;
    guest.write(text, &bytes)?;
    guest.write(pointers, &table)
}
