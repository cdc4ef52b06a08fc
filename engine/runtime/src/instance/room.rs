//! Into a room with enough stack: see [`super::super::rooms`].

use std::sync::Arc;

use wasmtime::{InstancePre, Store, Trap};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;
use wayfare_protocol::snapshot::Snapshot;

use super::Instance;
use crate::address_space::internal;
use crate::context::Context;
use crate::loaded::Loaded;
use crate::rooms;

impl Instance {
    /// To where there is room for its calls once more, and as much besides as a fresh program has. Where the
    /// machine has no memory to try that, or for another instance, the program goes on in this one.
    pub(super) fn into_room(mut self) -> Result<Self, Failure> {
        self.fits = true;
        match self.roomier() {
            Ok(None) => Ok(self),
            Ok(Some(roomier)) => Ok(self.succeeded_by(roomier)),
            Err(failure @ Failure::Snapshot { .. }) => Err(failure),
            Err(failure) => {
                tracing::warn!(%failure, "a program's calls could not be tried: it goes on where it is");
                Ok(self)
            }
        }
    }

    /// `other`, which is the same program with an idle host, with the host's side of this one.
    pub(super) fn succeeded_by(self, mut other: Self) -> Self {
        let mut context = self.store.into_data();
        context.succeed(other.store.data());
        *other.store.data_mut() = context;
        other
    }

    /// The same program with an idle host, in a larger room; `None`: here is room.
    fn roomier(&mut self) -> Result<Option<Self>, Failure> {
        let room = room_for(&self.loaded, &self.calls(), self.room.max(rooms::RESUMED))?;
        if room == self.room {
            return Ok(None);
        }
        let snapshot = self.copy()?;
        let (module, store) = idle(&self.loaded, room)?;
        Self::in_store(self.loaded.clone(), store, &module, room)?
            .filled(&snapshot)
            .map(Some)
    }
}

/// The first room from `least` on in which the calls of a snapshot leave as much stack as a fresh program
/// has.
pub(super) fn room_for(loaded: &Arc<Loaded>, calls: &Snapshot, least: usize) -> Result<usize, Failure> {
    let rooms = loaded.housed.rooms();
    for room in least..rooms.count() {
        if has_room(loaded, calls, room - 1)? {
            return Ok(room);
        }
    }
    let largest = rooms.stack_bytes(rooms.count() - 1) >> 20;
    Err(Failure::Snapshot {
        reason: format!(
            "to go on from where it was captured, its calls need more stack than the {largest} MiB that they can have here: \
             raise stack-max of this engine"
        ),
    })
}

/// For an instance that has no program yet.
pub(super) fn idle(loaded: &Loaded, room: usize) -> Result<(InstancePre<Context>, Store<Context>), Failure> {
    let module = loaded.housed.pre(room)?;
    let engine = module.module().engine();
    let store = loaded.housed.rooms().idle_store(engine, loaded.shape.save_bytes);
    let store = store.map_err(internal)?;
    Ok((module, store))
}

/// Whether the calls of a snapshot can be rebuilt in a room. Nothing of the program runs: a capture is asked
/// for, and rebuilt calls look before they do anything.
fn has_room(loaded: &Arc<Loaded>, calls: &Snapshot, room: usize) -> Result<bool, Failure> {
    let refuse = |reason: String| Failure::Snapshot { reason };
    let (module, store) = idle(loaded, room)?;
    let mut instance = Instance::in_store(loaded.clone(), store, &module, room)?;
    let held = vec![None; calls.references.len()];
    instance
        .references
        .write_held(&mut instance.store, &held)
        .map_err(refuse)?;
    instance.write_frames(calls).map_err(refuse)?;
    let resume = instance.resumer()?;
    let Instance { store, save, .. } = &mut instance;
    save.data_mut(&mut *store)[abi::FLAG_OFFSET as usize..][..abi::FLAG_BYTES as usize].fill(1);
    let (rooms, engine) = (loaded.housed.rooms(), module.module().engine());
    let result = rooms.on_stack(room, engine, || resume.call(&mut *store, ()))?;
    // Other traps are of forged frames: they will show where they belong.
    Ok(!result.is_err_and(|error| error.downcast_ref() == Some(&Trap::StackOverflow)))
}
