//! What is attached to engines.

use std::sync::Arc;

use serde_json::json;
use wayfare_client::AskError;
use wayfare_client::problem::Problem;
use wayfare_client::typed::parse_setting;
use wayfare_protocol::device::Alias;
use wayfare_protocol::error::Failure;

use super::parameters::{DRY_RUN, ENGINE, TIMEOUT};
use crate::answers::{Answer, bad_usage, json as answer};
use crate::asked::Asked;
use crate::offer::Method::{Get, Post};
use crate::offer::Offer;
use crate::params::Body::Parameters;
use crate::params::Kind::Text;
use crate::params::{Param, param};
use crate::site::Site;

const DEVICE: Param = param("device", Text, "By alias, as the engine's configuration calls it");

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/engines/{engine}/devices",
        about: "Show what each device of an engine gives",
        params: &[ENGINE, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(all(site, asked)),
    },
    Offer {
        verb: Some("device get"),
        method: Get,
        path: "/api/v1/engines/{engine}/devices/{device}",
        about: "Show what a device gives: of a simulated one also what programs have made of it",
        params: &[ENGINE, DEVICE, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(get(site, asked)),
    },
    Offer {
        verb: Some("device set"),
        method: Post,
        path: "/api/v1/engines/{engine}/devices/{device}",
        about: "Set what programs read of a simulated device",
        params: &[
            ENGINE,
            DEVICE,
            param(
                "value",
                Text,
                "on or off for a gpio-in, a number for an adc, text that a serial port receives",
            ),
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(set(site, asked)),
    },
];

fn alias(asked: &Asked) -> Result<Alias, Problem> {
    let alias: Result<Alias, _> = asked.required("device")?.parse();
    alias.map_err(|error| bad_usage(error.to_string()))
}

async fn all(site: Arc<Site>, asked: Asked) -> Answer {
    let view = site.client().engine(asked.required("engine")?).await?;
    let readings = site.readings().all(site.client(), &view, asked.timeout()).await?;
    Ok(answer(&readings))
}

async fn get(site: Arc<Site>, asked: Asked) -> Answer {
    let engine = site.client().engine(asked.required("engine")?).await?.engine;
    let reading = site
        .readings()
        .get(site.client(), &engine, alias(&asked)?, asked.timeout());
    Ok(answer(&reading.await?))
}

async fn set(site: Arc<Site>, asked: Asked) -> Answer {
    let client = site.client();
    let (view, alias) = (client.engine(asked.required("engine")?).await?, alias(&asked)?);
    client.refuse_if_held().await?;
    let (engine, value) = (view.engine, asked.required("value")?);
    let about = view.about.as_ref().and_then(|about| about.devices.get(&alias));
    let Some(about) = about else {
        return Err(AskError::Failed(Failure::NoDevice { engine, alias }).into());
    };
    let setting = parse_setting(about.kind, value).map_err(bad_usage)?;
    if asked.flag("dry_run") {
        return Ok(answer(
            &json!({ "would": "set", "engine": engine, "device": alias, "setting": setting }),
        ));
    }
    let reading = site
        .readings()
        .set(client, &engine, (alias, setting), asked.timeout());
    Ok(answer(&reading.await?))
}
