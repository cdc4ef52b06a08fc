//! The settings of wasmtime that compiled code depends on: of engines, of whoever compiles for them, and of
//! the compiler's own tests, which take this very file in.

use wasmtime::{Collector, Config, OptLevel, Strategy, WasmFeatures};
use wayfare_compiler::features;

/// Of the optimising tier, Cranelift, which compiles whatever is taken for every processor.
pub(crate) fn apply(config: &mut Config) {
    // Hints say that captures are rare: what they take lies outside all loops.
    enable(config, features::needed())
        .collector(Collector::DeferredReferenceCounting)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_branch_hinting(true);
}

/// Of the baseline tier, Winch, which makes one pass. A module that needs what it lacks is found invalid,
/// before anything is compiled.
pub(crate) fn apply_baseline(config: &mut Config) {
    let lacks = WasmFeatures::TAIL_CALL
        .union(WasmFeatures::EXCEPTIONS)
        .union(WasmFeatures::GC_TYPES);
    enable(config, features::needed().difference(lacks)).strategy(Strategy::Winch);
}

/// These and nothing else.
fn enable(config: &mut Config, features: WasmFeatures) -> &mut Config {
    config
        .wasm_features(WasmFeatures::all().difference(features), false)
        .wasm_features(features, true)
}
