use serde::Serialize;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::dispatcher::{Reads, Request};
use wayfare_protocol::ids::Challenge;
use wayfare_protocol::trust::place::Holding;
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
        members: vec![
            member("ann", ANN, Role::Operator),
            member("vic", VIEWER, Role::Viewer),
        ],
        ..Roster::empty()
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
        self.permits.judge(incoming, None, false, self.now)
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
    assert!(
        world
            .refusal(&drain())
            .contains("the dispatcher does not take it: it is not signed")
    );
    assert!(
        world
            .refusal(&signed(drain(), 9, fresh))
            .contains("does not name")
    );
    assert!(
        world
            .refusal(&signed(drain(), VIEWER, fresh))
            .contains("'vic' has no role")
    );
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
    assert_eq!(world.judge(&signed(drain(), ANN, fresh)), Permit::Counted);
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
    assert_eq!(
        world.judge(&signed(waiting("logs"), VIEWER, fresh)),
        Permit::Counted
    );
    assert!(
        world
            .refusal(&signed(waiting("kill"), VIEWER, fresh))
            .contains("no role")
    );
}

#[test]
fn a_request_that_was_recorded_counts_once() {
    let mut world = World::new(Some(Orders::Require));
    let mut recorded = Vec::new();
    // More than one challenge is good for.
    for _ in 0..3 * ORDERS_PER_CHALLENGE {
        world.permits.challenges.renew(world.now);
        let request = signed(drain(), ANN, Some(world.challenge()));
        assert_eq!(world.judge(&request), Permit::Counted);
        world.permits.taken(request.request.request);
        recorded.push(request);
    }
    for request in &recorded {
        assert_ne!(world.judge(request), Permit::Counted);
    }
    // Its sender repeats it meanwhile, and has the same answer.
    let last = recorded.last().unwrap();
    assert_eq!(world.permits.judge(last, None, true, world.now), Permit::Counted);
}

#[test]
fn a_roster_is_kept_and_no_older_one_comes_back() {
    let mut world = World::new(Some(Orders::Require));
    world
        .permits
        .roster_seen(&published(&roster(1, Orders::Open)), world.now);
    assert_eq!(world.permits.rule(&Need::Verb("x".into())), Orders::Require);
    let again = Permits::open(&world.options, world.now);
    assert_eq!(again.roster, Some(roster(2, Orders::Require)));
    // Without one, nothing is changed; who wants less says so.
    let mut none = World::new(None);
    assert!(none.refusal(&drain()).contains("has not read the fleet's roster"));
    let mut open = World::new(Some(Orders::Prefer));
    assert_eq!(open.judge(&drain()), Permit::Taken);
}

/// A request of engine b, for a program.
fn of_b(program: ProgramId) -> IncomingRequest {
    let body = serde_json::json!({ "program": program, "generation": 1, "number": 0, "what": { "do": "get", "key": "p/k" } });
    let mut incoming = request(values::SERVICE, body);
    incoming.request.client = "b".parse().unwrap();
    incoming
}

/// That it runs on engine b, as `number` has ordered.
fn status(program: ProgramId, number: u8) -> ProgramStatus {
    let mut status = ProgramStatus::tombstone(program, "b".parse().unwrap());
    status.generation = wayfare_protocol::ids::Generation(1);
    let holding = Holding {
        program,
        generation: status.generation,
        engine: status.engine.clone(),
    };
    let place = wayfare_protocol::trust::place::Place::sign(&key(number), &Topics::default(), &holding);
    status.place = Some(Box::new(place));
    status
}

#[test]
fn what_is_asked_for_a_program_is_of_the_engine_that_a_member_has_ordered_it_to() {
    const OF_B: u8 = 7;
    let mut world = World::new(None);
    let topics = Topics::default();
    let required = Roster {
        engines: Orders::Require,
        ..roster(2, Orders::Require)
    };
    world.permits.roster_seen(&published(&required), world.now);
    let card = wayfare_protocol::trust::card::Card {
        engine: "b".parse().unwrap(),
        key: key(OF_B).public(),
        serial: 1,
        labels: [("zone".to_owned(), "vault".to_owned())].into(),
        host: None,
    };
    let b = card.engine.clone();
    // Nobody's card is none.
    world
        .permits
        .card_seen(b.clone(), card.encode(&key(OF_B), &topics));
    assert!(world.permits.vouched().unwrap().engines.is_empty());
    world
        .permits
        .card_seen(b.clone(), card.encode(&key(ANN), &topics));
    let vouched = world.permits.vouched().unwrap();
    assert_eq!(vouched.engines[&b].labels, card.labels);
    assert_eq!(vouched.engines[&b].key, Some(card.key));
    assert!(vouched.orderers.contains(&key(ANN).public()));
    assert!(!vouched.orderers.contains(&key(VIEWER).public()));

    let (program, fresh) = (ProgramId::random(), Some(world.challenge()));
    let judge = |world: &mut World, incoming: &IncomingRequest, status: Option<&ProgramStatus>| {
        assert_eq!(world.permits.program_of(incoming), Some(program));
        world.permits.judge(incoming, status, false, world.now)
    };
    let there = status(program, ANN);
    let asked = signed(of_b(program), OF_B, fresh);
    assert_eq!(judge(&mut world, &asked, Some(&there)), Permit::Taken);
    // By nobody's order there, or elsewhere.
    for elsewhere in [None, Some(status(program, OF_B)), Some(status(program, VIEWER))] {
        assert_eq!(judge(&mut world, &asked, elsewhere.as_ref()), Permit::Dropped);
    }
    let mut of_a = there.clone();
    of_a.engine = "a".parse().unwrap();
    assert_eq!(judge(&mut world, &asked, Some(&of_a)), Permit::Dropped);
    // Of another engine, of nobody, of an old day; and of a member, who may.
    let mut as_a = signed(of_b(program), OF_B, fresh);
    as_a.request.client = "a".parse().unwrap();
    for refused in [as_a, signed(of_b(program), 9, fresh), of_b(program)] {
        let judged = judge(&mut world, &refused, Some(&there));
        assert!(
            matches!(judged, Permit::Answered(Answered::Failed(_))),
            "{judged:?}"
        );
    }
    let old = judge(&mut world, &signed(of_b(program), OF_B, None), Some(&there));
    assert!(matches!(old, Permit::Answered(Answered::SignAgain { .. })));
    assert_eq!(
        judge(&mut world, &signed(of_b(program), ANN, fresh), None),
        Permit::Taken
    );

    // Where it is not required, all are taken.
    let mut open = World::new(Some(Orders::Require));
    assert_eq!(open.permits.program_of(&of_b(program)), None);
    assert_eq!(open.judge(&of_b(program)), Permit::Taken);
    assert_eq!(open.permits.vouched(), None);
    // A card that is revoked does not count.
    let revoking = Roster {
        version: 3,
        revoked: [(b, 1)].into(),
        ..required
    };
    world.permits.roster_seen(&published(&revoking), world.now);
    assert!(world.permits.vouched().unwrap().engines.is_empty());
    let judged = judge(&mut world, &asked, Some(&there));
    assert!(
        matches!(judged, Permit::Answered(Answered::Failed(_))),
        "{judged:?}"
    );
}
