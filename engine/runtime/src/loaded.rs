//! A module that programs are launched from, and what its code must export for that.
//!
//! Always: what is here has been checked, so that launching a program from it fails for want of room only.

use std::sync::Arc;

use wasmtime::{ExternType, Module, Mutability, ValType};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::PAGE_BYTES;

#[cfg(feature = "compiler")]
use super::control::Control;
use super::image::Image;
#[cfg(feature = "compiler")]
use super::resuming::ResumeModule;
use super::resuming::{Resuming, Waited};
#[cfg(feature = "compiler")]
use super::rooms;
use super::rooms::Housed;

/// Whether resuming code can be in a module of its own. What others compiled has it in the program's: a build
/// that loads only that has no use for the rest of `resuming`, and the linker leaves it out.
pub const MAY_COME_APART: bool = cfg!(feature = "compiler");

/// Which compiler made a module's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In one pass, to start soon.
    Baseline,
    Optimised,
}

#[cfg(feature = "compiler")]
impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Optimised => "optimised",
        }
    }

    /// The tier of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Baseline, Self::Optimised]
            .into_iter()
            .find(|tier| tier.name() == name)
    }
}

/// A module, rewritten and compiled: as many programs as wanted are launched from it. Without its resuming
/// code they can begin, and neither go on from a snapshot nor go on where they were captured.
pub struct Loaded {
    pub(super) digest: Digest,
    pub(super) tier: Tier,
    pub(super) housed: Housed,
    pub(super) resuming: Resuming,
    pub(super) image: Image,
    pub(super) shape: Shape,
    #[cfg(feature = "compiler")]
    pub(super) succession: super::succession::Succession<Self>,
}

/// What a rewritten module exports for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) globals: usize,
    pub(super) memories: usize,
    /// The least that the memories have together.
    pub(super) memory_bytes_min: u64,
    pub(super) save_bytes: u64,
    /// It has its own resuming code.
    pub(super) resumes: bool,
}

impl Loaded {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether programs can go on from a snapshot.
    pub fn can_resume(&self) -> bool {
        !MAY_COME_APART || self.resuming.is_here() || self.better().is_some()
    }

    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// What succeeds code of the baseline tier, once it is all here.
    pub fn better(&self) -> Option<Arc<Self>> {
        #[cfg(feature = "compiler")]
        return self.succession.better();
        #[cfg(not(feature = "compiler"))]
        None
    }

    /// A program begins on this code, and changes over to what succeeds it.
    #[cfg(feature = "compiler")]
    pub(super) fn join(&self, program: &Arc<Control>) {
        if self.tier == Tier::Baseline {
            self.succession.join(program);
        }
    }

    /// Its resuming code, compiled for the engine that it is in itself.
    #[cfg(feature = "compiler")]
    pub(super) fn take_resuming(&self, module: Module) -> Result<(), Failure> {
        let program = self.housed.pre(rooms::FRESH)?;
        let resuming =
            ResumeModule::new(module, program.module()).map_err(|reason| Failure::Internal { reason })?;
        self.housed.take_resuming(resuming)
    }

    /// Why its resuming code cannot be made, if that is known.
    pub fn never_resumes(&self) -> Option<Failure> {
        self.resuming.failure().filter(|_| MAY_COME_APART)
    }

    /// Waits as long as somebody is making its resuming code.
    pub fn wait_resuming(&self) -> Result<Waited, Failure> {
        self.resuming.wait()
    }

    /// A page of a memory before the program ran: what `Snapshot::relative_to` asks for.
    pub fn initial_page(&self, memory: usize, number: u64) -> Box<[u8; PAGE_BYTES]> {
        Box::new(*self.image.page(memory, number))
    }
}

impl Shape {
    pub(super) fn of(module: &Module) -> Result<Self, String> {
        let has_function = |name| {
            let export = module.get_export(name);
            matches!(export, Some(ExternType::Func(ty)) if ty.params().len() + ty.results().len() == 0)
        };
        if !has_function(abi::START) {
            return Err(format!("its rewritten form lacks the function '{}'", abi::START));
        }
        match module.get_export(abi::UNWINDING) {
            Some(ExternType::Global(ty))
                if matches!(ty.content(), ValType::I32) && ty.mutability() == Mutability::Var => {}
            _ => {
                return Err(format!(
                    "its rewritten form lacks the global '{}'",
                    abi::UNWINDING
                ));
            }
        }
        let save_bytes = match module.get_export(abi::SAVE_MEMORY) {
            Some(ExternType::Memory(ty)) if ty.maximum() == Some(ty.minimum()) && ty.minimum() > 0 => {
                ty.minimum() * ty.page_size()
            }
            _ => {
                return Err(format!(
                    "its rewritten form lacks the memory '{}' of fixed size",
                    abi::SAVE_MEMORY
                ));
            }
        };
        let globals = numbered(module, abi::GLOBAL_PREFIX);
        let memories = numbered(module, abi::MEMORY_PREFIX);
        let mut memory_bytes_min = 0u64;
        for ty in &memories {
            let ExternType::Memory(ty) = ty else {
                return Err(format!("its export '{}..' is not a memory", abi::MEMORY_PREFIX));
            };
            memory_bytes_min = memory_bytes_min.saturating_add(ty.minimum().saturating_mul(ty.page_size()));
        }
        Ok(Self {
            globals: globals.len(),
            memories: memories.len(),
            memory_bytes_min,
            save_bytes,
            resumes: has_function(abi::RESUME),
        })
    }
}

/// The exports `prefix` 0, 1, 2 and so on.
fn numbered(module: &Module, prefix: &str) -> Vec<ExternType> {
    (0..)
        .map_while(|number| module.get_export(&format!("{prefix}{number}")))
        .collect()
}
