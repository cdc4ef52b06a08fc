//! Several dispatchers on one root: one acts, the others stand by, whatever happens to it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use support::{Process, command};
use tokio::sync::watch;
use tokio::time::timeout;
use wayfare_dispatcher::{Dispatcher, DispatcherOptions};
use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker, Event, LinkOptions, Qos};
use wayfare_protocol::dispatcher::{Answer, Lease, LeaseState, Term};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

/// Above what anything takes, on machines that do much else.
const WAIT_MAX: Duration = Duration::from_secs(90);

struct Dispatching(Process);

impl Dispatching {
    fn start(broker: &BrokerUrl, name: &str, data: &std::path::Path) -> Self {
        let data = data.to_str().unwrap();
        let arguments = ["dispatcher", "--name", name, "--lease", "2s", "--data", data];
        Self(Process(command(&broker.to_string(), &arguments).spawn().unwrap()))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

/// The terms of everything that an acting dispatcher has said, in order, and who holds the lease.
#[derive(Default)]
struct Heard {
    terms: Vec<Term>,
    holder: Option<(String, Term)>,
    /// Every term's holder.
    holders: BTreeSet<(Term, String)>,
}

async fn listen(broker: BrokerUrl) -> watch::Receiver<Heard> {
    let topics = Topics::default();
    let mut options = LinkOptions::new(broker, "listener");
    options.subscriptions = vec![("wayfare/v1/#".into(), Qos::AtLeastOnce)];
    let (link, mut events) = wayfare_link::connect(options).unwrap();
    let (sender, heard) = watch::channel(Heard::default());
    tokio::spawn(async move {
        let _link = link;
        while let Some(event) = events.next().await {
            let Event::Received(incoming) = event else {
                continue;
            };
            match topics.parse(&incoming.topic) {
                Some(Topic::DispatcherLease) => {
                    let lease: Lease = wire::decode(&incoming.payload).unwrap();
                    let holder = (lease.dispatcher.to_string(), lease.term);
                    sender.send_modify(|heard| {
                        heard.holders.insert((lease.term, holder.0.clone()));
                        heard.holder = (lease.state == LeaseState::Held).then_some(holder);
                        if lease.state == LeaseState::Held {
                            heard.terms.push(lease.term);
                        }
                    });
                }
                Some(Topic::Reply(_)) => {
                    if let Ok(answer) = wire::decode::<Answer>(&incoming.payload) {
                        sender.send_modify(|heard| heard.terms.push(answer.term));
                    }
                }
                _ => {}
            }
        }
    });
    heard
}

/// Waits until somebody holds the lease in a later term than `after`.
async fn holder(heard: &mut watch::Receiver<Heard>, after: Term) -> (String, Term) {
    let later = |heard: &Heard| heard.holder.as_ref().is_some_and(|(_, term)| *term > after);
    let found = timeout(WAIT_MAX, heard.wait_for(later)).await;
    found.expect("somebody acts").unwrap().holder.clone().unwrap()
}

async fn asked(client: &Dispatcher) -> (String, Term) {
    let about = client
        .ask("about", serde_json::json!({}), WAIT_MAX)
        .await
        .unwrap();
    let term = serde_json::from_value(about["term"].clone()).unwrap();
    (about["dispatcher"].as_str().unwrap().to_owned(), term)
}

async fn one_acts_whatever_happens(broker: BrokerUrl) {
    let folder = tempfile::tempdir().unwrap();
    let mut heard = listen(broker.clone()).await;
    let start = |name: &str| Dispatching::start(&broker, name, folder.path());
    let (a, b) = (start("a"), start("b"));
    let of = |name: &str| if name == "a" { &a } else { &b };
    let client = Dispatcher::connect(DispatcherOptions::new(broker.clone()))
        .await
        .unwrap();

    let (first, term) = holder(&mut heard, Term(0)).await;
    assert_eq!(asked(&client).await, (first.clone(), term));

    // Held up, it is succeeded; when it goes on, it finds out and stands by.
    of(&first).signal("-STOP");
    let (second, later) = holder(&mut heard, term).await;
    assert_ne!(second, first);
    assert_eq!(asked(&client).await, (second.clone(), later));
    of(&first).signal("-CONT");
    for _ in 0..20 {
        assert_eq!(asked(&client).await, (second.clone(), later));
    }

    // Killed, it is succeeded by the one that stood by.
    of(&second).signal("-KILL");
    let (third, last) = holder(&mut heard, later).await;
    assert_eq!(third, first);
    assert_eq!(asked(&client).await, (third, last));

    client.close().await;
    let heard = heard.borrow();
    assert!(
        heard.terms.is_sorted(),
        "an older term was heard after a later one: {:?}",
        heard.terms
    );
    let terms: BTreeSet<Term> = heard.holders.iter().map(|(term, _)| *term).collect();
    assert_eq!(
        terms.len(),
        heard.holders.len(),
        "a term had two holders: {:?}",
        heard.holders
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acts_whatever_happens_on_mosquitto() {
    let options = MosquittoOptions {
        persistence: Persistence::None,
        ..MosquittoOptions::default()
    };
    let started = tokio::task::spawn_blocking(move || MosquittoProcess::start(options)).await;
    if let Some(mosquitto) = started.unwrap().unwrap() {
        one_acts_whatever_happens(mosquitto.local_addr().into()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acts_whatever_happens_on_the_embedded_broker() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    one_acts_whatever_happens(broker.local_addr().into()).await;
    broker.shutdown().await.unwrap();
}
