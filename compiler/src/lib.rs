//! Any WebAssembly module in, one out that can be captured anywhere and goes on elsewhere.
//!
//! [`rewrite`] gives each function that can be on the stack at a capture *polls* (at loop headers and in
//! recursion), *checks* (after calls that may unwind) and a *twin* that rebuilds its frame and goes on from
//! any site. What runs between captures is the original code plus one load and one branch per loop
//! iteration; `compiler/README.md` shows a function before and after.
//!
//! ```text
//!  bytes -> module (sections, checked)            module.rs, features.rs
//!        -> module (without legacy exceptions)    legacy.rs
//!        -> module (without atomics)              atomics.rs
//!        -> calls  (who can be on the stack)      calls.rs
//!        -> body   (tree of constructs and sites) body.rs, reading.rs
//!        -> polls  (which loops go without)       polls.rs
//!        -> copies (which loops are unrolled)     unrolling.rs
//!        -> live   (what each site must save)     liveness.rs
//!        -> frames (in which order, and shared)   frames.rs
//!        -> code   (the function, and its twin)   code.rs, saving.rs, exceptions.rs, twin.rs, homes.rs
//!        -> bytes, in one module or two           assemble.rs, draft.rs, borrowed.rs, resumers.rs
//! ```
//! Twins are most of the result, and needed only where a program goes on from a capture: so they can be a
//! module of their own, and a program starts without them: see [`Form`]. The crate knows neither MQTT nor
//! wasmtime. `wayfare_abi::rewritten` is what a host must know to run the result.
#![forbid(unsafe_code)]

mod assemble;
mod atomics;
mod body;
mod borrowed;
mod calls;
mod code;
mod draft;
mod error;
mod exceptions;
pub mod features;
mod frames;
mod homes;
mod legacy;
mod liveness;
mod module;
mod polls;
mod reading;
mod report;
mod resumers;
mod revision;
mod saving;
mod sections;
mod twin;
mod unrolling;

pub use error::CompileError;
pub use report::Report;
pub use revision::{REVISION, VERSION};

/// Which imported functions may block: a capture can find the program inside one of them, and the call is
/// issued again after resuming.
pub type Blocking<'a> = &'a (dyn Fn(&str, &str) -> bool + Sync);

pub struct Options<'a> {
    pub blocking: Blocking<'a>,
    pub entry: Entry,
    pub form: Form,
}

/// Which module is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The program, with the code that resumes it.
    Joined,
    /// The program without that code.
    Program,
    /// The code that resumes [`Form::Program`] of the same module, to be made when it is needed.
    Resuming,
}

/// What a host calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `_start`, once: a WASI command. A module without is refused.
    Command,
    /// Any exported function, one at a time, each resumed by
    /// [`RESUME_PREFIX`](wayfare_abi::rewritten::RESUME_PREFIX) and its name.
    Exports,
}

#[derive(Debug, Clone)]
pub struct Rewritten {
    pub wasm: Vec<u8>,
    pub report: Report,
}

/// The tree walks recurse as deep as constructs nest; [`reading::NESTING_MAX`] levels fit in this.
const STACK_BYTES: usize = 256 << 20;

/// Rewrites a WASI command. Refuses, with the reason, what is not WebAssembly or cannot be captured.
pub fn rewrite(wasm: &[u8], options: &Options) -> Result<Rewritten, CompileError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("rewrite".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || rewrite_here(wasm, options))
            .map_err(|error| CompileError::Thread(error.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(CompileError::Thread("it panicked".into())))
    })
}

fn rewrite_here(wasm: &[u8], options: &Options) -> Result<Rewritten, CompileError> {
    let (joined, caught, plain);
    let mut module = module::Module::parse(wasm, options.entry)?;
    let mut start = module.start;
    if let Some((bytes, first)) = module.without_start_section() {
        joined = bytes;
        start = Some(first);
        module = module::Module::parse(&joined, options.entry)?;
    }
    if let Some(bytes) = legacy::translated(&module)? {
        caught = bytes;
        module = module::Module::parse(&caught, options.entry)?;
    }
    if let Some(bytes) = atomics::translated(&module)? {
        plain = bytes;
        module = module::Module::parse(&plain, options.entry)?;
    }
    module.start = start;
    let mut rewritten = rewrite_module(&module, options)?;
    rewritten.report.bytes_before = wasm.len();
    Ok(rewritten)
}

fn rewrite_module(module: &module::Module, options: &Options) -> Result<Rewritten, CompileError> {
    let calls = calls::Calls::analyse(module, options)?;
    assemble::assemble(module, &calls, options.entry, options.form)
}
