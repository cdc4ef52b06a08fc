//! The program's memory as a host function sees it: every access is bounds-checked, and a bad pointer
//! is the program's error, `EFAULT`.

use wasmtime::Caller;
use wayfare_abi::errno::{Errno, SUCCESS};

use crate::context::Context;

pub(crate) struct Guest<'a> {
    memory: &'a mut [u8],
    pub(crate) context: &'a mut Context,
}

/// How a call that may block ended.
pub(crate) enum Flow {
    Done,
    /// Somebody wants the program to stop; nothing has happened, and the call will be issued again.
    Interrupted,
}

/// A host call that never waits.
pub(crate) fn call(
    mut caller: Caller<'_, Context>,
    body: impl FnOnce(&mut Guest) -> Result<(), Errno>,
) -> wasmtime::Result<i32> {
    let (memory, context) = caller.data().guest()?.memory.data_and_store_mut(&mut caller);
    Ok(errno(body(&mut Guest { memory, context })))
}

/// A host call that may wait, and so be left and issued again.
pub(crate) fn call_blocking(
    mut caller: Caller<'_, Context>,
    body: impl FnOnce(&mut Guest) -> Result<Flow, Errno>,
) -> wasmtime::Result<i32> {
    let guest = caller.data().guest()?;
    let (memory, context) = guest.memory.data_and_store_mut(&mut caller);
    match body(&mut Guest { memory, context }) {
        Ok(Flow::Interrupted) => {
            guest.unwinding.set(&mut caller, wasmtime::Val::I32(1))?;
            Ok(SUCCESS)
        }
        result => Ok(errno(result)),
    }
}

fn errno<T>(result: Result<T, Errno>) -> i32 {
    result.map_or_else(|errno| errno.0, |_| SUCCESS)
}

impl Guest<'_> {
    pub(crate) fn bytes(&self, at: i32, count: u64) -> Result<&[u8], Errno> {
        self.memory.get(range(at, count)?).ok_or(Errno::FAULT)
    }

    pub(crate) fn bytes_mut(&mut self, at: i32, count: u64) -> Result<&mut [u8], Errno> {
        self.memory.get_mut(range(at, count)?).ok_or(Errno::FAULT)
    }

    pub(crate) fn write(&mut self, at: i32, bytes: &[u8]) -> Result<(), Errno> {
        self.bytes_mut(at, bytes.len() as u64)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn write_u32(&mut self, at: i32, value: u32) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: i32, value: u64) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    /// The buffers that an array of `count` pairs of pointer and length names, each checked.
    pub(crate) fn buffers(&self, at: i32, count: i32) -> Result<Vec<(i32, u64)>, Errno> {
        /// As Linux's `IOV_MAX`.
        const BUFFERS_MAX: u32 = 1024;
        let count = count.cast_unsigned();
        if count > BUFFERS_MAX {
            return Err(Errno::INVAL);
        }
        self.bytes(at, u64::from(count) * 8)?
            .chunks_exact(8)
            .map(|pair| {
                let (start, length) = (u32_at(pair, 0).cast_signed(), u64::from(u32_at(pair, 4)));
                self.bytes(start, length).map(|_| (start, length))
            })
            .collect()
    }
}

fn range(at: i32, count: u64) -> Result<std::ops::Range<usize>, Errno> {
    let start = u64::from(at.cast_unsigned());
    let end = start.checked_add(count).ok_or(Errno::FAULT)?;
    let index = |n: u64| usize::try_from(n).map_err(|_| Errno::FAULT);
    Ok(index(start)?..index(end)?)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
