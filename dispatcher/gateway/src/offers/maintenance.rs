//! The fleet's maintenance.

use std::sync::Arc;

use wayfare_client::app::ask::Ask;
use wayfare_protocol::ids::EngineId;

use super::apps::ask;
use super::parameters::{DRY_RUN, ENGINE, TIMEOUT};
use crate::answers::Answer;
use crate::asked::Asked;
use crate::offer::Method::{Delete, Get, Post};
use crate::offer::Offer;
use crate::params::Body::Parameters;
use crate::params::Kind::{Text, Time};
use crate::params::param;
use crate::site::Site;

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("engine cordon"),
        method: Post,
        path: "/api/v1/engines/{engine}/cordon",
        about: "Give an engine nothing new",
        params: &[ENGINE, DRY_RUN, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(on_engine(site, asked, |engine| Ask::Cordon { engine })),
    },
    Offer {
        verb: Some("engine uncordon"),
        method: Post,
        path: "/api/v1/engines/{engine}/uncordon",
        about: "Let an engine get what is new again",
        params: &[ENGINE, DRY_RUN, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(on_engine(site, asked, |engine| Ask::Uncordon { engine })),
    },
    Offer {
        verb: Some("engine drain"),
        method: Post,
        path: "/api/v1/engines/{engine}/drain",
        about: "Empty an engine: what it has goes elsewhere. Answers at once; what is left is asked for",
        params: &[ENGINE, DRY_RUN, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(on_engine(site, asked, |engine| Ask::Drain { engine })),
    },
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/engines/{engine}/left",
        about: "Show what is left on an engine that is being emptied, and why",
        params: &[ENGINE, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(on_engine(site, asked, |engine| Ask::Left { engine })),
    },
    Offer {
        verb: Some("engine forget"),
        method: Delete,
        path: "/api/v1/engines/{engine}",
        about: "Remove what the dispatcher keeps of an engine that is gone for good; its retained status stays until `wayfare engine forget`",
        params: &[ENGINE, DRY_RUN, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(on_engine(site, asked, |engine| Ask::Forget { engine })),
    },
    Offer {
        verb: Some("hold"),
        method: Post,
        path: "/api/v1/hold",
        about: "Hold the fleet: nothing is decided and no order taken until it is released",
        params: &[
            param("for", Time, "For so long; until it is released unless given"),
            param("reason", Text, "Why, for people"),
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(hold(site, asked)),
    },
    Offer {
        verb: Some("release"),
        method: Post,
        path: "/api/v1/release",
        about: "End a hold",
        params: &[TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(async move { ask(&site, &asked, Ask::Release).await }),
    },
];

/// By its whole name: none of this is for one whose name only begins like that.
async fn on_engine(site: Arc<Site>, asked: Asked, make: fn(EngineId) -> Ask) -> Answer {
    let engine = site
        .client()
        .whole_engine(asked.required("engine")?)
        .await?
        .engine;
    ask(&site, &asked, make(engine)).await
}

async fn hold(site: Arc<Site>, asked: Asked) -> Answer {
    let limit = asked.time("for");
    let hold = Ask::Hold {
        for_ms: limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        reason: asked.text("reason").map(str::to_owned),
    };
    ask(&site, &asked, hold).await
}
