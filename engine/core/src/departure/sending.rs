//! A departure up to the last capture: what it asks, what it sends, and when it goes on.

use wayfare_protocol::event::Phase;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName};

use crate::Core;
use crate::timing::Repeat;
use crate::types::{Effect, Purpose, Saved, Standing};

use super::{Departure, Doubt, Kind, Plea, Stage};

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
        for blob in &departure.blobs {
            if missing.contains(&blob.digest) {
                departure.sender.add(*blob);
            }
        }
        self.pump_departure(operation);
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
        let Some(blob) = departure.blobs.iter().find(|b| b.digest == digest).copied() else {
            return;
        };
        departure.sender.acknowledge(blob, received, now);
        self.pump_departure(operation);
        self.advance_departure(operation);
    }

    pub(super) fn pump_departure(&mut self, operation: OperationId) {
        let Some(departure) = self.departures.get_mut(&operation) else {
            return;
        };
        for segment in departure.sender.pump() {
            match departure.stage {
                Stage::Asking | Stage::Copying | Stage::Sending { .. } => {
                    departure.precopied_bytes += segment.bytes;
                }
                Stage::Freezing { .. } | Stage::Offered { .. } | Stage::Settling { .. } => {
                    departure.final_bytes += segment.bytes;
                }
            }
            self.effects.push(Effect::SendChunk {
                to: departure.target.clone(),
                operation,
                blob: segment.blob,
                offset: segment.offset,
                bytes: segment.bytes,
            });
        }
    }

    /// Goes on if the target has all that it was promised so far.
    pub(super) fn advance_departure(&mut self, operation: OperationId) {
        let now = self.now;
        let Some(departure) = self.departures.get_mut(&operation) else {
            return;
        };
        let program = departure.program;
        if !departure.all_there() {
            return self.tell_progress(operation);
        }
        let purpose = match (&departure.stage, departure.kind, departure.traveller.standing) {
            (Stage::Asking, Kind::Spawn, _) => Purpose::Copy(operation),
            (Stage::Asking, Kind::Move, Standing::Running) => Purpose::Base(operation),
            (Stage::Asking, Kind::Move, Standing::Paused) => Purpose::Final(operation, None),
            (Stage::Sending { base }, _, _) => Purpose::Final(operation, Some(*base)),
            _ => return,
        };
        departure.stage = match purpose {
            Purpose::Final(..) => Stage::Freezing { since: now },
            _ => Stage::Copying,
        };
        self.capture(program, purpose);
    }

    pub(super) fn tell_progress(&mut self, operation: OperationId) {
        let Some(departure) = self.departures.get(&operation) else {
            return;
        };
        let phase = match departure.stage {
            Stage::Asking => Phase::Transfer,
            Stage::Copying | Stage::Sending { .. } => Phase::Precopy,
            Stage::Freezing { .. } | Stage::Offered { .. } | Stage::Settling { .. } => Phase::Handover,
        };
        let total = departure.blobs.iter().map(|blob| blob.bytes).sum();
        let done = departure
            .blobs
            .iter()
            .map(|blob| departure.sender.acknowledged_bytes(*blob))
            .sum();
        self.progress(operation, phase, done, total);
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
        let program = departure.program;
        match departure.kind {
            Kind::Move => {
                departure.stage = Stage::Sending { base: blob };
                self.send_new(operation, blob);
                self.tell_progress(operation);
            }
            Kind::Spawn => {
                self.send_new(operation, blob);
                if let Some(departure) = self.departures.get_mut(&operation) {
                    departure.stage = Stage::Offered {
                        saved: Saved {
                            snapshot: blob,
                            base: None,
                        },
                        since: now,
                        plea: Plea::Take,
                        doubt: Doubt::No,
                    };
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
        departure.blobs.push(blob);
        if !departure.sender.is_there(blob.digest) {
            departure.sender.add(blob);
        }
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
