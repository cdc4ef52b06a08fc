//! Which blobs are here, and which are needed. The shell deletes what is not needed; the core asks for it
//! anew should that turn out to have been wrong.

use std::collections::{BTreeSet, VecDeque};

use wayfare_protocol::ids::{Blob, Digest};

use super::Core;
use super::timing::MODULES_KEPT_MAX;
use wayfare_protocol::push::Receiver;

#[derive(Debug, Default)]
pub(super) struct Blobs {
    /// Complete and durable, or being captured for an operation that is under way.
    pub(super) held: BTreeSet<Digest>,
    pub(super) receiver: Receiver,
    /// Modules of programs that were here last.
    modules: VecDeque<Digest>,
    /// Something was let go of since [`Core::release_blobs`] last looked.
    pub(super) stale: bool,
}

impl Blobs {
    pub(super) fn has(&self, blob: Blob) -> bool {
        self.held.contains(&blob.digest)
    }

    pub(super) fn remember_module(&mut self, module: Digest) {
        self.modules.retain(|known| *known != module);
        self.modules.push_front(module);
        self.modules.truncate(MODULES_KEPT_MAX);
    }
}

impl Core {
    /// What the shell must keep. It may delete other blobs, except those it has made and not yet reported in
    /// an input, between any two inputs.
    pub fn blobs_in_use(&self) -> BTreeSet<Digest> {
        let programs = self.programs.values().flat_map(|program| {
            let live = (!program.is_ended()).then(|| program.spec.blobs());
            live.into_iter().flatten().chain(program.saved_blobs())
        });
        programs
            .chain(self.arrivals.values().flat_map(|a| a.blobs().iter().copied()))
            .chain(self.departures.values().flat_map(|d| d.blobs().iter().copied()))
            .chain(self.servings.blobs())
            .map(|blob| blob.digest)
            .chain(self.blobs.modules.iter().copied())
            .collect()
    }

    /// Forgets blobs that nothing needs any more.
    pub(super) fn release_blobs(&mut self) {
        if !std::mem::take(&mut self.blobs.stale) {
            return;
        }
        let needed = self.blobs_in_use();
        self.blobs.held.retain(|digest| needed.contains(digest));
        self.blobs.receiver.retain(|blob| needed.contains(&blob.digest));
        self.blobs
            .modules
            .retain(|module| self.blobs.held.contains(module));
    }
}
