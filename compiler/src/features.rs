//! Which WebAssembly is taken, which is refused, and why: the one list that the compiler's validator, the
//! engine's settings of wasmtime, error messages and `FEATURES.md` are made from.
//!
//! A proposal is *taken* if programs that use it run, move and are captured on every engine. That must hold
//! for boards too, which interpret Pulley's bytecode, and so it decides how a proposal is taken: atomics are
//! translated to plain instructions (`atomics.rs`), because a program has one thread and Pulley has no
//! atomics.

use wasmparser::{Validator, WasmFeatures};

use crate::error::CompileError;

/// One proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// As users know it.
    pub name: &'static str,
    flags: WasmFeatures,
    pub support: Support,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// `note`: what of it is refused or differs, or nothing.
    Taken { note: &'static str },
    /// Translated to instructions without it before anything else is done.
    Translated { note: &'static str },
    Refused {
        why: &'static str,
        /// What whoever builds the module can do.
        instead: &'static str,
    },
}

/// What a module may not do with features that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub what: &'static str,
    pub why: &'static str,
    /// Part of the error's text.
    pub sign: &'static str,
}

const fn taken(name: &'static str, flags: WasmFeatures, note: &'static str) -> Feature {
    let support = Support::Taken { note };
    Feature { name, flags, support }
}

const fn refused(
    name: &'static str,
    flags: WasmFeatures,
    why: &'static str,
    instead: &'static str,
) -> Feature {
    let support = Support::Refused { why, instead };
    Feature { name, flags, support }
}

const UNFINISHED: &str = "the proposal is not finished";
const DEFAULT: &str = "build for wasm32-wasip1 with the toolchain's default features";

/// Every proposal that wasmparser knows for modules.
pub const FEATURES: &[Feature] = &[
    taken("mutable globals", WasmFeatures::MUTABLE_GLOBAL, ""),
    taken(
        "saturating float-to-int conversions",
        WasmFeatures::SATURATING_FLOAT_TO_INT,
        "",
    ),
    taken("sign extension", WasmFeatures::SIGN_EXTENSION, ""),
    taken("multiple values", WasmFeatures::MULTI_VALUE, ""),
    taken("bulk memory", WasmFeatures::BULK_MEMORY, ""),
    taken(
        "reference types",
        WasmFeatures::REFERENCE_TYPES.union(WasmFeatures::GC_TYPES),
        "references to functions everywhere; a host's references not in what is captured",
    ),
    taken("128-bit SIMD", WasmFeatures::SIMD, ""),
    taken("floating point", WasmFeatures::FLOATS, ""),
    taken("multiple memories", WasmFeatures::MULTI_MEMORY, ""),
    taken("64-bit memories", WasmFeatures::MEMORY64, ""),
    taken("extended constant expressions", WasmFeatures::EXTENDED_CONST, ""),
    taken("tail calls", WasmFeatures::TAIL_CALL, ""),
    taken(
        "exceptions (try_table, throw, throw_ref)",
        WasmFeatures::EXCEPTIONS,
        "a caught exception that carries references cannot be held across a call or loop",
    ),
    Feature {
        name: "atomics",
        flags: WasmFeatures::THREADS,
        support: Support::Translated {
            note: "on unshared memories, where memory.atomic.wait traps as everywhere; shared memories are refused",
        },
    },
    Feature {
        name: "legacy exceptions (try, catch, delegate, rethrow)",
        flags: WasmFeatures::LEGACY_EXCEPTIONS,
        support: Support::Translated {
            note: "to those of the final proposal",
        },
    },
    refused(
        "relaxed SIMD",
        WasmFeatures::RELAXED_SIMD,
        "results differ between processors, and the program may move to another",
        "build without -mrelaxed-simd",
    ),
    refused(
        "typed function references",
        WasmFeatures::FUNCTION_REFERENCES,
        "a snapshot has no place for references of every type",
        DEFAULT,
    ),
    refused(
        "garbage-collected references",
        WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES),
        "they mean something in one engine's heap only",
        "compile the language's own collector in, as toolchains for linear memory do",
    ),
    refused(
        "custom page sizes",
        WasmFeatures::CUSTOM_PAGE_SIZES,
        UNFINISHED,
        DEFAULT,
    ),
    refused(
        "wide arithmetic",
        WasmFeatures::WIDE_ARITHMETIC,
        UNFINISHED,
        DEFAULT,
    ),
    refused(
        "stack switching",
        WasmFeatures::STACK_SWITCHING,
        "a suspended stack cannot be captured",
        DEFAULT,
    ),
    refused(
        "shared-everything threads",
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "a program has one thread",
        "build without threads",
    ),
    refused(
        "memory control",
        WasmFeatures::MEMORY_CONTROL,
        UNFINISHED,
        DEFAULT,
    ),
    refused(
        "custom descriptors",
        WasmFeatures::CUSTOM_DESCRIPTORS
            .union(WasmFeatures::GC)
            .union(WasmFeatures::FUNCTION_REFERENCES),
        UNFINISHED,
        DEFAULT,
    ),
    refused(
        "compact imports",
        WasmFeatures::COMPACT_IMPORTS,
        UNFINISHED,
        DEFAULT,
    ),
];

/// What is refused of modules that use no refused proposal.
pub const REFUSALS: &[Refusal] = &[
    Refusal {
        what: "a component in place of a module",
        why: "engines run modules of WASI preview 1: build for wasm32-wasip1",
        sign: "component",
    },
    Refusal {
        what: "a module without a function `_start`",
        why: "a program has a `main`; a library has nothing that runs",
        sign: "_start",
    },
    Refusal {
        what: "a shared memory",
        why: "others could change it; build without threads",
        sign: "shared memory (threads)",
    },
    Refusal {
        what: "an imported memory, table, mutable global or tag",
        why: "others could change it, and a snapshot of one program would not hold its state",
        sign: "the imported",
    },
    Refusal {
        what: "a host's reference (externref) in a local or operand at a call or loop, in a mutable global, or in a table that changes",
        why: "it means something in one engine only",
        sign: "a host's reference",
    },
    Refusal {
        what: "an exception in a mutable global or in a table that changes",
        why: "only calls and loops hold exceptions so that they can be captured",
        sign: "a host's references or exceptions",
    },
    Refusal {
        what: "a reference to a function of the host's, imported or as an imported function's result",
        why: "it means something in one engine only",
        sign: "of the host's",
    },
    Refusal {
        what: "a blocking import that is called through a table",
        why: "the call could not be issued again where the program goes on",
        sign: "called through a table",
    },
    Refusal {
        what: "a function with more than 1,000 values on its operand stack at a call or loop, constructs nested more than 20,000 deep, or code to save and rebuild its state that is out of proportion to its size or larger than a function may be",
        why: "compiling it would take more time and memory than an engine has; split the function",
        sign: "split the function",
    },
    Refusal {
        what: "an export whose name begins with `wayfare:`",
        why: "the rewriting exports under these names",
        sign: "the export 'wayfare:",
    },
];

/// What a module may use.
pub fn accepted() -> WasmFeatures {
    union(|support| !matches!(support, Support::Refused { .. }))
}

/// What a rewritten module may use: what whoever compiles and runs it switches on, and nothing else.
pub fn needed() -> WasmFeatures {
    union(|support| matches!(support, Support::Taken { .. }))
}

/// Whether a rewritten module needs a runtime with a heap for exceptions or a host's references. One that
/// does not also runs where such a heap is not built in.
pub fn needs_heap(rewritten: &[u8]) -> bool {
    let without = needed().difference(WasmFeatures::EXCEPTIONS.union(WasmFeatures::GC_TYPES));
    !is_valid(rewritten, without)
}

fn union(which: impl Fn(Support) -> bool) -> WasmFeatures {
    FEATURES
        .iter()
        .filter(|feature| which(feature.support))
        .fold(WasmFeatures::empty(), |all, feature| all.union(feature.flags))
}

fn is_valid(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

/// Names the refused proposal, if it is one for whose sake the module was found invalid.
pub(crate) fn explain(wasm: &[u8], error: CompileError) -> CompileError {
    let (function, detail) = match &error {
        CompileError::Invalid(detail) => (None, detail.clone()),
        CompileError::Function { function, reason } => (Some(function.clone()), reason.clone()),
        _ => return error,
    };
    let all = FEATURES
        .iter()
        .fold(accepted(), |all, feature| all.union(feature.flags));
    if !is_valid(wasm, all) {
        return error;
    }
    let culprit = FEATURES.iter().find_map(|feature| match feature.support {
        Support::Refused { why, instead } if is_valid(wasm, accepted().union(feature.flags)) => {
            Some((feature.name, why, instead))
        }
        _ => None,
    });
    let Some((name, why, instead)) = culprit else {
        return error;
    };
    CompileError::Feature {
        place: function.map_or_else(String::new, |function| format!("function {function}: ")),
        name,
        why,
        instead,
        detail,
    }
}

/// The text of `FEATURES.md`.
pub fn document() -> String {
    let mut text = "# Which WebAssembly is taken\n\n\
        Made from `compiler/src/features.rs`, which the compiler and the engines go by; a test holds the two together.\n\n\
        ## Taken\n\nPrograms that use these run, move and are captured on every engine, boards included.\n\n\
        | proposal | note |\n| --- | --- |\n"
        .to_owned();
    for feature in FEATURES {
        if let Support::Taken { note } | Support::Translated { note } = feature.support {
            text += &format!("| {} | {note} |\n", feature.name);
        }
    }
    text += "\n## Refused proposals\n\nThe error names the proposal and, where there is one, the function.\n\n\
        | proposal | why | what to do |\n| --- | --- | --- |\n";
    for feature in FEATURES {
        if let Support::Refused { why, instead } = feature.support {
            text += &format!("| {} | {why} | {instead} |\n", feature.name);
        }
    }
    text += "\n## Refused besides\n\n| what | why, and what to do |\n| --- | --- |\n";
    for refusal in REFUSALS {
        text += &format!("| {} | {} |\n", refusal.what, refusal.why);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proposal_for_modules_is_in_the_list() {
        let listed = FEATURES
            .iter()
            .fold(WasmFeatures::empty(), |all, feature| all.union(feature.flags));
        let missing: Vec<&str> = WasmFeatures::all()
            .difference(listed)
            .iter_names()
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with("CM") && *name != "COMPONENT_MODEL")
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_is_needed_of_a_runtime_has_no_threads() {
        assert!(accepted().contains(WasmFeatures::THREADS));
        assert!(!needed().contains(WasmFeatures::THREADS), "Pulley has no atomics");
    }

    /// `WAYFARE_BLESS=1` writes the file.
    #[test]
    fn the_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FEATURES.md");
        if std::env::var_os("WAYFARE_BLESS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == document(),
            "FEATURES.md is not what src/features.rs says: run this test with WAYFARE_BLESS=1"
        );
    }
}
