//! Runs programs, raw and rewritten, and captures the rewritten ones at chosen points.
//!
//! wasmtime's epoch callback fires at every loop header and function entry; counting there and setting the
//! capture flag at the chosen count gives capture points that are the same in every run.
#![allow(unreachable_pub, dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::{Config, Engine, Extern, Instance, Module, Store, Trap, UpdateDeadline};
use wayfare_abi::rewritten as abi;
use wayfare_compiler::{CompileError, Entry, Form, Options, Report, Rewritten};

mod call;
pub mod generated;
mod image;
mod linked;
/// The engine's own.
#[path = "../../../engine/runtime/src/settings.rs"]
mod settings;
mod wasi;

#[allow(unused_imports)]
pub use call::{Call, Called, Outcome, Value};
pub use image::Image;
#[allow(unused_imports)]
pub use linked::{Images, Import, Linked, Moved, Scene};
use wasi::linker;

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
    /// The program was rewritten as one whose host never blocks.
    pub never_blocks: bool,
}

impl World {
    /// One more place was passed where a program can be asked to stop; at the chosen one it is.
    pub fn check(&mut self) {
        self.checks += 1;
        if let Some(left) = &mut self.countdown {
            *left = left.saturating_sub(1);
            if *left == 0 && self.flag != 0 {
                // The save memory never moves, and this runs on the program's own thread.
                for word in (self.flag..).step_by(4).take(abi::FLAG_BYTES as usize / 4) {
                    unsafe { AtomicU32::from_ptr(word as *mut u32) }.store(0x0101_0101, Ordering::Relaxed);
                }
            }
        }
    }
}

/// What a captured program is.
#[derive(Clone)]
pub struct State {
    pub image: Image,
    pub world: World,
}

pub enum End {
    Finished(World),
    Trapped(String, World),
    Captured(Box<State>),
}

pub const STACK_BYTES: usize = 64 << 20;

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
    engine_with_stack(STACK_BYTES / 2)
}

/// Where programs recurse until their stack is used up, a smaller one saves time.
pub fn engine_with_stack(stack_bytes: usize) -> Engine {
    engine_of(settings::apply, stack_bytes)
}

/// The engine's other tier, which does not take every module.
pub fn baseline_engine(stack_bytes: usize) -> Engine {
    engine_of(settings::apply_baseline, stack_bytes)
}

/// Whether this processor has one.
pub const HAS_BASELINE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

fn engine_of(settings: fn(&mut Config), stack_bytes: usize) -> Engine {
    let mut config = Config::new();
    settings(&mut config);
    config.epoch_interruption(true);
    config.async_stack_size(stack_bytes);
    config.max_wasm_stack(stack_bytes);
    // So that two instances compute the same.
    config.cranelift_nan_canonicalization(true);
    config.memory_reservation(64 << 20);
    Engine::new(&config).unwrap()
}

pub fn blocking(module: &str, name: &str) -> bool {
    module == "wasi_snapshot_preview1" && matches!(name, "fd_read" | "fd_write" | "poll_oneoff")
        || module == "test" && name == "block"
        || module == "spectest" && name.starts_with("print")
}

/// Why a module is not run.
#[derive(Debug)]
pub enum Refusal {
    Rewriting(CompileError),
    /// The baseline compiler lacks something.
    Baseline,
}

fn is_baseline(engine: &Engine) -> bool {
    let tail_call = wat::parse_str("(module (func return_call 0))").unwrap();
    Module::validate(engine, &tail_call).is_err()
}

/// The optimising compiler takes all that is rewritten. The other one may say in more than one way that it
/// does not.
fn compile(engine: &Engine, wasm: &[u8]) -> Result<Module, Refusal> {
    let compiled = catch_unwind(AssertUnwindSafe(|| Module::new(engine, wasm)));
    match compiled {
        Ok(Ok(module)) => Ok(module),
        _ if is_baseline(engine) => Err(Refusal::Baseline),
        Ok(Err(error)) => panic!("{error:?}"),
        Err(panic) => resume_unwind(panic),
    }
}

/// A rewritten module, compiled, in one of its forms.
pub struct Program {
    pub module: Module,
    /// `None`: it resumes itself.
    pub resuming: Option<Module>,
    pub report: Report,
}

impl Program {
    /// In two modules.
    pub fn split(engine: &Engine, wasm: &[u8]) -> Self {
        Self::make(engine, wasm, &options(Form::Program)).unwrap()
    }

    /// The same, unless the baseline compiler lacks something.
    pub fn try_split(engine: &Engine, wasm: &[u8]) -> Result<Self, Refusal> {
        Self::make(engine, wasm, &options(Form::Program))
    }

    /// In one.
    pub fn joined(engine: &Engine, wasm: &[u8]) -> Self {
        Self::make(engine, wasm, &options(Form::Joined)).unwrap()
    }

    /// Any exported function can be called. Where a function that blocks is called through a table, which is
    /// refused, none may block: gives whether that was so.
    pub fn of_exports(engine: &Engine, wasm: &[u8], form: Form) -> Result<(Self, bool), Refusal> {
        let make = |blocking| {
            let entry = Entry::Exports;
            let options = Options {
                blocking,
                entry,
                form,
            };
            Self::make(engine, wasm, &options)
        };
        match make(&blocking) {
            Err(Refusal::Rewriting(error)) if error.to_string().contains("called through a table") => {
                Ok((make(&|_, _| false)?, true))
            }
            other => Ok((other?, false)),
        }
    }

    fn make(engine: &Engine, wasm: &[u8], options: &Options) -> Result<Self, Refusal> {
        let Rewritten {
            wasm: program,
            report,
        } = wayfare_compiler::rewrite(wasm, options).map_err(Refusal::Rewriting)?;
        let module = compile(engine, &program)?;
        let resuming = (options.form == Form::Program).then(|| {
            let options = Options {
                form: Form::Resuming,
                ..*options
            };
            let resuming = wayfare_compiler::rewrite(wasm, &options).unwrap();
            compile(engine, &resuming.wasm)
        });
        Ok(Self {
            module,
            resuming: resuming.transpose()?,
            report,
        })
    }

    /// What resumes `instance`, which is of this program.
    pub fn resumer(&self, instance: &Instance, store: &mut Store<World>) -> Instance {
        let Some(resuming) = &self.resuming else {
            return *instance;
        };
        let parts: Vec<Extern> = resuming
            .imports()
            .map(|import| {
                assert_eq!(import.module(), abi::PROGRAM);
                instance.get_export(&mut *store, import.name()).unwrap()
            })
            .collect();
        Instance::new(&mut *store, resuming, &parts).unwrap()
    }
}

fn options(form: Form) -> Options<'static> {
    Options {
        blocking: &blocking,
        entry: Entry::Command,
        form,
    }
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
pub fn run(program: &Program, from: Result<&State, World>, capture: Option<u64>) -> End {
    let world = match &from {
        Ok(state) => state.world.clone(),
        Err(world) => world.clone(),
    };
    let engine = program.module.engine();
    let mut store = store(engine, world, capture);
    let instance = linker(engine).instantiate(&mut store, &program.module).unwrap();
    let save = instance.get_memory(&mut store, abi::SAVE_MEMORY).unwrap();
    store.data_mut().flag = save.data_ptr(&store) as usize + abi::FLAG_OFFSET as usize;
    let (entered, entry) = match from {
        Ok(state) => {
            state.image.restore(&instance, &mut store);
            (program.resumer(&instance, &mut store), abi::RESUME)
        }
        Err(_) => (instance, abi::START),
    };
    let result = entered
        .get_typed_func::<(), ()>(&mut store, entry)
        .unwrap()
        .call(&mut store, ());
    let unwinding = instance.get_global(&mut store, abi::UNWINDING).unwrap();
    if result.is_ok() && unwinding.get(&mut store).i32() == Some(1) {
        let image = Image::take(&instance, &mut store);
        let world = store.into_data();
        return End::Captured(Box::new(State { image, world }));
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

pub fn store(engine: &Engine, mut world: World, capture: Option<u64>) -> Store<World> {
    world.countdown = capture;
    world.flag = 0; // the one it was captured with is gone
    let mut store = Store::new(engine, world);
    store.epoch_deadline_callback(|mut context| {
        context.data_mut().check();
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    store
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
/// (`None`: no more). Each resumption is in a new instance, of the next of `programs`, which are forms of
/// one, of whatever tier. Gives the end and how many captures there were.
pub fn run_captured(
    programs: &[&Program],
    world: World,
    first: u64,
    mut next: impl FnMut(usize) -> Option<u64>,
) -> (End, usize, usize) {
    let mut captures = 0;
    let mut largest = 0;
    let mut end = run(programs[0], Err(world), Some(first));
    while let End::Captured(state) = end {
        captures += 1;
        largest = largest.max(state.image.frames.len());
        let program = programs[captures % programs.len()];
        end = run(program, Ok(&state), next(captures));
    }
    (end, captures, largest)
}
