//! The settings of wasmtime that compiled code depends on: of engines, of whoever compiles for them, and of the compiler's own
//! tests, which take this very file in.

use wasmtime::{Collector, Config, OptLevel, WasmFeatures};
use wayfare_compiler::features;

pub(crate) fn apply(config: &mut Config) {
    let needed = features::needed();
    // Hints say that captures are rare: what they take lies outside all loops.
    config
        .wasm_features(WasmFeatures::all().difference(needed), false)
        .wasm_features(needed, true)
        .collector(Collector::DeferredReferenceCounting)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_branch_hinting(true);
}
