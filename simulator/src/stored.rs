//! What of programs' messages outlives a crash: in snapshots, and in the journal that each engine has on its
//! disk.

pub(crate) mod state;

use wayfare_protocol::ids::{Generation, ProgramId};

use crate::sessions::state::Talk;
use crate::world::World;

use state::{SavedTalk, mail};

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
        for message in inboxes
            .get(&(program, generation))
            .iter()
            .flat_map(|inbox| &inbox.messages)
        {
            mail.replay(message.clone());
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

    /// A process ends without having been captured: what it was handed and is not in the synced journal is to
    /// come from the broker again.
    pub(super) fn forget_unstored(&mut self, program: ProgramId, talk: Talk) {
        if let Some(kept) = self.broker.kept.get_mut(&program) {
            kept.unstored.extend(talk.not_in_journal());
        }
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
                .messages
                .iter()
                .take_while(|message| message.number < arrived)
                .count();
            inbox.messages.drain(..stored);
            inbox.synced = inbox.synced.saturating_sub(stored);
        }
    }
}
