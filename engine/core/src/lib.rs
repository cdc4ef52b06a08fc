//! The core of an engine: it decides, and does nothing itself. What happens comes in as [`types::Input`]s,
//! what is to be done goes out as [`types::Effect`]s; time, ids and bytes are the shell's.
//!
//! Reading order: [`types`] is the contract; `journal` which commands came, `operations` what they begin;
//! `programs` one program's life; `captures` what asks for its state; `self_report` what it says of itself
//! and `health` what follows; `departure` and `arrival` the two halves of a move; `verdicts` what a target
//! has decided; `transfer` the window for chunks; `serving` and `downloads` a snapshot for a client; `blobs`
//! what must be kept; `statuses` and `publishing` what is published; `recovery` what a restart makes of the
//! records.
//!
//! Invariant: whatever the order, repetition or loss of messages, and wherever a crash falls between two
//! effects, a program runs in at most one place, and after faults stop it runs somewhere. The crate
//! `wayfare-simulator` looks for a counterexample.
#![forbid(unsafe_code)]

pub mod types;

mod arrival;
mod blobs;
mod captures;
mod departure;
mod downloads;
mod health;
mod journal;
mod operations;
mod programs;
mod publishing;
mod recovery;
mod self_report;
mod serving;
mod statuses;
mod timing;
mod transfer;
mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{OperationId, PeerName, ProgramId};
use wayfare_protocol::journal::JournalPage;
use wayfare_protocol::peer::{Envelope, PeerMessage};

use arrival::{Arrival, Offer};
use blobs::Blobs;
use departure::Departure;
use journal::Journal;
use programs::Program;
use serving::Servings;
use statuses::Statuses;
use types::{Effect, Identity, Input, Now, Saved};
use verdicts::Verdicts;

/// One engine's decisions.
#[derive(Debug)]
pub struct Core {
    identity: Identity,
    now: Now,
    journal: Journal,
    programs: BTreeMap<ProgramId, Program>,
    departures: BTreeMap<OperationId, Departure>,
    arrivals: BTreeMap<OperationId, Arrival>,
    verdicts: Verdicts,
    servings: Servings,
    blobs: Blobs,
    statuses: Statuses,
    /// Captures asked for so far: the next one's number.
    captures: u64,
    /// Programs ended so far.
    orders: u64,
    effects: Vec<Effect>,
    is_stopping: bool,
}

impl Core {
    fn empty(identity: Identity, journal: Journal, verdicts: Verdicts, now: Now) -> Self {
        Self {
            identity,
            now,
            journal,
            programs: BTreeMap::new(),
            departures: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            verdicts,
            servings: Servings::default(),
            blobs: Blobs::default(),
            statuses: Statuses::default(),
            captures: 0,
            orders: 0,
            effects: Vec::new(),
            is_stopping: false,
        }
    }

    /// Takes one thing that happened; answers what is to be done about it, in order. Time never goes back: an
    /// earlier `now` counts as the latest one seen.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Command(command) => self.command(command),
            Input::Peer(envelope) => self.peer(envelope),
            Input::Chunk {
                operation,
                from,
                blob,
                offset,
                bytes,
            } => self.chunk(operation, &from, (blob, offset, bytes)),
            Input::BlobComplete { blob, intact } => self.blob_complete(blob, intact),
            Input::BlobFailed { blob, failure } => self.blob_failed(blob, &failure),
            Input::ModuleLoaded { operation, result } => self.module_loaded(operation, result),
            Input::SnapshotVerified { operation, result } => self.snapshot_verified(operation, result),
            Input::Started { program, result } => self.started(program, result),
            Input::Captured {
                program,
                capture,
                result,
            } => self.captured(program, capture, result),
            Input::CaptureCompiles { program, capture } => self.capture_compiles(program, capture),
            Input::Ended { program, state } => self.ended(program, state),
            Input::Claimed { program, claims } => self.claimed(program, claims),
            Input::MemoryBytes { program, bytes } => self.memory_seen(program, bytes),
            Input::CheckpointWanted { program } => self.want_checkpoint(program),
            Input::Fenced { program, generation } => self.fenced(program, generation),
            Input::StatusHeard { program, stands } => self.status_heard(program, stands),
            Input::Connected => self.statuses.republish_all(),
            Input::Report { operation, client } => self.report(operation, client),
            Input::StatusChanged => self.publish_engine(),
            Input::Stopping => self.stopping(),
            Input::Tick => {}
        }
        self.settle()
    }

    /// What is remembered of orders, the newest first; of those that were taken before a place in the
    /// journal, which the page before this has named.
    pub fn journal(&self, before: Option<u64>, now: Now) -> JournalPage {
        self.journal.page(before, self.now.max(now))
    }

    fn peer(&mut self, envelope: Envelope) {
        let Envelope {
            operation,
            from,
            message,
        } = envelope;
        match message {
            PeerMessage::Prepare {
                program,
                generation,
                spec,
                memory_bytes,
                paused,
                devices,
                blobs,
            } => {
                let offer = Offer {
                    program,
                    generation,
                    spec,
                    memory_bytes,
                    paused,
                    devices,
                    blobs,
                };
                self.prepare(operation, &from, &offer);
            }
            PeerMessage::Want { missing } => {
                if !self.download_wanted(operation, &from, &missing) {
                    self.departure_wanted(operation, &from, &missing);
                }
            }
            // Chunks come as an input of their own, because of their bytes; what is about code, the shell has
            // looked at.
            PeerMessage::Chunk { .. }
            | PeerMessage::CodeWanted { .. }
            | PeerMessage::CodeUnderWay
            | PeerMessage::CodeMade { .. }
            | PeerMessage::Pull { .. } => {}
            PeerMessage::Ack { digest, received } => {
                let acknowledged = (digest, received);
                let effects = self
                    .servings
                    .acknowledged(operation, &from, acknowledged, self.now);
                self.effects.extend(effects);
                self.departure_acknowledged(operation, &from, (digest, received));
            }
            PeerMessage::Commit { snapshot, base } => {
                self.commit(operation, &from, Saved { snapshot, base });
            }
            PeerMessage::Adopted { generation } => self.departure_adopted(operation, &from, generation),
            PeerMessage::Refused { failure } => {
                self.client_refused(operation, &from, failure.clone());
                self.departure_refused(operation, &from, failure);
            }
            PeerMessage::Query => self.query(operation, &from),
            PeerMessage::Cancel => {
                if !self.download_cancelled(operation, &from) {
                    self.cancel(operation, &from);
                }
            }
        }
    }

    fn settle(&mut self) -> Vec<Effect> {
        self.due();
        self.publish_changes();
        self.release_blobs();
        std::mem::take(&mut self.effects)
    }

    /// Everything whose time has come.
    fn due(&mut self) {
        self.operations_due();
        self.departures_due();
        self.arrivals_due();
        self.downloads_due();
        self.checkpoint_due();
        self.reports_due();
    }

    /// Answers operations whose time is up, where that is safe.
    fn operations_due(&mut self) {
        for (operation, program, waited_ms) in self.journal.late(self.now) {
            if self.waits_for_code(operation, program) {
                self.compiles(operation);
            } else if !self.departure_late(operation) && !self.run_late(operation, waited_ms) {
                let peer = format!("program {}", program.short());
                self.abort(operation, Failure::Silent { peer, waited_ms });
            }
        }
    }

    /// When to feed a `Tick` if nothing else comes before.
    pub fn next_wakeup(&self) -> Option<Now> {
        let deadlines = self
            .journal
            .deadlines()
            .filter(|(id, deadline)| *deadline > self.now || !self.departures.contains_key(id))
            .map(|(_, deadline)| deadline);
        deadlines
            .chain(self.departures.values().map(Departure::next_wakeup))
            .chain(self.arrivals.values().filter_map(Arrival::next_wakeup))
            .chain(self.servings.next_wakeup())
            .chain(self.programs.values().filter_map(|p| p.checkpoint_at))
            .chain(self.statuses.next_wakeup())
            .chain(self.next_report())
            .min()
    }

    fn say(&mut self, to: &PeerName, operation: OperationId, message: PeerMessage) {
        self.effects.push(Effect::Peer {
            to: to.clone(),
            operation,
            message,
        });
    }

    fn next_order(&mut self) -> u64 {
        self.orders += 1;
        self.orders
    }
}
