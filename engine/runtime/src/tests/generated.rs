//! Random modules as programs: made to end by fuel, loaded as from an engine's cache, run by a runtime with
//! an engine's settings, and again through captures and restores. What they come to is all that they have in
//! the end: results, memories and globals, summed up in the code that they exit with; or what they trap with.
//!
//! Whether the same module comes to that unchanged, too, is in the compiler's tests.

use std::fmt::Write;

use arbitrary::Unstructured;
use wasmparser::{ExternalKind, Payload, TypeRef, ValType};

use super::loading::load_as_cached;
use super::*;

const MODULES: u64 = 80;
/// What a module is made of.
const DATA_BYTES: u64 = 4096;
/// Loop iterations and calls of all calls of an export together: long enough to be captured in there.
const FUEL: u32 = 8_000_000;
/// With less it is not called once more.
const FUEL_LOW: u32 = 100_000;
/// Each is called so often at most, with other arguments.
const ROUNDS: u32 = 2_000_000;
/// Of each run.
const MOVES_MAX: u64 = 6;
/// Of each memory, what is summed up.
const SUMMED_BYTES: u32 = 4096;

#[test]
fn random_modules_come_to_the_same_through_an_engine() {
    let count = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let (mut programs, mut refused, mut moves, mut ended) = (0, 0, 0, 0);
    for seed in 0..count.unwrap_or(MODULES) {
        let Some(wasm) = program(seed) else { continue };
        // Which is the compiler's tests' affair.
        let Ok(loaded) = load_as_cached(&wasm) else {
            refused += 1;
            continue;
        };
        let plan = Plan::new(loaded);
        let began = Instant::now();
        let (_, expected) = plan.start().end();
        let took = began.elapsed();
        ended += u64::from(matches!(expected, ProgramState::Exited { .. }));
        for moved in 1..4 {
            moves += runs_moved(&plan, &mut Random(seed * 4 + moved), (&expected, took), seed);
        }
        programs += 1;
    }
    println!("{programs} programs, {refused} refused, {ended} that do not trap, {moves} moves");
    assert!(
        programs >= 20 && ended >= 10,
        "{programs} programs, {ended} end well"
    );
    // Far fewer than there are on a machine that is busy with other things.
    assert!(moves >= 5, "{moves} moves");
}

/// Captured at random moments of what is left of it; `expected` is what it comes to unmoved, and how long
/// that takes on this machine now.
fn runs_moved(
    plan: &Plan,
    random: &mut Random,
    (expected, took): (&ProgramState, Duration),
    seed: u64,
) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap();
    let mut run = plan.start();
    for moves in 0..MOVES_MAX {
        let until = Instant::now() + Duration::from_micros(random.below(micros / (moves + 1) + 1));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        match run.try_capture(false) {
            Ok((snapshot, _)) => run = plan.restore(through_the_wire(&snapshot)),
            Err(state) => {
                assert_alike(&state, expected, &format!("seed {seed}, moved {moves} times"));
                return moves as usize;
            }
        }
    }
    assert_alike(
        &run.end().1,
        expected,
        &format!("seed {seed}, moved {MOVES_MAX} times"),
    );
    MOVES_MAX as usize
}

/// A trap's text has the way there: a twin that has made a tail call still stands in it.
fn assert_alike(found: &ProgramState, expected: &ProgramState, place: &str) {
    let first_line = |state: &ProgramState| match state {
        ProgramState::Failed { reason } => {
            let line = reason.lines().next()?;
            Some(line.split_once(", in ").map_or(line, |(trap, _)| trap).to_owned())
        }
        other => Some(format!("{other:?}")),
    };
    assert_eq!(first_line(found), first_line(expected), "{place}");
}

fn program(seed: u64) -> Option<Vec<u8>> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let data: Vec<u8> = (0..DATA_BYTES).map(|_| random.below(256) as u8).collect();
    let host = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))"#;
    let config = wasm_smith::Config {
        available_imports: Some(wat::parse_str(host).unwrap()),
        canonicalize_nans: true,
        // Of the others most trap in the first export that is called.
        disallow_traps: !seed.is_multiple_of(4),
        export_everything: true,
        gc_enabled: false,
        max_data_segments: 4,
        max_element_segments: 4,
        max_funcs: 6,
        max_globals: 8,
        max_imports: 1,
        min_imports: 1,
        max_instructions: 200,
        max_memories: 3,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 100,
        max_tables: 3,
        memory_max_size_required: true,
        min_funcs: 2,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        table_max_size_required: true,
        threads_enabled: false,
        // A start function would run before `_start`, and trap at once more often than not.
        allow_start_export: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&data)).ok()?;
    let fuel = module.ensure_termination(FUEL).ok()?;
    with_start(&module.to_bytes(), fuel)
}

/// Everything that it exports, called in turn, and all that it has then, summed up in an exit code.
fn with_start(wasm: &[u8], fuel: u32) -> Option<Vec<u8>> {
    let text = wasmprinter::print_bytes(wasm).ok()?;
    let parts = Parts::of(wasm)?;
    let mut body = String::new();
    for (function, params, results) in &parts.called {
        let args: String = params.iter().map(argument).collect::<Option<_>>()?;
        let folds: String = results.iter().rev().map(fold).collect();
        writeln!(
            body,
            "(global.set {fuel} (i32.const {FUEL})) (local.set 0 (i32.const 0))
             (loop {args} call {function} {folds}
               (br_if 0 (i32.and
                 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const {ROUNDS}))
                 (i32.gt_s (global.get {fuel}) (i32.const {FUEL_LOW})))))"
        )
        .ok()?;
    }
    for (global, kind) in &parts.globals {
        write!(body, "global.get {global} {}", fold(kind)).ok()?;
    }
    for (memory, is_64) in parts.memories.iter().enumerate() {
        let (address, is_empty) = match is_64 {
            true => ("(i64.extend_i32_u (local.get 0))", "i64.eqz"),
            false => ("(local.get 0)", "i32.eqz"),
        };
        // A memory without pages has nothing to sum up.
        write!(
            body,
            "(local.set 0 (i32.const 0))
             (if ({is_empty} (memory.size {memory})) (then) (else (loop
               (local.set 1 (i64.add (i64.mul (local.get 1) (i64.const 31)) (i64.load {memory} {address})))
               (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 8))) (i32.const {SUMMED_BYTES}))))))"
        )
        .ok()?;
    }
    let open = text.trim_end().strip_suffix(')')?;
    let exit = parts.exit;
    let text = format!(
        "{open} (func (export \"_start\") (local i32 i64) {body}
           (call {exit} (i32.wrap_i64 (i64.xor (local.get 1) (i64.shr_u (local.get 1) (i64.const 32)))))))"
    );
    wat::parse_str(&text).ok()
}

/// What of a module `_start` is concerned with.
#[derive(Default)]
struct Parts {
    exit: u32,
    called: Vec<(u32, Vec<ValType>, Vec<ValType>)>,
    globals: Vec<(u32, ValType)>,
    /// Whether each has addresses of 64 bits.
    memories: Vec<bool>,
}

impl Parts {
    /// `None`: it has no way out, or nothing that can be called.
    fn of(wasm: &[u8]) -> Option<Self> {
        let mut parts = Self::default();
        let features = wasmparser::WasmFeatures::all();
        let types = wasmparser::Validator::new_with_features(features)
            .validate_all(wasm)
            .ok()?;
        let types = types.as_ref();
        let mut exported = Vec::new();
        let mut is_exit_imported = false;
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            match payload.ok()? {
                Payload::ImportSection(section) => {
                    let first = section.into_imports().next()?.ok()?;
                    is_exit_imported = matches!(first.ty, TypeRef::Func(_));
                }
                Payload::ExportSection(section) => {
                    exported.extend(section.into_iter().flatten().map(|e| (e.kind, e.index)));
                }
                _ => {}
            }
        }
        for (kind, index) in exported {
            match kind {
                ExternalKind::Func if index != parts.exit => {
                    let of = types[types.core_function_at(index)].unwrap_func();
                    let (params, results) = (of.params().to_vec(), of.results().to_vec());
                    parts.called.push((index, params, results));
                }
                ExternalKind::Global => parts.globals.push((index, types.global_at(index).content_type)),
                _ => {}
            }
        }
        for memory in 0..types.memory_count() {
            parts.memories.push(types.memory_at(memory).memory64);
        }
        (is_exit_imported && !parts.called.is_empty()).then_some(parts)
    }
}

/// Another one in each round.
fn argument(kind: &ValType) -> Option<String> {
    Some(match kind {
        ValType::I32 => "(i32.mul (local.get 0) (i32.const 0x9e3779b1))".into(),
        ValType::I64 => "(i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 0x9e3779b97f4a7c15))".into(),
        ValType::F32 => "(f32.convert_i32_u (local.get 0))".into(),
        ValType::F64 => "(f64.convert_i32_u (local.get 0))".into(),
        ValType::V128 => "(i32x4.splat (local.get 0))".into(),
        ValType::Ref(_) => return None,
    })
}

/// Takes a value from the stack into the sum.
fn fold(kind: &ValType) -> String {
    let as_i64 = match kind {
        ValType::I32 => "i64.extend_i32_u",
        ValType::I64 => "",
        ValType::F32 => "i32.reinterpret_f32 i64.extend_i32_u",
        ValType::F64 => "i64.reinterpret_f64",
        ValType::V128 => "i64x2.extract_lane 0",
        ValType::Ref(_) => return "drop ".into(),
    };
    format!("{as_i64} (i64.mul (local.get 1) (i64.const 31)) i64.add local.set 1 ")
}
