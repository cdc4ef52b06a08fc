//! Compiled code across machines: which form this engine runs, and how an engine with the compiler makes the
//! forms of others.

#[cfg(feature = "compiler")]
use std::collections::BTreeSet;

#[cfg(feature = "compiler")]
use wayfare_compiler::Form;
use wayfare_protocol::code::CodeTarget;
#[cfg(feature = "compiler")]
use wayfare_protocol::error::Failure;
#[cfg(feature = "compiler")]
use wayfare_protocol::ids::Digest;

use wayfare_abi::calls;

/// As the workspace pins it: wasmtime does not say it itself.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// What code must be for, to run here: native where wasmtime has a compiler for the processor, else Pulley's
/// bytecode.
pub fn here() -> CodeTarget {
    let is_native = cfg!(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "s390x",
        target_arch = "riscv64"
    ));
    let endian = if cfg!(target_endian = "big") { "be" } else { "" };
    CodeTarget {
        architecture: if is_native {
            std::env::consts::ARCH.to_owned()
        } else {
            format!("pulley{}{endian}", usize::BITS)
        },
        wasmtime: WASMTIME_VERSION.into(),
        abi: calls::name(),
    }
}

/// Which compiler this is, for who keeps what it made.
#[cfg(feature = "compiler")]
pub fn compiler() -> String {
    format!(
        "{} revision {:016x}",
        wayfare_compiler::VERSION,
        wayfare_compiler::REVISION
    )
}

/// What code can be made for here, whatever this processor is. As wasmtime names them.
#[cfg(feature = "compiler")]
pub fn architectures() -> BTreeSet<String> {
    // Those of Cranelift's backends that the manifest of this package asks for, and Pulley's two.
    let everywhere = ["aarch64", "pulley32", "pulley64", "x86_64"].map(str::to_owned);
    everywhere.into_iter().chain([here().architecture]).collect()
}

/// Rewrites and compiles for an engine of another processor; takes up to minutes.
#[cfg(feature = "compiler")]
pub fn compile(module: Digest, wasm: &[u8], target: &CodeTarget) -> Result<Vec<u8>, Failure> {
    let refuse = |reason: String| Failure::Module { module, reason };
    let ours = here();
    if target.wasmtime != ours.wasmtime || target.abi != ours.abi {
        return Err(refuse(format!(
            "code is made for wasmtime {} and ABI '{}' here, and asked for were wasmtime {} and ABI '{}': bring the \
             dispatcher and its engines to one version",
            ours.wasmtime, ours.abi, target.wasmtime, target.abi
        )));
    }
    // Engines without a compiler get all of it at once: those of the last release know no other form.
    let rewritten = rewrite(module, wasm, Form::Joined)?;
    let heap = wayfare_compiler::features::needs_heap(&rewritten);
    let engine = engine_for(&target.architecture, heap)
        .map_err(|error| refuse(format!("no code for target {}: {error:#}", target.architecture)))?;
    let code = super::processors::on_all(|| engine.precompile_module(&rewritten));
    code.map_err(|error| refuse(format!("{error:#}")))
}

/// A compiler for engines that have none. Without `heap` its code also runs on engines that were built
/// without one for exceptions, as those of the last release are; with it, those refuse the code with that
/// reason.
#[cfg(feature = "compiler")]
fn engine_for(architecture: &str, heap: bool) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = super::options::config();
    let triple = match architecture {
        "x86_64" | "aarch64" | "s390x" => format!("{architecture}-unknown-linux-gnu"),
        "riscv64" => "riscv64gc-unknown-linux-gnu".into(),
        other => other.to_owned(),
    };
    config.target(&triple)?.concurrency_support(false);
    if !heap {
        config
            .gc_support(false)
            .wasm_features(wasmtime::WasmFeatures::EXCEPTIONS, false);
    }
    wasmtime::Engine::new(&config)
}

#[cfg(feature = "compiler")]
pub(super) fn rewrite(module: Digest, wasm: &[u8], form: Form) -> Result<Vec<u8>, Failure> {
    let options = wayfare_compiler::Options {
        blocking: &calls::may_block,
        entry: wayfare_compiler::Entry::Command,
        form,
    };
    wayfare_compiler::rewrite(wasm, &options)
        .map(|rewritten| rewritten.wasm)
        .map_err(|error| match error {
            // That is this machine's, and may be better soon.
            wayfare_compiler::CompileError::Thread(_) => Failure::Internal {
                reason: error.to_string(),
            },
            error => Failure::Module {
                module,
                reason: error.to_string(),
            },
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_wasmtime_is_the_pinned_one() {
        let pinned = format!("wasmtime = {{ version = \"={}\"", super::WASMTIME_VERSION);
        assert!(include_str!("../../../Cargo.toml").contains(&pinned));
    }

    /// What the registry gives out: a form for each target that can be made here, and a reason for each that
    /// cannot.
    #[cfg(feature = "compiler")]
    #[test]
    fn every_form_that_can_be_made_is_another_and_what_cannot_is_refused_with_the_reason() {
        use super::{CodeTarget, WASMTIME_VERSION, architectures, compile, here};
        use std::collections::BTreeSet;
        use wayfare_protocol::ids::Digest;

        let wasm =
            wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))").unwrap();
        let module = Digest::of(&wasm);
        let make = |target: &CodeTarget| compile(module, &wasm, target);
        let for_architecture = |architecture: &str| CodeTarget {
            architecture: architecture.into(),
            ..here()
        };
        let made: BTreeSet<Vec<u8>> = architectures()
            .iter()
            .map(|name| make(&for_architecture(name)).unwrap())
            .collect();
        assert_eq!(made.len(), architectures().len());

        let refused = |target: &CodeTarget| make(target).unwrap_err().to_string();
        let unknown = refused(&for_architecture("z80"));
        assert!(unknown.contains("z80"), "{unknown}");
        let newer = CodeTarget {
            wasmtime: "49.0.0".into(),
            ..for_architecture("pulley32")
        };
        let said = refused(&newer);
        assert!(
            said.contains("49.0.0") && said.contains(WASMTIME_VERSION),
            "{said}"
        );
        let other_abi = CodeTarget {
            abi: "another".into(),
            ..for_architecture("pulley32")
        };
        let said = refused(&other_abi);
        assert!(said.contains("another") && said.contains("one version"), "{said}");
    }

    /// A new dispatcher goes on serving the boards of the last release, whose engines were built without a
    /// heap for exceptions.
    #[cfg(feature = "compiler")]
    #[test]
    fn engines_of_the_last_release_load_code_that_needs_no_exceptions_and_refuse_what_does() {
        use super::{compile, here};
        use wayfare_protocol::ids::Digest;

        let last_release = || {
            let mut config = wasmtime::Config::new();
            config
                .cranelift_opt_level(wasmtime::OptLevel::Speed)
                .wasm_branch_hinting(true)
                .gc_support(false)
                .wasm_features(wasmtime::WasmFeatures::EXCEPTIONS, false);
            wasmtime::Engine::new(&config).unwrap()
        };
        let load = |text: &str| {
            let wasm = wat::parse_str(text).unwrap();
            let code = compile(Digest::of(&wasm), &wasm, &here()).unwrap();
            crate::raw::load_bytes(&last_release(), &code).map(|_| ())
        };
        let plain = r#"(module (memory 1) (table 1 funcref) (elem (i32.const 0) func 0)
            (func (export "_start") (loop (br_if 0 (i32.atomic.load (i32.const 0))))))"#;
        load(plain).unwrap();
        let throwing =
            r#"(module (tag $t) (func (export "_start") (block (try_table (catch_all 0) (throw $t)))))"#;
        let refusal = format!("{:#}", load(throwing).unwrap_err());
        assert!(
            refusal.contains("GC") || refusal.contains("exceptions"),
            "{refusal}"
        );
    }

    /// Boards interpret: nothing that is taken may be refused for them.
    #[cfg(feature = "compiler")]
    #[test]
    fn exceptions_and_atomics_are_compiled_for_every_architecture() {
        use super::{CodeTarget, architectures, compile, here};
        use wayfare_protocol::ids::Digest;

        let wasm = wat::parse_str(
            r#"(module (memory 1) (tag $t (param i32))
              (func $f (local $e exnref)
                (block $h (result i32 exnref) (try_table (catch_ref $t $h) (throw $t (i32.const 1))) (return))
                (local.set $e) (drop)
                (loop (br_if 0 (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))
                (throw_ref (local.get $e)))
              (func (export "_start") (block (try_table (catch_all 0) (call $f)))))"#,
        )
        .unwrap();
        for architecture in architectures() {
            let target = CodeTarget {
                architecture,
                ..here()
            };
            compile(Digest::of(&wasm), &wasm, &target).unwrap();
        }
    }

    #[test]
    fn what_runs_here_can_stand_in_a_header() {
        assert_eq!(super::here().check(), Ok(()));
    }
}
