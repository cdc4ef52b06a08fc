//! `wayfare enroll`: which engine has which key.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wayfare_client::{Client, EngineView};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::labels;
use wayfare_protocol::trust::card::Card;
use wayfare_protocol::trust::roster::Roster;
use wayfare_protocol::wire;

use super::operator::{change, own_key, root_key};
use crate::args::operator::{
    EnrollApproveArgs, EnrollArgs, EnrollLsArgs, EnrollRmArgs, EnrollVerb, RosterArgs,
};
use crate::config::Settings;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};
use crate::trusting::{Authority, first_key};

/// What is retained as engines' cards, by whomever.
type Retained = BTreeMap<EngineId, Vec<u8>>;

pub(crate) async fn run(args: EnrollArgs, output: Output) -> Result {
    match args.verb {
        EnrollVerb::Ls(args) => list(&args, output).await,
        EnrollVerb::Approve(args) => approve(args, output).await,
        EnrollVerb::Rm(args) => remove(args, output).await,
    }
}

async fn list(args: &EnrollLsArgs, output: Output) -> Result {
    let settings = Settings::load(&args.roster.fleet)?;
    let topics = settings.topics.clone();
    let root = fleet_root(args.trust_root, &settings, &args.roster)?;
    let (roster, engines, retained) = with_fleet(&args.roster.fleet, async |client| {
        Ok((
            roster_of(client, &root).await?,
            client.engines().await?,
            cards(client).await?,
        ))
    })
    .await?;
    let shown: BTreeMap<&EngineId, &EngineView> = engines.iter().map(|view| (&view.engine, view)).collect();
    let mut names: Vec<&EngineId> = shown.keys().copied().chain(retained.keys()).collect();
    names.sort();
    names.dedup();
    let rows: Vec<Value> = names
        .into_iter()
        .map(|engine| {
            let key = shown.get(engine).and_then(|view| view.identity);
            let card = retained.get(engine);
            let card = card.and_then(|payload| Card::verify(&roster, &topics, engine, payload).ok());
            document(engine, key, card.as_ref())
        })
        .collect();
    output.print(&json!({ "engines": rows }), table)
}

async fn approve(args: EnrollApproveArgs, output: Output) -> Result {
    let engine = args.engine;
    let settings = Settings::load(&args.roster.fleet)?;
    let topics = settings.topics.clone();
    let key = first_key(&own_key(&args.roster.fleet)?)?;
    let root = fleet_root(args.trust_root, &settings, &args.roster)?;
    let given = labels::collect(args.label).map_err(Fail::usage)?;
    let card = with_fleet(&args.roster.fleet, async |client| {
        let roster = roster_of(client, &root).await?;
        let view = client
            .engines()
            .await?
            .into_iter()
            .find(|view| view.engine == engine);
        let (view, shown) = match view {
            Some(EngineView {
                identity: Some(shown),
                ..
            }) if args.key.is_some_and(|key| key != shown) => {
                let message = format!("engine {engine} shows another key: {shown}");
                return Err(Fail::new("key", message)
                    .hint("somebody else has its login, or it has made another key: look at its log"));
            }
            Some(view) => match view.identity {
                Some(shown) => (view, shown),
                None => return Err(no_key(&engine)),
            },
            None => return Err(no_key(&engine)),
        };
        let before = cards(client)
            .await?
            .get(&engine)
            .and_then(|payload| serial(payload));
        let highest = before.max(roster.revoked.get(&engine).copied());
        let about = view.about.as_ref();
        let card = Card {
            engine: engine.clone(),
            key: shown,
            serial: highest.unwrap_or(0).saturating_add(1),
            labels: match given.is_empty() {
                true => about.map(|about| about.labels.clone()).unwrap_or_default(),
                false => given,
            },
            host: args.host.or_else(|| about.map(|about| about.host.clone())),
        };
        let payload = card.encode(&key, &topics);
        if let Err(error) = Card::verify(&roster, &topics, &engine, &payload) {
            return Err(
                Fail::new("refused", format!("your key approves no engine here: {error}")).hint(
                    "`wayfare operator add NAME KEY --role enroller` lets you, by who has the root key",
                ),
            );
        }
        client.publish_card(&engine, payload).await?;
        Ok(card)
    })
    .await?;
    let document = document(&engine, Some(card.key), Some(&card));
    output.print(&document, |row| table(&json!({ "engines": [row] })))
}

async fn remove(args: EnrollRmArgs, output: Output) -> Result {
    let engine = args.engine;
    let serial = with_fleet(&args.roster.fleet, async |client| {
        Ok(cards(client)
            .await?
            .get(&engine)
            .and_then(|payload| serial(payload)))
    })
    .await?;
    let Some(serial) = serial else {
        let message = format!("engine {engine} has no card");
        return Err(Fail::new("card", message).hint("`wayfare enroll ls` lists those that have one"));
    };
    change(&args.roster, output, |authority| {
        let revoked = authority.roster.revoked.entry(engine.clone()).or_default();
        *revoked = serial.max(*revoked);
        Ok(())
    })
    .await?;
    with_fleet(&args.roster.fleet, async |client| {
        Ok(client.publish_card(&engine, Vec::new()).await?)
    })
    .await
}

/// The number of a card, whoever has signed it: the next one is above it.
fn serial(payload: &[u8]) -> Option<u64> {
    let card: Card = wire::decode(payload).ok()?;
    // Somebody may have retained the highest there is, so that none comes after it.
    (card.serial < u64::MAX / 2).then_some(card.serial)
}

async fn cards(client: &Client) -> Result<Retained> {
    let mut found = Retained::new();
    let refused = || Fail::new("broker", "the broker lets nobody read cards with this login");
    let mut cards = client.watch_cards().await.ok_or_else(refused)?;
    while let Ok((engine, payload)) = cards.try_recv() {
        if !payload.is_empty() {
            found.insert(engine, payload);
        }
    }
    Ok(found)
}

async fn roster_of(client: &Client, root: &PublicKey) -> Result<Roster> {
    match client.roster(root).await? {
        Some(Ok(roster)) => Ok(roster),
        Some(Err(error)) => Err(Fail::new("roster", error.to_string())),
        None => Err(Fail::new("roster", "the broker has no roster")
            .hint("who has the root key publishes it with `wayfare operator publish`")),
    }
}

/// The root key that a roster must be signed with.
fn fleet_root(given: Option<PublicKey>, settings: &Settings, args: &RosterArgs) -> Result<PublicKey> {
    if let Some(root) = given.or(settings.trust_root) {
        return Ok(root);
    }
    let file = root_key(args)?;
    if !file.exists() {
        return Err(Fail::usage("say which root key the fleet has: --trust-root"));
    }
    Ok(Authority::open(&file)?.public())
}

fn no_key(engine: &EngineId) -> Fail {
    let message = format!("engine {engine} shows no key");
    Fail::new("key", message)
        .hint("it is of an earlier release, or has not been connected yet: `wayfare enroll ls`")
}

fn document(engine: &EngineId, key: Option<PublicKey>, card: Option<&Card>) -> Value {
    let state = match (key, card) {
        (None, _) => "no-key",
        (Some(key), Some(card)) if card.key == key => "approved",
        (Some(_), Some(_)) => "other-key",
        (Some(_), None) => "not-approved",
    };
    json!({
        "engine": engine,
        "key": key,
        "state": state,
        "serial": card.map(|card| card.serial),
        "labels": card.map(|card| card.labels.clone()).unwrap_or_default(),
        "host": card.and_then(|card| card.host.clone()),
    })
}

fn table(document: &Value) -> Text {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = document["engines"].as_array().into_iter().flatten().map(|row| {
        let labels = row["labels"].as_object().into_iter().flatten();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={}", text(value)))
            .collect();
        vec![
            text(&row["engine"]),
            text(&row["state"]).replace('-', " "),
            labels.join(","),
            text(&row["key"]),
        ]
    });
    Text::table(&["ENGINE", "STATE", "LABELS", "KEY"], rows)
}
