//! Sending blobs to one peer, and again after silence.

use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::push::{self, Segment};

use super::timing::Repeat;
use super::types::Now;

#[derive(Debug)]
pub(super) struct Sender {
    sender: push::Sender,
    repeat: Repeat,
}

impl Sender {
    pub(super) fn new(now: Now) -> Self {
        Self {
            sender: push::Sender::default(),
            repeat: Repeat::new(now),
        }
    }

    pub(super) fn add(&mut self, blob: Blob) {
        self.sender.add(blob);
    }

    /// The peer has all of `blob` before `received`. True if that was news.
    pub(super) fn acknowledge(&mut self, blob: Blob, received: u64, now: Now) -> bool {
        let news = self.sender.acknowledge(blob, received);
        if news {
            self.repeat = Repeat::new(now);
        }
        news
    }

    pub(super) fn is_there(&self, digest: Digest) -> bool {
        self.sender.is_there(digest)
    }

    /// What may be sent now.
    pub(super) fn pump(&mut self) -> Vec<Segment> {
        self.sender.pump()
    }

    /// On silence, goes back to where the peer said it is.
    pub(super) fn tick(&mut self, now: Now) {
        if !self.sender.is_idle() && self.repeat.is_due(now) {
            self.sender.go_back();
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Now> {
        (!self.sender.is_idle()).then(|| self.repeat.next())
    }

    /// Bytes acknowledged of what is under way, for progress.
    pub(super) fn acknowledged_bytes(&self, blob: Blob) -> u64 {
        self.sender.acknowledged_bytes(blob)
    }
}
