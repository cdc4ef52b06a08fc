//! The host calls for devices. `guest/wayfare.h` is their documentation; errors are preview 1's numbers.
//!
//! A call reaches the device on the program's own thread, and never under the lock that the engine's loop
//! takes as well: a slow bus holds up one program and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WAYFARE_MODULE as MODULE;
use wayfare_abi::errno::Errno;
use wayfare_devices::{Edge, Held, Trouble, Waker};
use wayfare_protocol::device::{ALIAS_BYTES_MAX, Alias, DeviceKind};

use super::context::Context;
use super::wasi::guest::{Flow, Guest, call, call_blocking};

const RISING: u32 = 1;
const FALLING: u32 = 2;
/// In one transfer each way; as much as the kernel's SPI driver takes by default.
const TRANSFER_BYTES_MAX: u32 = 4096;
/// Read or written by one call.
pub(super) const SERIAL_BYTES_MAX: usize = 4096;
/// A program that waits for a port to send looks this often whether it shall stop.
pub(super) const SEND_LOOK: Duration = Duration::from_millis(50);

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    gpio(linker)?;
    analogue(linker)?;
    buses(linker)?;
    serial(linker)
}

fn gpio(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "gpio_write",
        |caller: Caller<'_, Context>, alias: i32, length: i32, active: i32| {
            call(caller, |guest| {
                on(guest, (alias, length), |held, alias| {
                    held.write(alias, active != 0)
                })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "gpio_read",
        |caller: Caller<'_, Context>, alias: i32, length: i32, out: i32| {
            call(caller, |guest| {
                let active = on(guest, (alias, length), Held::read)?;
                guest.write_u32(out, u32::from(active))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "gpio_wait",
        |caller: Caller<'_, Context>, alias: i32, length: i32, edges: i32, timeout_ms: i64, out: i32| {
            call_blocking(caller, |guest| {
                let edges = edges.cast_unsigned();
                if edges == 0 || edges > RISING | FALLING {
                    return Err(Errno::INVAL);
                }
                guest.bytes(out, 4)?;
                let wanted = |edge| edges & number(edge) != 0;
                let heard = wait(guest, (alias, length), timeout_ms, |held, alias, wake| {
                    held.edge(alias, wanted, wake)
                })?;
                let Some(edge) = heard else {
                    return Ok(Flow::Interrupted);
                };
                guest.write_u32(out, number(edge))?;
                Ok(Flow::Done)
            })
        },
    )?;
    Ok(())
}

fn number(edge: Edge) -> u32 {
    match edge {
        Edge::Rising => RISING,
        Edge::Falling => FALLING,
    }
}

fn analogue(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "adc_read",
        |caller: Caller<'_, Context>, alias: i32, length: i32, raw: i32, scaled: i32| {
            call(caller, |guest| {
                let sample = on(guest, (alias, length), |held, alias| held.sample(alias))?;
                guest.write_u64(raw, sample.raw.cast_unsigned())?;
                guest.write_u64(scaled, sample.scaled.to_bits())
            })
        },
    )?;
    Ok(())
}

fn buses(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "i2c_transfer",
        |caller: Caller<'_, Context>,
         alias: i32,
         length: i32,
         write: i32,
         written: i32,
         read: i32,
         room: i32| {
            call(caller, |guest| {
                let lengths = (written.cast_unsigned(), room.cast_unsigned());
                transfer(guest, (alias, length), DeviceKind::I2c, (write, read), lengths)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "spi_transfer",
        |caller: Caller<'_, Context>, alias: i32, length: i32, write: i32, read: i32, bytes: i32| {
            call(caller, |guest| {
                let lengths = (bytes.cast_unsigned(), bytes.cast_unsigned());
                transfer(guest, (alias, length), DeviceKind::Spi, (write, read), lengths)
            })
        },
    )?;
    Ok(())
}

fn transfer(
    guest: &mut Guest,
    alias: (i32, i32),
    kind: DeviceKind,
    (write, read): (i32, i32),
    (written, room): (u32, u32),
) -> Result<(), Errno> {
    if written.max(room) > TRANSFER_BYTES_MAX {
        return Err(Errno::MSGSIZE);
    }
    if written == 0 && room == 0 {
        return Err(Errno::INVAL);
    }
    let write = guest.bytes(write, u64::from(written))?.to_vec();
    let mut answer = guest.bytes(read, u64::from(room))?.to_vec();
    on(guest, alias, |held, alias| {
        held.transfer((alias, kind), &write, &mut answer)
    })?;
    guest.write(read, &answer)
}

fn serial(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "serial_write",
        |caller: Caller<'_, Context>, alias: i32, length: i32, data: i32, bytes: i32, out: i32| {
            call_blocking(caller, |guest| {
                let bytes = u64::from(bytes.cast_unsigned());
                let data = guest.bytes(data, bytes)?;
                let data = data[..data.len().min(SERIAL_BYTES_MAX)].to_vec();
                guest.bytes(out, 4)?;
                let sent = loop {
                    let sent = on(guest, (alias, length), |held, alias| {
                        held.send(alias, &data, SEND_LOOK)
                    })?;
                    if sent > 0 || data.is_empty() {
                        break sent;
                    }
                    if guest.context.control.lock().wants() {
                        return Ok(Flow::Interrupted);
                    }
                };
                guest.write_u32(out, sent as u32)?;
                Ok(Flow::Done)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "serial_read",
        |caller: Caller<'_, Context>,
         alias: i32,
         length: i32,
         timeout_ms: i64,
         buffer: i32,
         room: i32,
         out: i32| {
            call_blocking(caller, |guest| {
                let bytes_max = guest.bytes(buffer, u64::from(room.cast_unsigned()))?.len();
                guest.bytes(out, 4)?;
                if bytes_max == 0 {
                    return Err(Errno::INVAL);
                }
                let heard = wait(guest, (alias, length), timeout_ms, |held, alias, wake| {
                    let there = held.receive(alias, bytes_max.min(SERIAL_BYTES_MAX), wake)?;
                    Ok(Some(there).filter(|there| !there.is_empty()))
                })?;
                let Some(there) = heard else {
                    return Ok(Flow::Interrupted);
                };
                guest.write(buffer, &there)?;
                guest.write_u32(out, there.len() as u32)?;
                Ok(Flow::Done)
            })
        },
    )?;
    Ok(())
}

/// A call that the device answers at once, or nearly so.
fn on<T>(
    guest: &mut Guest,
    alias: (i32, i32),
    ask: impl FnOnce(&mut Held, &Alias) -> Result<T, Trouble>,
) -> Result<T, Errno> {
    let alias = name(guest, alias)?;
    on_named(guest.context, &alias, ask)
}

pub(super) fn on_named<T>(
    context: &mut Context,
    alias: &Alias,
    ask: impl FnOnce(&mut Held, &Alias) -> Result<T, Trouble>,
) -> Result<T, Errno> {
    ask(&mut context.held, alias).map_err(|trouble| failed(context, alias, &trouble))
}

/// Looks, and looks again when the device has something to say, for `timeout_ms`: below zero for ever, zero
/// not at all. `None`: the program shall stop, and what it waits for has not come.
fn wait<T>(
    guest: &mut Guest,
    alias: (i32, i32),
    timeout_ms: i64,
    look: impl Fn(&mut Held, &Alias, &dyn Fn() -> Waker) -> Result<Option<T>, Trouble>,
) -> Result<Option<T>, Errno> {
    let alias = name(guest, alias)?;
    wait_named(guest.context, &alias, timeout_ms, look)
}

pub(super) fn wait_named<T>(
    context: &mut Context,
    alias: &Alias,
    timeout_ms: i64,
    look: impl Fn(&mut Held, &Alias, &dyn Fn() -> Waker) -> Result<Option<T>, Trouble>,
) -> Result<Option<T>, Errno> {
    let until_ns = context.until_ns(timeout_ms);
    let control = context.control.clone();
    let woken = Arc::new(AtomicBool::new(false));
    let waker = || -> Waker {
        let (woken, control) = (woken.clone(), Arc::downgrade(&control));
        Box::new(move || {
            woken.store(true, Ordering::Release);
            if let Some(control) = control.upgrade() {
                control.wake_program_surely();
            }
        })
    };
    loop {
        let found = look(&mut context.held, alias, &waker);
        if let Some(found) = found.map_err(|trouble| failed(context, alias, &trouble))? {
            return Ok(Some(found));
        }
        let mut shared = control.lock();
        while !woken.swap(false, Ordering::Acquire) {
            let left_ns = until_ns.map(|until| until.saturating_sub(context.clock.now_ns()));
            if left_ns == Some(0) {
                return Err(if timeout_ms == 0 {
                    Errno::AGAIN
                } else {
                    Errno::TIMEDOUT
                });
            }
            if shared.wants() {
                context.blocked_until_ns = until_ns;
                return Ok(None);
            }
            shared = control.wait(shared, left_ns.map(Duration::from_nanos));
        }
    }
}

fn name(guest: &Guest, (at, length): (i32, i32)) -> Result<Alias, Errno> {
    let length = length.cast_unsigned();
    if length as usize > ALIAS_BYTES_MAX {
        return Err(Errno::INVAL);
    }
    let bytes = guest.bytes(at, u64::from(length))?;
    let text = std::str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
    text.parse().map_err(|_| Errno::INVAL)
}

/// The error for the program, and the reason in its log.
fn failed(context: &mut Context, alias: &Alias, trouble: &Trouble) -> Errno {
    context.tell_trouble(alias, trouble);
    match trouble {
        Trouble::NotGranted => Errno::NOTCAPABLE,
        Trouble::NotHere => Errno::NODEV,
        Trouble::WrongKind { .. } => Errno::NOTTY,
        Trouble::Taken => Errno::BUSY,
        Trouble::Failed(_) => Errno::IO,
    }
}
