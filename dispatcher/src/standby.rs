//! Standing by: a session of its own, which hears who acts, tells that one that it is there, and does nothing
//! else.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use wayfare_client::app::ask::Ask;
use wayfare_client::{Client, ClientOptions, Session};
use wayfare_dispatcher_core::alarms::broker::BrokerWatch;
use wayfare_protocol::ids::{OperationId, Term};

use crate::clock::now;
use crate::lease::Watch;
use crate::options::ServiceOptions;

/// Between two tries to reach a broker.
const BROKER_RETRY: Duration = Duration::from_secs(1);
/// Those who stand by try within this of each other.
const JITTER_MS_MAX: u64 = 300;

/// Waits until nobody acts, as far as can be told; answers with the highest term there has been.
pub(crate) async fn until_free(options: &ServiceOptions, broker: &mut BrokerWatch) -> Term {
    loop {
        let mut connect = ClientOptions::new(options.broker.clone());
        connect.topics = options.topics.clone();
        let client = format!("standby-{}", OperationId::random().short());
        // The statuses of a large fleet are read by the one who acts.
        connect.session = Session::Services;
        connect.client = client.parse().expect("letters, digits and a hyphen make a name");
        match Client::connect(connect).await {
            Ok(client) => {
                broker.reached(now());
                let term = tokio::select! {
                    term = watch(&client) => term,
                    never = say_so(&client, options) => match never {},
                };
                client.close().await;
                if let Some(term) = term {
                    return term;
                }
            }
            Err(error) => {
                broker.unreached(now());
                tracing::debug!(%error, "no broker yet");
            }
        }
        sleep(BROKER_RETRY).await;
    }
}

/// Tells whoever acts that one more stands by. One of an earlier release does not know what that is, and
/// nobody depends on it.
async fn say_so(client: &Client, options: &ServiceOptions) -> Infallible {
    let ask = Ask::StandsBy {
        dispatcher: options.name.clone(),
        every_ms: u64::try_from(options.lease.as_millis()).unwrap_or(u64::MAX),
    };
    let mut ticks = interval(options.lease.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = client.ask_apps::<Value>(&ask, options.lease).await {
            tracing::debug!(%error, "whoever acts does not know that this one stands by");
        }
    }
}

/// `None` if the link was closed.
async fn watch(client: &Client) -> Option<Term> {
    let begun = Instant::now();
    let now_ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut watch = Watch::default();
    let mut leases = client.watch_lease().await?;
    let jitter_ms = RandomState::new().hash_one(begun) % JITTER_MS_MAX;
    loop {
        watch.heard(leases.latest(), now_ms());
        let at = watch
            .try_at_ms(jitter_ms)
            .map(|ms| begun + Duration::from_millis(ms));
        tokio::select! {
            changed = leases.changed() => changed?,
            () = until(at) => return Some(watch.term()),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
