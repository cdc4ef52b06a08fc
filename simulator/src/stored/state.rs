//! What snapshots and journals hold of a program's messages.

use wayfare_mail::{Home, Mail, ReceivedMessage};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::Topics;

use crate::random::Random;

/// What a snapshot has of it.
pub(crate) struct SavedTalk {
    pub(super) program: ProgramId,
    pub(super) mail: Vec<u8>,
    pub(super) arrived: u64,
    pub(super) expects: u64,
}

/// On an engine's disk, of one generation of a program.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) messages: Vec<ReceivedMessage>,
    pub(crate) synced: usize,
}

pub(crate) fn mail(program: ProgramId, engine: &str) -> Mail {
    let home = Home {
        program,
        engine: engine.to_owned(),
        topics: Topics::default(),
    };
    let grants = Grants {
        publish: vec!["out".into()],
        subscribe: vec!["in".into(), "out".into()],
        ..Grants::default()
    };
    Mail::new(home, grants)
}

impl Inbox {
    /// What was not synced may be there or not, from some message on.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let unsynced = (self.messages.len() - self.synced) as u64;
        let kept = self.synced + random.below(unsynced + 1) as usize;
        self.messages.truncate(kept);
        self.synced = kept;
    }
}
