//! Lists of programs and engines: filtered and sorted here, for front ends of fleets that are too large to
//! look at.
//!
//! ```text
//!   asked --> the expression is read --> [all engines measured, if what is measured is asked about]
//!         --> some thousand rows after the other, of the service for applications --> those of this part
//!         --> [their engines measured] --> as many as a message holds
//! ```
//! What always holds: nobody is held up by a long list. The service for applications, which decides, copies
//! some thousand rows at a time and goes on; what is done with them is done here, beside it, for
//! [`LISTS_MAX`] who ask at a time. Nothing is kept: a part is looked for anew, and costs one look at
//! everything if it is sorted or filtered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wayfare_client::documents::now_ms;
use wayfare_client::error::CommandError;
use wayfare_client::lists::{Engines, ListAsk, Listing, Programs};
use wayfare_client::numbers::{EngineLoad, ProgramLoad};
use wayfare_client::query::{Field, Page, Paging, Place, Query};
use wayfare_client::rows::{ENGINE_FIELDS, Listed, ListedEngine, PROGRAM_FIELDS};
use wayfare_client::{Client, EngineView, Report};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::limits::PAGE_BYTES_MAX;

use crate::context::Context;
use crate::questions::{KnownAsk, KnownPrograms, MeasuredAsk, Questions};
use crate::requests::{Asked, Inbox};

/// Lists that are looked for at a time; who asks for one more waits.
const LISTS_MAX: usize = 4;
/// Rows of a part: more than a message holds, mostly.
const ROWS_MAX: usize = 100;
/// Rows that are looked at at once.
const LOOK_MAX: usize = 2_000;
/// Another service answers within this, or cannot.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let sources = Sources {
        client: context.client,
        known: context.known,
        measured: context.measured,
    };
    let mut lists = JoinSet::new();
    loop {
        tokio::select! {
            asked = inbox.recv(), if lists.len() < LISTS_MAX => match asked {
                Some(asked) => drop(lists.spawn(answer(sources.clone(), asked))),
                None => return,
            },
            Some(ended) = lists.join_next(), if !lists.is_empty() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

async fn answer(sources: Sources, asked: Asked) {
    let listed = match asked.read::<ListAsk>() {
        Ok(ListAsk::Programs(listing)) => sources.programs(listing).await.map(value),
        Ok(ListAsk::Engines(listing)) => sources.engines(listing).await.map(value),
        Err(failure) => Err(failure),
    };
    asked.answer(listed);
}

/// The services that know what is listed.
#[derive(Clone)]
struct Sources {
    client: Client,
    known: Questions<KnownAsk>,
    measured: Questions<MeasuredAsk>,
}

impl Sources {
    async fn programs(&self, listing: Listing<ProgramId>) -> Result<Programs, Failure> {
        let query = query(&listing, &PROGRAM_FIELDS)?;
        let is_first = listing.after.is_none();
        let is_measured = query.looks_at(|field| field.is_measured);
        if is_measured && is_first {
            self.measure(None).await;
        }
        let mut paging = Paging::new(&query, listing.after, rows_max(listing.limit));
        let mut after = paging.begins_after().copied();
        let recent_at_ms = listing.recent.then(now_ms);
        let mut hidden = None;
        loop {
            let look = KnownPrograms {
                after,
                count: if query.chooses() { LOOK_MAX } else { ROWS_MAX + 1 },
                recent_at_ms,
                is_first: is_first && hidden.is_none(),
            };
            let count = look.count;
            let (programs, ended) = self.known(|answer| KnownAsk::Programs { look, answer }).await?;
            hidden = hidden.or(Some(ended));
            let is_last = programs.len() < count;
            after = programs.last().map(|(view, _)| view.status.program).or(after);
            let ids = programs.iter().map(|(view, _)| view.status.program);
            let mut loads = match is_measured {
                true => self.loads(ids.collect()).await,
                false => BTreeMap::new(),
            };
            for (view, about) in programs {
                let program = view.status.program;
                let row = Listed {
                    view,
                    about: Some(about),
                    numbers: loads.remove(&program),
                };
                paging.offer(program, row);
            }
            if is_last || paging.is_complete() {
                break;
            }
        }
        let mut page = paging.page();
        if listing.numbers && !is_measured {
            if is_first {
                // Later parts have what was measured for the first.
                let is_whole = page.more && listing.limit.is_none();
                let engines = page.rows.iter().map(|(_, row)| row.view.status.engine.clone());
                self.measure((!is_whole).then(|| engines.collect())).await;
            }
            self.put_numbers(&mut page).await;
        }
        let (rows, next) = fitting(page);
        let hidden = hidden.unwrap_or(0) as u64;
        Ok(Programs { rows, next, hidden })
    }

    async fn engines(&self, listing: Listing<EngineId>) -> Result<Engines, Failure> {
        let query = query(&listing, &ENGINE_FIELDS)?;
        let is_first = listing.after.is_none();
        let is_measured = query.looks_at(|field| field.is_measured);
        // Which of them are silent is known when all have been asked.
        let mut report = match query.looks_at(|field| field.name == "state") {
            true => Some(self.report(BTreeSet::new()).await?),
            false => None,
        };
        let (views, mut loads) = (self.views(report.as_ref()).await?, BTreeMap::new());
        if is_measured {
            if is_first {
                self.measure(None).await;
            }
            loads = self.engine_loads(views.keys().cloned().collect()).await;
        }
        let mut paging = Paging::new(&query, listing.after, rows_max(listing.limit));
        for (engine, view) in views {
            let numbers = loads.remove(&engine);
            paging.offer(engine, ListedEngine { view, numbers });
        }
        let mut page = paging.page();
        let names: BTreeSet<EngineId> = page.rows.iter().map(|(_, row)| row.view.engine.clone()).collect();
        if report.is_none() && !names.is_empty() {
            report = Some(self.report(names.clone()).await?);
            let mut views = self.views(report.as_ref()).await?;
            for (_, row) in &mut page.rows {
                if let Some(view) = views.remove(&row.view.engine) {
                    row.view = view;
                }
            }
        }
        if listing.numbers && !is_measured {
            if is_first {
                self.measure(Some(names.clone())).await;
            }
            let mut loads = self.engine_loads(names.into_iter().collect()).await;
            for (_, row) in &mut page.rows {
                row.numbers = loads.remove(&row.view.engine);
            }
        }
        let (rows, next) = fitting(page);
        Ok(Engines {
            rows,
            next,
            hidden: 0,
        })
    }

    /// All engines as they are known now, with what people have said about them and whether they are silent.
    async fn views(&self, report: Option<&Report>) -> Result<BTreeMap<EngineId, EngineView>, Failure> {
        let mut marks = self.known(|answer| KnownAsk::Marks { answer }).await?;
        let mut engines = self.client.engines().await.map_err(closed)?;
        if let Some(report) = report {
            report.mark(&mut engines);
        }
        let marked = engines.into_iter().map(|mut view| {
            view.mark = marks.remove(&view.engine);
            (view.engine.clone(), view)
        });
        Ok(marked.collect())
    }

    /// Asks these engines, or all, whether they are there.
    async fn report(&self, engines: BTreeSet<EngineId>) -> Result<Report, Failure> {
        let report = self
            .client
            .request_reports_of(engines, wayfare_client::ANSWER_TIMEOUT)
            .await;
        report.map_err(closed)
    }

    async fn engine_loads(&self, engines: Vec<EngineId>) -> BTreeMap<EngineId, EngineLoad> {
        let ask = |answer| MeasuredAsk::Engines { engines, answer };
        let loads = timeout(ANSWER_TIMEOUT, self.measured.ask(ask)).await;
        loads.ok().flatten().unwrap_or_default()
    }

    /// What programs use, as far as it was measured a moment ago.
    async fn put_numbers(&self, page: &mut Page<ProgramId, Listed>) {
        let programs = page.rows.iter().map(|(_, row)| row.view.status.program);
        let mut loads = self.loads(programs.collect()).await;
        for (_, row) in &mut page.rows {
            row.numbers = loads.remove(&row.view.status.program);
        }
    }

    /// Where the numbers cannot be had, there are none.
    async fn measure(&self, engines: Option<BTreeSet<EngineId>>) {
        let ask = |done| MeasuredAsk::Measure { engines, done };
        if timeout(ANSWER_TIMEOUT, self.measured.ask(ask)).await.is_err() {
            tracing::debug!("a list has the numbers of a moment ago");
        }
    }

    async fn loads(&self, programs: Vec<ProgramId>) -> BTreeMap<ProgramId, ProgramLoad> {
        let ask = |answer| MeasuredAsk::Programs { programs, answer };
        let loads = timeout(ANSWER_TIMEOUT, self.measured.ask(ask)).await;
        loads.ok().flatten().unwrap_or_default()
    }

    async fn known<A>(&self, ask: impl FnOnce(oneshot::Sender<A>) -> KnownAsk) -> Result<A, Failure> {
        let known = timeout(ANSWER_TIMEOUT, self.known.ask(ask)).await;
        known.ok().flatten().ok_or_else(|| Failure::Internal {
            reason: "the dispatcher does not know its programs yet".to_owned(),
        })
    }
}

fn query<K, R>(listing: &Listing<K>, fields: &'static [Field<R>]) -> Result<Query<R>, Failure> {
    let query = Query::new(listing.filter.as_deref(), listing.sort.as_deref(), None, fields);
    query.map_err(|error| Failure::BadRequest {
        reason: format!("{}: {error}", error.part()),
    })
}

fn closed(error: CommandError) -> Failure {
    Failure::Internal {
        reason: error.to_string(),
    }
}

fn rows_max(limit: Option<u32>) -> usize {
    limit.map_or(ROWS_MAX, |limit| (limit as usize).min(ROWS_MAX))
}

/// As many of the rows as a message holds, the first in any case, and where the next part begins.
fn fitting<K: Clone, R: Serialize>(page: Page<K, R>) -> (Vec<R>, Option<Place<K>>) {
    let mut room = PAGE_BYTES_MAX;
    let (mut rows, mut last) = (Vec::new(), None);
    let mut more = page.more;
    for (place, row) in page.rows {
        let bytes = serde_json::to_vec(&row).map_or(0, |json| json.len() + 1);
        if bytes > room && !rows.is_empty() {
            more = true;
            break;
        }
        room = room.saturating_sub(bytes);
        rows.push(row);
        last = Some(place);
    }
    (rows, last.filter(|_| more))
}

fn value<T: Serialize>(part: T) -> serde_json::Value {
    serde_json::to_value(part).expect("plain data serialises")
}
