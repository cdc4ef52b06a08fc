//! Acting: the session that only one has, the lease renewed, and the services' tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use wayfare_client::keys;
use wayfare_client::{Client, ClientOptions, IncomingRequest, acting_session};
use wayfare_dispatcher_core::alarms::broker::{BrokerWatch, Outage};
use wayfare_link::{Event, LinkOptions};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::dispatcher::{Answered, Lease, LeaseState};
use wayfare_protocol::ids::{OperationId, Term};

use crate::admission::Admission;
use crate::clock::now;
use crate::context::{Context, Notes};
use crate::durable::Place;
use crate::options::ServiceOptions;
use crate::questions::Questions;
use crate::requests::Router;
use crate::services::SERVICES;

/// A lease is renewed so often within its time.
const RENEWALS: u32 = 3;
/// How long services may take to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The broker gives the session of earlier releases within this.
const EARLIER_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why it does not act any more.
pub(crate) enum Ended {
    /// It was told to end.
    Told,
    Lost {
        why: &'static str,
    },
    /// Engines obey a later term.
    Behind {
        term: Term,
    },
}

/// Which terms there have been.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// By the lease, as it was when nobody acted.
    pub(crate) lease: Term,
    /// By anything else that remembers: brokers can forget the lease.
    pub(crate) above: Term,
}

/// Acts in a term after all that were seen, for as long as the broker lets it.
pub(crate) async fn act(
    options: &Arc<ServiceOptions>,
    place: &Place,
    seen: Seen,
    broker: &mut BrokerWatch,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let term = seen.lease.max(seen.above).next();
    let lease = |state| Lease {
        term,
        dispatcher: options.name.clone(),
        state,
        lease_ms: u64::try_from(options.lease.as_millis()).unwrap_or(u64::MAX),
    };
    let mut connect = ClientOptions::acting(
        options.broker.clone(),
        options.topics.clone(),
        lease(LeaseState::Free),
    );
    connect.key = orders_key(options);
    connect.looks_at_signatures = options.trust_root.is_some();
    end_earlier_release(options).await;
    // Where there are many statuses, that takes its time.
    let connected = tokio::select! {
        connected = Client::connect(connect) => connected,
        () = &mut shutdown => return Ended::Told,
    };
    let client = match connected {
        Ok(client) => client.in_term(term),
        Err(error) => {
            tracing::warn!(%error, "cannot act");
            broker.unreached(now());
            return Ended::Lost { why: "no broker" };
        }
    };
    broker.reached(now());
    // What the predecessor said last has been heard by now, and nobody else can have said anything since.
    let overtaken = client.lease().is_some_and(|lease| lease.term > seen.lease);
    if overtaken || !client.say_lease(&lease(LeaseState::Held)).await {
        client.close().await;
        return Ended::Lost {
            why: "another was quicker",
        };
    }
    tracing::info!(dispatcher = %options.name, %term, "acts");
    let terms = Terms {
        held: lease(LeaseState::Held),
        outage: broker.take(now()),
    };
    let ended = serve(options, place, &client, terms, shutdown).await;
    if let Ended::Lost { .. } = ended {
        // Or another has taken the session over, which is seen at once.
        broker.unreached(now());
    }
    // Where the session has ended, its last words were said by the broker.
    if matches!(ended, Ended::Told | Ended::Behind { .. }) {
        client.say_lease(&lease(LeaseState::Free)).await;
    }
    client.close().await;
    ended
}

/// A dispatcher of an earlier release has the session under the name that everybody knows. It loses that, as
/// to a successor of its own release, and stands by.
async fn end_earlier_release(options: &ServiceOptions) {
    let name = acting_session(&options.topics);
    if options.broker.client_id(&name) == name {
        return;
    }
    let taken = timeout(EARLIER_RELEASE_TIMEOUT, async {
        let (link, mut events) =
            wayfare_link::connect(LinkOptions::new(options.broker.clone(), name)).ok()?;
        while !matches!(events.next().await?, Event::Connected { .. }) {}
        link.close_within(Duration::ZERO).await;
        Some(())
    });
    if !matches!(taken.await, Ok(Some(()))) {
        tracing::debug!("the broker does not give the session of earlier releases");
    }
}

/// What signs the dispatcher's orders. Without it engines that require signatures obey nobody here, and all
/// others do.
pub(crate) fn orders_key(options: &ServiceOptions) -> Option<Arc<SecretKey>> {
    match keys::load_or_init(&keys::orders_key_path(&options.data)) {
        Ok(keys) => {
            let key = keys.into_iter().next()?;
            tracing::info!(key = %key.public(), "signs its orders, for engines whose roster names this key as a dispatcher's");
            Some(Arc::new(key))
        }
        Err(error) => {
            tracing::warn!(%error, "orders are not signed");
            None
        }
    }
}

/// What a term begins with.
struct Terms {
    held: Lease,
    outage: Option<Outage>,
}

async fn serve(
    options: &Arc<ServiceOptions>,
    place: &Place,
    client: &Client,
    terms: Terms,
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let Terms { held, outage } = terms;
    let term = held.term;
    let Ok(mut requests) = client.requests().await else {
        return Ended::Lost { why: "closed" };
    };
    if !options.compilers.is_empty() {
        // Several services read it, of which not each is to make one. Why there is none, they say themselves.
        drop(keys::load_or_init(&keys::key_path(&options.data)));
    }
    let admission = Admission::open(options, client).await;
    let (mut router, mut answers) = Router::new(term);
    let mut tasks = JoinSet::new();
    let later = Arc::new(watch::Sender::new(term));
    let notes = Notes::new();
    let (known, measured) = (Questions::new(), Questions::new());
    for service in SERVICES {
        let context = Context {
            client: client.clone(),
            term,
            place: place.join(service.name),
            data: options.data.join(service.name),
            options: Arc::clone(options),
            later: Arc::clone(&later),
            notes: notes.clone(),
            known: known.clone(),
            measured: measured.clone(),
            outage,
        };
        tasks.spawn((service.run)(context, router.add(service.name)));
    }
    let ended = tokio::select! {
        ended = serving(&mut router, admission, &mut requests, &mut answers) => ended,
        ended = renewing(options, client, &held) => ended,
        () = client.closed() => Ended::Lost { why: "its session at the broker has ended" },
        ended = watching(&mut tasks) => ended,
        term = later_than(term, later.subscribe()) => Ended::Behind { term },
        () = shutdown => Ended::Told,
    };
    // Their inboxes end, and so do they.
    drop(router);
    if let Ended::Lost { .. } | Ended::Behind { .. } = ended {
        // Nothing that they could still say would be heard.
        tasks.abort_all();
    }
    let drained = timeout(DRAIN_TIMEOUT, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        tracing::warn!("services did not end in time");
        tasks.shutdown().await;
    }
    ended
}

async fn serving(
    router: &mut Router,
    mut admission: Admission,
    requests: &mut mpsc::Receiver<IncomingRequest>,
    answers: &mut mpsc::UnboundedReceiver<(OperationId, Answered)>,
) -> Ended {
    loop {
        let answer = tokio::select! {
            request = requests.recv() => match request {
                Some(incoming) => admission.request(router, incoming).await,
                None => return Ended::Lost { why: "closed" },
            },
            answer = answers.recv() => match answer {
                Some((request, answered)) => router.answered(request, answered),
                None => return Ended::Lost { why: "closed" },
            },
            () = admission.news() => None,
        };
        if let Some((asker, answer)) = answer {
            admission.client.answer(&asker, &answer).await;
        }
    }
}

/// Ends when the broker has not taken a renewal within the lease.
async fn renewing(options: &ServiceOptions, client: &Client, held: &Lease) -> Ended {
    let period = (options.lease / RENEWALS).max(Duration::from_millis(1));
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // One with another login has a session of its own: what it says decides then.
        if let Some(later) = client.lease().filter(|lease| lease.term > held.term) {
            return Ended::Behind { term: later.term };
        }
        match timeout(options.lease, client.say_lease(held)).await {
            Ok(true) => {}
            Ok(false) => return Ended::Lost { why: "closed" },
            Err(_) => {
                return Ended::Lost {
                    why: "the broker did not take its lease",
                };
            }
        }
    }
}

/// The later term that a service has heard of, once one has.
async fn later_than(term: Term, mut later: watch::Receiver<Term>) -> Term {
    let heard = later.wait_for(|heard| *heard > term).await.map(|heard| *heard);
    match heard {
        Ok(heard) => heard,
        Err(_) => std::future::pending().await,
    }
}

/// A service that ends by itself is broken: another try, in another term, is the way out.
async fn watching(tasks: &mut JoinSet<()>) -> Ended {
    match tasks.join_next().await {
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(_) => Ended::Lost {
            why: "a service has ended",
        },
        None => std::future::pending().await,
    }
}
