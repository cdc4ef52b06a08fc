//! Messages that are published, and calls of programs' services.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;
use wayfare_client::Retain;
use wayfare_client::calls::{CallError, CallOptions, Caller, Provider};
use wayfare_client::documents::now_ms;
use wayfare_client::problem::{Problem, not_taken};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{About, Expiry};
use wayfare_protocol::choice::{Choice, Loads};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

use super::parameters::TIMEOUT;
use crate::answers::{Answer, bad_usage, json as answer, overloaded};
use crate::asked::Asked;
use crate::listening::listen;
use crate::offer::Method::{Get, Post};
use crate::offer::Offer;
use crate::params::Body::{Bytes, Parameters};
use crate::params::Kind::{Flag, Text, Time};
use crate::params::{Param, param};
use crate::site::Site;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const ADDRESS: Param = param(
    "address",
    Text,
    "service/NAME, program/NAME or program/ID, or a set: app/NAME, engine/NAME or label/KEY=VALUE",
);

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/messages",
        about: "Show what is published, as server-sent events: message, and missed where the reader was too slow",
        params: &[
            param(
                "filter",
                Text,
                "Topics, with + for any level and # for all that follow, such as site/+/temperature. The fleet's own are left out, \
                 unless it begins with theirs",
            ),
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(listen(site, asked)),
    },
    Offer {
        verb: None,
        method: Post,
        path: "/api/v1/messages",
        about: "Publish a message",
        params: &[
            param("topic", Text, "Where to; not one of the fleet's own"),
            param(
                "retain",
                Flag,
                "The broker keeps it for those who subscribe later",
            ),
            TIMEOUT,
        ],
        body: Bytes {
            what: "the payload",
            media_type: "application/octet-stream",
            bytes_max: PAYLOAD_BYTES_MAX as u64,
        },
        run: |site, asked| Box::pin(publish(site, asked)),
    },
    Offer {
        verb: Some("services"),
        method: Get,
        path: "/api/v1/services",
        about: "List services, and the programs that provide them",
        params: &[
            param(
                "all",
                Flag,
                "Every address at which a program can be called, not only services",
            ),
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(services(site, asked)),
    },
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/services/{service}",
        about: "Show who provides a service, and its schema: null where its provider has given it none, or why it is not known",
        params: &[param("service", Text, "By name"), TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(service(site, asked)),
    },
    Offer {
        verb: Some("call"),
        method: Post,
        path: "/api/v1/call",
        about: "Call a function of a program, and wait for its answer",
        params: &[
            ADDRESS,
            param("function", Text, "The function's name"),
            param("raw", Flag, "The arguments are bytes of any kind"),
            param(
                "choose",
                Text,
                "Which of several programs is called, such as least-cpu or label=zone=attic",
            ),
            TIMEOUT,
        ],
        body: Bytes {
            what: "the arguments, null unless given",
            media_type: "application/json",
            bytes_max: PAYLOAD_BYTES_MAX as u64,
        },
        run: |site, asked| Box::pin(call(site, asked)),
    },
    Offer {
        verb: Some("send"),
        method: Post,
        path: "/api/v1/send",
        about: "Send a message to a program, or to each of a set",
        params: &[
            ADDRESS,
            param(
                "type",
                Text,
                "What messages of this sort are called, for the receiver",
            ),
            param(
                "order",
                Text,
                "The receiver handles one message of this key at a time",
            ),
            param("expires", Time, "It is of no use later than that"),
            param("wait", Time, "Wait until it is taken, for so long"),
        ],
        body: Bytes {
            what: "the payload",
            media_type: "application/octet-stream",
            bytes_max: PAYLOAD_BYTES_MAX as u64,
        },
        run: |site, asked| Box::pin(send(site, asked)),
    },
];

async fn publish(site: Arc<Site>, mut asked: Asked) -> Answer {
    let retain = match asked.flag("retain") {
        true => Retain::Yes,
        false => Retain::No,
    };
    let payload = asked.take_body();
    let (topic, bytes) = (asked.required("topic")?, payload.len());
    site.client()
        .publish(topic, payload, retain, asked.timeout())
        .await?;
    Ok(answer(&json!({ "topic": topic, "bytes": bytes })))
}

/// A provider, and what became of its program, as the command shows them: one that is lost with its engine
/// stays announced.
async fn services(site: Arc<Site>, asked: Asked) -> Answer {
    let _room = room_to_call(&site)?;
    let caller = caller(&site, None, asked.timeout()).await?;
    let mut providers = caller.providers();
    caller.close().await;
    providers.retain(|one| asked.flag("all") || one.address.service_name().is_some());
    Ok(answer(&listed(&site, &providers).await?))
}

async fn listed(site: &Site, providers: &[Provider]) -> Result<Vec<Value>, Problem> {
    let view = site.hub().look().await?;
    let listed = providers.iter().map(|provider| {
        let mut document = json!(provider);
        let found = view.program(provider.announcement.program);
        document["state"] = found.map_or("gone", |listed| listed.view.word()).into();
        document
    });
    Ok(listed.collect())
}

async fn service(site: Arc<Site>, asked: Asked) -> Answer {
    let _room = room_to_call(&site)?;
    let name = asked.required("service")?;
    let address =
        Address::of_service(name).ok_or_else(|| bad_usage(format!("'{name}' is no service's name")))?;
    let mut caller = caller(&site, Some(&address), asked.timeout()).await?;
    let (providers, schema) = (caller.providers(), caller.schema(name).await);
    caller.close().await;
    let (schema, why) = match schema {
        Ok(schema) => (schema, None),
        Err(error @ CallError::Failed { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let read = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
    let mut document = json!({
        "service": name,
        "providers": listed(&site, &providers).await?,
        "schema": schema.map_or(Value::Null, read),
    });
    if let Some(why) = why {
        document["unknown"] = why.into();
    }
    Ok(answer(&document))
}

async fn caller(site: &Site, address: Option<&Address>, limit: Duration) -> Result<Caller, Problem> {
    Ok(Caller::of(site.client(), address, limit.min(CONNECT_TIMEOUT)).await?)
}

fn address(asked: &Asked) -> Result<Address, Problem> {
    let address: Result<Address, _> = asked.required("address")?.parse();
    address.map_err(|error| bad_usage(format!("'address': {error}")))
}

/// Each has a session of its own at the broker.
fn room_to_call(site: &Site) -> Result<SemaphorePermit<'_>, Problem> {
    let room = site.calls().try_acquire();
    room.map_err(|_| overloaded("too many calls are under way"))
}

async fn call(site: Arc<Site>, mut asked: Asked) -> Answer {
    let arguments = match asked.take_body() {
        body if body.is_empty() && !asked.flag("raw") => b"null".to_vec(),
        body => body,
    };
    if !asked.flag("raw")
        && let Err(error) = serde_json::from_slice::<Value>(&arguments)
    {
        return Err(bad_usage(format!("the arguments are not JSON: {error}")));
    }
    let (address, function) = (address(&asked)?, asked.required("function")?);
    let choose = asked.text("choose").map_or(Ok(Choice::default()), str::parse);
    let choose = choose.map_err(|error| bad_usage(format!("'choose': {error}")))?;
    let _room = room_to_call(&site)?;
    // The service that picks has to be known as well: so everybody is.
    let known = Some(&address).filter(|_| choose.service().is_none());
    let mut caller = caller(&site, known, asked.timeout()).await?;
    let called = chosen(
        &site,
        &mut caller,
        (&address, choose),
        (function, &arguments),
        asked.timeout(),
    )
    .await;
    caller.close().await;
    let result = called?;
    let text = || String::from_utf8_lossy(&result).into_owned();
    let value: Value = serde_json::from_slice(&result).unwrap_or_else(|_| text().into());
    Ok(answer(&json!({ "result": value })))
}

async fn chosen(
    site: &Site,
    caller: &mut Caller,
    (address, choose): (&Address, Choice),
    what: (&str, &[u8]),
    limit: Duration,
) -> Result<Vec<u8>, Problem> {
    let began = Instant::now();
    let loads = match caller.asks(address, &choose) {
        Some(ask) => site.client().loads(&ask, limit).await?,
        None => Loads::new(),
    };
    let options = CallOptions {
        progress: false,
        choose,
        loads,
    };
    // What was asked before has taken some of the time.
    let left = limit.saturating_sub(began.elapsed());
    let open = caller.begin_with(address, what, left, &options).await?;
    Ok(caller.end(&open, |_| {}).await?)
}

async fn send(site: Arc<Site>, mut asked: Asked) -> Answer {
    let payload = asked.take_body();
    let word = |name| asked.text(name).map(str::to_owned);
    let about = About {
        kind: word("type"),
        ordered: word("order"),
        expires: asked.time("expires").map(|after| Expiry {
            sent_ms: now_ms(),
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        }),
        receipt: asked.time("wait").is_some(),
    };
    let address = address(&asked)?;
    let _room = room_to_call(&site)?;
    let mut caller = caller(&site, Some(&address), CONNECT_TIMEOUT).await?;
    let sent = async {
        let sent = caller.send(&address, &payload, &about).await?;
        let failures = match asked.time("wait") {
            Some(limit) => caller.delivered(&sent, limit).await?,
            None => Vec::new(),
        };
        match not_taken(&failures, sent.to.len()) {
            Some(problem) => Err(problem),
            None => Ok(sent.to),
        }
    };
    let sent = sent.await;
    caller.close().await;
    let programs = sent?;
    Ok(answer(
        &json!({ "address": address, "program": programs.first(), "programs": programs }),
    ))
}
