//! On to better code of the same module, in place: see [`crate::succession`].

use std::sync::Arc;

use wayfare_protocol::error::Failure;

use super::Instance;
use super::room::{idle, room_for};
use crate::loaded::Loaded;
use crate::rooms;

impl Instance {
    /// What succeeds the code that it runs on.
    pub(crate) fn better(&self) -> Option<Arc<Loaded>> {
        self.loaded.better()
    }

    /// The same program with the same host's side, where it stands, on other code of its module. Where that
    /// fails, the program as it was: nothing of it has changed.
    pub(crate) fn change(mut self, better: &Arc<Loaded>) -> Result<Self, (Box<Self>, Failure)> {
        match self.on(better) {
            Ok(changed) => Ok(self.succeeded_by(changed)),
            Err(failure) => Err((Box::new(self), failure)),
        }
    }

    fn on(&mut self, better: &Arc<Loaded>) -> Result<Self, Failure> {
        // The machine has it twice for a moment, and what differs from its beginning once more.
        let bytes = self
            .memories
            .iter()
            .map(|memory| memory.data_size(&self.store) as u64);
        self.store.data().limits.check_copies(bytes.sum(), 2)?;
        let room = match self.begun {
            true => room_for(better, &self.calls(), rooms::RESUMED)?,
            false => rooms::FRESH,
        };
        let snapshot = self.copy()?;
        let (module, store) = idle(better, room)?;
        let mut changed = Self::in_store(better.clone(), store, &module, room)?.filled(&snapshot)?;
        if changed.begun {
            // What could go wrong later goes wrong here, where the program can still go on as it is.
            changed.resumer()?;
        }
        Ok(changed)
    }
}
