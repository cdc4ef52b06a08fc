//! What of programs' messages outlives a crash: in snapshots, and in the journal that each engine has on its disk.

use wayfare_mail::{Home, Letter, Mail};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::topics::Topics;

use super::random::Random;
use super::sessions::Talk;
use super::world::World;

/// What a snapshot has of it.
pub(super) struct SavedTalk {
    program: ProgramId,
    mail: Vec<u8>,
    arrived: u64,
    expects: u64,
}

/// On an engine's disk, of one generation of a program.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) letters: Vec<Letter>,
    pub(super) synced: usize,
}

pub(super) fn mail(program: ProgramId, engine: &str) -> Mail {
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

impl World {
    /// The messages of a program that is about to start: those of its snapshot, and those of the journal.
    pub(super) fn talk_of(
        &mut self,
        index: usize,
        program: ProgramId,
        (generation, begun): (Generation, Generation),
        saved: Option<Option<usize>>,
    ) -> Option<Talk> {
        if !self.talks {
            return None;
        }
        let mut mail = mail(program, self.engines[index].name.as_str());
        let expects = match saved {
            None => 0,
            Some(saved) => {
                let saved = &self.saved_talks[saved?];
                if saved.program != program {
                    return None; // A copy keeps silent.
                }
                mail.restore(&saved.mail).expect("it was saved");
                saved.expects
            }
        };
        mail.begin_life(begun);
        let inboxes = &mut self.engines[index].inboxes;
        inboxes.retain(|(of, its), _| *of != program || *its == generation);
        for letter in inboxes
            .get(&(program, generation))
            .iter()
            .flat_map(|inbox| &inbox.letters)
        {
            mail.replay(letter.clone());
        }
        Some(Talk::new(mail, expects, generation))
    }

    pub(super) fn save_talk(&mut self, index: usize, program: ProgramId) -> Option<usize> {
        let talk = self.talk(index, program)?;
        let saved = SavedTalk {
            program,
            mail: talk.mail.save(),
            arrived: talk.mail.arrived(),
            expects: talk.expects,
        };
        self.saved_talks.push(saved);
        Some(self.saved_talks.len() - 1)
    }

    /// A record with this snapshot is stored.
    pub(super) fn forget_stored_mail(
        &mut self,
        index: usize,
        program: ProgramId,
        generation: Generation,
        saved: usize,
    ) {
        let arrived = self.saved_talks[saved].arrived;
        if let Some(inbox) = self.engines[index].inboxes.get_mut(&(program, generation)) {
            let stored = inbox
                .letters
                .iter()
                .take_while(|letter| letter.number < arrived)
                .count();
            inbox.letters.drain(..stored);
            inbox.synced = inbox.synced.saturating_sub(stored);
        }
    }
}

impl Inbox {
    /// What was not synced may be there or not, from some message on.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let unsynced = (self.letters.len() - self.synced) as u64;
        let kept = self.synced + random.below(unsynced + 1) as usize;
        self.letters.truncate(kept);
        self.synced = kept;
    }
}
