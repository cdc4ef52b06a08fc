//! Orders about programs that are there. Each answers when it has ended, as the command does.

use std::sync::Arc;

use axum::body::Body as Stream;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use serde_json::json;
use wayfare_client::operations::{OperationAsk, OperationRecord, QueuePolicy, Queueing};
use wayfare_client::problem::Problem;
use wayfare_client::{CommandOptions, Expiry, Marked, Offline, Operation, Order, ResumeMode, documents};
use wayfare_protocol::ids::is_name;

use super::parameters::{DRY_RUN, PROGRAM, TIMEOUT};
use crate::answers::{Answer, bad_usage, json as answer, json_as};
use crate::asked::Asked;
use crate::offer::Method::{Delete, Get, Post};
use crate::offer::Offer;
use crate::params::Body::Parameters;
use crate::params::Kind::{Flag, Text, Time};
use crate::params::{Param, param};
use crate::site::Site;

pub(super) const NO_WAIT: Param = param(
    "no_wait",
    Flag,
    "Answer with the operation's id as soon as the engine has all it needs",
);
pub(super) const WAIT_FOR_ENGINE: Param = param(
    "wait_for_engine",
    Flag,
    "Wait for an engine that is offline, instead of failing at once",
);
pub(super) const EVEN_CORDONED: Param = param(
    "even_cordoned",
    Flag,
    "Take the engine even if it is cordoned, being emptied or about to stop",
);
pub(super) const EXPIRES: Param = param(
    "expires",
    Time,
    "Wait for an engine that is offline for so long at most, such as 10m; an order that was not given by then has expired",
);
pub(super) const COALESCE: Param = param(
    "coalesce",
    Text,
    "Join an order that waits already and has this key, or with an empty one asks for the same",
);
pub(super) const SUPERSEDE: Param = param(
    "supersede",
    Text,
    "Withdraw orders that wait and have this key, or with an empty one are of the same verb about the same program",
);
const TO: Param = param("to", Text, "The engine to go to");
const OPERATION: Param = param("operation", Text, "By its id, or a unique beginning of it");

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("move"),
        method: Post,
        path: "/api/v1/programs/{program}/move",
        about: "Move a running program to another engine",
        params: &[
            PROGRAM,
            TO,
            EVEN_CORDONED,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(move_program(site, asked)),
    },
    Offer {
        verb: Some("spawn"),
        method: Post,
        path: "/api/v1/programs/{program}/spawn",
        about: "Copy a running program to another engine; the original runs on",
        params: &[
            PROGRAM,
            TO,
            param("name", Text, "The copy's name"),
            EVEN_CORDONED,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(spawn(site, asked)),
    },
    Offer {
        verb: Some("pause"),
        method: Post,
        path: "/api/v1/programs/{program}/pause",
        about: "Hold a program where it is",
        params: &[
            PROGRAM,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(on_program(site, asked, |program| Order::Pause { program })),
    },
    Offer {
        verb: Some("resume"),
        method: Post,
        path: "/api/v1/programs/{program}/resume",
        about: "Let a program run on",
        params: &[
            PROGRAM,
            param(
                "force",
                Flag,
                "Take it back from an engine that is gone for good in the middle of a move",
            ),
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(resume(site, asked)),
    },
    Offer {
        verb: Some("kill"),
        method: Delete,
        path: "/api/v1/programs/{program}",
        about: "End a program and forget it; by its whole name, or its id",
        params: &[
            PROGRAM,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(on_program(site, asked, |program| Order::Kill { program })),
    },
    Offer {
        verb: Some("snapshot"),
        method: Post,
        path: "/api/v1/programs/{program}/snapshot",
        about: "Capture a running program; answers with the snapshot file",
        params: &[PROGRAM, WAIT_FOR_ENGINE, EXPIRES, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(snapshot(site, asked)),
    },
    Offer {
        verb: Some("ops show"),
        method: Get,
        path: "/api/v1/ops/{operation}",
        about: "Show an operation",
        params: &[OPERATION, TIMEOUT],
        body: Parameters,
        run: |site, asked| {
            Box::pin(operation(site, asked, |operation| OperationAsk::Show {
                operation,
            }))
        },
    },
    Offer {
        verb: Some("ops wait"),
        method: Get,
        path: "/api/v1/ops/{operation}/wait",
        about: "Show an operation when it has ended",
        params: &[OPERATION, TIMEOUT],
        body: Parameters,
        run: |site, asked| {
            Box::pin(operation(site, asked, |operation| OperationAsk::Wait {
                operation,
            }))
        },
    },
    Offer {
        verb: Some("ops cancel"),
        method: Post,
        path: "/api/v1/ops/{operation}/cancel",
        about: "Withdraw an order that still waits for its engine",
        params: &[OPERATION, TIMEOUT],
        body: Parameters,
        run: |site, asked| {
            let by = Some(site.by().to_owned());
            Box::pin(operation(site, asked, |operation| OperationAsk::Cancel {
                operation,
                by,
            }))
        },
    },
];

pub(super) fn options(asked: &Asked) -> Result<CommandOptions, Problem> {
    let expires = asked.time("expires");
    Ok(CommandOptions {
        time_limit: asked.timeout(),
        expires: expires.map(Expiry::after),
        queueing: queueing(asked)?,
        offline: match asked.flag("wait_for_engine") || expires.is_some() {
            true => Offline::Wait,
            false => Offline::Fail,
        },
        marked: match asked.flag("even_cordoned") {
            true => Marked::Take,
            false => Marked::Refuse,
        },
        ..CommandOptions::default()
    })
}

/// What an order has to do with others that wait.
fn queueing(asked: &Asked) -> Result<Option<Queueing>, Problem> {
    let (policy, key) = match (asked.text("coalesce"), asked.text("supersede")) {
        (None, None) => return Ok(None),
        (Some(key), None) => (QueuePolicy::Coalesce, key),
        (None, Some(key)) => (QueuePolicy::Supersede, key),
        (Some(_), Some(_)) => return Err(bad_usage("give one of 'coalesce' and 'supersede'")),
    };
    if !key.is_empty() && !is_name(key) {
        return Err(bad_usage("a key is made of letters, digits, '-', '_' and '.'"));
    }
    let key = (!key.is_empty()).then(|| key.to_owned());
    Ok(Some(Queueing { policy, key }))
}

/// Gives an order, or says what it would do.
pub(super) async fn give(site: &Site, asked: &Asked, order: Order) -> Answer {
    let options = options(asked)?;
    if asked.flag("dry_run") {
        return Ok(answer(&site.client().would(order, &options).await?));
    }
    let mut operation = site.client().apply(order, &options).await?;
    if asked.flag("no_wait") {
        operation.delivered().await?;
        let document = json!({ "operation": operation.id(), "engine": operation.engine() });
        let document = documents::noted(document, operation.queue_note());
        return Ok(json_as(StatusCode::ACCEPTED, &document));
    }
    let (id, note) = (operation.id(), operation.queue_note());
    let finished = ended(site, operation).await?;
    Ok(answer(&documents::noted(
        documents::finished(id, &finished),
        note,
    )))
}

async fn ended(site: &Site, operation: Operation) -> Result<wayfare_client::Finished, Problem> {
    let finished = operation.wait().await;
    site.hub().stale().await?;
    Ok(finished?)
}

async fn on_program(site: Arc<Site>, asked: Asked, order: fn(String) -> Order) -> Answer {
    let order = order(asked.required("program")?.to_owned());
    give(&site, &asked, order).await
}

async fn move_program(site: Arc<Site>, asked: Asked) -> Answer {
    let order = Order::Move {
        program: asked.required("program")?.to_owned(),
        to: asked.required("to")?.to_owned(),
    };
    give(&site, &asked, order).await
}

async fn spawn(site: Arc<Site>, asked: Asked) -> Answer {
    let order = Order::Spawn {
        program: asked.required("program")?.to_owned(),
        to: asked.required("to")?.to_owned(),
        name: asked.text("name").map(str::to_owned),
    };
    give(&site, &asked, order).await
}

async fn resume(site: Arc<Site>, asked: Asked) -> Answer {
    let order = Order::Resume {
        program: asked.required("program")?.to_owned(),
        mode: match asked.flag("force") {
            true => ResumeMode::Force,
            false => ResumeMode::Normal,
        },
    };
    give(&site, &asked, order).await
}

async fn snapshot(site: Arc<Site>, asked: Asked) -> Answer {
    let program = asked.required("program")?.to_owned();
    let operation = site
        .client()
        .apply(Order::Snapshot { program }, &options(&asked)?)
        .await?;
    let file = ended(&site, operation).await?.into_bundle()?;
    let mut response = Response::new(Stream::from(file));
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"program.snapshot\""),
    );
    Ok(response)
}

async fn operation(site: Arc<Site>, asked: Asked, ask: impl FnOnce(String) -> OperationAsk) -> Answer {
    let ask = ask(asked.required("operation")?.to_owned());
    let record: OperationRecord = site.client().ask_operations(&ask, asked.timeout()).await?;
    Ok(answer(&documents::operation(&record)))
}
