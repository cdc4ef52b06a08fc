//! One instance of a rewritten module: entered, left, captured, restored.

use std::ops::Range;
use std::sync::Arc;

use wasmtime::{Global, Memory, Store, Trap, TypedFunc, Val, WasmBacktrace};
use wayfare_protocol::error::Failure;
use wayfare_protocol::snapshot::{GlobalValue, HostState, MemoryImage, PAGE_BYTES, Snapshot};
use wayfare_protocol::status::ProgramState;

use super::abi;
use super::context::{Context, GuestHandles};
use super::raw;
use super::references::References;
use super::runtime::{Loaded, internal};
use super::wasi::Exit;

/// A fresh program whose frames are deeper than this goes on in an instance with more room for its stack.
const FRAMES_BYTES_IN_PLACE: u32 = 4096;
/// Functions named in the reason of a failure.
const TRAP_FRAMES_MAX: usize = 8;

pub(super) struct Instance {
    loaded: Arc<Loaded>,
    store: Store<Context>,
    start: TypedFunc<(), ()>,
    resume: TypedFunc<(), ()>,
    unwinding: Global,
    save: Memory,
    globals: Vec<Global>,
    memories: Vec<Memory>,
    references: References,
    /// It has begun: its frames are in the save memory whenever it is stopped.
    begun: bool,
    roomy: bool,
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
            return Self::instantiate(loaded, context, false);
        };
        let refuse = |reason: String| Failure::Snapshot { reason };
        snapshot
            .check(loaded.digest(), abi::ABI)
            .map_err(|error| refuse(error.to_string()))?;
        context
            .restore(std::mem::take(&mut snapshot.host))
            .map_err(refuse)?;
        Self::at(loaded, context, &snapshot)
    }

    fn at(loaded: Arc<Loaded>, context: Context, snapshot: &Snapshot) -> Result<Self, Failure> {
        let refuse = |reason: String| Failure::Snapshot { reason };
        let begun = !snapshot.frames.is_empty();
        let mut instance = Self::instantiate(loaded, context, begun)?;
        instance.write_memories(&snapshot.memories)?;
        instance.write_globals(&snapshot.globals).map_err(refuse)?;
        instance
            .references
            .write(&mut instance.store, snapshot)
            .map_err(refuse)?;
        instance.write_frames(snapshot).map_err(refuse)?;
        Ok(instance)
    }

    fn instantiate(loaded: Arc<Loaded>, mut context: Context, begun: bool) -> Result<Self, Failure> {
        context.limits.reset();
        let module = if begun { &loaded.roomy } else { &loaded.fresh };
        let mut store = Store::new(module.module().engine(), context);
        store.limiter(|context| &mut context.limits);
        let instance = module.instantiate(&mut store).map_err(internal)?;
        let here = "the module's shape was checked when it was loaded";
        let start = instance.get_typed_func(&mut store, abi::START).expect(here);
        let resume = instance.get_typed_func(&mut store, abi::RESUME).expect(here);
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
            start,
            resume,
            unwinding,
            save,
            globals,
            memories,
            references,
            begun,
            roomy: begun,
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
        if self.begun && !self.roomy && self.top() > FRAMES_BYTES_IN_PLACE {
            let snapshot = self.copy()?;
            let mut context = self.store.into_data();
            context.set_guest(None);
            self = Self::at(self.loaded, context, &snapshot)?;
        }
        let control = self.store.data().control.clone();
        let entry = if self.begun { &self.resume } else { &self.start };
        self.store.data_mut().clock.go();
        let result = raw::call_flagged(&control, &mut self.store, &self.save, entry);
        self.store.data_mut().clock.stop();
        let Some(result) = result else {
            return Ok((self, Ran::Stopped));
        };
        self.begun = true;
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

    /// The whole program. Only while it is stopped.
    pub(super) fn capture(&mut self) -> Result<Snapshot, Failure> {
        let mut snapshot = self.copy()?;
        snapshot.host = self.store.data().save();
        Ok(snapshot)
    }

    /// The program without the host's side.
    fn copy(&mut self) -> Result<Snapshot, Failure> {
        let frames = if self.begun { self.top() as usize } else { 0 };
        let held = if self.begun { self.held_references() } else { 0 };
        let image = &self.loaded.image;
        let mut snapshot = Snapshot {
            module: self.loaded.digest(),
            abi: abi::ABI,
            base: None,
            frames: self.save.data(&self.store)[abi::FRAMES_OFFSET..][..frames].to_vec(),
            globals: Vec::new(),
            memories: (0..)
                .zip(&self.memories)
                .map(|(index, memory)| image.changes(index, memory.data(&self.store)))
                .collect(),
            tables: Vec::new(),
            references: Vec::new(),
            host: HostState::default(),
        };
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
        let room = self.save.data_size(&self.store) - abi::FRAMES_OFFSET;
        self.word(abi::TOP_OFFSET)
            .min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    fn held_references(&self) -> u32 {
        self.word(abi::REFERENCES_OFFSET)
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.save.data(&self.store)[at..][..4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes"))
    }

    fn write_frames(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let save = self.save.data_mut(&mut self.store);
        let frames = &snapshot.frames;
        let Some(room) = save[abi::FRAMES_OFFSET..].get_mut(..frames.len()) else {
            return Err(format!("its frames have {} bytes, more than fit", frames.len()));
        };
        room.copy_from_slice(frames);
        for (at, count) in [
            (abi::TOP_OFFSET, frames.len()),
            (abi::REFERENCES_OFFSET, snapshot.references.len()),
        ] {
            save[at..][..4].copy_from_slice(&(count as u32).to_le_bytes());
        }
        Ok(())
    }

    fn write_globals(&mut self, values: &[GlobalValue]) -> Result<(), String> {
        if values.len() != self.globals.len() {
            return Err(format!(
                "it has {} globals, the module {}",
                values.len(),
                self.globals.len()
            ));
        }
        for (global, value) in self.globals.iter().zip(values) {
            let value = match *value {
                GlobalValue::I32(bits) => Val::I32(bits.cast_signed()),
                GlobalValue::I64(bits) => Val::I64(bits.cast_signed()),
                GlobalValue::F32(bits) => Val::F32(bits),
                GlobalValue::F64(bits) => Val::F64(bits),
                GlobalValue::V128(bits) => Val::V128(bits.into()),
                GlobalValue::Function(place) => {
                    Val::FuncRef(self.references.function(&mut self.store, place)?)
                }
            };
            global
                .set(&mut self.store, value)
                .map_err(|error| format!("{error:#}"))?;
        }
        Ok(())
    }

    fn write_memories(&mut self, images: &[MemoryImage]) -> Result<(), Failure> {
        let refuse = |reason: String| Failure::Snapshot { reason };
        if images.len() != self.memories.len() {
            let reason = format!(
                "it has {} memories, the module {}",
                images.len(),
                self.memories.len()
            );
            return Err(refuse(reason));
        }
        for (memory, image) in self.memories.iter().zip(images) {
            let unit = memory.page_size(&self.store);
            let more = image.bytes.checked_sub(memory.data_size(&self.store) as u64);
            let Some(more) = more.filter(|more| more % unit == 0) else {
                return Err(refuse(format!(
                    "a memory of {} bytes cannot be of this module",
                    image.bytes
                )));
            };
            if more > 0 && memory.grow(&mut self.store, more / unit).is_err() {
                return Err(Failure::TooLarge {
                    what: "the program's memory".into(),
                    bytes: image.bytes,
                    bytes_max: self.store.data().limits.memory_bytes_max,
                });
            }
            for run in runs(image) {
                if let Some(memory) = memory.data_mut(&mut self.store).get_mut(run) {
                    raw::will_be_overwritten(memory);
                }
            }
            for (number, page) in &image.pages {
                let at = usize::try_from(*number)
                    .ok()
                    .and_then(|number| number.checked_mul(PAGE_BYTES));
                at.and_then(|at| memory.write(&mut self.store, at, &page[..]).ok())
                    .ok_or_else(|| refuse(format!("page {number} is outside its memory")))?;
            }
        }
        Ok(())
    }
}

/// Where pages follow each other without a gap, in bytes.
fn runs(image: &MemoryImage) -> impl Iterator<Item = Range<usize>> {
    let mut pages = image.pages.keys().map(|&number| number as usize).peekable();
    std::iter::from_fn(move || {
        let first = pages.next()?;
        let mut end = first.saturating_add(1);
        while pages.next_if_eq(&end).is_some() {
            end = end.saturating_add(1);
        }
        Some(first.saturating_mul(PAGE_BYTES)..end.saturating_mul(PAGE_BYTES))
    })
}

/// How the program's last call ended.
fn end_of(error: &wasmtime::Error) -> ProgramState {
    if let Some(Exit(code)) = error.downcast_ref() {
        return ProgramState::Exited { code: *code };
    }
    let mut reason = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map_or(&[][..], WasmBacktrace::frames);
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
    ProgramState::Failed { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_page_is_missing() {
        let image = |pages: &[u64]| MemoryImage {
            bytes: 0,
            pages: pages
                .iter()
                .map(|&number| (number, Box::new([0; PAGE_BYTES])))
                .collect(),
        };
        let runs = |pages: &[u64]| runs(&image(pages)).collect::<Vec<_>>();
        assert!(runs(&[]).is_empty());
        assert_eq!(
            runs(&[0, 1, 2, 5]),
            [0..3 * PAGE_BYTES, 5 * PAGE_BYTES..6 * PAGE_BYTES]
        );
        assert_eq!(runs(&[3, u64::MAX])[1], usize::MAX..usize::MAX);
    }
}
