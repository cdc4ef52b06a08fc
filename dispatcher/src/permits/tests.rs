use serde::Serialize;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::dispatcher::{Reads, Request};
use wayfare_protocol::ids::Challenge;
use wayfare_protocol::trust::roster::{Member, Role};
use wayfare_protocol::trust::signed::{Answers, sign};
use wayfare_protocol::wire;

use super::*;

const ROOT: u8 = 1;
const ANN: u8 = 2;
const VIEWER: u8 = 3;

fn key(number: u8) -> SecretKey {
    SecretKey::from_random([number; 32])
}

fn roster(version: u64, orders: Orders) -> Roster {
    let member = |name: &str, number, role| Member {
        name: name.parse().unwrap(),
        key: key(number).public(),
        roles: [role].into(),
    };
    Roster {
        version,
        orders,
        members: vec![member("ann", ANN, Role::Operator), member("vic", VIEWER, Role::Viewer)],
    }
}

struct World {
    permits: Permits,
    options: ServiceOptions,
    now: Instant,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(orders: Option<Orders>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = "mqtt://127.0.0.1:1".parse().unwrap();
        let mut options = ServiceOptions::new(broker, "d".parse().unwrap(), folder.path());
        options.trust_root = Some(key(ROOT).public());
        let now = Instant::now();
        let mut permits = Permits::open(&options, now);
        if let Some(orders) = orders {
            permits.roster_seen(&published(&roster(2, orders)), now);
        }
        Self {
            permits,
            options,
            now,
            _folder: folder,
        }
    }

    fn judge(&mut self, incoming: &IncomingRequest) -> Permit {
        self.permits.judge(incoming, false, self.now)
    }

    fn challenge(&self) -> Challenge {
        self.permits.challenges.current
    }

    fn refusal(&mut self, incoming: &IncomingRequest) -> String {
        match self.judge(incoming) {
            Permit::Answered(Answered::Failed(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn published(roster: &Roster) -> Vec<u8> {
    roster.encode(&key(ROOT), &Topics::default().topic(&Topic::Roster))
}

fn request(service: &str, body: impl Serialize) -> IncomingRequest {
    let request = Request {
        request: OperationId::random(),
        client: "c".parse().unwrap(),
        body: serde_json::to_value(body).unwrap(),
        reads: Reads::TAGGED,
        by: None,
    };
    IncomingRequest {
        service: service.parse().unwrap(),
        payload: wire::encode(&request),
        request,
    }
}

fn drain() -> IncomingRequest {
    let engine = "a".parse().unwrap();
    request(ask::SERVICE, Ask::Drain { engine })
}

fn signed(incoming: IncomingRequest, number: u8, challenge: Option<Challenge>) -> IncomingRequest {
    let topic = Topics::default().topic(&Topic::DispatcherRequest(incoming.service.clone()));
    let answers: Answers = challenge
        .into_iter()
        .map(|challenge| (acting(), challenge))
        .collect();
    let payload = sign(&key(number), &topic, &incoming.payload, &answers);
    let request = Request {
        reads: Reads::SIGN_AGAIN,
        ..incoming.request
    };
    IncomingRequest {
        payload,
        request,
        ..incoming
    }
}

#[test]
fn what_changes_something_is_taken_from_a_member_with_the_role_who_answers_the_challenge() {
    let mut world = World::new(Some(Orders::Require));
    let fresh = Some(world.challenge());
    assert!(world.refusal(&drain()).contains("the dispatcher does not take it: it is not signed"));
    assert!(world.refusal(&signed(drain(), 9, fresh)).contains("does not name"));
    assert!(world.refusal(&signed(drain(), VIEWER, fresh)).contains("'vic' has no role"));
    // Who cannot be told to sign it again is told what is wrong.
    let mut old = signed(drain(), ANN, None);
    old.request.reads = Reads::TAGGED;
    assert!(world.refusal(&old).contains("it is an old one"));
    let again = Permit::Answered(Answered::SignAgain {
        challenge: world.challenge(),
    });
    assert_eq!(world.judge(&signed(drain(), ANN, None)), again);
    let old = Some(Challenge::from_bytes([7; 16]));
    assert_eq!(world.judge(&signed(drain(), ANN, old)), again);
    assert_eq!(world.judge(&signed(drain(), ANN, fresh)), Permit::Taken);
    // Signed for another service, it is for nothing else.
    let mut elsewhere = signed(drain(), ANN, fresh);
    elsewhere.service = operations::SERVICE.parse().unwrap();
    elsewhere.request.body = serde_json::to_value(OperationAsk::Cancel {
        operation: "1".into(),
        by: None,
    })
    .unwrap();
    assert!(world.refusal(&elsewhere).contains("its signature is wrong"));
}

#[test]
fn what_only_reads_is_everybodys_and_so_is_all_without_a_root_key() {
    let mut world = World::new(Some(Orders::Require));
    let status = Ask::StatusPage {
        application: None,
        from: None,
    };
    let list = OperationAsk::List(Default::default());
    for reads in [request(ask::SERVICE, status), request(operations::SERVICE, list)] {
        assert_eq!(world.judge(&reads), Permit::Taken);
    }
    world.permits.root = None;
    assert_eq!(world.judge(&drain()), Permit::Taken);
}

#[test]
fn an_order_is_queued_by_whom_its_verb_is_permitted() {
    let mut world = World::new(Some(Orders::Require));
    let waiting = |verb: &str| {
        let order = serde_json::json!({
            "do": "queue", "operation": OperationId::random(), "verb": verb, "program": null, "engine": null,
            "by": null, "time_limit_ms": 1,
        });
        request(operations::SERVICE, order)
    };
    let fresh = Some(world.challenge());
    assert_eq!(world.judge(&signed(waiting("logs"), VIEWER, fresh)), Permit::Taken);
    assert!(world.refusal(&signed(waiting("kill"), VIEWER, fresh)).contains("no role"));
}

#[test]
fn a_request_that_was_recorded_counts_once() {
    let mut world = World::new(Some(Orders::Require));
    let mut recorded = Vec::new();
    // More than one challenge is good for.
    for _ in 0..3 * ORDERS_PER_CHALLENGE {
        world.permits.challenges.renew(world.now);
        let request = signed(drain(), ANN, Some(world.challenge()));
        assert_eq!(world.judge(&request), Permit::Taken);
        world.permits.taken(request.request.request);
        recorded.push(request);
    }
    for request in &recorded {
        assert_ne!(world.judge(request), Permit::Taken);
    }
    // Its sender repeats it meanwhile, and has the same answer.
    let last = recorded.last().unwrap();
    assert_eq!(world.permits.judge(last, true, world.now), Permit::Taken);
}

#[test]
fn a_roster_is_kept_and_no_older_one_comes_back() {
    let mut world = World::new(Some(Orders::Require));
    world.permits.roster_seen(&published(&roster(1, Orders::Open)), world.now);
    assert_eq!(world.permits.orders(), Orders::Require);
    let again = Permits::open(&world.options, world.now);
    assert_eq!(again.roster, Some(roster(2, Orders::Require)));
    // Without one, nothing is changed; who wants less says so.
    let mut none = World::new(None);
    assert!(none.refusal(&drain()).contains("has not read the fleet's roster"));
    let mut open = World::new(Some(Orders::Prefer));
    assert_eq!(open.judge(&drain()), Permit::Taken);
}
