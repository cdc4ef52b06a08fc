//! One instance of a rewritten module: entered, left, captured, restored.

#[cfg(feature = "compiler")]
mod change;
mod restoring;
mod room;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{
    FrameInfo, Global, InstancePre, Memory, Store, ThrownException, Trap, TypedFunc, Val, WasmBacktrace,
};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;
use wayfare_protocol::snapshot::{GlobalValue, HostState, Snapshot};
use wayfare_protocol::status::ProgramState;

use super::address_space::internal;
use super::context::{Context, GuestHandles};
use super::loaded::{Loaded, MAY_COME_APART};
use super::raw;
use super::references::References;
use super::rooms;
use super::wasi::Exit;

/// How long a program waits before it asks again for a stack that the machine had no memory for.
const STACK_PATIENCE: Duration = Duration::from_secs(1);
/// How often one that was stopped without its resuming code looks whether that has come.
const RESUMING_PATIENCE: Duration = Duration::from_millis(100);
/// Functions named in the reason of a failure.
const TRAP_FRAMES_MAX: usize = 8;

pub(super) struct Instance {
    loaded: Arc<Loaded>,
    store: Store<Context>,
    program: wasmtime::Instance,
    start: TypedFunc<(), ()>,
    /// `None`: it was not needed yet, and is in a module of its own.
    resume: Option<TypedFunc<(), ()>>,
    unwinding: Global,
    save: Memory,
    globals: Vec<Global>,
    memories: Vec<Memory>,
    references: References,
    /// It has begun: its frames are in the save memory whenever it is stopped.
    begun: bool,
    /// Which of [`super::rooms`] it is in.
    room: usize,
    /// It stands still since it was tried whether its calls have room here.
    fits: bool,
}

pub(super) enum Ran {
    /// Somebody wants something.
    Stopped,
    Ended(ProgramState),
}

impl Instance {
    /// At the beginning, or where the snapshot is.
    pub(super) fn new(
        loaded: Arc<Loaded>,
        mut context: Context,
        snapshot: Option<Snapshot>,
    ) -> Result<Self, Failure> {
        let Some(mut snapshot) = snapshot else {
            return Self::instantiate(loaded, context, rooms::FRESH);
        };
        let refuse = |reason: String| Failure::Snapshot { reason };
        snapshot
            .check(loaded.digest(), abi::ABI)
            .map_err(|error| refuse(error.to_string()))?;
        context
            .restore(std::mem::take(&mut snapshot.host))
            .map_err(refuse)?;
        let room = if snapshot.frames.is_empty() {
            rooms::FRESH
        } else {
            room::room_for(&loaded, &snapshot, rooms::RESUMED)?
        };
        Self::instantiate(loaded, context, room)?.filled(&snapshot)
    }

    fn filled(mut self, snapshot: &Snapshot) -> Result<Self, Failure> {
        let refuse = |reason: String| Failure::Snapshot { reason };
        self.begun = !snapshot.frames.is_empty();
        self.fits = true;
        self.write_memories(&snapshot.memories)?;
        self.write_globals(&snapshot.globals).map_err(refuse)?;
        self.references.write(&mut self.store, snapshot).map_err(refuse)?;
        self.write_frames(snapshot).map_err(refuse)?;
        Ok(self)
    }

    fn instantiate(loaded: Arc<Loaded>, mut context: Context, room: usize) -> Result<Self, Failure> {
        context.limits.reset();
        let module = loaded.housed.pre(room)?;
        let mut store = Store::try_new(module.module().engine(), context).map_err(internal)?;
        store.limiter(|context| &mut context.limits);
        Self::in_store(loaded, store, &module, room)
    }

    fn in_store(
        loaded: Arc<Loaded>,
        mut store: Store<Context>,
        module: &InstancePre<Context>,
        room: usize,
    ) -> Result<Self, Failure> {
        let instance = module.instantiate(&mut store).map_err(internal)?;
        let here = "the module's shape was checked when it was loaded";
        let start = instance.get_typed_func(&mut store, abi::START).expect(here);
        let resume = instance.get_typed_func(&mut store, abi::RESUME).ok();
        let unwinding = instance.get_global(&mut store, abi::UNWINDING).expect(here);
        let save = instance.get_memory(&mut store, abi::SAVE_MEMORY).expect(here);
        let globals = (0..loaded.shape.globals)
            .map(|n| {
                instance
                    .get_global(&mut store, &format!("{}{n}", abi::GLOBAL_PREFIX))
                    .expect(here)
            })
            .collect();
        let memories = (0..loaded.shape.memories)
            .map(|n| {
                instance
                    .get_memory(&mut store, &format!("{}{n}", abi::MEMORY_PREFIX))
                    .expect(here)
            })
            .collect();
        let references = References::of(&instance, &mut store);
        let memory = instance.get_memory(&mut store, "memory");
        let guest = memory.map(|memory| GuestHandles { memory, unwinding });
        store.data_mut().set_guest(guest);
        Ok(Self {
            loaded,
            store,
            program: instance,
            start,
            resume,
            unwinding,
            save,
            globals,
            memories,
            references,
            begun: false,
            room,
            fits: false,
        })
    }

    pub(super) fn context(&self) -> &Context {
        self.store.data()
    }

    pub(super) fn context_mut(&mut self) -> &mut Context {
        self.store.data_mut()
    }

    /// Runs until somebody wants something, or the program ends.
    pub(super) fn run(mut self) -> Result<(Self, Ran), Failure> {
        if self.begun && !self.loaded.can_resume() {
            // It stood still for good as far as was known: only where an engine ends is a program stopped
            // without it.
            self.store.data().control.pause(RESUMING_PATIENCE);
            return Ok((self, Ran::Stopped));
        }
        if self.begun && !self.fits {
            self = self.into_room()?;
        }
        let control = self.store.data().control.clone();
        let entry = match self.begun {
            true => match self.resumer() {
                Ok(entry) => entry,
                // Nothing has run: the next try may find more memory.
                Err(failure) => {
                    tracing::warn!(%failure, "a program waits for memory to be resumed in");
                    control.pause(STACK_PATIENCE);
                    return Ok((self, Ran::Stopped));
                }
            },
            false => self.start.clone(),
        };
        self.store.data_mut().clock.go();
        control.lock().clock = self.store.data().clock;
        let (rooms, engine) = (self.loaded.housed.rooms(), self.store.engine().clone());
        let result = rooms.on_stack(self.room, &engine, || {
            raw::call_flagged(&control, &mut self.store, &self.save, &entry)
        });
        self.store.data_mut().clock.stop();
        control.lock().clock = self.store.data().clock;
        let result = match result {
            Ok(result) => result,
            // Nothing has run: the next try may find more memory.
            Err(failure) => {
                tracing::warn!(%failure, "a program waits for a stack");
                control.pause(STACK_PATIENCE);
                None
            }
        };
        let Some(result) = result else {
            return Ok((self, Ran::Stopped));
        };
        self.begun = true;
        self.fits = false;
        let ran = match result {
            Err(error) => Ran::Ended(end_of(&error)),
            Ok(()) if matches!(self.unwinding.get(&mut self.store), Val::I32(0)) => {
                Ran::Ended(ProgramState::Exited { code: 0 })
            }
            Ok(()) => {
                self.unwinding
                    .set(&mut self.store, Val::I32(0))
                    .map_err(internal)?;
                Ran::Stopped
            }
        };
        Ok((self, ran))
    }

    /// What goes on from its frames.
    fn resumer(&mut self) -> Result<TypedFunc<(), ()>, Failure> {
        if let Some(resume) = &self.resume {
            return Ok(resume.clone());
        }
        let resuming = match MAY_COME_APART {
            true => self.loaded.housed.resuming(self.room)?,
            false => None,
        };
        let resuming = resuming.ok_or_else(|| Failure::Internal {
            reason: "the code that resumes the program is not here".into(),
        })?;
        // Its table is ours and not the program's, which is refused nothing for being captured.
        self.store.data_mut().limits.let_in();
        let instance = resuming.instantiate(&self.program, &mut self.store);
        self.store.data_mut().limits.hold();
        let instance = instance.map_err(internal)?;
        let resume = instance
            .get_typed_func(&mut self.store, abi::RESUME)
            .expect("it was looked for when it was loaded");
        Ok(self.resume.insert(resume).clone())
    }

    /// The whole program. Only while it is stopped.
    pub(super) fn capture(&mut self) -> Result<Snapshot, Failure> {
        let mut snapshot = self.copy()?;
        snapshot.host = self.store.data().save();
        Ok(snapshot)
    }

    /// The frames, with as many references as they hold, but which does not matter.
    fn calls(&self) -> Snapshot {
        let (frames, held) = match self.begun {
            true => (self.top() as usize, self.held_references()),
            false => (0, 0),
        };
        Snapshot {
            module: self.loaded.digest(),
            abi: abi::ABI,
            base: None,
            frames: self.save.data(&self.store)[abi::FRAMES_OFFSET as usize..][..frames].to_vec(),
            globals: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            references: vec![None; self.references.held(&self.store, held)],
            host: HostState::default(),
        }
    }

    /// The program without the host's side.
    fn copy(&mut self) -> Result<Snapshot, Failure> {
        let mut snapshot = self.calls();
        let held = snapshot.references.len() as u32;
        let image = &self.loaded.image;
        snapshot.memories = (0..)
            .zip(&self.memories)
            .map(|(index, memory)| image.changes(index, memory.data(&self.store)))
            .collect();
        self.copy_references(held, &mut snapshot)
            .map_err(|reason| Failure::Internal { reason })?;
        Ok(snapshot)
    }

    /// Globals, tables, and what frames hold.
    fn copy_references(&mut self, held: u32, snapshot: &mut Snapshot) -> Result<(), String> {
        let store = &mut self.store;
        let places = self.references.places(store);
        for global in &self.globals {
            snapshot.globals.push(match global.get(&mut *store) {
                Val::I32(value) => GlobalValue::I32(value.cast_unsigned()),
                Val::I64(value) => GlobalValue::I64(value.cast_unsigned()),
                Val::F32(bits) => GlobalValue::F32(bits),
                Val::F64(bits) => GlobalValue::F64(bits),
                Val::V128(bits) => GlobalValue::V128(bits.as_u128()),
                Val::FuncRef(function) => GlobalValue::Function(places.of(store, function)?),
                other => return Err(format!("a global holds {other:?}, which cannot be captured")),
            });
        }
        self.references.copy(store, &places, held, snapshot)
    }

    /// Bytes of frames, as the program counted them.
    fn top(&self) -> u32 {
        let room = self.save.data_size(&self.store) - abi::FRAMES_OFFSET as usize;
        self.word(abi::TOP_OFFSET)
            .min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    fn held_references(&self) -> u32 {
        self.word(abi::REFERENCES_OFFSET)
    }

    fn word(&self, at: u64) -> u32 {
        let bytes = self.save.data(&self.store)[at as usize..][..4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes"))
    }
}

/// How the program's last call ended.
fn end_of(error: &wasmtime::Error) -> ProgramState {
    if let Some(Exit(code)) = error.downcast_ref() {
        return ProgramState::Exited { code: *code };
    }
    let mut reason = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None if error.is::<ThrownException>() => "an exception that nothing caught".to_owned(),
        None => error.root_cause().to_string(),
    };
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map_or(&[][..], WasmBacktrace::frames);
    // What a host calls to resume is no function of the program's.
    let is_own = |frame: &&FrameInfo| frame.func_name() != Some(abi::RESUME);
    let frames: Vec<&FrameInfo> = frames.iter().filter(is_own).collect();
    for (index, frame) in frames.iter().take(TRAP_FRAMES_MAX).enumerate() {
        reason += if index == 0 { ", in " } else { " < " };
        match frame.func_name() {
            Some(name) => reason += name,
            None => reason += &format!("function {}", frame.func_index()),
        }
    }
    if frames.len() > TRAP_FRAMES_MAX {
        reason += " < ...";
    }
    ProgramState::Failed {
        reason: wayfare_protocol::reason::cut(reason),
    }
}
