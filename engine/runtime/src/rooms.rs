//! Room for stacks: a program that is resumed may need a larger one than it had.
//!
//! The code that rebuilds a call (a *twin*) can need a frame many times as large as the call did, and how
//! large only a try shows. wasmtime knows one stack limit per engine, so there are several engines, *rooms*,
//! of which most programs use two. Always: a program is resumed in a room only after all of its calls were
//! rebuilt once in the room before that one, in an instance that exists for this only; and each room is
//! larger than the one before by a whole fresh program's stack. So whatever a program could still call before
//! it was captured, it can call afterwards.
//!
//! The try runs nothing of the program: a capture is asked for from the beginning, and twins look before
//! anything else.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store};
use wayfare_mail::Mail;
use wayfare_protocol::error::Failure;

use super::address_space::internal;
use super::context::Context;
use super::control::Control;
use super::memory::Limits;
use super::options::RuntimeOptions;
use super::resuming::ResumeModule;
use super::{HOST_STACK_BYTES, calling, calls, device_calls, raw, values, wasi};

/// How many times the stack of a fresh program each room has. Stacks take memory only as far as they are
/// used.
const ROOMS: &[usize] = &[1, 2, 8, 32, 128, 512];
/// Of the largest room, where a fresh program's stack is not so large that the two that all programs need are
/// above that.
const STACK_BYTES_MAX: usize = if cfg!(target_pointer_width = "64") {
    1 << 30
} else {
    128 << 20
};
/// For fresh programs.
pub(super) const FRESH: usize = 0;
/// The least for resumed ones. Up to here the program's own thread has the stack.
pub(super) const RESUMED: usize = 1;

/// wasmtime's engines and the host functions, once for each room; those that are seldom needed are made when
/// they are.
pub(super) struct Rooms {
    options: RuntimeOptions,
    make: fn(&RuntimeOptions) -> Config,
    /// How many times the stack of [`RuntimeOptions`] a fresh program has.
    stack_factor: usize,
    made: Mutex<Vec<Linker<Context>>>,
}

impl Rooms {
    pub(super) fn new(
        options: RuntimeOptions,
        make: fn(&RuntimeOptions) -> Config,
        stack_factor: usize,
    ) -> wasmtime::Result<Self> {
        let rooms = Self {
            options,
            make,
            stack_factor,
            made: Mutex::default(),
        };
        rooms.linker(RESUMED)?;
        Ok(rooms)
    }

    pub(super) fn options(&self) -> &RuntimeOptions {
        &self.options
    }

    pub(super) fn count(&self) -> usize {
        let is_there = |&room: &usize| room <= RESUMED || self.stack_bytes(room) <= STACK_BYTES_MAX;
        (0..ROOMS.len()).take_while(is_there).count()
    }

    /// Of the stack that a program's own thread needs.
    pub(super) fn thread_stack_bytes(&self) -> wasmtime::Result<usize> {
        // Pulley's stack is none of the thread's.
        let own = match self.linker(FRESH)?.engine().is_pulley() {
            true => 0,
            false => self.stack_bytes(RESUMED),
        };
        Ok(own.saturating_add(HOST_STACK_BYTES))
    }

    pub(super) fn stack_bytes(&self, room: usize) -> usize {
        let fresh = self.options.stack_bytes_max.saturating_mul(self.stack_factor);
        fresh.saturating_mul(ROOMS[room])
    }

    pub(super) fn linker(&self, room: usize) -> wasmtime::Result<Linker<Context>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        while made.len() <= room {
            let stack_bytes = self.stack_bytes(made.len());
            let mut config = (self.make)(&self.options);
            // The second is for stacks that we do not use, and must not be less.
            config.max_wasm_stack(stack_bytes).async_stack_size(stack_bytes);
            let mut linker = Linker::new(&Engine::new(&config)?);
            wasi::define(&mut linker)?;
            calls::define(&mut linker)?;
            calling::define(&mut linker)?;
            values::define(&mut linker)?;
            device_calls::define(&mut linker)?;
            made.push(linker);
        }
        Ok(made[room].clone())
    }

    /// Calls `body` where there is a stack for code of `room`.
    pub(super) fn on_stack<T: Send>(
        &self,
        room: usize,
        engine: &Engine,
        body: impl FnOnce() -> T + Send,
    ) -> Result<T, Failure> {
        // Pulley's stack is none of the thread's.
        if room <= RESUMED || engine.is_pulley() {
            return Ok(body());
        }
        std::thread::scope(|scope| {
            // Not named as the program's own, which is there all the while: one thread of that name is one
            // copy.
            let thread = std::thread::Builder::new()
                .name("stack".into())
                .stack_size(self.stack_bytes(room).saturating_add(HOST_STACK_BYTES))
                .spawn_scoped(scope, body)
                .map_err(|error| Failure::Internal {
                    reason: format!(
                        "no thread with a stack of {} MiB for the program: {error}",
                        self.stack_bytes(room) >> 20
                    ),
                })?;
            Ok(thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// For instances that are nobody's program. Fails where there is no memory for Pulley's stack.
    pub(super) fn idle_store(&self, engine: &Engine, save_bytes: u64) -> wasmtime::Result<Store<Context>> {
        let control = Arc::new(Control::new(true, Mail::nobody()));
        // Whatever might block leaves.
        control.discard();
        let RuntimeOptions {
            memory_bytes_max,
            table_elements_max,
            ..
        } = self.options;
        let (control_of, budget) = (control.clone(), Arc::default());
        let limits = Limits::new(
            control_of,
            memory_bytes_max,
            table_elements_max,
            save_bytes,
            budget,
        );
        let mut store = Store::try_new(engine, Context::nobody(control, limits))?;
        store.limiter(|context| &mut context.limits);
        Ok(store)
    }
}

/// One module, and its resuming code, in as many rooms as its programs needed.
pub(super) struct Housed {
    rooms: Arc<Rooms>,
    fresh: InstancePre<Context>,
    /// From the second room on.
    others: Mutex<Vec<InstancePre<Context>>>,
    /// From the first room on; nothing as long as it is not here, or where the module has its own.
    resuming: Mutex<Vec<ResumeModule>>,
}

impl Housed {
    pub(super) fn new(rooms: Arc<Rooms>, fresh: InstancePre<Context>) -> Self {
        Self {
            rooms,
            fresh,
            others: Mutex::default(),
            resuming: Mutex::default(),
        }
    }

    /// Where every program that is resumed needs it, so that none has to stand still for that.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        self.pre(RESUMED).map(drop)
    }

    /// Its resuming code has come. Prepares it as well.
    pub(super) fn take_resuming(&self, resuming: ResumeModule) -> Result<(), Failure> {
        self.prepare()?;
        let mut known = self.resuming.lock().unwrap_or_else(PoisonError::into_inner);
        *known = vec![resuming];
        drop(known);
        self.resuming(RESUMED).map(drop)
    }

    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub(super) fn pre(&self, room: usize) -> Result<InstancePre<Context>, Failure> {
        if room == FRESH {
            return Ok(self.fresh.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        while others.len() < room {
            let linker = self.rooms.linker(others.len() + 1).map_err(internal)?;
            let module: Module = raw::load_again(linker.engine(), self.fresh.module()).map_err(internal)?;
            others.push(linker.instantiate_pre(&module).map_err(internal)?);
        }
        Ok(others[room - 1].clone())
    }

    /// `None`: the module resumes itself, or its resuming code is not here.
    pub(super) fn resuming(&self, room: usize) -> Result<Option<ResumeModule>, Failure> {
        let mut known = self.resuming.lock().unwrap_or_else(PoisonError::into_inner);
        while known.len() <= room
            && let Some(first) = known.first()
        {
            let program = self.pre(known.len())?;
            let engine = program.module().engine();
            let module: Module = raw::load_again(engine, first.module()).map_err(internal)?;
            let resuming = ResumeModule::new(module, program.module());
            known.push(resuming.map_err(|reason| Failure::Internal { reason })?);
        }
        Ok(known.get(room).cloned())
    }
}
