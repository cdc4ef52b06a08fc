//! What programs do that talk: each is handed numbers and says what each was. All of its own state is the
//! number that it waits for.

use std::collections::BTreeSet;

use wayfare_mail::Manner;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::life;
use wayfare_protocol::qos::Qos;

use crate::sessions::state::number_in;
use crate::world::World;

/// Messages that a program takes while something else happens.
const MESSAGES_AT_ONCE: usize = 4;

impl World {
    /// What the programs do while something else happens.
    pub(super) fn programs_talk(&mut self) {
        for index in 0..self.engines.len() {
            let running: Vec<ProgramId> = self.engines[index].running().map(|(id, _)| id).collect();
            for program in running {
                self.program_talks(index, program);
            }
        }
    }

    fn program_talks(&mut self, index: usize, program: ProgramId) {
        let is_forced = self.oracle.is_forced(program) || self.oracle.is_wiped(program);
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let mut is_news = talk.mail.is_granted("in").is_none();
        talk.mail
            .subscribe("in", Qos::AtLeastOnce)
            .expect("it is granted");
        let mut skipped = None;
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(number) = talk.mail.first().map(|message| number_in(&message.payload)) else {
                break;
            };
            if number != talk.expects && !is_forced {
                skipped = Some((talk.expects, number));
            }
            let manner = Manner {
                qos: Qos::AtLeastOnce,
                ..Manner::default()
            };
            if talk
                .mail
                .publish("out", number.to_string().as_bytes(), manner)
                .is_err()
            {
                break; // Its outbox is full.
            }
            talk.mail.take_first();
            talk.expects = number + 1;
            is_news = true;
        }
        if let Some((expected, number)) = skipped
            && !self.is_all_lost(program, expected, number)
        {
            self.wrong_with(
                program,
                format!("was handed input {number} in place of {expected}"),
            );
        }
        if is_news {
            self.turn(index, program);
        }
    }

    /// Whether all inputs from one to another, which is later, went with what a broker had.
    fn is_all_lost(&self, program: ProgramId, from: u64, to: u64) -> bool {
        let kept = self.broker.kept.get(&program);
        from < to && kept.is_some_and(|kept| (from..to).all(|number| kept.lost.contains(&number)))
    }

    /// When faults have stopped for long, every program that runs has been handed everything, and has said
    /// so.
    pub(super) fn check_talks(&mut self) -> Result<(), String> {
        for index in 0..self.engines.len() {
            let running: Vec<ProgramId> = self.engines[index].running().map(|(id, _)| id).collect();
            for program in running {
                let is_forced = self.oracle.is_forced(program) || self.oracle.is_wiped(program);
                let Some(talk) = self.talk(index, program) else {
                    continue;
                };
                let (expects, line, outputs) = (talk.expects, talk.line, talk.mail.published());
                let Some(kept) = self.broker.kept.get(&program) else {
                    return Err(format!("{program:?} never reached the broker: {line:?}"));
                };
                let is_first = outputs == life::first_number_of(outputs);
                if !is_first && !kept.heard.contains_key(&(outputs - 1)) {
                    return Err(format!("{program:?} published {outputs}, which was never heard"));
                }
                let is_left = self.acting.is_some() && kept.queued().next().is_some();
                if is_left {
                    return Err(format!(
                        "{program:?} was not handed what the broker has for it: {line:?}"
                    ));
                }
                if is_forced {
                    // Inputs went to one copy or the other.
                    *self.oracle.outcomes.entry("lives begun anew".into()).or_default() +=
                        u64::from(!is_first);
                    continue;
                }
                let (published, heard) = (kept.published, kept.heard.len());
                let about: BTreeSet<u64> = kept.heard.values().copied().collect();
                let is_missed = |number: &u64| !about.contains(number) && !kept.lost.contains(number);
                let missed = (0..published).find(is_missed);
                if missed.is_some()
                    || about.len() != heard
                    || !(expects..published).all(|n| kept.lost.contains(&n))
                {
                    return Err(format!(
                        "{program:?} was handed {expects} of {published} inputs, {heard} outputs were heard about {}, and \
                         {missed:?} was missed: {line:?}",
                        about.len()
                    ));
                }
                let published = heard as u64;
                *self.oracle.outcomes.entry("inputs handled".into()).or_default() += published;
            }
        }
        Ok(())
    }
}
