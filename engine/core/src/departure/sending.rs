//! A departure up to the last capture: what it asks, what it sends, and when it goes on.

use wayfare_protocol::event::Phase;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName};

use crate::Core;
use crate::timing::Repeat;
use crate::types::{Effect, Now, Purpose, Saved, Standing};
use wayfare_protocol::push::Segment;

use super::{Departure, Doubt, Kind, OfferMessage, Stage};

impl Departure {
    /// Sends what the target says it lacks.
    fn wanted(&mut self, operation: OperationId, missing: &[Digest]) -> Vec<Effect> {
        for blob in self.blobs.iter().filter(|blob| missing.contains(&blob.digest)) {
            self.sender.add(*blob);
        }
        self.send(operation)
    }

    /// Whether the target compiles the module: it has it, and acknowledges it only once that is loaded. What
    /// it lacks comes before what it acknowledges, so that only the second answer of the kind says so.
    fn awaits_loading(&mut self, missing: &[Digest]) -> bool {
        let module = self.on_target.spec.module.digest;
        let lacks_word = !self.is_committed() && !missing.contains(&module) && !self.sender.is_there(module);
        std::mem::replace(&mut self.lacks_word, lacks_word) && lacks_word
    }

    /// Notes how much of a blob the target has, and sends on; `None`: it was never promised that blob.
    fn acknowledged(
        &mut self,
        operation: OperationId,
        (digest, received): (Digest, u64),
        now: Now,
    ) -> Option<Vec<Effect>> {
        let blob = self.blobs.iter().find(|blob| blob.digest == digest).copied()?;
        self.sender.acknowledge(blob, received, now);
        Some(self.send(operation))
    }

    /// Sends as much as may be on its way at once, and counts it.
    fn send(&mut self, operation: OperationId) -> Vec<Effect> {
        let segments = self.sender.pump();
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        match self.stage {
            Stage::Asking | Stage::Copying | Stage::Sending { .. } => self.precopied_bytes += bytes,
            Stage::Freezing { .. } | Stage::Offered { .. } | Stage::Settling { .. } => {
                self.final_bytes += bytes
            }
        }
        let chunk = |segment: Segment| Effect::SendChunk {
            to: self.target.clone(),
            operation,
            blob: segment.blob,
            offset: segment.offset,
            bytes: segment.bytes,
        };
        segments.into_iter().map(chunk).collect()
    }

    /// One more blob that the target needs, which it need not ask for.
    fn promise(&mut self, blob: Blob) {
        self.blobs.push(blob);
        if !self.sender.is_there(blob.digest) {
            self.sender.add(blob);
        }
    }

    /// Goes to the next stage, once the target has all that it was promised; what the program is to be
    /// captured for.
    fn advance(&mut self, operation: OperationId, now: Now) -> Option<Purpose> {
        let purpose = match (&self.stage, self.kind, self.on_target.standing) {
            (Stage::Asking, Kind::Spawn, _) => Purpose::Copy(operation),
            (Stage::Asking, Kind::Move, Standing::Running) => Purpose::Base(operation),
            (Stage::Asking, Kind::Move, Standing::Paused) => Purpose::Final(operation, None),
            (Stage::Sending { base }, _, _) => Purpose::Final(operation, Some(*base)),
            _ => return None,
        };
        self.stage = match purpose {
            Purpose::Final(..) => Stage::Freezing { since: now },
            _ => Stage::Copying,
        };
        Some(purpose)
    }

    /// From here on only the target decides.
    pub(super) fn offer(&mut self, saved: Saved, since: Now) {
        self.stage = Stage::Offered {
            saved,
            since,
            message: OfferMessage::Commit,
            doubt: Doubt::No,
        };
    }

    /// How far it is: bytes that the target has, and all that it is to have.
    fn progress(&self) -> (Phase, u64, u64) {
        let phase = match self.stage {
            Stage::Asking => Phase::Transfer,
            Stage::Copying | Stage::Sending { .. } => Phase::Precopy,
            Stage::Freezing { .. } | Stage::Offered { .. } | Stage::Settling { .. } => Phase::Handover,
        };
        let total = self.blobs.iter().map(|blob| blob.bytes).sum();
        let done = self
            .blobs
            .iter()
            .map(|blob| self.sender.acknowledged_bytes(*blob))
            .sum();
        (phase, done, total)
    }
}

impl Core {
    pub(super) fn ask(&mut self, operation: OperationId) {
        if let Some(departure) = self.departures.get(&operation) {
            let memory_bytes = self
                .programs
                .get(&departure.program)
                .map_or(0, |here| here.memory_bytes);
            let message = departure.question(memory_bytes);
            let to = departure.target.clone();
            self.say(&to, operation, message);
        }
    }

    /// The departure of `operation`, if `from` is its target; notes that the target is there.
    pub(super) fn heard_departure(
        &mut self,
        operation: OperationId,
        from: &PeerName,
    ) -> Option<&mut Departure> {
        let now = self.now;
        let departure = self
            .departures
            .get_mut(&operation)
            .filter(|departure| departure.target == *from)?;
        departure.heard = now;
        departure.repeat = Repeat::new(now);
        Some(departure)
    }

    pub(crate) fn departure_wanted(&mut self, operation: OperationId, from: &PeerName, missing: &[Digest]) {
        let Some(departure) = self.heard_departure(operation, from) else {
            return;
        };
        let awaits_loading = departure.awaits_loading(missing);
        let effects = departure.wanted(operation, missing);
        self.effects.extend(effects);
        if awaits_loading {
            self.compiles(operation);
        }
    }

    pub(crate) fn departure_acknowledged(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        (digest, received): (Digest, u64),
    ) {
        let now = self.now;
        let Some(departure) = self.heard_departure(operation, from) else {
            return;
        };
        let Some(effects) = departure.acknowledged(operation, (digest, received), now) else {
            return;
        };
        self.effects.extend(effects);
        self.advance_departure(operation);
    }

    pub(super) fn pump_departure(&mut self, operation: OperationId) {
        if let Some(departure) = self.departures.get_mut(&operation) {
            self.effects.extend(departure.send(operation));
        }
    }

    /// Goes on if the target has all that it was promised so far.
    pub(super) fn advance_departure(&mut self, operation: OperationId) {
        let now = self.now;
        let Some(departure) = self.departures.get_mut(&operation) else {
            return;
        };
        if !departure.all_there() {
            return self.tell_progress(operation);
        }
        if let Some(purpose) = departure.advance(operation, now) {
            let program = departure.program;
            self.capture(program, purpose);
        }
    }

    pub(super) fn tell_progress(&mut self, operation: OperationId) {
        if let Some(departure) = self.departures.get(&operation) {
            let (phase, done, total) = departure.progress();
            self.progress(operation, phase, done, total);
        }
    }

    /// The last capture is being made: the program may stand still from now on.
    pub(crate) fn freezing_began(&mut self, operation: OperationId) {
        let now = self.now;
        if let Some(departure) = self.departures.get_mut(&operation)
            && let Stage::Freezing { since } = &mut departure.stage
        {
            *since = now;
        }
    }

    /// The program was captured and runs on: the base of a move, or all of a spawn.
    pub(crate) fn copied(&mut self, operation: OperationId, blob: Blob) {
        let now = self.now;
        let Some(departure) = self
            .departures
            .get_mut(&operation)
            .filter(|departure| matches!(departure.stage, Stage::Copying))
        else {
            return;
        };
        let (kind, program) = (departure.kind, departure.program);
        if kind == Kind::Move {
            departure.stage = Stage::Sending { base: blob };
        }
        self.send_new(operation, blob);
        match kind {
            Kind::Move => self.tell_progress(operation),
            Kind::Spawn => {
                if let Some(departure) = self.departures.get_mut(&operation) {
                    let (snapshot, base) = (blob, None);
                    departure.offer(Saved { snapshot, base }, now);
                }
                self.release_program(operation, program);
                self.ask(operation);
            }
        }
    }

    /// Announces a blob and begins to send it, without waiting to be asked for it.
    pub(super) fn send_new(&mut self, operation: OperationId, blob: Blob) {
        let Some(departure) = self.departures.get_mut(&operation) else {
            return;
        };
        departure.promise(blob);
        let memory_bytes = self
            .programs
            .get(&departure.program)
            .map_or(0, |here| here.memory_bytes);
        let message = departure.prepare(memory_bytes);
        let to = departure.target.clone();
        self.say(&to, operation, message);
        self.pump_departure(operation);
    }
}
