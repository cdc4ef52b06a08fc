//! `poll_oneoff`: sleeping, and waiting for a descriptor. The call that programs are most often found blocked
//! in.
//!
//! A descriptor is ready where reading or writing would not wait, if only because it would fail: only
//! standard output and error ever are not, while the log is full, and `/wayfare/in`, while there is no line.
//!
//! A relative time counts from when the call was *first* issued. A call that was left notes when its
//! shortest such time is over; issued again, it finds from that when it began.

use std::time::Duration;

use wasmtime::{Caller, Linker};
use wayfare_abi::calls::WASI_MODULE as MODULE;
use wayfare_abi::errno::Errno;

use super::environment::{CLOCK_MONOTONIC, CLOCK_REALTIME, realtime_ns};
use super::guest::{Flow, Guest, call_blocking, u16_at, u32_at, u64_at};
use crate::channel::receive;
use crate::context::Context;
use crate::control::Shared;
use crate::files::wayfare::WayfareFile;
use crate::files::{Of, StandardStream};

const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;
const SUBSCRIPTIONS_MAX: u32 = 4096;
const ABSOLUTE: u16 = 1;
/// The system's clock can be set while we wait for it to reach a time: look again this often.
const REALTIME_LOOK: Duration = Duration::from_secs(1);

struct Subscription {
    userdata: [u8; 8],
    tag: u8,
    wait: Result<Wait, Errno>,
}

enum Wait {
    /// Nanoseconds from when the call began.
    Relative(u64),
    /// By the program's monotonic clock.
    Monotonic(u64),
    Realtime(u64),
    /// For room in the log.
    Room,
    /// For a line of `/wayfare/in`.
    Line,
    Ready {
        bytes: u64,
        /// There will never be any.
        is_over: bool,
    },
}

/// An instant as all clocks show it.
struct Now {
    monotonic_ns: u64,
    realtime_ns: u64,
}

pub(super) fn define(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |caller: Caller<'_, Context>, subscriptions: i32, events: i32, count: i32, out: i32| {
            call_blocking(caller, |guest| poll(guest, subscriptions, events, count, out))
        },
    )?;
    Ok(())
}

fn poll(guest: &mut Guest, subscriptions: i32, events: i32, count: i32, out: i32) -> Result<Flow, Errno> {
    let count = count.cast_unsigned();
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::INVAL);
    }
    let subscriptions: Vec<Subscription> = guest
        .bytes(subscriptions, u64::from(count) * SUBSCRIPTION_BYTES as u64)?
        .chunks_exact(SUBSCRIPTION_BYTES)
        .map(|bytes| parse(guest.context, bytes))
        .collect();
    guest.bytes(events, u64::from(count) * EVENT_BYTES as u64)?;
    guest.bytes(out, 4)?;
    let Some(happened) = wait(guest.context, &subscriptions) else {
        return Ok(Flow::Interrupted);
    };
    guest.write(events, &happened)?;
    guest.write_u32(out, (happened.len() / EVENT_BYTES) as u32)?;
    Ok(Flow::Done)
}

/// The events, at least one, once there are any; `None` if the program shall stop before.
fn wait(context: &mut Context, subscriptions: &[Subscription]) -> Option<Vec<u8>> {
    let shortest = subscriptions
        .iter()
        .filter_map(|subscription| match subscription.wait {
            Ok(Wait::Relative(ns)) => Some(ns),
            _ => None,
        })
        .min();
    let now = context.clock.now_ns();
    let began_ns = match (context.blocked_until_ns.take(), shortest) {
        (Some(until), Some(shortest)) => until.saturating_sub(shortest).min(now),
        _ => now,
    };
    let mut shared = context.control.lock();
    loop {
        let now = Now {
            monotonic_ns: context.clock.now_ns(),
            realtime_ns: realtime_ns(),
        };
        let events: Vec<u8> = subscriptions
            .iter()
            .filter_map(|subscription| {
                let is_line = || receive::is_ready(&context.files.channel, &shared, now.monotonic_ns);
                event(subscription, began_ns, &now, &shared, is_line)
            })
            .flatten()
            .collect();
        if !events.is_empty() {
            return Some(events);
        }
        if shared.wants() {
            context.blocked_until_ns = shortest.map(|shortest| began_ns.saturating_add(shortest));
            return None;
        }
        let lines = receive::time_left(&context.files.channel, &shared, now.monotonic_ns);
        let left = subscriptions.iter().filter_map(|one| match one.wait {
            Ok(Wait::Line) => lines,
            _ => left(one, began_ns, &now),
        });
        let timeout = left.min();
        shared = context.control.wait(shared, timeout);
    }
}

fn parse(context: &Context, bytes: &[u8]) -> Subscription {
    let tag = bytes[8];
    let wait = match tag {
        0 => {
            let (clock, timeout_ns) = (u32_at(bytes, 16).cast_signed(), u64_at(bytes, 24));
            match (clock, u16_at(bytes, 40) & ABSOLUTE != 0) {
                (CLOCK_MONOTONIC | CLOCK_REALTIME, false) => Ok(Wait::Relative(timeout_ns)),
                (CLOCK_MONOTONIC, true) => Ok(Wait::Monotonic(timeout_ns)),
                (CLOCK_REALTIME, true) => Ok(Wait::Realtime(timeout_ns)),
                _ => Err(Errno::INVAL),
            }
        }
        1 => to_read(context, u32_at(bytes, 16).cast_signed()),
        2 => to_write(context, u32_at(bytes, 16).cast_signed()),
        _ => Err(Errno::INVAL),
    };
    Subscription {
        userdata: bytes[..8].try_into().expect("eight bytes"),
        tag,
        wait,
    }
}

fn to_read(context: &Context, fd: i32) -> Result<Wait, Errno> {
    let descriptor = context.files.get(fd)?;
    let (bytes, is_over) = match &descriptor.of {
        Of::Stream(StandardStream::Input) => {
            let left = (context.stdin().len() as u64).saturating_sub(context.stdin_offset);
            (left, left == 0)
        }
        Of::Stream(StandardStream::Output | StandardStream::Error) => (0, true),
        Of::Scratch(node) => {
            let stat = context.files.scratch.stat(*node)?;
            (stat.bytes.saturating_sub(descriptor.offset), false)
        }
        // How many there are only the dispatcher knows.
        Of::Wayfare(WayfareFile::In) => return Ok(Wait::Line),
        Of::Given { folder, node } => {
            let stat = context.files.folders.get(*folder)?.stat(*node)?;
            (stat.bytes.saturating_sub(descriptor.offset), false)
        }
        Of::Fleet(_) | Of::Wayfare(_) | Of::Mount(_) | Of::Folder { .. } | Of::Removed { .. } => (1, false),
    };
    Ok(Wait::Ready { bytes, is_over })
}

fn to_write(context: &Context, fd: i32) -> Result<Wait, Errno> {
    match context.files.get(fd)?.of {
        Of::Stream(StandardStream::Output | StandardStream::Error) => Ok(Wait::Room),
        _ => Ok(Wait::Ready {
            bytes: 1,
            is_over: false,
        }),
    }
}

/// What to tell the program of a subscription, if there is something.
fn event(
    subscription: &Subscription,
    began_ns: u64,
    now: &Now,
    shared: &Shared,
    is_line: impl Fn() -> bool,
) -> Option<[u8; EVENT_BYTES]> {
    /// The other side will write no more.
    const HANGUP: u8 = 1;
    let (errno, bytes, flags) = match subscription.wait {
        Err(errno) => (errno.0, 0, 0),
        Ok(Wait::Relative(_) | Wait::Monotonic(_) | Wait::Realtime(_)) => left(subscription, began_ns, now)
            .filter(Duration::is_zero)
            .map(|_| (0, 0, 0))?,
        Ok(Wait::Ready { bytes, is_over }) => (0, bytes, if is_over { HANGUP } else { 0 }),
        Ok(Wait::Room) => shared.log.has_room().then_some((0, 1, 0))?,
        Ok(Wait::Line) => is_line().then_some((0, 1, 0))?,
    };
    let mut event = [0; EVENT_BYTES];
    event[..8].copy_from_slice(&subscription.userdata);
    event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
    event[10] = subscription.tag;
    event[16..24].copy_from_slice(&bytes.to_le_bytes());
    event[24] = flags;
    Some(event)
}

/// How long to wait for a subscription to a clock.
fn left(subscription: &Subscription, began_ns: u64, now: &Now) -> Option<Duration> {
    let until = |end: u64, now: u64| Duration::from_nanos(end.saturating_sub(now));
    match subscription.wait {
        Ok(Wait::Relative(ns)) => Some(until(began_ns.saturating_add(ns), now.monotonic_ns)),
        Ok(Wait::Monotonic(end)) => Some(until(end, now.monotonic_ns)),
        Ok(Wait::Realtime(end)) => Some(until(end, now.realtime_ns).min(REALTIME_LOOK)),
        Ok(Wait::Room | Wait::Line | Wait::Ready { .. }) | Err(_) => None,
    }
}
