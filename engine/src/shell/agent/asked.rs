//! What people ask this engine directly, and who scrapes its metrics.

use wayfare_protocol::dispatcher::{Answered, Asker, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Term;
use wayfare_protocol::wire;

use super::Agent;
use crate::shell::metrics::Scrape;
use crate::shell::questions::{self, Question};

impl Agent {
    pub(super) fn asked(&mut self, request: Request) {
        let (asker, body) = request.take_apart();
        let answer = match questions::read(body) {
            Ok(Question::Device(ask)) => return self.device_questions.begin(asker, ask, &mut self.work),
            Ok(Question::Numbers(from)) => {
                let numbers = self.numbers.all(from, &self.programs, &self.store, &self.out);
                let answer = Answered::Done(serde_json::to_value(numbers).expect("plain data serialises"));
                self.answer(&asker, answer);
                return self.numbers.measure_round_trip(&self.out);
            }
            Ok(Question::Journal(before)) => {
                // Written as events are anyway, and read back: to make values of all that an event may say,
                // boards would need 25 KB of code.
                let page = wire::to_json(&self.core.journal(before, self.now()));
                Answered::Done(serde_json::from_slice(&page).expect("what was just written can be read"))
            }
            Ok(Question::OpenCalls(program)) => {
                let hosted = self.programs.current(program);
                match hosted.and_then(|hosted| hosted.process()) {
                    Some(process) => {
                        let calls = wire::to_json(&process.open_calls());
                        Answered::Done(
                            serde_json::from_slice(&calls).expect("what was just written can be read"),
                        )
                    }
                    None => Answered::Failed(Failure::UnknownProgram {
                        engine: self.out.engine.clone(),
                        program,
                    }),
                }
            }
            Err(failure) => Answered::Failed(failure),
        };
        self.answer(&asker, answer);
    }

    pub(super) fn answer(&self, asker: &Asker, answer: Answered) {
        self.out.answer(asker, Term::default(), answer);
    }

    pub(super) fn scraped(&mut self, scrape: Scrape) {
        let machine = self.numbers.machine(&self.store);
        scrape.answer(&self.out.engine, machine, &self.core.statuses(), &self.programs);
    }
}
