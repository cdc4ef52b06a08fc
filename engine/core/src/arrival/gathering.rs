//! What an arrival waits for: blobs, the module, the word that its snapshot is good.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Phase;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName};
use wayfare_protocol::peer::PeerMessage;

use crate::Core;
use crate::timing::Repeat;
use crate::types::Effect;
use wayfare_protocol::push::{DAMAGED_MAX, Taken};

use super::{Goal, Module, Origin, Stage};

impl Core {
    /// Says what is lacking, how far each of that has come, and what is here.
    pub(super) fn answer_arrival(&mut self, operation: OperationId) {
        let Some(arrival) = self.arrivals.get(&operation) else {
            return;
        };
        let peer = arrival.peer().clone();
        let engine = matches!(arrival.origin, Origin::Engine(_));
        let lacking: Vec<Blob> = arrival
            .blobs
            .iter()
            .filter(|b| !self.blobs.has(**b))
            .copied()
            .collect();
        let here: Vec<Blob> = arrival
            .blobs
            .iter()
            .filter(|b| self.blobs.has(**b))
            .copied()
            .collect();
        if engine || !lacking.is_empty() {
            let missing = lacking.iter().map(|blob| blob.digest).collect();
            self.say(&peer, operation, PeerMessage::Want { missing });
        }
        for blob in lacking {
            if let Some(received) = self.blobs.receiver.place(blob) {
                let digest = blob.digest;
                self.say(&peer, operation, PeerMessage::Ack { digest, received });
            }
        }
        if engine {
            for blob in here {
                self.acknowledge_whole(operation, blob);
            }
        }
    }

    /// A module is acknowledged to an engine only once it is loaded.
    pub(super) fn acknowledge_whole(&mut self, operation: OperationId, blob: Blob) {
        let Some(arrival) = self.arrivals.get(&operation) else {
            return;
        };
        let held_back = matches!(arrival.origin, Origin::Engine(_))
            && blob == arrival.spec.module
            && arrival.module != Module::Loaded;
        if !held_back {
            let peer = arrival.peer().clone();
            let message = PeerMessage::Ack {
                digest: blob.digest,
                received: blob.bytes,
            };
            self.say(&peer, operation, message);
        }
    }

    pub(crate) fn chunk(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        (blob, offset, bytes): (Blob, u64, u64),
    ) {
        let now = self.now;
        let Some(arrival) = self
            .arrivals
            .get_mut(&operation)
            .filter(|a| a.peer() == from && a.blobs.contains(&blob))
        else {
            return;
        };
        arrival.heard = now;
        if self.blobs.has(blob) {
            return self.acknowledge_whole(operation, blob);
        }
        let received = match self.blobs.receiver.take(blob, offset, bytes) {
            Taken::Keep { received, is_last } => {
                arrival.repeat = Repeat::new(now);
                self.effects.push(Effect::KeepChunk { blob, offset });
                if is_last {
                    return;
                }
                received
            }
            Taken::NotNext { received } => received,
            Taken::Ignore => return,
        };
        let digest = blob.digest;
        self.say(from, operation, PeerMessage::Ack { digest, received });
        self.progress(operation, Phase::Transfer, received, blob.bytes);
    }

    pub(crate) fn blob_complete(&mut self, blob: Blob, intact: bool) {
        if !self.blobs.receiver.knows(blob) {
            return;
        }
        let waiting: Vec<OperationId> = self
            .arrivals
            .iter()
            .filter(|(_, a)| a.blobs.contains(&blob))
            .map(|(id, _)| *id)
            .collect();
        if intact {
            self.blobs.receiver.complete(blob);
            self.blobs.held.insert(blob.digest);
            // Whoever it came for may be gone by now.
            self.blobs.stale = true;
            for operation in waiting {
                self.acknowledge_whole(operation, blob);
                self.advance_arrival(operation);
            }
        } else if self.blobs.receiver.damaged(blob) < DAMAGED_MAX {
            for operation in waiting {
                self.ask_again(operation, blob.digest);
            }
        } else {
            let failure = Failure::Damaged {
                what: format!("blob {}", blob.digest.short()),
                reason: format!("its contents did not match its digest, {DAMAGED_MAX} times"),
            };
            self.blob_failed(blob, &failure);
        }
    }

    pub(super) fn ask_again(&mut self, operation: OperationId, digest: Digest) {
        if let Some(arrival) = self.arrivals.get(&operation) {
            let peer = arrival.peer().clone();
            let missing = vec![digest];
            self.say(&peer, operation, PeerMessage::Want { missing });
            let received = 0;
            self.say(&peer, operation, PeerMessage::Ack { digest, received });
        }
    }

    /// Goes on with an arrival for which something has come.
    pub(super) fn advance_arrival(&mut self, operation: OperationId) {
        let Some(arrival) = self.arrivals.get_mut(&operation) else {
            return;
        };
        let Stage::Gathering { goal } = arrival.stage else {
            return;
        };
        if arrival.module == Module::Lacking && self.blobs.has(arrival.spec.module) {
            arrival.module = Module::Loading;
            let module = arrival.spec.module.digest;
            let comes_running = matches!(arrival.origin, Origin::Engine(_));
            self.effects.push(Effect::LoadModule {
                operation,
                module,
                resumes: comes_running || matches!(goal, Some(Goal::From(_))),
            });
            return self.compiles(operation);
        }
        let Some(goal) = goal.filter(|_| arrival.module == Module::Loaded) else {
            return;
        };
        let data_here = arrival.spec.data().all(|data| self.blobs.has(data));
        match goal {
            Goal::Beginning if data_here => self.start_arrival(operation, None),
            Goal::From(saved)
                if data_here
                    && self.blobs.has(saved.snapshot)
                    && saved.base.is_none_or(|base| self.blobs.has(base)) =>
            {
                arrival.stage = Stage::Verifying { saved };
                self.effects.push(Effect::VerifySnapshot {
                    operation,
                    saved,
                    module: arrival.spec.module.digest,
                });
            }
            Goal::Beginning | Goal::From(_) => {}
        }
    }

    pub(crate) fn module_loaded(&mut self, operation: OperationId, result: Result<(), Failure>) {
        let Some(arrival) = self.arrivals.get_mut(&operation) else {
            return;
        };
        if arrival.module != Module::Loading {
            return;
        }
        match result {
            Ok(()) => {
                arrival.module = Module::Loaded;
                let module = arrival.spec.module;
                if matches!(arrival.origin, Origin::Engine(_)) {
                    self.acknowledge_whole(operation, module);
                }
                self.advance_arrival(operation);
            }
            Err(failure) => self.refuse_arrival(operation, failure),
        }
    }

    pub(crate) fn snapshot_verified(&mut self, operation: OperationId, result: Result<(), Failure>) {
        let Some(Stage::Verifying { saved }) = self.arrivals.get(&operation).map(|a| &a.stage) else {
            return;
        };
        let saved = *saved;
        match result.and_then(|()| self.make_way(operation)) {
            Ok(()) => self.start_arrival(operation, Some(saved)),
            Err(failure) => self.refuse_arrival(operation, failure),
        }
    }
}
