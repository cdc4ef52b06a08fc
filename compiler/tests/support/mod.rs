//! Runs programs, raw and rewritten, and captures the rewritten ones at chosen points.
//!
//! wasmtime's epoch callback fires at every loop header and function entry; counting there and setting the capture
//! flag at the chosen count gives capture points that are the same in every run.
#![allow(unreachable_pub, dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::{
    Caller, Config, Engine, Extern, Func, Global, Instance, Linker, Memory, Module, Ref, Store, Table, Trap,
    UpdateDeadline, Val,
};
use wayfare_compiler::{Entry, abi};

#[derive(Clone, Default)]
pub struct World {
    pub args: Vec<String>,
    pub stdin: Vec<u8>,
    pub stdin_at: usize,
    pub stdout: Vec<u8>,
    pub clock_ns: u64,
    pub exit: Option<i32>,
    /// How often blocking calls pretend to block before they go through.
    pub refusals: u32,
    pub countdown: Option<u64>,
    pub checks: u64,
    pub flag: usize,
}

/// What a captured program is.
#[derive(Clone)]
pub struct State {
    pub frames: Vec<u8>,
    globals: Vec<u64>,
    memories: Vec<Vec<u8>>,
    /// Each reference by its place among all functions, counted from 1; 0 is null.
    tables: Vec<Vec<u64>>,
    pub world: World,
}

pub enum End {
    Finished(World),
    Trapped(String, World),
    Captured(Box<State>),
}

const STACK_BYTES: usize = 64 << 20;

/// Runs `body` on a thread whose stack has room for deep recursion.
pub fn with_stack(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, body)
            .unwrap();
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

pub fn engine() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.async_stack_size(STACK_BYTES / 2);
    config.max_wasm_stack(STACK_BYTES / 2);
    config.wasm_multi_memory(true);
    config.memory_reservation(64 << 20);
    Engine::new(&config).unwrap()
}

pub fn blocking(module: &str, name: &str) -> bool {
    module == "wasi_snapshot_preview1" && matches!(name, "fd_read" | "fd_write" | "poll_oneoff")
        || module == "test" && name == "block"
}

pub fn rewrite(wasm: &[u8]) -> wayfare_compiler::Rewritten {
    wayfare_compiler::rewrite(
        wasm,
        &wayfare_compiler::Options {
            blocking: &blocking,
            entry: Entry::Command,
        },
    )
    .unwrap()
}

/// The original module, from beginning to end.
pub fn run_raw(engine: &Engine, module: &Module, world: World) -> End {
    let mut store = store(engine, world, None);
    let instance = linker(engine).instantiate(&mut store, module).unwrap();
    let result = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .unwrap()
        .call(&mut store, ());
    finish(store.into_data(), result)
}

/// A rewritten module, fresh or from a state, until it ends or is captured at the `capture`th check from now.
pub fn run(engine: &Engine, module: &Module, from: Result<&State, World>, capture: Option<u64>) -> End {
    let world = match &from {
        Ok(state) => state.world.clone(),
        Err(world) => world.clone(),
    };
    let mut store = store(engine, world, capture);
    let instance = linker(engine).instantiate(&mut store, module).unwrap();
    let save = instance.get_memory(&mut store, abi::SAVE_MEMORY).unwrap();
    store.data_mut().flag = save.data_ptr(&store) as usize + abi::FLAG_OFFSET as usize;
    if let Ok(state) = from {
        restore(&instance, &mut store, save, state);
    }
    let entry = if from.is_ok() { abi::RESUME } else { abi::START };
    let result = instance
        .get_typed_func::<(), ()>(&mut store, entry)
        .unwrap()
        .call(&mut store, ());
    let unwinding = instance.get_global(&mut store, abi::UNWINDING).unwrap();
    if result.is_ok() && unwinding.get(&mut store).i32() == Some(1) {
        return End::Captured(Box::new(take(&instance, store, save)));
    }
    finish(store.into_data(), result)
}

fn finish(mut world: World, result: wasmtime::Result<()>) -> End {
    match result {
        Ok(()) => {
            world.exit = Some(0);
            End::Finished(world)
        }
        Err(_) if world.exit.is_some() => End::Finished(world),
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => End::Trapped(trap.to_string(), world),
            None => panic!("{error:?}"),
        },
    }
}

fn store(engine: &Engine, mut world: World, capture: Option<u64>) -> Store<World> {
    world.countdown = capture;
    world.flag = 0; // the one it was captured with is gone
    let mut store = Store::new(engine, world);
    store.epoch_deadline_callback(|mut context| {
        let world = context.data_mut();
        world.checks += 1;
        if let Some(left) = &mut world.countdown {
            *left = left.saturating_sub(1);
            if *left == 0 && world.flag != 0 {
                // The save memory never moves, and this runs on the program's own thread.
                for word in (world.flag..).step_by(4).take(abi::FLAG_BYTES as usize / 4) {
                    unsafe { AtomicU32::from_ptr(word as *mut u32) }.store(0x0101_0101, Ordering::Relaxed);
                }
            }
        }
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    store
}

fn exported<T>(
    instance: &Instance,
    store: &mut Store<World>,
    prefix: &str,
    take: impl Fn(Extern) -> Option<T>,
) -> Vec<T> {
    (0..)
        .map_while(|number| instance.get_export(&mut *store, &format!("{prefix}{number}")))
        .map(|export| take(export).unwrap())
        .collect()
}

struct Parts {
    globals: Vec<Global>,
    memories: Vec<Memory>,
    /// Changed by the program; last, the references that frames hold.
    tables: Vec<Table>,
    functions: Vec<Option<Func>>,
}

fn parts(instance: &Instance, store: &mut Store<World>) -> Parts {
    let mut tables = exported(instance, store, abi::TABLE_PREFIX, Extern::into_table);
    tables.extend(instance.get_table(&mut *store, abi::REFERENCES));
    let functions = match instance.get_table(&mut *store, abi::FUNCTIONS) {
        Some(table) => (0..table.size(&*store))
            .map(|index| func(table.get(&mut *store, index)))
            .collect(),
        None => Vec::new(),
    };
    Parts {
        globals: exported(instance, store, abi::GLOBAL_PREFIX, Extern::into_global),
        memories: exported(instance, store, abi::MEMORY_PREFIX, Extern::into_memory),
        tables,
        functions,
    }
}

fn func(value: Option<Ref>) -> Option<Func> {
    match value {
        Some(Ref::Func(func)) => func,
        _ => None,
    }
}

impl Parts {
    /// Two references to one function are the same pointer.
    fn place(&self, func: Option<Func>, store: &mut Store<World>) -> u64 {
        let Some(func) = func else { return 0 };
        let raw = func.to_raw(&mut *store);
        let found = self
            .functions
            .iter()
            .position(|known| known.is_some_and(|known| known.to_raw(&mut *store) == raw));
        found.expect("every function that can be referred to is listed") as u64 + 1
    }

    fn at(&self, place: u64) -> Option<Func> {
        place
            .checked_sub(1)
            .and_then(|index| self.functions[index as usize])
    }
}

fn take(instance: &Instance, mut store: Store<World>, save: Memory) -> State {
    let parts = parts(instance, &mut store);
    let bytes = save.data(&store);
    let top = u32::from_le_bytes(bytes[abi::TOP_OFFSET as usize..][..4].try_into().unwrap()) as usize;
    let held = u32::from_le_bytes(bytes[abi::REFERENCES_OFFSET as usize..][..4].try_into().unwrap());
    let frames = bytes[abi::FRAMES_OFFSET as usize..][..top].to_vec();
    let globals = parts
        .globals
        .iter()
        .map(|global| match global.get(&mut store) {
            Val::I32(v) => v as u32 as u64,
            Val::I64(v) => v as u64,
            Val::F32(v) => v as u64,
            Val::F64(v) => v,
            Val::FuncRef(func) => parts.place(func, &mut store),
            other => panic!("{other:?}"),
        })
        .collect();
    let memories = parts
        .memories
        .iter()
        .map(|memory| memory.data(&store).to_vec())
        .collect();
    let mut tables = Vec::new();
    for (index, table) in parts.tables.iter().enumerate() {
        let last = index + 1 == parts.tables.len();
        let size = if last { u64::from(held) } else { table.size(&store) };
        let entries = (0..size).map(|entry| {
            let func = func(table.get(&mut store, entry));
            parts.place(func, &mut store)
        });
        tables.push(entries.collect());
    }
    State {
        frames,
        globals,
        memories,
        tables,
        world: store.into_data(),
    }
}

fn restore(instance: &Instance, store: &mut Store<World>, save: Memory, state: &State) {
    let parts = parts(instance, store);
    for (memory, content) in parts.memories.iter().zip(&state.memories) {
        let missing = (content.len() - memory.data_size(&*store)) as u64 / 65536;
        memory.grow(&mut *store, missing).unwrap();
        memory.data_mut(&mut *store).copy_from_slice(content);
    }
    for (global, &bits) in parts.globals.iter().zip(&state.globals) {
        let value = match global.ty(&*store).content() {
            wasmtime::ValType::I32 => Val::I32(bits as i32),
            wasmtime::ValType::I64 => Val::I64(bits as i64),
            wasmtime::ValType::F32 => Val::F32(bits as u32),
            wasmtime::ValType::F64 => Val::F64(bits),
            _ => Val::FuncRef(parts.at(bits)),
        };
        global.set(&mut *store, value).unwrap();
    }
    let mut held = 0;
    for (table, entries) in parts.tables.iter().zip(&state.tables) {
        held = entries.len() as u32;
        let missing = (entries.len() as u64).saturating_sub(table.size(&*store));
        table.grow(&mut *store, missing, Ref::Func(None)).unwrap();
        for (index, &place) in entries.iter().enumerate() {
            table
                .set(&mut *store, index as u64, Ref::Func(parts.at(place)))
                .unwrap();
        }
    }
    let bytes = save.data_mut(&mut *store);
    bytes[abi::TOP_OFFSET as usize..][..4].copy_from_slice(&(state.frames.len() as u32).to_le_bytes());
    bytes[abi::REFERENCES_OFFSET as usize..][..4].copy_from_slice(&held.to_le_bytes());
    bytes[abi::FRAMES_OFFSET as usize..][..state.frames.len()].copy_from_slice(&state.frames);
}

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const SPIPE: i32 = 70;

fn memory(caller: &mut Caller<World>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).unwrap()
}

fn put(caller: &mut Caller<World>, at: u32, bytes: &[u8]) {
    memory(caller).write(&mut *caller, at as usize, bytes).unwrap();
}

fn word(caller: &mut Caller<World>, at: u32) -> u32 {
    let mut bytes = [0; 4];
    memory(caller).read(&*caller, at as usize, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Whether a blocking call should unwind: as an engine's would, when a capture is wanted.
fn unwinds(caller: &mut Caller<World>) -> bool {
    let Some(unwinding) = caller.get_export(abi::UNWINDING).and_then(Extern::into_global) else {
        return false;
    };
    let flag = caller.data().flag;
    let wanted = unsafe { AtomicU32::from_ptr(flag as *mut u32) }.load(Ordering::Relaxed) != 0;
    if wanted {
        unwinding.set(&mut *caller, Val::I32(1)).unwrap();
    }
    wanted
}

fn linker(engine: &Engine) -> Linker<World> {
    let mut linker = Linker::new(engine);
    let wasi = "wasi_snapshot_preview1";
    linker
        .func_wrap("test", "block", |mut caller: Caller<World>, value: i32| {
            if unwinds(&mut caller) {
                99
            } else {
                value.wrapping_mul(3)
            }
        })
        .unwrap();
    linker
        .func_wrap("test", "print", |mut caller: Caller<World>, value: i64| {
            let line = format!("{value}\n");
            caller.data_mut().stdout.extend(line.as_bytes());
        })
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "args_sizes_get",
            |mut caller: Caller<World>, count: u32, size: u32| {
                let (n, bytes) = (
                    caller.data().args.len(),
                    caller.data().args.iter().map(|a| a.len() + 1).sum::<usize>(),
                );
                put(&mut caller, count, &(n as u32).to_le_bytes());
                put(&mut caller, size, &(bytes as u32).to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "args_get",
            |mut caller: Caller<World>, pointers: u32, mut buffer: u32| {
                for (index, arg) in caller.data().args.clone().iter().enumerate() {
                    put(&mut caller, pointers + 4 * index as u32, &buffer.to_le_bytes());
                    put(&mut caller, buffer, arg.as_bytes());
                    put(&mut caller, buffer + arg.len() as u32, &[0]);
                    buffer += arg.len() as u32 + 1;
                }
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "environ_sizes_get",
            |mut caller: Caller<World>, count: u32, size: u32| {
                put(&mut caller, count, &[0; 4]);
                put(&mut caller, size, &[0; 4]);
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(wasi, "environ_get", |_: u32, _: u32| SUCCESS)
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "clock_time_get",
            |mut caller: Caller<World>, _: u32, _: u64, out: u32| {
                caller.data_mut().clock_ns += 50_000_000;
                let now = caller.data().clock_ns;
                put(&mut caller, out, &now.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "random_get",
            |mut caller: Caller<World>, at: u32, size: u32| {
                put(&mut caller, at, &vec![7; size as usize]);
                SUCCESS
            },
        )
        .unwrap();
    linker.func_wrap(wasi, "fd_close", |_: u32| SUCCESS).unwrap();
    linker
        .func_wrap(wasi, "fd_seek", |_: u32, _: i64, _: u32, _: u32| SPIPE)
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_fdstat_get",
            |mut caller: Caller<World>, fd: u32, out: u32| {
                if fd > 2 {
                    return BADF;
                }
                let mut stat = [0; 24];
                stat[0] = 2; // character device
                put(&mut caller, out, &stat);
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_write",
            |mut caller: Caller<World>, fd: u32, vectors: u32, count: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let mut total = 0;
                for index in 0..count {
                    let (at, size) = (
                        word(&mut caller, vectors + 8 * index),
                        word(&mut caller, vectors + 8 * index + 4),
                    );
                    let mut bytes = vec![0; size as usize];
                    memory(&mut caller)
                        .read(&caller, at as usize, &mut bytes)
                        .unwrap();
                    total += size;
                    if fd == 1 {
                        caller.data_mut().stdout.extend(bytes);
                    }
                }
                put(&mut caller, out, &total.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_read",
            |mut caller: Caller<World>, _: u32, vectors: u32, _: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let (at, size) = (word(&mut caller, vectors), word(&mut caller, vectors + 4));
                let world = caller.data_mut();
                let rest = &world.stdin[world.stdin_at..];
                let chunk = rest[..rest.len().min(size as usize)].to_vec();
                world.stdin_at += chunk.len();
                put(&mut caller, at, &chunk);
                put(&mut caller, out, &(chunk.len() as u32).to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "poll_oneoff",
            |mut caller: Caller<World>, from: u32, to: u32, _: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let mut event = [0; 32];
                memory(&mut caller)
                    .read(&caller, from as usize, &mut event[..8])
                    .unwrap();
                put(&mut caller, to, &event);
                put(&mut caller, out, &1u32.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "proc_exit",
            |mut caller: Caller<World>, code: i32| -> wasmtime::Result<()> {
                caller.data_mut().exit = Some(code);
                Err(wasmtime::Error::msg("exit"))
            },
        )
        .unwrap();
    linker
}

/// Small, seeded, good enough for choosing capture points (Steele, Lea, Flood: SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// What both runs must agree on.
pub fn outcome(end: End) -> (Vec<u8>, Option<i32>, Option<String>) {
    match end {
        End::Finished(world) => (world.stdout, world.exit, None),
        End::Trapped(trap, world) => (world.stdout, None, Some(trap)),
        End::Captured(_) => panic!("captured, not ended"),
    }
}

/// Runs to the end through captures: the first after `first` checks, each further one after what `next` says
/// (`None`: no more). Each resumption is in a new instance. Gives the end and how many captures there were.
pub fn run_captured(
    engine: &Engine,
    module: &Module,
    world: World,
    first: u64,
    mut next: impl FnMut(usize) -> Option<u64>,
) -> (End, usize, usize) {
    let mut captures = 0;
    let mut largest = 0;
    let mut end = run(engine, module, Err(world), Some(first));
    while let End::Captured(state) = end {
        captures += 1;
        largest = largest.max(state.frames.len());
        end = run(engine, module, Ok(&state), next(captures));
    }
    (end, captures, largest)
}
