//! wasmtime in the ways that are compared, and just enough of WASI for the benchmark programs.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wasmtime::{Caller, Config, Engine, Extern, Global, Instance, Linker, Memory, Module, Store, Val};
use wayfare_abi::rewritten as abi;
use wayfare_compiler::Form;

use crate::programs::Program;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Native,
    Pulley,
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => std::env::consts::ARCH,
            Self::Pulley => "Pulley",
        }
    }
}

/// What interrupts a program, if anything can.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Raw,
    Epochs,
    Fuel,
    Ours,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Raw, Self::Epochs, Self::Fuel, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Epochs => "epochs",
            Self::Fuel => "fuel",
            Self::Ours => "ours",
        }
    }

    pub(crate) fn form(self, program: &Program) -> Cow<'static, [u8]> {
        match self {
            Self::Ours => rewrite(program.wasm, Form::Program).wasm.into(),
            _ => program.wasm.into(),
        }
    }
}

pub(crate) fn rewrite(wasm: &[u8], form: Form) -> wayfare_compiler::Rewritten {
    let blocking = |module: &str, name: &str| module == WASI && matches!(name, "fd_write");
    wayfare_compiler::rewrite(
        wasm,
        &wayfare_compiler::Options {
            blocking: &blocking,
            entry: wayfare_compiler::Entry::Command,
            form,
        },
    )
    .expect("the benchmark programs can be captured")
}

/// A program, compiled in one of the ways.
pub(crate) struct Code {
    pub(crate) module: Module,
    /// Only of ours.
    pub(crate) resuming: Option<Module>,
}

pub(crate) struct Machine {
    linker: Linker<World>,
    way: Way,
}

impl Machine {
    pub(crate) fn new(target: Target, way: Way) -> Self {
        Self::with(target, way, |_| {})
    }

    /// With settings besides.
    pub(crate) fn with(target: Target, way: Way, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new();
        config.async_stack_size(crate::STACK_BYTES / 2);
        config.max_wasm_stack(crate::STACK_BYTES / 2);
        // Off by default; the rewriting may say which branches are cold.
        config.wasm_branch_hinting(true);
        config.epoch_interruption(way == Way::Epochs);
        config.consume_fuel(way == Way::Fuel);
        if target == Target::Pulley {
            config.target("pulley64").expect("wasmtime knows Pulley");
        }
        set(&mut config);
        let engine = Engine::new(&config).expect("these settings fit together");
        Self {
            linker: linker(&engine),
            way,
        }
    }

    pub(crate) fn compile(&self, wasm: &[u8]) -> Module {
        self.try_compile(wasm).expect("the program is valid")
    }

    /// Not every compiler takes every program.
    pub(crate) fn try_compile(&self, wasm: &[u8]) -> wasmtime::Result<Module> {
        Module::new(self.linker.engine(), wasm)
    }

    pub(crate) fn start(&self, code: &Code, per_mille: u32) -> Process {
        let world = World {
            work: per_mille.to_string(),
            ..World::default()
        };
        let mut store = Store::new(self.linker.engine(), world);
        match self.way {
            Way::Epochs => store.set_epoch_deadline(u64::MAX / 2),
            Way::Fuel => store.set_fuel(u64::MAX).expect("fuel is consumed"),
            Way::Raw | Way::Ours => {}
        }
        let instance = self
            .linker
            .instantiate(&mut store, &code.module)
            .expect("the imports are there");
        let save = instance.get_memory(&mut store, abi::SAVE_MEMORY);
        let flag = save.map(|save| Flag(save.data_ptr(&store) as usize + abi::FLAG_OFFSET as usize));
        store.data_mut().flag = flag;
        Process {
            store,
            instance,
            resuming: code.resuming.clone(),
            resumer: None,
            save,
            flag,
            busy: Duration::ZERO,
        }
    }
}

/// The bytes by which a capture is asked for. Good as long as its [`Process`] lives.
#[derive(Clone, Copy)]
pub(crate) struct Flag(usize);

impl Flag {
    pub(crate) fn set(self, value: u32) {
        // The save memory is of fixed size, so it never moves, and whoever holds a flag has its process too.
        for word in (self.0..).step_by(4).take(abi::FLAG_BYTES as usize / 4) {
            unsafe { AtomicU32::from_ptr(word as *mut u32) }.store(value * 0x0101_0101, Ordering::Relaxed);
        }
    }

    fn is_set(self) -> bool {
        unsafe { AtomicU32::from_ptr(self.0 as *mut u32) }.load(Ordering::Relaxed) != 0
    }
}

pub(crate) struct Process {
    pub(crate) store: Store<World>,
    instance: Instance,
    resuming: Option<Module>,
    resumer: Option<Instance>,
    save: Option<Memory>,
    flag: Option<Flag>,
    /// Time on the processor in the program.
    pub(crate) busy: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Captured,
}

impl Process {
    /// To the end, or to a capture.
    pub(crate) fn run(&mut self) -> End {
        let instance = self.instance;
        self.enter(instance, if self.save.is_some() { abi::START } else { "_start" })
    }

    /// Goes on after a capture. The flag must be cleared already.
    pub(crate) fn resume(&mut self) -> End {
        self.unwinding()
            .set(&mut self.store, Val::I32(0))
            .expect("it is a mutable i32");
        let resumer = self.resumer();
        self.enter(resumer, abi::RESUME)
    }

    /// The instance that resumes, made once.
    pub(crate) fn resumer(&mut self) -> Instance {
        if let Some(resumer) = self.resumer {
            return resumer;
        }
        let module = self.resuming.clone().expect("the module is a rewritten one");
        let parts: Vec<Extern> = module
            .imports()
            .map(|import| {
                let part = self.instance.get_export(&mut self.store, import.name());
                part.expect("the program exports all its parts")
            })
            .collect();
        let resumer = Instance::new(&mut self.store, &module, &parts).expect("the parts fit");
        *self.resumer.insert(resumer)
    }

    fn enter(&mut self, instance: Instance, name: &str) -> End {
        let entry = instance
            .get_typed_func::<(), ()>(&mut self.store, name)
            .expect("it is exported");
        let before = cpu_time();
        let result = entry.call(&mut self.store, ());
        self.busy += cpu_time() - before;
        match result {
            Ok(()) if self.save.is_some() && self.unwinding().get(&mut self.store).i32() == Some(1) => {
                End::Captured
            }
            Ok(()) => End::Finished,
            Err(_) if self.store.data().exit == Some(0) => End::Finished,
            Err(error) => panic!("{error:?}"),
        }
    }

    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.store.data().stdout).expect("programs print text")
    }

    pub(crate) fn flag(&self) -> Flag {
        self.flag.expect("the module is a rewritten one")
    }

    fn unwinding(&mut self) -> Global {
        self.instance
            .get_global(&mut self.store, abi::UNWINDING)
            .expect("the module is a rewritten one")
    }

    /// The bytes of captured frames.
    pub(crate) fn frames(&self) -> &[u8] {
        let save = self
            .save
            .expect("the module is a rewritten one")
            .data(&self.store);
        let top = save[abi::TOP_OFFSET as usize..][..4]
            .try_into()
            .map(u32::from_le_bytes);
        &save[abi::FRAMES_OFFSET as usize..][..top.expect("they are four") as usize]
    }

    pub(crate) fn set_frames(&mut self, frames: &[u8]) {
        let save = self
            .save
            .expect("the module is a rewritten one")
            .data_mut(&mut self.store);
        save[abi::TOP_OFFSET as usize..][..4].copy_from_slice(&(frames.len() as u32).to_le_bytes());
        save[abi::FRAMES_OFFSET as usize..][..frames.len()].copy_from_slice(frames);
    }

    pub(crate) fn memory(&mut self) -> Memory {
        let name = format!("{}0", abi::MEMORY_PREFIX);
        let memory = self.instance.get_memory(&mut self.store, &name);
        memory.expect("a rewritten C program has a memory")
    }

    pub(crate) fn memory_addresses(&mut self) -> Range<usize> {
        let memory = self.memory();
        let start = memory.data_ptr(&self.store) as usize;
        start..start + memory.data_size(&self.store)
    }

    pub(crate) fn globals(&mut self) -> Vec<Global> {
        (0..)
            .map_while(|number| {
                let name = format!("{}{number}", abi::GLOBAL_PREFIX);
                self.instance.get_global(&mut self.store, &name)
            })
            .collect()
    }
}

/// Of this thread.
pub(crate) fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The host's side of a program.
#[derive(Default, Clone)]
pub(crate) struct World {
    work: String,
    stdout: Vec<u8>,
    exit: Option<i32>,
    pub(crate) flag: Option<Flag>,
}

const WASI: &str = "wasi_snapshot_preview1";
const SUCCESS: i32 = 0;
const SPIPE: i32 = 70;
const CHARACTER_DEVICE: u8 = 2;
/// The same in every run.
const CLOCK_NS: u64 = 1_700_000_000_000_000_000;

fn memory(caller: &mut Caller<World>) -> Memory {
    let export = caller.get_export("memory").and_then(Extern::into_memory);
    export.expect("programs export their memory")
}

fn put(caller: &mut Caller<World>, at: u32, bytes: &[u8]) {
    let memory = memory(caller);
    memory
        .write(caller, at as usize, bytes)
        .expect("the program's pointer is good");
}

fn word(caller: &mut Caller<World>, at: u32) -> u32 {
    let mut bytes = [0; 4];
    let memory = memory(caller);
    memory
        .read(caller, at as usize, &mut bytes)
        .expect("the program's pointer is good");
    u32::from_le_bytes(bytes)
}

fn fd_write(mut caller: Caller<World>, _fd: u32, vectors: u32, count: u32, out: u32) -> i32 {
    if caller.data().flag.is_some_and(Flag::is_set) {
        let unwinding = caller.get_export(abi::UNWINDING).and_then(Extern::into_global);
        let unwinding = unwinding.expect("who has a flag has this");
        unwinding
            .set(&mut caller, Val::I32(1))
            .expect("it is a mutable i32");
        return SUCCESS;
    }
    let mut total = 0;
    for index in 0..count {
        let at = word(&mut caller, vectors + 8 * index);
        let size = word(&mut caller, vectors + 8 * index + 4);
        let mut bytes = vec![0; size as usize];
        let memory = memory(&mut caller);
        memory
            .read(&caller, at as usize, &mut bytes)
            .expect("the program's pointer is good");
        caller.data_mut().stdout.extend(bytes);
        total += size;
    }
    put(&mut caller, out, &total.to_le_bytes());
    SUCCESS
}

fn linker(engine: &Engine) -> Linker<World> {
    define(engine).expect("no name is defined twice")
}

fn define(engine: &Engine) -> wasmtime::Result<Linker<World>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(
        WASI,
        "args_sizes_get",
        |mut caller: Caller<World>, count: u32, size: u32| {
            let bytes = caller.data().work.len() as u32 + 3;
            put(&mut caller, count, &2u32.to_le_bytes());
            put(&mut caller, size, &bytes.to_le_bytes());
            SUCCESS
        },
    )?;
    linker.func_wrap(
        WASI,
        "args_get",
        |mut caller: Caller<World>, pointers: u32, buffer: u32| {
            let text = format!("p\0{}\0", caller.data().work);
            put(&mut caller, pointers, &buffer.to_le_bytes());
            put(&mut caller, pointers + 4, &(buffer + 2).to_le_bytes());
            put(&mut caller, buffer, text.as_bytes());
            SUCCESS
        },
    )?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<World>, _: u32, _: u64, out: u32| {
            put(&mut caller, out, &CLOCK_NS.to_le_bytes());
            SUCCESS
        },
    )?;
    linker.func_wrap(WASI, "fd_close", |_: u32| SUCCESS)?;
    linker.func_wrap(WASI, "fd_seek", |_: u32, _: i64, _: u32, _: u32| SPIPE)?;
    linker.func_wrap(
        WASI,
        "fd_fdstat_get",
        |mut caller: Caller<World>, _: u32, out: u32| {
            let mut stat = [0; 24];
            stat[0] = CHARACTER_DEVICE;
            put(&mut caller, out, &stat);
            SUCCESS
        },
    )?;
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker.func_wrap(
        WASI,
        "proc_exit",
        |mut caller: Caller<World>, code: i32| -> wasmtime::Result<()> {
            caller.data_mut().exit = Some(code);
            Err(wasmtime::Error::msg("exit"))
        },
    )?;
    Ok(linker)
}
