//! Operations that only look.

use std::sync::Arc;

use axum::http::HeaderValue;
use serde::Serialize;
use serde_json::{Value, json};
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_client::documents::{self, now_ms};
use wayfare_client::operations::{OperationState, OperationsWanted};
use wayfare_client::problem::Problem;
use wayfare_client::query::{Field, Query};
use wayfare_client::rows::{ENGINE_FIELDS, PROGRAM_FIELDS, with_numbers};
use wayfare_client::stored_logs::LinesWanted;
use wayfare_client::{ANSWER_TIMEOUT, CommandError, Follow, LogItem};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::LogLine;

use super::parameters::{ENGINE, FROM, LIMIT, PROGRAM, SORT, TIMEOUT, WHERE};
use crate::answers::{Answer, bad_usage, json as answer};
use crate::asked::Asked;
use crate::offer::Method::Get;
use crate::offer::Offer;
use crate::params::Body::Parameters;
use crate::params::Kind::{Count, Flag, Moment, Text};
use crate::params::param;
use crate::site::Site;

/// Rows of a page, unless fewer are asked for.
const ROWS_MAX: u64 = 10_000;
/// Events that are answered at once, the latest of those that are asked for.
const EVENTS_MAX: usize = 1_000;
/// Lines of a log that are answered at once.
const LINES_MAX: usize = 10_000;
/// How far back events are asked for.
const EVENTS_MS: u64 = 3_600_000;
/// Says how many rows there are in all.
const TOTAL: &str = "wayfare-total";

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("status"),
        method: Get,
        path: "/api/v1/status",
        about: "Make every engine report, and show the fleet and what is wrong with it",
        params: &[TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(status(site, asked)),
    },
    Offer {
        verb: Some("engines"),
        method: Get,
        path: "/api/v1/engines",
        about: "List engines",
        params: &[WHERE, SORT, LIMIT, FROM],
        body: Parameters,
        run: |site, asked| Box::pin(engines(site, asked)),
    },
    Offer {
        verb: Some("inspect"),
        method: Get,
        path: "/api/v1/engines/{engine}",
        about: "Show all about an engine",
        params: &[ENGINE],
        body: Parameters,
        run: |site, asked| Box::pin(engine(site, asked)),
    },
    Offer {
        verb: Some("ps"),
        method: Get,
        path: "/api/v1/programs",
        about: "List programs: those that run, and those that ended in the last 10 minutes",
        params: &[
            WHERE,
            SORT,
            LIMIT,
            FROM,
            param("all", Flag, "Also those that ended before, as with where"),
        ],
        body: Parameters,
        run: |site, asked| Box::pin(programs(site, asked)),
    },
    Offer {
        verb: Some("inspect"),
        method: Get,
        path: "/api/v1/programs/{program}",
        about: "Show all about a program",
        params: &[PROGRAM],
        body: Parameters,
        run: |site, asked| Box::pin(program(site, asked)),
    },
    Offer {
        verb: Some("logs"),
        method: Get,
        path: "/api/v1/programs/{program}/logs",
        about: "Show what a program has printed: as much as is kept, up to 10000 lines",
        params: &[
            PROGRAM,
            param(
                "from_line",
                Count,
                "Number of the first line; they are counted from 0",
            ),
            param("lines", Count, "Only so many, the last"),
            param("since", Moment, "Written since then"),
            param("until", Moment, "Written before then"),
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(logs(site, asked)),
    },
    Offer {
        verb: Some("ops"),
        method: Get,
        path: "/api/v1/ops",
        about: "List every order in the fleet, the latest first: who gave it, and what became of it",
        params: &[
            param("state", Text, "waiting, running, done, failed or cancelled"),
            param(
                "engine",
                Text,
                "Of an engine that was commanded, or is the target",
            ),
            param("program", Text, "A program's name, or the beginning of its id"),
            param("by", Text, "Who gave it: user@host, or user"),
            param("since", Moment, "Begun since then"),
            LIMIT,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(operations(site, asked)),
    },
    Offer {
        verb: Some("events"),
        method: Get,
        path: "/api/v1/events",
        about: "Show what was ordered and by whom, and what the dispatcher decided, and why: the latest 1000 of those since then",
        params: &[
            param("since", Moment, "Since then; the last hour unless given"),
            param("until", Moment, "Before then"),
            param(
                "about",
                Text,
                "An application, an instance, an engine, a program's name or id, an operation's id",
            ),
            param("kind", Text, "Of this kind"),
            param("by", Text, "By whom"),
            LIMIT,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(events(site, asked)),
    },
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/alarms",
        about: "List what is wrong and stays so until something is done",
        params: &[],
        body: Parameters,
        run: |site, _| Box::pin(alarms(site)),
    },
];

async fn status(site: Arc<Site>, asked: Asked) -> Answer {
    let client = site.client();
    let report = client
        .request_status_reports(asked.time("timeout").unwrap_or(ANSWER_TIMEOUT))
        .await?;
    Ok(answer(&client.fleet_status(&report).await?))
}

/// The rows that are asked for, of as many as the answer's head says.
fn rows<R: Serialize>(asked: &Asked, all: Vec<R>, fields: &'static [Field<R>]) -> Answer {
    let query = Query::new(asked.text("where"), asked.text("sort"), None, fields);
    let query = query.map_err(|error| bad_usage(format!("{}: {error}", error.part())))?;
    let found = query.of(all);
    let count = |name, default| usize::try_from(asked.count(name).unwrap_or(default)).unwrap_or(usize::MAX);
    let limit = count("limit", ROWS_MAX).min(ROWS_MAX as usize);
    let page: Vec<&R> = found.iter().skip(count("from", 0)).take(limit).collect();
    let mut response = answer(&page);
    response
        .headers_mut()
        .insert(TOTAL, HeaderValue::from(found.len()));
    Ok(response)
}

async fn engines(site: Arc<Site>, asked: Asked) -> Answer {
    let numbers = site.client().numbers().await?.unwrap_or_default();
    let engines = with_numbers(site.hub().look().await?.engines(), numbers.engines);
    rows(&asked, engines, &ENGINE_FIELDS)
}

async fn programs(site: Arc<Site>, asked: Asked) -> Answer {
    let mut numbers = site.client().numbers().await?.unwrap_or_default();
    let mut programs = site.hub().look().await?.programs();
    if !asked.flag("all") && asked.text("where").is_none() {
        let now_ms = now_ms();
        programs.retain(|listed| listed.is_recent(now_ms));
    }
    for listed in &mut programs {
        listed.numbers = numbers.programs.remove(&listed.view.status.program);
    }
    rows(&asked, programs, &PROGRAM_FIELDS)
}

async fn engine(site: Arc<Site>, asked: Asked) -> Answer {
    let found = site.client().engine(asked.required("engine")?).await?;
    let view = site.hub().look().await?;
    Ok(answer(view.engine(&found.engine).unwrap_or(&found)))
}

async fn program(site: Arc<Site>, asked: Asked) -> Answer {
    let found = site.client().program(asked.required("program")?).await?;
    let view = site.hub().look().await?;
    Ok(match view.program(found.status.program) {
        Some(listed) => answer(listed),
        None => answer(&found),
    })
}

/// What is kept of a program that the fleet does not know any more is found by its id.
async fn logs(site: Arc<Site>, asked: Asked) -> Answer {
    let wanted = asked.required("program")?;
    let (program, is_there) = match site.client().program(wanted).await {
        Ok(view) => (view.status.program, true),
        Err(error) => match wanted.parse::<ProgramId>() {
            Ok(program) => (program, false),
            Err(_) => return Err(error.into()),
        },
    };
    let mut lines = stored(&site, &asked, program).await?;
    if is_there {
        let next = lines
            .last()
            .map_or(0, |line| line.line + 1)
            .max(asked.count("from_line").unwrap_or(0));
        lines.extend(of_engine(&site, program, next, !lines.is_empty()).await?);
    }
    let (since, until) = (
        asked.moment("since").unwrap_or(0),
        asked.moment("until").unwrap_or(u64::MAX),
    );
    lines.retain(|line| (since..until).contains(&line.at_ms));
    let last = asked
        .count("lines")
        .map_or(LINES_MAX, |last| usize::try_from(last).unwrap_or(LINES_MAX));
    let from = lines.len().saturating_sub(last.min(LINES_MAX));
    Ok(answer(&lines.get(from..).unwrap_or_default()))
}

async fn stored(site: &Site, asked: &Asked, program: ProgramId) -> Result<Vec<LogLine>, Problem> {
    let mut lines = Vec::new();
    if !site.client().somebody_acts().await? {
        return Ok(lines);
    }
    let mut wanted = LinesWanted {
        from: asked.count("from_line").unwrap_or(0),
        last: asked.count("lines").and_then(|last| u32::try_from(last).ok()),
        since_ms: asked.moment("since"),
        until_ms: asked.moment("until"),
        ..LinesWanted::of(program)
    };
    loop {
        let page = match site.client().stored_lines(&wanted, asked.timeout()).await {
            Ok(page) => page,
            // A dispatcher of an earlier release keeps none.
            Err(error) if lines.is_empty() => {
                tracing::debug!(%error, "no lines are kept");
                return Ok(lines);
            }
            Err(error) => return Err(error.into()),
        };
        lines.extend(page.lines);
        match page.next {
            Some(from) if lines.len() < LINES_MAX => (wanted.from, wanted.last) = (from, None),
            _ => return Ok(lines),
        }
    }
}

async fn of_engine(
    site: &Site,
    program: ProgramId,
    since: u64,
    has_stored: bool,
) -> Result<Vec<LogLine>, Problem> {
    let mut lines = Vec::new();
    let mut stream = site.client().logs(program, since, Follow::No).await?;
    while let Some(item) = stream.next().await {
        match item {
            Ok(LogItem::Line(line)) => lines.push(line),
            Ok(LogItem::Gap { .. }) => {}
            // What is stored can be read all the same.
            Err(CommandError::EngineOffline { .. } | CommandError::NoAnswer { .. }) if has_stored => break,
            Err(error) => return Err(error.into()),
        }
        if lines.len() >= LINES_MAX {
            break;
        }
    }
    Ok(lines)
}

async fn operations(site: Arc<Site>, asked: Asked) -> Answer {
    let state = asked.text("state").map(|word| {
        serde_json::from_value::<OperationState>(word.into())
            .map_err(|_| bad_usage("'state': waiting, running, done, failed or cancelled is expected"))
    });
    let text = |name| asked.text(name).map(str::to_owned);
    let wanted = OperationsWanted {
        state: state.transpose()?,
        engine: text("engine"),
        program: text("program"),
        by: text("by"),
        batch: None,
        since_ms: asked.moment("since"),
        after: None,
        limit: Some(
            asked
                .count("limit")
                .map_or(100, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        ),
    };
    let found = site.client().operations(&wanted, asked.timeout()).await?;
    let documents: Vec<Value> = found.iter().map(documents::operation).collect();
    Ok(answer(&documents))
}

async fn events(site: Arc<Site>, asked: Asked) -> Answer {
    let text = |name| asked.text(name).map(str::to_owned);
    let wanted = EventsWanted {
        about: text("about"),
        kind: text("kind"),
        by: text("by"),
        until_ms: asked.moment("until"),
    };
    let since_ms = asked
        .moment("since")
        .unwrap_or_else(|| now_ms().saturating_sub(EVENTS_MS));
    let limit = asked
        .count("limit")
        .map_or(EVENTS_MAX, |limit| usize::try_from(limit).unwrap_or(EVENTS_MAX));
    let limit = limit.min(EVENTS_MAX);
    let (mut found, mut after) = (std::collections::VecDeque::new(), None);
    loop {
        let ask = Ask::Events {
            since_ms,
            after,
            wanted: wanted.clone(),
        };
        let part: Vec<Decision> = site.client().ask_apps(&ask, asked.timeout()).await?;
        let Some(last) = part.last() else { break };
        after = Some((last.term, last.sequence));
        found.extend(part.into_iter().filter(|decision| wanted.takes(decision)));
        while found.len() > limit {
            found.pop_front();
        }
    }
    let documents: Vec<Value> = found.iter().map(documents::decision).collect();
    Ok(answer(&documents))
}

async fn alarms(site: Arc<Site>) -> Answer {
    Ok(answer(&json!(site.hub().look().await?.alarms())))
}
