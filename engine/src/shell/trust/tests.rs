use wayfare_protocol::code::SecretKey;
use wayfare_protocol::command::{ProgramSpec, Target};
use wayfare_protocol::ids::{Blob, ClientId, Generation, ProgramId};
use wayfare_protocol::trust::place::{Holding, Place};
use wayfare_protocol::trust::roster::Role;
use wayfare_protocol::trust::signed::{self, Answers};

use wayfare_protocol::limits::{CHALLENGE_MS, ORDERS_PER_CHALLENGE};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::trust::warrant::Warrant;
use wayfare_protocol::wire;

use super::*;

const ROOT: u8 = 1;
const ANN: u8 = 2;
const EVE: u8 = 9;

fn key(number: u8) -> SecretKey {
    SecretKey::from_random([number; 32])
}

fn roster(version: u64, orders: Orders) -> Vec<u8> {
    let member = |name: &str, number, role| Member {
        name: name.parse().unwrap(),
        key: key(number).public(),
        roles: [role].into(),
    };
    let roster = Roster {
        version,
        orders,
        members: vec![
            member("ann", ANN, Role::Operator),
            member("vic", ANN + 1, Role::Viewer),
        ],
        ..Roster::empty()
    };
    roster.encode(&key(ROOT), "wayfare/v1/trust/roster")
}

struct Bench {
    trust: Trust,
    now: Instant,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(orders: Option<Orders>) -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut trust = Self::begin(&folder, now);
        if let Some(orders) = orders {
            trust.roster_seen(&roster(3, orders), now);
        }
        Self { trust, now, folder }
    }

    fn begin(folder: &tempfile::TempDir, now: Instant) -> Trust {
        let (root, engine) = (Some(key(ROOT).public()), "a".parse().unwrap());
        Trust::new(root, engine, Topics::default(), folder.path().to_owned(), now)
    }

    fn answers(&self) -> Answers {
        [("a".parse().unwrap(), self.trust.challenge().unwrap())].into()
    }

    fn judge(&mut self, payload: &[u8], command: &Command) -> Judgement {
        self.trust
            .judge(&Bytes::copy_from_slice(payload), command, self.now)
    }

    fn is_refused(&mut self, payload: &[u8], command: &Command) -> bool {
        matches!(self.judge(payload, command), Judgement::Refused(_))
    }
}

fn command(action: Action) -> Command {
    Command {
        operation: OperationId::random(),
        client: "c".parse::<ClientId>().unwrap(),
        time_limit_ms: 1,
        term: None,
        boot: None,
        action,
    }
}

fn kill() -> Command {
    command(Action::Kill { on: on() })
}

fn on() -> Target {
    Target {
        program: ProgramId::from_bytes([5; 16]),
        generation: Some(Generation(4)),
    }
}

fn signed_by(number: u8, to: &str, command: &Command, answers: &Answers) -> Vec<u8> {
    let topic = format!("wayfare/v1/engine/{to}/command");
    signed::sign(&key(number), &topic, &wire::encode(command), answers)
}

#[test]
fn only_what_a_member_signed_for_this_engine_is_taken_where_that_is_required() {
    let mut bench = Bench::new(Some(Orders::Require));
    let (answers, kill) = (bench.answers(), kill());
    assert_eq!(
        bench.judge(&signed_by(ANN, "a", &kill, &answers), &kill),
        Judgement::Taken
    );
    for (what, payload) in [
        ("unsigned", wire::encode(&kill)),
        ("of a stranger", signed_by(EVE, "a", &kill, &answers)),
        ("of the root key", signed_by(ROOT, "a", &kill, &answers)),
        ("without the role", signed_by(ANN + 1, "a", &kill, &answers)),
        ("for another engine", signed_by(ANN, "b", &kill, &answers)),
    ] {
        assert!(bench.is_refused(&payload, &kill), "{what}");
    }
    let logs = command(Action::Logs {
        on: on(),
        since: 0,
        follower: None,
    });
    let by_viewer = signed_by(ANN + 1, "a", &logs, &answers);
    assert_eq!(bench.judge(&by_viewer, &logs), Judgement::Taken);
}

#[test]
fn what_a_fleet_permits_without_signatures_is_what_its_roster_says() {
    for (orders, is_taken) in [
        (None, false),
        (Some(Orders::Open), true),
        (Some(Orders::Prefer), true),
        (Some(Orders::Require), false),
    ] {
        let mut bench = Bench::new(orders);
        let kill = kill();
        assert_eq!(
            bench.judge(&wire::encode(&kill), &kill) == Judgement::Taken,
            is_taken,
            "{orders:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let mut without = Trust::new(
        None,
        "a".parse().unwrap(),
        Topics::default(),
        folder.path().to_owned(),
        Instant::now(),
    );
    let kill = kill();
    let payload = Bytes::from(wire::encode(&kill));
    assert_eq!(without.judge(&payload, &kill, Instant::now()), Judgement::Taken);
    assert_eq!(without.challenge(), None);
}

#[test]
fn a_recorded_order_does_not_count_once_its_challenge_has_changed() {
    let mut bench = Bench::new(Some(Orders::Require));
    let kill = kill();
    let recorded = signed_by(ANN, "a", &kill, &bench.answers());
    assert_eq!(bench.judge(&recorded, &kill), Judgement::Taken);
    // Said again within its time, it is the journal's to tell repeats.
    assert_eq!(bench.judge(&recorded, &kill), Judgement::Taken);
    // Another start of the engine has another challenge, and shows it.
    let mut again = Bench::begin(&bench.folder, bench.now);
    let payload = Bytes::from(recorded.clone());
    assert_eq!(again.judge(&payload, &kill, bench.now), Judgement::Stale);
    assert!(std::mem::take(&mut again.is_to_show));
    assert_eq!(again.judge(&payload, &kill, bench.now), Judgement::Stale);
    assert!(!again.is_to_show, "a flood of old orders is no flood of statuses");
    // And so has this one after some time,
    bench.now += Duration::from_millis(CHALLENGE_MS);
    assert_eq!(bench.judge(&recorded, &kill), Judgement::Stale);
    let anew = signed_by(ANN, "a", &kill, &bench.answers());
    assert_eq!(bench.judge(&anew, &kill), Judgement::Taken);
    // though an order that had just been signed counts while the change is on its way.
    let mut crossed = Bench::new(Some(Orders::Require));
    let payload = signed_by(ANN, "a", &kill, &crossed.answers());
    crossed.now += Duration::from_millis(CHALLENGE_MS);
    crossed.trust.asked(crossed.now);
    assert_eq!(crossed.judge(&payload, &kill), Judgement::Taken);
    crossed.now += Duration::from_millis(CHALLENGE_MS);
    assert_eq!(crossed.judge(&payload, &kill), Judgement::Stale);
}

#[test]
fn a_challenge_is_good_for_fewer_orders_than_an_engine_remembers() {
    let mut bench = Bench::new(Some(Orders::Require));
    let first = kill();
    let recorded = signed_by(ANN, "a", &first, &bench.answers());
    let mut taken = 0;
    loop {
        let next = kill();
        let payload = signed_by(ANN, "a", &next, &bench.answers());
        assert_eq!(bench.judge(&payload, &next), Judgement::Taken);
        taken += 1;
        if bench.judge(&recorded, &first) == Judgement::Stale {
            break;
        }
    }
    assert!((200..=2 * ORDERS_PER_CHALLENGE).contains(&taken), "{taken}");
}

#[test]
fn a_roster_is_kept_and_never_goes_back() {
    let mut bench = Bench::new(Some(Orders::Require));
    let kill = kill();
    let unsigned = wire::encode(&kill);
    let foreign = Roster {
        version: 9,
        ..Roster::empty()
    };
    for (what, payload) in [
        ("older", roster(2, Orders::Open)),
        ("another of this version", roster(3, Orders::Open)),
        ("nobody's", wire::encode(&foreign)),
        (
            "an operator's",
            foreign.encode(&key(ANN), "wayfare/v1/trust/roster"),
        ),
        (
            "another fleet's",
            foreign.encode(&key(ROOT), "other/v1/trust/roster"),
        ),
    ] {
        bench.trust.roster_seen(&payload, bench.now);
        assert!(bench.is_refused(&unsigned, &kill), "{what}");
    }
    bench.trust = Bench::begin(&bench.folder, bench.now);
    bench.trust.roster_seen(&roster(2, Orders::Open), bench.now);
    assert!(bench.is_refused(&unsigned, &kill), "after another start");
    bench.trust.roster_seen(&roster(4, Orders::Open), bench.now);
    assert_eq!(bench.judge(&unsigned, &kill), Judgement::Taken);
}

fn offer(operation: OperationId, program: ProgramId, generation: u64) -> Envelope {
    let spec = ProgramSpec {
        name: "p".into(),
        module: Blob::of(b"module"),
        args: Vec::new(),
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Box::default(),
        ports: Box::default(),
        health_every_ms: None,
    };
    Envelope {
        operation,
        from: "b".parse().unwrap(),
        message: PeerMessage::Prepare {
            program,
            generation: Generation(generation),
            spec,
            memory_bytes: 0,
            paused: false,
            devices: [].into(),
            blobs: Vec::new(),
        },
    }
}

fn warrant(number: u8, envelope: &Envelope) -> Warrant {
    let PeerMessage::Prepare { spec, .. } = &envelope.message else {
        panic!("it offers a program")
    };
    Warrant::sign(&key(number), &Topics::default(), spec)
}

#[test]
fn a_program_comes_only_as_what_a_member_ordered() {
    let mut bench = Bench::new(Some(Orders::Require));
    let moved = command(Action::Move {
        on: on(),
        target: "a".parse().unwrap(),
    });
    let order = String::from_utf8(signed_by(ANN, "b", &moved, &bench.answers())).unwrap();
    let good = offer(moved.operation, on().program, 5);
    let mut other = good.clone();
    if let PeerMessage::Prepare { spec, .. } = &mut other.message {
        spec.module = Blob::of(b"another module");
    }
    let by_ann = warrant(ANN, &good);
    for (what, envelope, warrant, expected) in [
        ("nothing shown", &good, None, false),
        ("of a viewer", &good, Some(warrant(ANN + 1, &good)), false),
        ("of a stranger", &other, Some(warrant(EVE, &other)), false),
        ("something else in its place", &other, Some(by_ann), false),
        ("what was ordered", &good, Some(by_ann), true),
    ] {
        let now = bench.now;
        let judged = bench.trust.judge_offer(envelope, (Some(&order), warrant), now);
        assert_eq!(judged.is_ok(), expected, "{what}");
    }
    assert_eq!(
        bench.trust.places.warrant(on().program),
        Some(&by_ann),
        "to be shown again"
    );
}

#[test]
fn a_program_comes_only_with_the_order_that_sends_it_here() {
    let mut bench = Bench::new(Some(Orders::Require));
    let target = |to: &str| Action::Move {
        on: on(),
        target: to.parse().unwrap(),
    };
    let (here, elsewhere) = (command(target("a")), command(target("c")));
    let answers = bench.answers();
    let order = |number, command: &Command, answers: &Answers| {
        String::from_utf8(signed_by(number, "b", command, answers)).unwrap()
    };
    let good = order(ANN, &here, &answers);
    let (program, moved) = (on().program, here.operation);
    let warrant = warrant(ANN, &offer(moved, program, 5));
    let mut judge = |envelope: &Envelope, order: Option<&str>| {
        let now = bench.now;
        bench
            .trust
            .judge_offer(envelope, (order, Some(warrant)), now)
            .is_ok()
    };
    let unbound = Command {
        action: Action::Move {
            on: Target {
                program,
                generation: None,
            },
            target: "a".parse().unwrap(),
        },
        ..here.clone()
    };
    for (what, envelope, shown) in [
        ("no order", offer(moved, program, 5), None),
        ("nonsense", offer(moved, program, 5), Some("{}".to_owned())),
        (
            "of a stranger",
            offer(moved, program, 5),
            Some(order(EVE, &here, &answers)),
        ),
        (
            "of a viewer",
            offer(moved, program, 5),
            Some(order(ANN + 1, &here, &answers)),
        ),
        (
            "an old one",
            offer(moved, program, 5),
            Some(order(ANN, &here, &Answers::new())),
        ),
        (
            "to another engine",
            offer(elsewhere.operation, program, 5),
            Some(order(ANN, &elsewhere, &answers)),
        ),
        (
            "another program",
            offer(moved, ProgramId::random(), 5),
            Some(good.clone()),
        ),
        (
            "another generation",
            offer(moved, program, 1_000_000),
            Some(good.clone()),
        ),
        (
            "of any generation",
            offer(moved, program, u64::MAX - 1),
            Some(order(ANN, &unbound, &answers)),
        ),
        (
            "another operation",
            offer(OperationId::random(), program, 5),
            Some(good.clone()),
        ),
        (
            "of another source",
            Envelope {
                from: "c".parse().unwrap(),
                ..offer(moved, program, 5)
            },
            Some(good.clone()),
        ),
    ] {
        assert!(!judge(&envelope, shown.as_deref()), "{what}");
    }
    assert!(judge(&offer(moved, program, 5), Some(&good)));
    assert!(
        !judge(&offer(moved, program, 5), Some(&good)),
        "once more, when nothing is known of it any more"
    );
}

/// The command and the offer are of one operation, and both are judged here.
#[test]
fn a_copy_comes_to_the_engine_that_is_told_to_make_it() {
    let mut bench = Bench::new(Some(Orders::Require));
    let copy = ProgramId::random();
    let spawned = command(Action::Spawn {
        on: on(),
        target: "a".parse().unwrap(),
        copy,
        copy_name: "copy".into(),
    });
    let payload = signed_by(ANN, "a", &spawned, &bench.answers());
    assert_eq!(bench.judge(&payload, &spawned), Judgement::Taken);
    let envelope = Envelope {
        from: "a".parse().unwrap(),
        ..offer(spawned.operation, copy, 1)
    };
    let shown = (
        Some(std::str::from_utf8(&payload).unwrap()),
        Some(warrant(ANN, &envelope)),
    );
    let mut judge = || bench.trust.judge_offer(&envelope, shown, bench.now);
    assert_eq!(judge(), Ok(()));
    assert!(judge().is_err(), "once");
}

#[test]
fn an_arrivals_order_counts_no_longer_than_any_other() {
    let mut bench = Bench::new(Some(Orders::Require));
    let moved = command(Action::Move {
        on: on(),
        target: "a".parse().unwrap(),
    });
    let order = String::from_utf8(signed_by(ANN, "b", &moved, &bench.answers())).unwrap();
    let envelope = offer(moved.operation, on().program, 5);
    let warrant = Some(warrant(ANN, &envelope));
    let late = bench.now + Duration::from_millis(2 * CHALLENGE_MS);
    let judged = bench.trust.judge_offer(&envelope, (Some(&order), warrant), late);
    let why = judged.unwrap_err().to_string();
    assert!(why.contains("is an old one"), "{why}");
}

#[test]
fn only_who_may_speak_as_the_dispatcher_sets_a_term() {
    let mut bench = Bench::new(Some(Orders::Require));
    let logs = Command {
        term: Some(wayfare_protocol::ids::Term(u64::MAX)),
        ..command(Action::Logs {
            on: on(),
            since: 0,
            follower: None,
        })
    };
    let answers = bench.answers();
    assert!(bench.is_refused(&signed_by(ANN + 1, "a", &logs, &answers), &logs));
    let by_ann = signed_by(ANN, "a", &logs, &answers);
    assert_eq!(bench.judge(&by_ann, &logs), Judgement::Taken);
}

#[test]
fn a_source_keeps_the_order_for_its_target_to_see() {
    let mut bench = Bench::new(Some(Orders::Require));
    let moved = command(Action::Move {
        on: on(),
        target: "b".parse().unwrap(),
    });
    let payload = signed_by(ANN, "a", &moved, &bench.answers());
    assert_eq!(bench.judge(&payload, &moved), Judgement::Taken);
    let prepare = offer(moved.operation, on().program, 5).message;
    let (shown, _) = bench.trust.passage_of(moved.operation, &prepare).unwrap();
    assert_eq!(shown.as_bytes(), payload);
    assert_eq!(bench.trust.passage_of(moved.operation, &PeerMessage::Query), None);
    assert_eq!(bench.trust.passage_of(OperationId::random(), &prepare), None);
}

#[test]
fn a_claim_counts_only_where_a_member_has_ordered_it() {
    let status = |number: Option<u8>, holding: &Holding| match number {
        Some(number) => Place::sign(&key(number), &Topics::default(), holding).show_in(b"{\"type\":\"x\"}"),
        None => b"{\"type\":\"x\"}".to_vec(),
    };
    let claim = |engine: &str, generation| Holding {
        program: on().program,
        generation: Generation(generation),
        engine: engine.parse().unwrap(),
    };
    let (ordered, other) = (claim("b", 1004), claim("c", 1_000_000_000));
    for (orders, number, expected) in [
        (Orders::Require, Some(ANN), true),
        (Orders::Require, Some(ANN + 1), false),
        (Orders::Require, Some(EVE), false),
        (Orders::Require, None, false),
        (Orders::Prefer, None, true),
        (Orders::Open, None, true),
    ] {
        let mut bench = Bench::new(Some(orders));
        let payload = status(number, &ordered);
        assert_eq!(
            bench.trust.believes(&ordered, &payload),
            expected,
            "{orders} {number:?}"
        );
        if orders == Orders::Require {
            assert!(
                !bench.trust.believes(&other, &payload),
                "for another engine and generation"
            );
        }
    }
}

/// Nothing was required of anybody yet, and what was started elsewhere meanwhile may be all that goes on.
#[test]
fn until_a_roster_has_come_claims_count_as_ever() {
    let mut bench = Bench::new(None);
    let claim = Holding {
        program: on().program,
        generation: Generation(1004),
        engine: "b".parse().unwrap(),
    };
    assert!(bench.trust.believes(&claim, b"{\"type\":\"x\"}"));
}

#[test]
fn by_which_order_a_program_is_here_is_shown_from_the_order_on() {
    let mut bench = Bench::new(Some(Orders::Require));
    let resumed = command(Action::Resume {
        on: on(),
        force: true,
    });
    let holding = Holding::of(&resumed, &"a".parse().unwrap()).unwrap();
    let answers = bench.answers();
    let topic = "wayfare/v1/engine/a/command";
    let order = |number| {
        let place = Place::sign(&key(number), &Topics::default(), &holding);
        signed::sign(
            &key(ANN),
            topic,
            &place.show_in(&wire::encode(&resumed)),
            &answers,
        )
    };
    assert_eq!(bench.judge(&order(EVE), &resumed), Judgement::Taken);
    assert_eq!(bench.trust.places.of(holding.program, holding.generation), None);
    assert_eq!(bench.judge(&order(ANN), &resumed), Judgement::Taken);
    let place = bench
        .trust
        .places
        .of(holding.program, holding.generation)
        .copied();
    assert!(place.is_some_and(|place| place.is_good(&Topics::default(), &holding)));
}
