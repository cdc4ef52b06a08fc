//! An operation's transfers: what the engine wants goes up, what was captured comes down.

use wayfare_protocol::event::Phase;
use wayfare_protocol::ids::{Blob, ClientId, Digest, OperationId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::topics::Topic;

use super::{Fetch, InFlight, State, Step};
use crate::core::Effect;
use crate::error::CommandError;
use crate::transfer::Received;

impl InFlight {
    pub(in crate::core) fn peer(
        &mut self,
        envelope: &Envelope,
        bytes: &[u8],
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let operation = envelope.operation;
        match &envelope.message {
            PeerMessage::Want { missing } => {
                self.accepted(now_ms, effects);
                self.wanted(missing, now_ms);
                self.pump(operation, client, now_ms, effects);
                self.uploaded(effects);
                Step::GoesOn
            }
            PeerMessage::Ack { digest, received } => {
                if self.uploads.acknowledge(*digest, *received, now_ms) {
                    self.deadline_ms = self.deadline_ms.max(now_ms + self.request.time_limit_ms);
                }
                self.pump(operation, client, now_ms, effects);
                self.uploaded(effects);
                Step::GoesOn
            }
            PeerMessage::Chunk { blob, offset } => {
                self.chunk(*blob, *offset, bytes, operation, client, now_ms, effects)
            }
            other => {
                tracing::warn!(?other, %operation, "a client takes no such message");
                Step::GoesOn
            }
        }
    }

    /// The engine lacks these. What is on its way already goes on; what it had and wants again begins anew.
    fn wanted(&mut self, missing: &[Digest], now_ms: u64) {
        for digest in missing {
            let Some(content) = self.request.blobs.get(digest) else {
                tracing::warn!(%digest, "the engine asks for what was not offered");
                continue;
            };
            let blob = Blob {
                digest: *digest,
                bytes: content.len() as u64,
            };
            self.uploads.add(blob, now_ms);
            self.progress.delivered = false;
        }
        if missing.is_empty() {
            self.progress.delivered = true;
        }
    }

    /// Sends what may be sent, and again after silence.
    pub(super) fn pump(
        &mut self,
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        for segment in self.uploads.segments(now_ms) {
            let envelope = Envelope {
                operation,
                from: client.clone(),
                message: PeerMessage::Chunk {
                    blob: segment.blob,
                    offset: segment.offset,
                },
            };
            let range = segment.offset as usize..(segment.offset + segment.bytes) as usize;
            effects.push(Effect::Publish {
                topic: Topic::Peer(operation, self.request.engine.clone()),
                payload: envelope.encode(&self.request.blobs[&segment.blob.digest][range]),
            });
        }
    }

    fn uploaded(&mut self, effects: &mut Vec<Effect>) {
        if self.uploads.is_empty() {
            return;
        }
        self.progress.phase.get_or_insert(Phase::Transfer);
        (self.progress.done_bytes, self.progress.total_bytes) = self.uploads.bytes();
        self.progress.delivered |= self.uploads.is_done();
        effects.push(self.progress());
    }

    #[allow(clippy::too_many_arguments)] // one message's parts and the call's context
    fn chunk(
        &mut self,
        blob: Blob,
        offset: u64,
        bytes: &[u8],
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let State::Fetching(fetch) = &mut self.state else {
            return Step::GoesOn;
        };
        let (before, _) = fetch.downloads.bytes();
        let received = match fetch.downloads.chunk(blob, offset, bytes) {
            Received::Acknowledge(received) => received,
            Received::Nothing => return Step::GoesOn,
            Received::GiveUp => {
                let (engine, what) = (
                    self.request.engine.clone(),
                    format!("blob {}", blob.digest.short()),
                );
                return self.settle(Err(CommandError::Damaged { engine, what }), effects);
            }
        };
        let (come, _) = fetch.downloads.bytes();
        if come > before {
            fetch.heard_ms = now_ms;
            self.deadline_ms = self.deadline_ms.max(now_ms + self.request.time_limit_ms);
        }
        self.progress.done_bytes = come;
        let all_here = fetch.downloads.is_done();
        let message = PeerMessage::Ack {
            digest: blob.digest,
            received,
        };
        effects.push(self.to_engine(message, operation, client));
        effects.push(self.progress());
        if all_here {
            self.fetched(effects)
        } else {
            Step::GoesOn
        }
    }

    fn fetched(&mut self, effects: &mut Vec<Effect>) -> Step {
        let State::Fetching(fetch) = std::mem::replace(&mut self.state, State::Accepted) else {
            return Step::GoesOn;
        };
        self.settle(Ok((fetch.outcome, fetch.downloads.into_blobs())), effects)
    }

    pub(super) fn want(&self, fetch: &Fetch, operation: OperationId, client: &ClientId) -> Effect {
        let missing = fetch.downloads.missing();
        self.to_engine(PeerMessage::Want { missing }, operation, client)
    }

    fn to_engine(&self, message: PeerMessage, operation: OperationId, client: &ClientId) -> Effect {
        let envelope = Envelope {
            operation,
            from: client.clone(),
            message,
        };
        Effect::Publish {
            topic: Topic::Peer(operation, self.request.engine.clone()),
            payload: envelope.encode(&[]),
        }
    }
}
