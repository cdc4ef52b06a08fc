//! What JavaScript is given of the host, but for files: arguments, clocks, waiting, texts and the end.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, Function, Object, Result, TypedArray};

pub(crate) fn offer<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    let set = |name: &str, function: Function<'js>| native.set(name, function.with_name(name)?);
    let args: Vec<String> = std::env::args().collect();
    native.set("args", args)?;
    let env = Object::new(ctx.clone())?;
    for (name, value) in std::env::vars() {
        env.set(name, value)?;
    }
    native.set("env", env)?;
    let begin = Instant::now();
    // In milliseconds since the program began, by a clock that stands still while it is moved.
    set(
        "now",
        Function::new(ctx.clone(), move || begin.elapsed().as_secs_f64() * 1e3)?,
    )?;
    set("poll", Function::new(ctx.clone(), poll)?)?;
    set(
        "jobs",
        Function::new(ctx.clone(), |ctx: Ctx<'_>| while ctx.execute_pending_job() {})?,
    )?;
    set("exit", Function::new(ctx.clone(), exit)?)?;
    set("encode", Function::new(ctx.clone(), encode)?)?;
    set("decode", Function::new(ctx.clone(), decode)?)?;
    set("random", Function::new(ctx.clone(), random)?)?;
    set(
        "room",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, bytes: usize| {
            crate::files::room(&ctx, bytes)
        })?,
    )?;
    set("memory", Function::new(ctx.clone(), memory)?)?;
    set("gc", Function::new(ctx.clone(), |ctx: Ctx<'_>| ctx.run_gc())?)
}

/// Waits until one of the descriptors can be read, or the time is over; -1: without limit. Which of them can.
fn poll(fds: Vec<c_int>, timeout_ms: f64) -> Vec<c_int> {
    if fds.is_empty() {
        std::thread::sleep(Duration::from_secs_f64(timeout_ms.max(0.0) / 1e3));
        return Vec::new();
    }
    let wait = |&fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut waits: Vec<libc::pollfd> = fds.iter().map(wait).collect();
    let timeout_ms = timeout_ms.ceil().clamp(-1.0, f64::from(c_int::MAX)) as c_int;
    // SAFETY: the pointer and the count are those of the vector.
    let ready = unsafe { libc::poll(waits.as_mut_ptr(), waits.len() as libc::nfds_t, timeout_ms) };
    match ready {
        // Reading says what is wrong.
        ..0 => fds,
        _ => waits
            .iter()
            .filter(|one| one.revents != 0)
            .map(|one| one.fd)
            .collect(),
    }
}

fn encode<'js>(ctx: Ctx<'js>, text: rquickjs::String<'js>) -> Result<TypedArray<'js, u8>> {
    TypedArray::new(ctx, lossy(&text)?.into_bytes())
}

/// A text as UTF-8; halves of surrogate pairs become U+FFFD.
pub(crate) fn lossy(text: &rquickjs::String<'_>) -> Result<String> {
    match text.to_string() {
        Ok(text) => Ok(text),
        Err(_) => {
            let whole: Function<'_> = text.ctx().eval("(text) => text.toWellFormed()")?;
            whole.call((text.clone(),))
        }
    }
}

fn exit(code: i32) {
    std::process::exit(code)
}

/// A text of UTF-8. `fatal`: what is none is an error.
fn decode<'js>(ctx: Ctx<'js>, bytes: TypedArray<'js, u8>, fatal: Opt<bool>) -> Result<String> {
    let bytes = crate::files::bytes(&ctx, &bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) if fatal.0 == Some(true) => Err(Exception::throw_type(&ctx, "the bytes are no UTF-8")),
        Err(error) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// Random bytes of the host, for every purpose.
fn random(ctx: Ctx<'_>, count: usize) -> Result<TypedArray<'_, u8>> {
    let mut bytes = vec![0; count];
    // 256 bytes are the most that one call gives.
    for piece in bytes.chunks_mut(256) {
        // SAFETY: the pointer and the length are those of the piece.
        if unsafe { libc::getentropy(piece.as_mut_ptr().cast(), piece.len()) } != 0 {
            return Err(Exception::throw_message(&ctx, "the host has no random bytes"));
        }
    }
    TypedArray::new(ctx, bytes)
}

/// Bytes of the program's memory.
fn memory() -> usize {
    #[cfg(target_family = "wasm")]
    return core::arch::wasm32::memory_size(0) * 65536;
    #[cfg(not(target_family = "wasm"))]
    0
}
