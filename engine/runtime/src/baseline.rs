//! The baseline tier: Winch, wasmtime's compiler in one pass.
//!
//! Which modules start on it is decided by what it saves. It takes about a tenth of Cranelift's time; in
//! exchange the program is compiled twice, and changes over once. A small module is compiled by Cranelift
//! before anybody notices, so it is not worth that. Cranelift without optimisation is no tier of ours: it
//! saves a third of the time at most, and nothing for modules of CPython's size (`compiler/README.md`).
//!
//! A compiler is part of what keeps programs apart. wasmtime supports Winch on x86-64 as it does Cranelift,
//! on ARM not yet: there it is on only where somebody says so (`tiered-compilation` of the engine).
//!
//! What always holds: whatever goes wrong here, the module is compiled as if there were no baseline tier.
//! Winch refuses what it lacks with an error, and where it panics that is caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use wasmtime::{Config, Module};
use wayfare_compiler::Form;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::address_space::{self, AddressSpace, internal};
use super::backend::Backend;
use super::compiled::Compiled;
use super::loaded::{Loaded, Tier};
use super::options::{RuntimeOptions, reserve};
use super::rooms::Rooms;

/// Rewritten modules below this are compiled by Cranelift at once. Of this size it takes a fifth of a second
/// on two busy processors.
const REWRITTEN_BYTES_MIN: usize = 64 << 10;
/// How many times as much stack programs have on this tier: calls take more of it than in optimised code, and
/// whatever recursion fits there must fit here. Measured on x86-64, in the samples and QuickJS: a frame here
/// is 1.3 to 2 times that of optimised code at the median, 3 at the ninetieth percentile and 5 at the
/// ninety-ninth. What is above are functions that keep nothing across calls, and none of those takes more
/// than 144 bytes.
const STACK_FACTOR: usize = 8;
/// Each program's thread reserves twice its stack: more than this in all is too much of an address space.
const STACK_BYTES_MAX: usize = 512 << 20;

#[derive(Default)]
pub(super) struct Baseline {
    /// `None`: there is no baseline tier.
    options: Option<RuntimeOptions>,
    /// Made with the first module that is compiled.
    backend: OnceLock<Option<Backend>>,
}

impl Baseline {
    /// Off where the processor, the machine's address space or the settings rule it out.
    pub(super) fn new(options: &RuntimeOptions) -> Self {
        let is_known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        let is_ample = options.address_space == AddressSpace::Ample && !address_space::counts_untouched();
        let stack_bytes = options.stack_bytes_max.saturating_mul(STACK_FACTOR);
        let is_on = options.baseline && is_known && is_ample && stack_bytes <= STACK_BYTES_MAX;
        Self {
            options: is_on.then(|| options.clone()),
            backend: OnceLock::new(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.options.is_some()
    }

    /// Of a rewritten program; `None`: it is for Cranelift.
    pub(super) fn program(&self, digest: Digest, rewritten: &[u8]) -> Option<Module> {
        if rewritten.len() < REWRITTEN_BYTES_MIN {
            return None;
        }
        compile(self.backend()?, digest, rewritten)
            .inspect_err(|failure| {
                tracing::debug!(module = digest.short(), %failure, "not for the baseline tier");
            })
            .ok()
    }

    pub(super) fn resuming(&self, digest: Digest, wasm: &[u8]) -> Result<Module, Failure> {
        let backend = self.backend().ok_or_else(absent)?;
        let rewritten = super::ahead::rewrite(digest, wasm, Form::Resuming)?;
        compile(backend, digest, &rewritten)
    }

    /// What one of this build's runtimes has made of a piece.
    pub(super) fn load(&self, compiled: &Compiled) -> Result<Module, Failure> {
        let backend = self.backend().ok_or_else(absent)?;
        super::raw::load_code(backend.fresh.engine(), compiled).map_err(internal)
    }

    /// The same of a program, ready to be launched.
    pub(super) fn revive(&self, compiled: &Compiled) -> Result<Arc<Loaded>, Failure> {
        let backend = self.backend().ok_or_else(absent)?;
        backend.ready(compiled.module(), &self.load(compiled)?)
    }

    fn backend(&self) -> Option<&Backend> {
        let options = self.options.as_ref()?;
        let made = self.backend.get_or_init(|| {
            let rooms = Rooms::new(options.clone(), config, STACK_FACTOR);
            let made = rooms.and_then(|rooms| Backend::new(Tier::Baseline, rooms));
            made.inspect_err(|error| tracing::warn!(%error, "no baseline tier: first starts take longer"))
                .ok()
        });
        made.as_ref()
    }
}

fn absent() -> Failure {
    Failure::Internal {
        reason: "there is no baseline tier".into(),
    }
}

/// Not every instruction is known to it on every processor, and it says so in more than one way.
fn compile(backend: &Backend, digest: Digest, rewritten: &[u8]) -> Result<Module, Failure> {
    let compiled = catch_unwind(AssertUnwindSafe(|| backend.compile(digest, rewritten)));
    compiled.unwrap_or_else(|_| {
        let reason = "the baseline compiler panicked".into();
        Err(Failure::Internal { reason })
    })
}

fn config(options: &RuntimeOptions) -> Config {
    let mut config = Config::new();
    super::settings::apply_baseline(&mut config);
    reserve(&mut config, options);
    config
}
