//! Asks engines for what they remember of orders: each once in each of its lives, and in each term, because
//! what nobody heard was said in between. Few at a time, and an engine that does not answer a few times only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;
use wayfare_client::{AskError, Client};
use wayfare_protocol::ids::{BootId, EngineId};
use wayfare_protocol::journal::JournalPage;

use super::core::Recall;

/// Engines that are asked at a time.
const ASKED_MAX: usize = 8;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one engine: more than its journal can have.
const PAGES_MAX: u32 = 64;
const ATTEMPTS_MAX: u32 = 3;

/// What came of a question.
pub(super) struct Recalled {
    pub(super) engine: EngineId,
    pub(super) recall: Recall,
    pub(super) result: Result<JournalPage, AskError>,
    pages: u32,
}

pub(super) struct Recalls {
    client: Client,
    /// In which life each engine was asked last, and how often in vain.
    lives: BTreeMap<EngineId, (BootId, u32)>,
    queue: VecDeque<EngineId>,
    asked: JoinSet<Recalled>,
    /// Of the fleet, as it was looked at last.
    revision: u64,
}

impl Recalls {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            lives: BTreeMap::new(),
            queue: VecDeque::new(),
            asked: JoinSet::new(),
            revision: 0,
        }
    }

    /// Looks for engines that are to be asked. A client that is closed sees none.
    pub(super) async fn look(&mut self) {
        let Ok(changes) = self.client.fleet_changes(self.revision).await else {
            return;
        };
        self.revision = changes.revision;
        for engine in changes.engines_gone {
            self.lives.remove(&engine);
        }
        for view in changes.engines.into_iter().filter(|view| view.online) {
            let Some(boot) = view.boot else { continue };
            if self
                .lives
                .get(&view.engine)
                .is_none_or(|(asked, _)| *asked != boot)
            {
                self.lives.insert(view.engine.clone(), (boot, 0));
                self.queue.push_back(view.engine);
            }
        }
        self.fill();
    }

    /// The next answer; never, where nobody is asked. Safe to give up.
    pub(super) async fn next(&mut self) -> Recalled {
        match self.asked.join_next().await {
            Some(Ok(recalled)) => {
                self.fill();
                recalled
            }
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    /// Asks for what is older, if there is more.
    pub(super) fn go_on(&mut self, recalled: Recalled) {
        let Recalled {
            engine,
            recall,
            result,
            pages,
        } = recalled;
        let next = result.ok().and_then(|page| page.next);
        if let Some(before) = next.filter(|_| pages < PAGES_MAX) {
            self.ask(engine, recall, Some(before), pages);
        }
    }

    /// It did not answer: it is asked again, unless it cannot be.
    pub(super) fn failed(&mut self, engine: EngineId, error: &AskError) {
        let Some((_, attempts)) = self.lives.get_mut(&engine) else {
            return;
        };
        *attempts += 1;
        // One of an earlier release refuses what it cannot read.
        let is_silent = matches!(error, AskError::NoEngine { .. });
        if is_silent && *attempts < ATTEMPTS_MAX {
            self.queue.push_back(engine);
        }
    }

    fn fill(&mut self) {
        while self.asked.len() < ASKED_MAX
            && let Some(engine) = self.queue.pop_front()
        {
            self.ask(engine, Recall::default(), None, 0);
        }
    }

    fn ask(&mut self, engine: EngineId, recall: Recall, before: Option<u64>, pages: u32) {
        let client = self.client.clone();
        self.asked.spawn(async move {
            let result = client.journal_of(&engine, before, ANSWER_TIMEOUT).await;
            Recalled {
                engine,
                recall,
                result,
                pages: pages + 1,
            }
        });
    }
}
