//! The engine's calls, and nothing else that is unsafe. Outside of WebAssembly each fails with "not there".

use crate::error::Error;
use crate::message::{Message, ProgramId};

pub(crate) const AT_LEAST_ONCE: i32 = 1;
pub(crate) const RETAIN: i32 = 2;
pub(crate) const PLAIN: i32 = 4;
/// What fits a message that is received at first; a larger one is asked for again.
const BUFFER_BYTES: usize = 4096;
const OVERFLOW: i32 = 61;

macro_rules! calls {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> i32;)*) => {
        #[cfg(target_family = "wasm")]
        mod raw {
            #[link(wasm_import_module = "wayfare_v1")]
            unsafe extern "C" {
                $(pub(super) fn $name($($argument: $type),*) -> i32;)*
            }
        }

        /// `ENOSYS` for every call.
        #[cfg(not(target_family = "wasm"))]
        #[allow(clippy::missing_safety_doc, clippy::too_many_arguments)]
        mod raw {
            $(pub(super) unsafe fn $name($(_: $type),*) -> i32 {
                52
            })*
        }
    };
}

calls! {
    fn subscribe(filter: *const u8, length: usize, flags: i32) -> i32;
    fn unsubscribe(filter: *const u8, length: usize) -> i32;
    fn publish(topic: *const u8, length: usize, payload: *const u8, bytes: usize, flags: i32) -> i32;
    fn request(topic: *const u8, length: usize, payload: *const u8, bytes: usize) -> i32;
    fn reply(topic: *const u8, length: usize, number: u64, payload: *const u8, bytes: usize) -> i32;
    fn receive(timeout_ms: i64, buffer: *mut u8, room: usize, length: *mut u32) -> i32;
    fn await_reply(timeout_ms: i64, buffer: *mut u8, room: usize, length: *mut u32) -> i32;
    fn program_id(out: *mut u8) -> i32;
    fn engine_id(buffer: *mut u8, room: usize, length: *mut u32) -> i32;
    fn was_moved() -> i32;
    fn state_get(key: *const u8, length: usize, buffer: *mut u8, room: usize, bytes: *mut u32, version: *mut u64) -> i32;
    fn state_set(key: *const u8, length: usize, value: *const u8, bytes: usize, version: *mut u64) -> i32;
    fn state_compare_and_set(key: *const u8, length: usize, expected: u64, value: *const u8, bytes: usize, version: *mut u64) -> i32;
    fn state_remove(key: *const u8, length: usize) -> i32;
    fn serve(name: *const u8, length: usize) -> i32;
    fn answer(to: *const u8, length: usize, number: u64, kind: i32, payload: *const u8, bytes: usize) -> i32;
    fn call(address: *const u8, length: usize, function: *const u8, letters: usize, arguments: *const u8, bytes: usize, deadline_ms: i64, number: *mut u64) -> i32;
    fn send(address: *const u8, length: usize, payload: *const u8, bytes: usize, timeout_ms: i64) -> i32;
    fn next_reply(number: u64, timeout_ms: i64, buffer: *mut u8, room: usize, length: *mut u32) -> i32;
    fn gpio_write(alias: *const u8, length: usize, active: i32) -> i32;
    fn gpio_read(alias: *const u8, length: usize, active: *mut u32) -> i32;
    fn gpio_wait(alias: *const u8, length: usize, edges: i32, timeout_ms: i64, edge: *mut u32) -> i32;
    fn adc_read(alias: *const u8, length: usize, raw: *mut i64, scaled: *mut f64) -> i32;
    fn i2c_transfer(alias: *const u8, length: usize, write: *const u8, written: usize, read: *mut u8, room: usize) -> i32;
    fn spi_transfer(alias: *const u8, length: usize, write: *const u8, read: *mut u8, bytes: usize) -> i32;
    fn serial_write(alias: *const u8, length: usize, data: *const u8, bytes: usize, sent: *mut u32) -> i32;
    fn serial_read(alias: *const u8, length: usize, timeout_ms: i64, buffer: *mut u8, room: usize, count: *mut u32) -> i32;
}

pub(crate) fn subscribe(filter: &str, flags: i32) -> Result<(), Error> {
    // SAFETY: the engine reads the bytes that the pointer and length name, and keeps neither.
    Error::of(unsafe { raw::subscribe(filter.as_ptr(), filter.len(), flags) })
}

pub(crate) fn unsubscribe(filter: &str) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe { raw::unsubscribe(filter.as_ptr(), filter.len()) })
}

pub(crate) fn publish(topic: &str, payload: &[u8], flags: i32) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe {
        raw::publish(
            topic.as_ptr(),
            topic.len(),
            payload.as_ptr(),
            payload.len(),
            flags,
        )
    })
}

pub(crate) fn request(topic: &str, payload: &[u8]) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe { raw::request(topic.as_ptr(), topic.len(), payload.as_ptr(), payload.len()) })
}

pub(crate) fn reply(topic: &str, number: u64, payload: &[u8]) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe {
        raw::reply(
            topic.as_ptr(),
            topic.len(),
            number,
            payload.as_ptr(),
            payload.len(),
        )
    })
}

pub(crate) fn receive(timeout_ms: i64) -> Result<Message, Error> {
    // SAFETY: the engine writes at most `room` bytes to the buffer, and the length.
    taken(|buffer, room, length| unsafe { raw::receive(timeout_ms, buffer, room, length) })
}

pub(crate) fn await_reply(timeout_ms: i64) -> Result<Message, Error> {
    // SAFETY: as for `receive`.
    taken(|buffer, room, length| unsafe { raw::await_reply(timeout_ms, buffer, room, length) })
}

pub(crate) fn program_id() -> ProgramId {
    let mut id = [0; 16];
    // SAFETY: the engine writes 16 bytes.
    unsafe { raw::program_id(id.as_mut_ptr()) };
    ProgramId(id)
}

pub(crate) fn engine_id() -> String {
    // SAFETY: as for `receive`.
    let name = bytes(|buffer, room, length| unsafe { raw::engine_id(buffer, room, length) });
    name.map_or_else(
        |_| String::new(),
        |name| String::from_utf8_lossy(&name).into_owned(),
    )
}

pub(crate) fn was_moved() -> bool {
    // SAFETY: it has no arguments.
    unsafe { raw::was_moved() == 1 }
}

pub(crate) fn state_get(key: &str) -> Result<(u64, Vec<u8>), Error> {
    let mut version = 0;
    // SAFETY: as for `subscribe` and `receive`, and the engine writes the version.
    let value = bytes(|buffer, room, length| unsafe {
        raw::state_get(key.as_ptr(), key.len(), buffer, room, length, &raw mut version)
    })?;
    Ok((version, value))
}

pub(crate) fn state_set(key: &str, value: &[u8]) -> Result<u64, Error> {
    let mut version = 0;
    // SAFETY: as for `state_get`.
    Error::of(unsafe {
        raw::state_set(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            &raw mut version,
        )
    })?;
    Ok(version)
}

pub(crate) fn state_compare_and_set(key: &str, expected: u64, value: &[u8]) -> Result<u64, Error> {
    let mut version = 0;
    // SAFETY: as for `state_get`.
    Error::of(unsafe {
        raw::state_compare_and_set(
            key.as_ptr(),
            key.len(),
            expected,
            value.as_ptr(),
            value.len(),
            &raw mut version,
        )
    })?;
    Ok(version)
}

pub(crate) fn state_remove(key: &str) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe { raw::state_remove(key.as_ptr(), key.len()) })
}

pub(crate) fn serve(name: &str) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe { raw::serve(name.as_ptr(), name.len()) })
}

pub(crate) fn answer(to: &str, number: u64, kind: i32, payload: &[u8]) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe {
        raw::answer(
            to.as_ptr(),
            to.len(),
            number,
            kind,
            payload.as_ptr(),
            payload.len(),
        )
    })
}

pub(crate) fn call(address: &str, function: &str, arguments: &[u8], deadline_ms: i64) -> Result<u64, Error> {
    let mut number = 0;
    // SAFETY: the engine reads the bytes that the pointers and lengths name, and writes one number.
    Error::of(unsafe {
        raw::call(
            address.as_ptr(),
            address.len(),
            function.as_ptr(),
            function.len(),
            arguments.as_ptr(),
            arguments.len(),
            deadline_ms,
            &raw mut number,
        )
    })?;
    Ok(number)
}

pub(crate) fn send(address: &str, payload: &[u8], timeout_ms: i64) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of(unsafe {
        raw::send(
            address.as_ptr(),
            address.len(),
            payload.as_ptr(),
            payload.len(),
            timeout_ms,
        )
    })
}

/// What became of a call, as the engine writes it.
pub(crate) fn next_reply(number: u64, timeout_ms: i64) -> Result<Vec<u8>, Error> {
    // SAFETY: the engine writes at most as many bytes as the buffer has, and one number.
    bytes(|buffer, room, length| unsafe { raw::next_reply(number, timeout_ms, buffer, room, length) })
}

pub(crate) fn gpio_write(alias: &str, active: bool) -> Result<(), Error> {
    // SAFETY: as for `subscribe`.
    Error::of_device(unsafe { raw::gpio_write(alias.as_ptr(), alias.len(), i32::from(active)) })
}

pub(crate) fn gpio_read(alias: &str) -> Result<bool, Error> {
    let mut active = 0;
    // SAFETY: the engine writes one number.
    Error::of_device(unsafe { raw::gpio_read(alias.as_ptr(), alias.len(), &raw mut active) })?;
    Ok(active != 0)
}

pub(crate) fn gpio_wait(alias: &str, edges: i32, timeout_ms: i64) -> Result<u32, Error> {
    let mut edge = 0;
    // SAFETY: the engine writes one number.
    Error::of_device(unsafe {
        raw::gpio_wait(alias.as_ptr(), alias.len(), edges, timeout_ms, &raw mut edge)
    })?;
    Ok(edge)
}

pub(crate) fn adc_read(alias: &str) -> Result<(i64, f64), Error> {
    let (mut raw, mut scaled) = (0, 0.0);
    // SAFETY: the engine writes the two numbers.
    Error::of_device(unsafe { raw::adc_read(alias.as_ptr(), alias.len(), &raw mut raw, &raw mut scaled) })?;
    Ok((raw, scaled))
}

pub(crate) fn i2c_transfer(alias: &str, write: &[u8], read: &mut [u8]) -> Result<(), Error> {
    // SAFETY: the engine reads and writes the bytes that the pointers and lengths name, and keeps none of them.
    Error::of_device(unsafe {
        raw::i2c_transfer(
            alias.as_ptr(),
            alias.len(),
            write.as_ptr(),
            write.len(),
            read.as_mut_ptr(),
            read.len(),
        )
    })
}

/// Both have one length.
pub(crate) fn spi_transfer(alias: &str, write: &[u8], read: &mut [u8]) -> Result<(), Error> {
    let bytes = write.len().min(read.len());
    // SAFETY: as for `i2c_transfer`.
    Error::of_device(unsafe {
        raw::spi_transfer(
            alias.as_ptr(),
            alias.len(),
            write.as_ptr(),
            read.as_mut_ptr(),
            bytes,
        )
    })
}

pub(crate) fn serial_write(alias: &str, data: &[u8]) -> Result<usize, Error> {
    let mut sent = 0;
    // SAFETY: the engine reads the bytes, and writes one number.
    Error::of_device(unsafe {
        raw::serial_write(
            alias.as_ptr(),
            alias.len(),
            data.as_ptr(),
            data.len(),
            &raw mut sent,
        )
    })?;
    Ok(sent as usize)
}

pub(crate) fn serial_read(alias: &str, timeout_ms: i64, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut count = 0;
    // SAFETY: the engine writes at most as many bytes as the buffer has, and one number.
    Error::of_device(unsafe {
        raw::serial_read(
            alias.as_ptr(),
            alias.len(),
            timeout_ms,
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut count,
        )
    })?;
    Ok(count as usize)
}

fn taken(call: impl FnMut(*mut u8, usize, *mut u32) -> i32) -> Result<Message, Error> {
    Message::parse(&bytes(call)?).ok_or(Error::Malformed)
}

/// What a call writes to a buffer: asked again with a larger one where the first is too small.
fn bytes(mut call: impl FnMut(*mut u8, usize, *mut u32) -> i32) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut length = 0;
        match call(buffer.as_mut_ptr(), buffer.len(), &raw mut length) {
            OVERFLOW if length as usize > buffer.len() => buffer.resize(length as usize, 0),
            number => {
                Error::of(number)?;
                buffer.truncate(length as usize);
                return Ok(buffer);
            }
        }
    }
}
