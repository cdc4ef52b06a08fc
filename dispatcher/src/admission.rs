//! Requests on their way in: the roster and the engines' cards are followed, and whatever they do not permit
//! goes no further.
//!
//! What always holds: a roster or card that was published before a request counts for it.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::mpsc;
use wayfare_client::{Client, IncomingRequest, RosterWatch};
use wayfare_protocol::dispatcher::{Answer, Asker};
use wayfare_protocol::ids::EngineId;

use crate::options::ServiceOptions;
use crate::permits::{Permit, Permits};
use crate::requests::Router;

pub(crate) struct Admission {
    pub(crate) client: Client,
    permits: Permits,
    rosters: Option<RosterWatch>,
    cards: Option<mpsc::Receiver<(EngineId, Vec<u8>)>>,
}

enum News {
    Roster(Vec<u8>),
    Card(EngineId, Vec<u8>),
}

impl Admission {
    pub(crate) async fn open(options: &ServiceOptions, client: &Client) -> Self {
        let permits = Permits::open(options, Instant::now());
        let looks = permits.looks();
        let mut admission = Self {
            client: client.clone(),
            permits,
            rosters: if looks { client.watch_roster().await } else { None },
            cards: if looks { client.watch_cards().await } else { None },
        };
        if looks && admission.rosters.is_none() {
            tracing::warn!("the roster cannot be read: the broker has to let dispatchers read trust/#");
        }
        admission.catch_up().await;
        admission
    }

    /// Waits for a change of what is permitted, and takes it in. Safe to give up.
    pub(crate) async fn news(&mut self) {
        let news = next(&mut self.rosters, &mut self.cards).await;
        self.take(news);
        self.catch_up().await;
    }

    /// Takes in all that has come.
    async fn catch_up(&mut self) {
        while let Some(news) = next(&mut self.rosters, &mut self.cards).now_or_never() {
            self.take(news);
        }
        let vouched = self.permits.vouched().map(Arc::new);
        self.client.believe(vouched).await;
    }

    fn take(&mut self, news: News) {
        match news {
            News::Roster(payload) => self.permits.roster_seen(&payload, Instant::now()),
            News::Card(engine, payload) => self.permits.card_seen(engine, payload),
        }
    }

    /// Hands a request that is permitted to its service; an answer to be sent at once comes back.
    pub(crate) async fn request(
        &mut self,
        router: &mut Router,
        incoming: IncomingRequest,
    ) -> Option<(Asker, Answer)> {
        if let Some(news) = next(&mut self.rosters, &mut self.cards).now_or_never() {
            self.take(news);
            self.catch_up().await;
        }
        let id = incoming.request.request;
        let status = match self.permits.program_of(&incoming) {
            Some(program) => self.client.own_status(program).await,
            None => None,
        };
        let is_known = router.knows(id);
        match self
            .permits
            .judge(&incoming, status.as_ref(), is_known, Instant::now())
        {
            Permit::Taken => router.request(&incoming.service, incoming.request),
            Permit::Counted => {
                let answer = router.request(&incoming.service, incoming.request);
                if router.knows(id) {
                    self.permits.taken(id);
                }
                answer
            }
            Permit::Dropped => None,
            Permit::Answered(answered) => {
                let (asker, _) = incoming.request.take_apart();
                Some((asker, router.refusal(id, answered)))
            }
        }
    }
}

/// Never, where nothing is looked at.
async fn next(
    rosters: &mut Option<RosterWatch>,
    cards: &mut Option<mpsc::Receiver<(EngineId, Vec<u8>)>>,
) -> News {
    let roster = async {
        match rosters {
            Some(rosters) => rosters.next().await,
            None => None,
        }
    };
    let card = async {
        match cards {
            Some(cards) => cards.recv().await,
            None => None,
        }
    };
    tokio::select! {
        Some(roster) = roster => News::Roster(roster),
        Some((engine, payload)) = card => News::Card(engine, payload),
        else => std::future::pending().await,
    }
}
