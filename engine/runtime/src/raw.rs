//! All of the engine's `unsafe` besides the flag's: calls of a program whose flag other threads may raise,
//! loading compiled code, hints to the kernel about memory, and limits of a process that compiles.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

use wasmtime::{Memory, Store, TypedFunc};
use wayfare_abi::rewritten::{FLAG_BYTES, FLAG_OFFSET};

use super::context::Context;
use super::control::Control;
use super::flag::Flag;

/// Lowers the flag, and calls `entry` with the flag in `control`'s hands. `None`: something was requested
/// before, and nothing was called.
pub(super) fn call_flagged(
    control: &Control,
    store: &mut Store<Context>,
    save: &Memory,
    entry: &TypedFunc<(), ()>,
) -> Option<wasmtime::Result<()>> {
    let ty = save.ty(&*store);
    assert_eq!(
        ty.maximum(),
        Some(ty.minimum()),
        "a save memory that can grow could move"
    );
    save.data_mut(&mut *store)[FLAG_OFFSET as usize..][..FLAG_BYTES as usize].fill(0);
    let words = save
        .data_ptr(&*store)
        .wrapping_add(FLAG_OFFSET as usize)
        .cast::<AtomicU64>();
    assert!(words.is_aligned(), "linear memory begins at a page");
    // What `Flag::raise` relies on: the words are inside the save memory (sliced above), which never moves
    // (asserted) and lives as long as the store, which is borrowed until the end of this function, beyond
    // `inside`, with which the flag goes. Nobody forms a slice of the save memory meanwhile: the store is in
    // Wasm, and the host functions know only the program's own memory. SAFETY: see above.
    let flag = unsafe { Flag::new(words) };
    let inside = control.enter(flag)?;
    let result = entry.call(&mut *store, ());
    drop(inside);
    Some(result)
}

/// Loads compiled code into a wasmtime engine.
pub(super) fn load_code(
    engine: &wasmtime::Engine,
    compiled: &super::compiled::Compiled,
) -> wasmtime::Result<wasmtime::Module> {
    // SAFETY: a `Compiled` is what wasmtime serialized, unchanged: either in this very process, or in an
    // earlier one of the same compiler and wasmtime for the same processor, checked over its whole length in
    // memory (not in a file, which could change afterwards) and kept where only this user can write
    // (`shell::store::cache`); or by somebody whose key this engine was told to trust, for this very module,
    // target and wasmtime, with a signature that was checked together with every byte, also in memory.
    unsafe { wasmtime::Module::deserialize(engine, compiled.code()) }
}

/// Loads the code of a module that is loaded into another wasmtime engine of the same settings.
pub(super) fn load_again(
    engine: &wasmtime::Engine,
    module: &wasmtime::Module,
) -> wasmtime::Result<wasmtime::Module> {
    let image = module.image_range();
    // SAFETY: the image is what wasmtime serialized and `load_code` or a compiler of this process gave it; it
    // is one mapping, which wasmtime made read-only, and lives as long as the module, which is borrowed.
    unsafe {
        let bytes = image.end.offset_from_unsigned(image.start);
        wasmtime::Module::deserialize(engine, std::slice::from_raw_parts(image.start, bytes))
    }
}

/// Holds another process of this user to so much memory that it can write to, and so many seconds of
/// processor time.
#[cfg(feature = "compiler")]
pub fn confine(process: u32, memory_bytes: u64, seconds: u64) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    for (resource, limit, more) in [
        // What it can write to. The address space says less: each thread reserves some that it never touches.
        (libc::RLIMIT_DATA, memory_bytes, 0),
        // Of the two, the first ends it with a signal that says why.
        (libc::RLIMIT_CPU, seconds, 1),
        // Nobody looks at so much memory afterwards.
        (libc::RLIMIT_CORE, 0, 0),
    ] {
        let limit = libc::rlimit64 {
            rlim_cur: limit,
            rlim_max: limit.saturating_add(more),
        };
        // SAFETY: the new limits are read before it returns, and the old ones are not asked for.
        let result = unsafe {
            libc::prlimit64(
                process.cast_signed(),
                resource,
                &raw const limit,
                std::ptr::null_mut(),
            )
        };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // Other kernels let nobody do that.
    #[cfg(not(target_os = "linux"))]
    let _ = (process, memory_bytes, seconds);
    Ok(())
}

/// Lets whatever else runs on this machine go before this thread.
pub fn step_back() {
    #[cfg(all(target_os = "linux", feature = "compiler"))]
    {
        // What it gets besides programs that never rest: a quarter of a processor.
        const NICE: libc::c_int = 5;
        // SAFETY: both take no pointers; on Linux, 0 is the calling thread alone.
        let refused = unsafe {
            let now = libc::getpriority(libc::PRIO_PROCESS, 0);
            libc::setpriority(libc::PRIO_PROCESS, 0, (now + NICE).min(19))
        };
        if refused != 0 {
            let error = std::io::Error::last_os_error();
            tracing::debug!(%error, "compiles with the priority of everything else");
        }
    }
}

/// For tests of what other engines would load: code that this very process has compiled.
#[cfg(all(test, feature = "compiler"))]
pub(super) fn load_bytes(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<wasmtime::Module> {
    // SAFETY: tests hand over what wasmtime gave them, unchanged.
    unsafe { wasmtime::Module::deserialize(engine, code) }
}

/// Whether so much address space could be reserved now.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) fn can_reserve(bytes: usize) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping that nobody else knows of, inaccessible, and given back at once.
    unsafe {
        match mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) {
            Ok(mapping) => {
                let unmapped = munmap(mapping, bytes);
                debug_assert_eq!(unmapped, Ok(()));
                true
            }
            Err(_) => false,
        }
    }
}

/// Tells the kernel that every byte of `memory` is about to be written, so that it maps what holds whole huge
/// pages by those: one fault for 2 MiB in place of 512. Elsewhere, and where the kernel knows no huge pages,
/// nothing changes.
pub(super) fn will_be_overwritten(memory: &mut [u8]) {
    #[cfg(target_os = "linux")]
    {
        const HUGE_PAGE_BYTES: usize = 2 << 20;
        let before = memory.as_ptr().align_offset(HUGE_PAGE_BYTES);
        let Some(inside) = memory.get_mut(before..) else {
            return;
        };
        let bytes = inside.len() - inside.len() % HUGE_PAGE_BYTES;
        if bytes == 0 {
            return;
        }
        // SAFETY: the range is inside memory that is borrowed mutably, and the advice changes nothing of what
        // it holds.
        let advised = unsafe {
            rustix::mm::madvise(
                inside.as_mut_ptr().cast(),
                bytes,
                rustix::mm::Advice::LinuxHugepage,
            )
        };
        // A kernel without them, or memory that cannot have them: it is written page by page, as ever.
        let _ = advised;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
