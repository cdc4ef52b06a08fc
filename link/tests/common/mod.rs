//! A broker of either kind, and clients with short names.

#![allow(dead_code, reason = "each test file uses its part of this")]

pub(crate) mod proxy;

use std::future::Future;
use std::time::Duration;

use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence};
use wayfare_link::{
    BrokerOptions, BrokerUrl, EmbeddedBroker, Event, Incoming, Link, LinkEvents, LinkOptions, connect,
};

/// Nothing in these tests takes longer when it works.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) enum Broker {
    Embedded(EmbeddedBroker),
    Mosquitto(MosquittoProcess),
}

impl Broker {
    pub(crate) async fn embedded() -> Option<Self> {
        Some(Self::Embedded(
            EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap(),
        ))
    }

    pub(crate) async fn mosquitto() -> Option<Self> {
        Self::mosquitto_with(Persistence::None).map(Self::Mosquitto)
    }

    pub(crate) fn mosquitto_with(persistence: Persistence) -> Option<MosquittoProcess> {
        let options = MosquittoOptions {
            persistence,
            ..MosquittoOptions::default()
        };
        MosquittoProcess::start(options).unwrap()
    }

    pub(crate) fn url(&self) -> BrokerUrl {
        match self {
            Self::Embedded(broker) => broker.local_addr().into(),
            Self::Mosquitto(broker) => broker.local_addr().into(),
        }
    }

    pub(crate) async fn stop(self) {
        match self {
            Self::Embedded(broker) => broker.shutdown().await.unwrap(),
            Self::Mosquitto(mut broker) => broker.kill(),
        }
    }
}

/// Makes the test once for each kind of broker.
#[macro_export]
macro_rules! on_both_brokers {
    ($($test:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let broker = $crate::common::Broker::embedded().await.expect("it is built in");
                super::$test(&broker).await;
                broker.stop().await;
            })*
        }
        mod on_mosquitto {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(broker) = $crate::common::Broker::mosquitto().await {
                    super::$test(&broker).await;
                    broker.stop().await;
                }
            })*
        }
    };
}

/// What the test waits for, or a failure that names it.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A connected link; returns whether its session was found.
pub(crate) async fn connected(options: LinkOptions) -> (Link, LinkEvents, bool) {
    let (link, mut events) = connect(options).unwrap();
    let present = next_connection(&mut events).await;
    (link, events, present)
}

pub(crate) async fn next_connection(events: &mut LinkEvents) -> bool {
    soon("a connection", async {
        loop {
            match events.next().await {
                Some(Event::Connected { session_present, .. }) => return session_present,
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
    })
    .await
}

/// The next message; connections that come and go in between are passed over.
pub(crate) async fn next_message(events: &mut LinkEvents) -> Incoming {
    soon("a message", async {
        loop {
            match events.next().await {
                Some(Event::Received(incoming)) => return incoming,
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
    })
    .await
}

pub(crate) fn number(incoming: &Incoming) -> usize {
    std::str::from_utf8(&incoming.payload).unwrap().parse().unwrap()
}
