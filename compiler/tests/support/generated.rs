//! Random modules that end: run as they are, rewritten, and captured at random points, they must come to the
//! same. What the test with fixed seeds and the fuzzing target share.
#![allow(clippy::unwrap_used)]

use arbitrary::Unstructured;
use wasmtime::{Engine, Instance, Module, Store, Trap, Val};
use wayfare_abi::rewritten as abi;
use wayfare_compiler::{CompileError, Form};

use super::{
    Call, Called, Import, Linked, Outcome, Program, Random, Refusal, Scene, Value, World, store, wasi,
};

/// Loop iterations and calls of one instance together.
const FUEL: u32 = 500;
/// Captures that are tried for each call.
const POINTS_PER_CALL: u64 = 6;
/// Larger memories say nothing more and cost time to copy.
const MEMORY_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub modules: usize,
    pub refused: usize,
    pub calls: usize,
    pub captures: usize,
}

impl Coverage {
    pub fn add(&mut self, other: Self) {
        self.modules += other.modules;
        self.refused += other.refused;
        self.calls += other.calls;
        self.captures += other.captures;
    }
}

/// Makes a module of `data`; `None` if there is too little of it.
pub fn module(data: &[u8]) -> Option<Vec<u8>> {
    // Most modules with references hold one of the host's somewhere, and are refused.
    let reference_types_enabled = data.first()? % 4 == 0;
    make(data, |config| {
        config.reference_types_enabled = reference_types_enabled
    })
}

/// One that the baseline compiler takes.
pub fn plain_module(data: &[u8]) -> Option<Vec<u8>> {
    make(data, |config| {
        config.exceptions_enabled = false;
        config.reference_types_enabled = false;
        config.simd_enabled = false;
        config.tail_call_enabled = false;
    })
}

fn make(data: &[u8], set: impl FnOnce(&mut wasm_smith::Config)) -> Option<Vec<u8>> {
    let host = r#"(module (import "test" "block" (func (param i32) (result i32)))
        (import "test" "print" (func (param i64))))"#;
    let mut config = wasm_smith::Config {
        available_imports: Some(wat::parse_str(host).unwrap()),
        canonicalize_nans: true,
        export_everything: true,
        gc_enabled: false,
        max_data_segments: 4,
        max_element_segments: 4,
        max_funcs: 8,
        max_globals: 8,
        max_imports: 2,
        max_instructions: 300,
        max_memories: 3,
        max_memory32_bytes: MEMORY_BYTES_MAX,
        max_memory64_bytes: MEMORY_BYTES_MAX.into(),
        max_table_elements: 100,
        max_tables: 3,
        memory_max_size_required: true,
        min_funcs: 3,
        relaxed_simd_enabled: false,
        table_max_size_required: true,
        threads_enabled: false,
        ..wasm_smith::Config::default()
    };
    set(&mut config);
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(data)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some(module.to_bytes())
}

/// Calls every export of a module in turn, raw and rewritten, and repeats each call through captures.
pub fn compare(engine: &Engine, wasm: &[u8], random: &mut Random) -> Coverage {
    let mut coverage = Coverage {
        modules: 1,
        ..Coverage::default()
    };
    let form = match random.below(3) {
        0 => Form::Joined,
        _ => Form::Program,
    };
    let (program, never_blocks) = match Program::of_exports(engine, wasm, form) {
        Ok(program) => program,
        Err(error) => {
            assert!(
                !matches!(error, Refusal::Rewriting(CompileError::Thread(_))),
                "{error:?}"
            );
            coverage.refused = 1;
            return coverage;
        }
    };
    let raw = Module::new(engine, wasm).expect("what is taken rewritten is taken as it is");
    let mut raw_store = store(engine, World::default(), None);
    let raw_instance = wasi::linker(engine).instantiate(&mut raw_store, &raw);
    let mut scene = Scene::new(engine);
    let imports = program.module.imports().map(|_| Import::Host).collect();
    let member = scene.add(program, imports, never_blocks);
    let mut live = Linked::new(engine);
    if let Err(error) = live.instantiate(&scene, member) {
        // A segment does not fit.
        assert_eq!(
            error.downcast_ref::<Trap>(),
            raw_instance.unwrap_err().downcast_ref::<Trap>()
        );
        return coverage;
    }
    // The raw module's start section has run; the rewritten one's is a call like any other.
    let mut calls = Vec::new();
    if live.export(member, abi::START).is_some() {
        calls.push(Call::start());
    }
    match &raw_instance {
        Ok(_) => calls.extend(exports(&raw, random)),
        Err(error) => assert!(!calls.is_empty(), "{error:?}"),
    }
    for call in calls {
        let before = live.images(&scene, member);
        let (outcome, checks) = live.call(&scene, member, &call);
        let expected = match (call.name != abi::START, &raw_instance) {
            (true, Ok(instance)) => match call.fresh(instance, &mut raw_store) {
                Called::Ended(outcome) => outcome,
                Called::Captured => unreachable!("a raw module is never captured"),
            },
            (_, Err(error)) => match error.downcast_ref::<Trap>() {
                Some(trap) => Outcome::Trapped(*trap),
                None => Outcome::Threw,
            },
            (false, Ok(_)) => Outcome::Returned(Vec::new()),
        };
        coverage.calls += 1;
        if [&outcome, &expected].contains(&&Outcome::Trapped(Trap::StackOverflow)) {
            return coverage; // How deep the stack reaches is nobody's promise.
        }
        assert_eq!(outcome, expected, "{}: rewritten, unmoved", call.name);
        if let Ok(instance) = &raw_instance {
            let expected = contents(&raw, instance, &mut raw_store);
            let (instance, live_store) = live.parts(member);
            assert!(
                contents(&raw, &instance, live_store) == expected,
                "{}: memories or globals differ, unmoved",
                call.name
            );
        }
        let after = live.images(&scene, member);
        for _ in 0..POINTS_PER_CALL.min(checks) {
            let (at, second) = (1 + random.below(checks), 1 + random.below(4));
            let moved = scene.moved(member, &call, &before, at, Some(second));
            let place = format!("{}: captured at {at} of {checks}, then after {second}", call.name);
            assert_eq!(moved.outcome, outcome, "{place}");
            assert!(moved.after == after, "{place}: the state differs");
            coverage.captures += moved.captures;
        }
    }
    coverage
}

/// A call of each exported function, with arguments from `random`.
fn exports(module: &Module, random: &mut Random) -> Vec<Call> {
    let mut calls = Vec::new();
    for export in module.exports() {
        let wasmtime::ExternType::Func(ty) = export.ty() else {
            continue;
        };
        let args = ty.params().map(|ty| argument(&ty, random)).collect();
        calls.push(Call::export(export.name(), args));
    }
    calls
}

fn argument(ty: &wasmtime::ValType, random: &mut Random) -> Value {
    let bits = random.next() >> random.below(64);
    match ty {
        wasmtime::ValType::I32 => Value::I32(bits as i32),
        wasmtime::ValType::I64 => Value::I64(bits as i64),
        wasmtime::ValType::F32 => Value::F32((bits as f32).to_bits()),
        wasmtime::ValType::F64 => Value::F64((bits as f64).to_bits()),
        wasmtime::ValType::V128 => Value::V128(u128::from(bits) << random.below(64)),
        wasmtime::ValType::Ref(_) => Value::Null,
    }
}

/// The exported memories and globals, and how large the tables are.
fn contents(module: &Module, instance: &Instance, store: &mut Store<World>) -> Vec<(u128, Vec<u8>)> {
    let mut contents = Vec::new();
    for export in module.exports() {
        contents.push(match instance.get_export(&mut *store, export.name()) {
            Some(wasmtime::Extern::Memory(memory)) => (0, memory.data(&*store).to_vec()),
            Some(wasmtime::Extern::Table(table)) => (table.size(&*store).into(), Vec::new()),
            Some(wasmtime::Extern::Global(global)) => match global.get(&mut *store) {
                Val::I32(v) => (v as u32 as u128, Vec::new()),
                Val::I64(v) => (v as u64 as u128, Vec::new()),
                Val::F32(v) => (v.into(), Vec::new()),
                Val::F64(v) => (v.into(), Vec::new()),
                Val::V128(v) => (v.as_u128(), Vec::new()),
                _ => (0, Vec::new()),
            },
            _ => (0, Vec::new()),
        });
    }
    contents
}
