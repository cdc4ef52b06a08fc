//! Lists of a fleet that is too large for whoever looks: the acting dispatcher filters and sorts, and answers
//! part by part.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tempfile::tempdir;
use wayfare_client::lists::{ListAsk, Listing, Programs, SERVICE};
use wayfare_client::query::Query;
use wayfare_client::rows::{ENGINE_FIELDS, Listed, PROGRAM_FIELDS, with_numbers};
use wayfare_client::{AskError, Client, ClientOptions, Session};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_protocol::dispatcher::{Answer, Answered, Asker, Lease, LeaseState};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{ProgramId, Term};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::topics::Topics;
use wayfare_tests::fakes::{FakeFleet, Fakes};
use wayfare_tests::registry::Registry;
use wayfare_tests::within;

const ENGINES: usize = 20;
const PROGRAMS: usize = 150;
const LIMIT: Duration = Duration::from_secs(30);

struct World {
    _broker: EmbeddedBroker,
    _fakes: Fakes,
    dispatcher: Registry,
    _folder: tempfile::TempDir,
    /// That sees everything itself,
    own: Client,
    /// and that only asks.
    asks: Client,
}

async fn connect(broker: &BrokerUrl, session: Session) -> Client {
    let mut options = ClientOptions::new(broker.clone());
    options.session = session;
    options.connect_timeout = LIMIT;
    Client::connect(options).await.unwrap()
}

/// A dispatcher that acts, and some thousand programs of engines that only pretend.
async fn world() -> World {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let fleet = FakeFleet {
        engines: ENGINES,
        programs: PROGRAMS,
        clock_ahead_ms: 0,
    };
    let fakes = Fakes::start(&fleet, &url).unwrap();
    let own = connect(&url, Session::Own).await;
    let mut seen = 0;
    within("all programs", async {
        while own.programs().await.unwrap().len() < ENGINES * PROGRAMS {
            own.changed(&mut seen).await.unwrap();
        }
    })
    .await;
    let folder = tempdir().unwrap();
    let dispatcher = Registry::start(url.clone(), folder.path().to_owned());
    let asks = connect(&url, Session::Services).await;
    let mut lease = asks.watch_lease().await.unwrap();
    within("a dispatcher that acts", async {
        while lease.latest().is_none_or(|lease| lease.state != LeaseState::Held) {
            lease.changed().await.unwrap();
        }
    })
    .await;
    World {
        _broker: broker,
        _fakes: fakes,
        dispatcher,
        _folder: folder,
        own,
        asks,
    }
}

fn listing<K>(filter: Option<&str>, sort: Option<&str>, limit: Option<u32>) -> Listing<K> {
    Listing {
        filter: filter.map(str::to_owned),
        sort: sort.map(str::to_owned),
        limit,
        ..Listing::default()
    }
}

fn ids(rows: &[Listed]) -> Vec<ProgramId> {
    rows.iter().map(|row| row.view.status.program).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dispatcher_lists_is_what_whoever_sees_everything_lists() {
    let world = world().await;
    for (filter, sort, limit, count) in [
        (None, None, Some(7), 7),
        (None, None, Some(230), 230),
        (Some("name = idle-3"), None, None, 300),
        (
            Some("memory > 6M and not (engine = fake-1 or engine = fake-2)"),
            None,
            None,
            18 * 21,
        ),
        (Some("state != running"), None, Some(50), 0),
        // The dispatcher sorts these, and the one who asks the others.
        (None, Some("-memory"), Some(450), 450),
        (Some("engine ~ fake-1"), Some("name"), Some(120), 120),
        (Some("engine = fake-3"), Some("-name"), None, 150),
        (Some("name < idle-8"), Some("memory"), Some(2_000), 2_000),
    ] {
        let wanted = listing(filter, sort, limit);
        let listed = world
            .asks
            .programs_listed(wanted)
            .await
            .unwrap()
            .expect("a dispatcher acts");
        let all = world.own.listed().await.unwrap();
        let limit = limit.map(|limit| limit as usize);
        let naive = Query::new(filter, sort, limit, &PROGRAM_FIELDS).unwrap().of(all);
        assert_eq!(ids(&listed.rows), ids(&naive), "{filter:?} {sort:?} {limit:?}");
        assert_eq!(listed.rows.len(), count, "{filter:?} {sort:?} {limit:?}");
        // Rows are as they are seen by everybody.
        assert_eq!(listed.rows.first(), naive.first());
    }
    for (filter, sort, limit) in [
        (Some("engine = fake-7"), None, None),
        (
            Some("state = online and engine < fake-15"),
            Some("-engine"),
            Some(5),
        ),
        (None, None, Some(3)),
    ] {
        let wanted = listing(filter, sort, limit);
        let listed = world
            .asks
            .engines_listed(wanted)
            .await
            .unwrap()
            .expect("a dispatcher acts");
        let all = with_numbers(world.own.engines_asked(LIMIT).await.unwrap(), Default::default());
        let limit = limit.map(|limit| limit as usize);
        let naive = Query::new(filter, sort, limit, &ENGINE_FIELDS).unwrap().of(all);
        let words = |row: &wayfare_client::rows::ListedEngine| (row.view.engine.clone(), row.view.word());
        let listed: Vec<_> = listed.rows.iter().map(words).collect();
        assert_eq!(listed, naive.iter().map(words).collect::<Vec<_>>(), "{filter:?}");
        assert!(!listed.is_empty(), "{filter:?}");
    }
    // Where nobody acts, whoever asks has to look.
    world.dispatcher.stop().await;
    assert_eq!(
        world
            .asks
            .programs_listed(listing(None, None, Some(7)))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_list_is_longer_than_a_message_and_expressions_are_checked() {
    let world = world().await;
    let ask = async |listing: Listing<ProgramId>| {
        let body = serde_json::to_value(ListAsk::Programs(listing)).unwrap();
        world.asks.ask(SERVICE, body, LIMIT).await
    };
    let answer = ask(Listing::default()).await.unwrap();
    assert!(answer.to_string().len() < PAYLOAD_BYTES_MAX);
    let part: Programs = serde_json::from_value(answer).unwrap();
    assert!(
        part.rows.len() < ENGINES * PROGRAMS && part.next.is_some(),
        "{part:?}"
    );
    let long = "x".repeat(5_000);
    for (filter, sort, reason) in [
        (
            "nam = a",
            None,
            "where: at character 1: no field 'nam'; there are: id, name,",
        ),
        ("name = a", Some("-nam"), "sort: no field 'nam'"),
        (long.as_str(), None, "where: "),
    ] {
        let refused = ask(listing(Some(filter), sort, None)).await;
        let Err(AskError::Failed(Failure::BadRequest { reason: found })) = refused else {
            panic!("{refused:?}")
        };
        assert!(found.starts_with(reason), "{found}");
    }
}

/// A dispatcher of a release that has no lists.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_dispatcher_of_the_last_release_acts_whoever_asks_looks() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let lease = |state| Lease {
        term: Term(1),
        dispatcher: "old".parse().unwrap(),
        state,
        lease_ms: 10_000,
    };
    let acting = ClientOptions::acting(url.clone(), Topics::default(), lease(LeaseState::Free));
    let old = Client::connect(acting).await.unwrap().in_term(Term(1));
    let mut requests = old.requests().await.unwrap();
    assert!(old.say_lease(&lease(LeaseState::Held)).await);
    let answering = tokio::spawn(async move {
        let asked = requests.recv().await.unwrap();
        let failure = Failure::UnknownService {
            service: asked.service.to_string(),
        };
        let answer = Answer {
            request: asked.request.request,
            term: Term(1),
            answer: Answered::Failed(failure),
        };
        let asker = Asker {
            request: asked.request.request,
            client: asked.request.client,
            reads: asked.request.reads,
        };
        assert!(old.answer(&asker, &answer).await);
        (asked.service.to_string(), old)
    });
    let asks = connect(&url, Session::Services).await;
    let listed = within("an answer", asks.programs_listed(listing(None, None, None))).await;
    assert_eq!(listed.unwrap(), None);
    let (service, old) = within("a request", answering).await.unwrap();
    assert_eq!(service, SERVICE);
    old.close().await;
}
