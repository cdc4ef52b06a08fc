//! Who compiles for engines that do not: this process's own compiler, and those of other releases, each a
//! process of its own.
//!
//! A `wayfare` links one version of wasmtime, and a fleet on its way from one release to the next has engines
//! of two. What always holds: code is made by a compiler that says it makes exactly what the engine asked
//! for; what none makes is refused with what there is. Signing is never theirs.

mod outside;

use std::collections::BTreeSet;

use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

pub use wayfare_dispatcher_core::compiler::{AboutError, COMPILER_FORMAT, CompilerAbout};

pub use outside::{Confine, OutsideCompiler, OutsideError, OutsideLimits};

/// The compiler in this process. The library knows none: who embeds it gives one.
#[derive(Debug, Clone)]
pub struct OwnCompiler {
    pub about: CompilerAbout,
    pub compile: Compile,
}

/// A module and its bytes to code for the target. Called on a thread of its own; takes up to minutes.
pub type Compile = fn(Digest, &[u8], &CodeTarget) -> Result<Vec<u8>, Failure>;

#[derive(Debug, Clone)]
pub enum Compiler {
    Own(OwnCompiler),
    Outside(OutsideCompiler),
}

impl Compiler {
    pub fn about(&self) -> &CompilerAbout {
        match self {
            Self::Own(own) => &own.about,
            Self::Outside(outside) => outside.about(),
        }
    }

    /// Takes up to minutes; a compiler outside is killed when this is dropped.
    pub(crate) async fn compile(
        self,
        module: Digest,
        wasm: Vec<u8>,
        target: CodeTarget,
    ) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Own(own) => {
                let work = move || (own.compile)(module, &wasm, &target);
                let made = tokio::task::spawn_blocking(work).await;
                made.unwrap_or_else(|_| {
                    let reason = "the compiler panicked".to_owned();
                    Err(Failure::Internal { reason })
                })
            }
            Self::Outside(outside) => outside.compile(module, &wasm, &target).await,
        }
    }
}

/// All of a dispatcher's, the preferred first.
#[derive(Debug, Clone, Default)]
pub struct Compilers(Vec<Compiler>);

impl Compilers {
    pub fn new(compilers: Vec<Compiler>) -> Self {
        Self(compilers)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn abouts(&self) -> Vec<CompilerAbout> {
        self.0.iter().map(|compiler| compiler.about().clone()).collect()
    }

    /// The error says what there is, and how to get what is not.
    pub(crate) fn for_target(&self, target: &CodeTarget) -> Result<&Compiler, Failure> {
        let found = self.0.iter().find(|compiler| compiler.about().makes(target));
        found.ok_or_else(|| Failure::BadRequest {
            reason: self.lack(target),
        })
    }

    fn lack(&self, target: &CodeTarget) -> String {
        let abouts = || self.0.iter().map(Compiler::about);
        let list = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join(", ");
        if self.is_empty() {
            return "this dispatcher has no compiler".into();
        }
        if abouts().any(|about| about.is_for(target)) {
            let of_version = abouts().filter(|about| about.is_for(target));
            let made = of_version.flat_map(|about| about.architectures.clone()).collect();
            return format!("no code is made here for {target}, only for {}", list(made));
        }
        let is_version = abouts().any(|about| about.wasmtime == target.wasmtime);
        let (wanted, there) = if is_version {
            let there = abouts().map(|about| format!("'{}'", about.abi)).collect();
            (format!("ABI '{}'", target.abi), there)
        } else {
            let there = abouts().map(|about| about.wasmtime.clone()).collect();
            (format!("wasmtime {}", target.wasmtime), there)
        };
        format!(
            "no compiler here makes code for {wanted}, only for {}: start the dispatcher with --compiler and the 'wayfare' \
             of the engine's release, or bring the engine to the dispatcher's",
            list(there)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(wasmtime: &str, architectures: &[&str]) -> CompilerAbout {
        CompilerAbout {
            format: COMPILER_FORMAT,
            compiler: format!("of {wasmtime}"),
            wasmtime: wasmtime.into(),
            abi: "2".into(),
            architectures: architectures.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn compilers(abouts: &[CompilerAbout]) -> Compilers {
        let own = |about: &CompilerAbout| {
            Compiler::Own(OwnCompiler {
                about: about.clone(),
                compile: |_, _, _| Ok(Vec::new()),
            })
        };
        Compilers::new(abouts.iter().map(own).collect())
    }

    fn target(architecture: &str, wasmtime: &str, abi: &str) -> CodeTarget {
        CodeTarget {
            architecture: architecture.into(),
            wasmtime: wasmtime.into(),
            abi: abi.into(),
        }
    }

    #[test]
    fn each_target_has_the_first_compiler_that_makes_it_or_a_reason() {
        let all = compilers(&[
            about("48", &["pulley32"]),
            about("47", &["pulley32", "aarch64"]),
            about("48", &["pulley32", "x86_64"]),
        ]);
        let found = |architecture: &str, wasmtime: &str, abi: &str| {
            let found = all.for_target(&target(architecture, wasmtime, abi));
            found
                .map(|found| found.about().clone())
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(found("pulley32", "48", "2"), Ok(about("48", &["pulley32"])));
        assert_eq!(
            found("x86_64", "48", "2"),
            Ok(about("48", &["pulley32", "x86_64"]))
        );
        assert_eq!(
            found("aarch64", "47", "2"),
            Ok(about("47", &["pulley32", "aarch64"]))
        );
        for (lacks, said) in [
            (
                ("pulley32", "46", "2"),
                "for wasmtime 46, only for 47, 48: start the dispatcher with --compiler",
            ),
            (
                ("aarch64", "48", "2"),
                "for aarch64, wasmtime 48, only for pulley32, x86_64",
            ),
            (
                ("pulley32", "48", "3"),
                "for ABI '3', only for '2': start the dispatcher with --compiler",
            ),
        ] {
            let reason = found(lacks.0, lacks.1, lacks.2).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
        let nobody = Compilers::default();
        let none = nobody.for_target(&target("pulley32", "48", "2")).unwrap_err();
        assert!(none.to_string().contains("no compiler"));
    }
}
