//! Tables: statuses in, view out.

use wayfare_protocol::ids::{BootId, Digest, Generation};

use super::*;

fn boot(number: u8) -> BootId {
    BootId::from_random([number; 16])
}

fn id(number: u8) -> ProgramId {
    ProgramId::from_random([number; 16])
}

fn program(
    number: u8,
    engine: &str,
    boot_number: u8,
    generation: u64,
    sequence: u64,
    state: ProgramState,
) -> ProgramStatus {
    ProgramStatus {
        program: id(number),
        name: format!("p{number}"),
        engine: engine.parse().unwrap(),
        boot: boot(boot_number),
        generation: Generation(generation),
        sequence,
        state,
        module: Digest([0; 32]),
        memory_bytes: 0,
        ports: Default::default(),
        place: None,
        health: None,
        hold: None,
    }
}

fn engine(
    name: &str,
    boot_number: u8,
    sequence: u64,
    state: EngineState,
    programs: Vec<ProgramStatus>,
) -> EngineStatus {
    EngineStatus {
        sequence,
        programs,
        ..EngineStatus::new(name.parse().unwrap(), boot(boot_number), state)
    }
}

use EngineState::{Offline, Online};
use ProgramState::{Paused, Running};

#[test]
fn a_generation_that_no_program_reaches_counts_for_nothing() {
    let mut fleet = Fleet::default();
    let impossible = Generation::HIGHEST.0 + 1;
    fleet.program_status(program(1, "a", 1, 3, 1, Running));
    assert!(!fleet.program_status(program(1, "b", 2, impossible, 1, Running)));
    assert!(!fleet.program_status(program(1, "b", 2, u64::MAX - 1, 1, Running)));
    let listing = vec![
        program(1, "b", 2, impossible, 1, Running),
        program(2, "b", 2, 1, 1, Running),
    ];
    fleet.engine_status(engine("b", 2, 1, Online, listing), 0);
    let status = fleet.program(id(1)).unwrap().status;
    assert_eq!((status.engine.as_str(), status.generation), ("a", Generation(3)));
    assert!(fleet.program(id(2)).is_some());
}

#[test]
fn what_is_said_of_engines_counts_more_than_what_they_say() {
    let mut fleet = Fleet::default();
    let labels = |zone: &str| -> Labels { [("zone".to_owned(), zone.to_owned())].into() };
    let mut status = engine("a", 1, 1, Online, Vec::new());
    status.about = Some(about(labels("vault"), "h"));
    fleet.engine_status(status, 0);
    let shown = |fleet: &Fleet| {
        let about = fleet.engines(0).remove(0).about.unwrap();
        (about.labels, about.host)
    };
    assert_eq!(shown(&fleet), (labels("vault"), "h".into()));
    let seen = fleet.changes_since(0, 0).revision;
    let vouched = |engines| {
        Some(Arc::new(Vouched {
            engines,
            orderers: Vec::new(),
            topics: Topics::default(),
        }))
    };
    fleet.believe(vouched(BTreeMap::new()));
    assert_eq!(shown(&fleet), (Labels::new(), "h".into()));
    assert!(!fleet.changes_since(seen, 0).engines.is_empty());
    let said = EngineSaid {
        labels: labels("attic"),
        host: Some("g".into()),
        key: None,
    };
    fleet.believe(vouched([("a".parse().unwrap(), said)].into()));
    assert_eq!(shown(&fleet), (labels("attic"), "g".into()));
    fleet.believe(None);
    assert_eq!(shown(&fleet), (labels("vault"), "h".into()));
}

/// Engines a and b have cards, key 1 is the operator's. The thief has b's key, and whatever was published.
#[test]
fn a_status_counts_as_its_engine_has_signed_it_and_a_member_has_ordered_it() {
    use wayfare_protocol::code::SecretKey;
    use wayfare_protocol::trust::place::Place;

    let topics = Topics::default();
    let key = |number: u8| SecretKey::from_random([number; 32]);
    let (operator, a, b) = (key(1), key(2).public(), key(3).public());
    let said = |name: &str, key| {
        let said = EngineSaid {
            key: Some(key),
            ..EngineSaid::default()
        };
        (name.parse().unwrap(), said)
    };
    let vouched = Arc::new(Vouched {
        engines: [said("a", a), said("b", b), said("old", key(4).public())].into(),
        orderers: vec![operator.public()],
        topics: topics.clone(),
    });
    let ordered = |mut status: ProgramStatus, by: &SecretKey| {
        let holding = Holding {
            program: status.program,
            generation: status.generation,
            engine: status.engine.clone(),
        };
        status.place = Some(Box::new(Place::sign(by, &topics, &holding)));
        status
    };
    let signs = |name: &str, sequence, programs| EngineStatus {
        about: Some(EngineAbout {
            signs_statuses: name != "old",
            ..about(Labels::new(), "host")
        }),
        ..engine(name, 1, sequence, Online, programs)
    };
    let there = ordered(program(1, "a", 1, 1, 1, Running), &operator);
    let ended = |status: &ProgramStatus, sequence| ProgramStatus {
        state: ProgramState::Exited { code: 1 },
        sequence,
        ..status.clone()
    };
    let claimed = program(1, "b", 1, 1_000, 1, Running);
    let seen = |fleet: &Fleet| {
        let view = fleet.program(id(1)).map(|view| view.status);
        view.map(|status| (status.engine.to_string(), status.generation.0, status.state))
    };
    let on = |engine: &str, generation| Some((engine.to_owned(), generation, Running));

    let mut fleet = Fleet::default();
    fleet.believe(Some(Arc::clone(&vouched)));
    for name in ["a", "b"] {
        fleet.engine_status(signs(name, 1, vec![]), 0);
    }
    assert!(fleet.signed_status(there.clone(), Some(a)));
    // In a's name; as b, which nobody has ordered; as nobody; and that it has ended, as a dispatcher would
    // say.
    for (forged, by) in [
        (ended(&there, 9), Some(b)),
        (ended(&there, 9), None),
        (claimed.clone(), Some(b)),
        (claimed.clone(), None),
        (ordered(claimed.clone(), &key(3)), Some(b)),
        (program(1, "x", 1, 1_000, 1, Running), None),
        (
            ProgramStatus::tombstone(id(1), "dispatcher".parse().unwrap()),
            Some(b),
        ),
    ] {
        assert!(!fleet.signed_status(forged.clone(), by), "{forged:?}");
        assert_eq!(seen(&fleet), on("a", 1), "{forged:?}");
    }
    // What b lists is not signed.
    fleet.engine_status(signs("b", 2, vec![claimed.clone()]), 0);
    assert_eq!(seen(&fleet), on("a", 1));
    // Nor does what b says count where somebody has cleared what a has said.
    assert!(fleet.program_cleared(id(1)));
    assert_eq!(seen(&fleet), None);
    assert!(!fleet.signed_status(claimed.clone(), Some(b)));
    fleet.engine_status(signs("b", 3, vec![claimed.clone()]), 0);
    assert_eq!(seen(&fleet), None);
    assert!(fleet.signed_status(there.clone(), Some(a)));
    assert_eq!(seen(&fleet), on("a", 1));
    // What is ordered counts, also against what was there first, as for who comes later.
    let moved = ordered(program(1, "b", 1, 2, 1, Running), &operator);
    assert!(fleet.signed_status(moved.clone(), Some(b)));
    assert_eq!(seen(&fleet), on("b", 2));
    let mut late = Fleet::default();
    late.signed_status(claimed.clone(), Some(b));
    for name in ["a", "b"] {
        late.engine_status(signs(name, 1, vec![]), 0);
    }
    late.believe(Some(Arc::clone(&vouched)));
    assert_eq!(seen(&late), on("b", 1_000), "nobody knows better yet");
    assert!(late.signed_status(there.clone(), Some(a)));
    assert_eq!(seen(&late), on("a", 1));
    // What came before it was known what counts.
    let mut late = Fleet::default();
    late.signed_status(ended(&there, 9), None);
    late.engine_status(signs("a", 1, vec![]), 0);
    late.believe(Some(Arc::clone(&vouched)));
    assert_eq!(seen(&late), None);
    assert!(late.signed_status(there.clone(), Some(a)));
    assert_eq!(seen(&late), on("a", 1));
    // An engine of an earlier release signs none.
    fleet.engine_status(signs("old", 1, vec![]), 0);
    assert!(fleet.program_status(program(2, "old", 1, 1, 1, Running)));
    // One that nobody has approved yet shows its key itself.
    let of_c = program(3, "c", 1, 1, 1, Running);
    assert!(!fleet.program_status(of_c.clone()), "nobody knows it");
    let shows = EngineStatus {
        identity: Some(key(5).public()),
        ..signs("c", 1, vec![])
    };
    fleet.engine_status(shows, 0);
    assert!(!fleet.signed_status(of_c.clone(), Some(b)));
    assert!(fleet.signed_status(of_c, Some(key(5).public())));
    // A dispatcher's own tombstone.
    let tombstone = ProgramStatus::tombstone(id(1), "dispatcher".parse().unwrap());
    assert!(fleet.signed_status(ordered(tombstone, &operator), None));
    assert_eq!(seen(&fleet), None);
}

fn about(labels: Labels, host: &str) -> EngineAbout {
    EngineAbout {
        version: "1".into(),
        platform: "p".into(),
        code: wayfare_protocol::code::CodeTarget {
            architecture: "x".into(),
            wasmtime: "1".into(),
            abi: "1".into(),
        },
        compiles: true,
        tells_health: true,
        signs_statuses: false,
        processors: 1,
        memory_bytes: 1,
        programs_max: 1,
        program_memory_bytes_max: 1,
        host: host.into(),
        labels,
        trusts: Vec::new(),
        devices: Default::default(),
    }
}

#[test]
fn engine_statuses_win_by_boot_and_sequence_in_any_order() {
    // (boot, sequence, state) in order of arrival; online at the end?
    type Arrivals = &'static [(u8, u64, EngineState)];
    let cases: &[(Arrivals, bool)] = &[
        (&[(1, 1, Online)], true),
        (&[(1, 1, Online), (1, 0, Offline)], false),
        (&[(1, 5, Online), (1, 0, Offline), (1, 6, Online)], true),
        // Both again, late: nothing new.
        (&[(1, 6, Online), (1, 5, Online)], true),
        // The successor is up; then the old process's will arrives.
        (&[(1, 9, Online), (2, 1, Online), (1, 0, Offline)], true),
        (&[(1, 9, Offline), (2, 1, Online)], true),
        (&[(1, 0, Offline), (2, 0, Offline)], false),
    ];
    for (arrivals, online) in cases {
        let mut fleet = Fleet::default();
        for (boot, sequence, state) in *arrivals {
            fleet.engine_status(engine("a", *boot, *sequence, *state, vec![]), 0);
        }
        assert_eq!(fleet.engines(0)[0].online, *online, "{arrivals:?}");
    }
}

#[test]
fn only_an_engines_own_goodbye_says_that_it_has_stopped() {
    let goodbye = || EngineStatus {
        stopped: true,
        ..engine("a", 1, 0, Offline, vec![])
    };
    let will = || engine("a", 1, 0, Offline, vec![]);
    let online = |boot, sequence| engine("a", boot, sequence, Online, vec![]);
    // In order of arrival; stopped in the end, and messages of its own?
    let cases = [
        (vec![online(1, 1), goodbye()], true, 1),
        (vec![online(1, 1), will()], false, 1),
        // The connection broke before the broker had read that it ends.
        (vec![online(1, 1), goodbye(), will()], true, 1),
        (vec![goodbye(), will()], true, 0),
        (vec![online(1, 1), will(), online(1, 2)], false, 2),
        (vec![goodbye(), online(2, 1)], false, 1),
        // A process that never said goodbye, after one that did.
        (
            vec![goodbye(), online(2, 1), engine("a", 2, 0, Offline, vec![])],
            false,
            1,
        ),
        // Doubled, late, and of the process before.
        (vec![online(2, 1), goodbye(), will(), online(2, 1)], false, 1),
    ];
    for (arrivals, stopped, heard) in cases {
        let mut fleet = Fleet::default();
        for status in &arrivals {
            fleet.engine_status(status.clone(), 0);
        }
        let view = &fleet.engines(0)[0];
        assert_eq!((view.stopped, view.messages), (stopped, heard), "{arrivals:?}");
    }
}

/// As an engine of the release before this says it, and as one of a later release may.
#[test]
fn a_status_without_a_goodbye_is_read_as_a_will() {
    let boot = boot(1);
    for (more, stopped) in [("", false), (r#","stopped":true,"later":{}"#, true)] {
        let json = format!(r#"{{"engine":"a","boot":"{boot}","sequence":0,"state":"offline"{more}}}"#);
        let status: EngineStatus = serde_json::from_str(&json).unwrap();
        assert_eq!(status.stopped, stopped);
    }
    let will = serde_json::to_string(&engine("a", 1, 0, Offline, vec![])).unwrap();
    assert!(!will.contains("stopped") && !will.contains("leaving"), "{will}");
}

#[test]
fn a_program_is_where_its_highest_generation_is_whatever_arrives_last() {
    let on_a = program(1, "a", 1, 1, 9, Running);
    let on_b = program(1, "b", 2, 2, 1, Running);
    for order in [[&on_a, &on_b], [&on_b, &on_a]] {
        let mut fleet = Fleet::default();
        for status in order {
            fleet.program_status(status.clone());
        }
        assert_eq!(fleet.programs()[0].status.engine.as_str(), "b");
        // A stale listing by the source changes nothing.
        fleet.engine_status(engine("a", 1, 1, Online, vec![on_a.clone()]), 0);
        fleet.engine_status(engine("b", 2, 1, Online, vec![on_b.clone()]), 0);
        assert_eq!(fleet.programs()[0].status.engine.as_str(), "b");
    }
}

#[test]
fn within_a_generation_the_sequence_decides_unless_the_engine_restarted() {
    let mut fleet = Fleet::default();
    fleet.program_status(program(1, "a", 1, 1, 7, Paused));
    assert!(!fleet.program_status(program(1, "a", 1, 1, 6, Running)));
    assert_eq!(fleet.programs()[0].status.state, Paused);
    // Restarted: counts from the beginning again, and wins.
    fleet.engine_status(
        engine("a", 2, 1, Online, vec![program(1, "a", 2, 1, 1, Running)]),
        0,
    );
    assert_eq!(fleet.programs()[0].status.state, Running);
    // The old boot's word, repeated late, does not.
    fleet.program_status(program(1, "a", 1, 1, 8, Paused));
    assert_eq!(fleet.programs()[0].status.state, Running);
}

#[test]
fn programs_of_an_offline_engine_are_unknown_and_ended_ones_stay_ended() {
    let mut fleet = Fleet::default();
    let ended = program(2, "a", 1, 1, 2, ProgramState::Exited { code: 0 });
    let listed = vec![program(1, "a", 1, 1, 1, Running), ended];
    fleet.engine_status(engine("a", 1, 3, Online, listed), 100);
    fleet.engine_status(engine("a", 1, 0, Offline, vec![]), 200);
    let words: Vec<_> = fleet.programs().iter().map(ProgramView::word).collect();
    assert_eq!(words, ["engine offline", "exited"]);
    assert_eq!(fleet.engines(700)[0].offline_for_ms, Some(500));
}

#[test]
fn a_program_that_its_restarted_engine_does_not_have_is_lost() {
    let mut fleet = Fleet::default();
    fleet.program_status(program(1, "a", 1, 1, 1, Running));
    fleet.engine_status(engine("a", 2, 1, Online, vec![]), 0);
    assert_eq!(fleet.programs()[0].presence, Presence::Lost);
    // On the same boot the listing may only be behind.
    fleet.program_status(program(1, "a", 2, 1, 1, Running));
    assert_eq!(fleet.programs()[0].presence, Presence::Known);
}

/// It restarts, says how its program is before it says that it is back, and then hands the program over:
/// until the new owner is heard of, the program is not lost.
#[test]
fn a_program_handed_over_right_after_a_restart_is_not_lost() {
    let in_doubt = |boot| {
        let target = "b".parse().unwrap();
        program(1, "a", boot, 1, 1, ProgramState::InDoubt { target })
    };
    let mut fleet = Fleet::default();
    fleet.program_status(program(1, "a", 1, 1, 1, Running));
    fleet.engine_status(
        engine("a", 1, 1, Online, vec![program(1, "a", 1, 1, 1, Running)]),
        0,
    );
    fleet.engine_status(engine("a", 1, 0, Offline, vec![]), 0);
    fleet.program_status(in_doubt(2));
    fleet.engine_status(engine("a", 2, 1, Online, vec![in_doubt(2)]), 0);
    fleet.engine_status(engine("a", 2, 2, Online, vec![]), 0);
    assert_eq!(fleet.programs()[0].presence, Presence::Known);
    fleet.program_status(program(1, "b", 1, 2, 1, Running));
    assert_eq!(fleet.programs()[0].status.engine.as_str(), "b");
}

#[test]
fn a_cleared_program_is_gone_from_every_listing() {
    let mut fleet = Fleet::default();
    let status = program(1, "a", 1, 1, 1, Running);
    fleet.engine_status(engine("a", 1, 1, Online, vec![status.clone()]), 0);
    fleet.program_status(status);
    assert_eq!(fleet.engines(0)[0].programs, 1);
    assert!(fleet.program_cleared(id(1)));
    assert!(fleet.programs().is_empty());
    assert_eq!(fleet.engines(0)[0].programs, 0);
}

#[test]
fn a_tombstone_is_no_program_and_hides_what_is_older() {
    let mut fleet = Fleet::default();
    let status = program(1, "a", 1, 1, 1, Running);
    fleet.engine_status(engine("a", 1, 1, Online, vec![status.clone()]), 0);
    fleet.program_status(status);
    fleet.program_status(ProgramStatus::tombstone(id(1), "dispatcher".parse().unwrap()));
    assert!(fleet.programs().is_empty() && fleet.program(id(1)).is_none());
    assert_eq!(fleet.engines(0)[0].programs, 0);
    // Taken away once the engine is back without its copy.
    fleet.engine_status(engine("a", 1, 2, Online, vec![]), 0);
    fleet.program_cleared(id(1));
    assert!(fleet.programs().is_empty());
}

#[test]
fn a_status_of_a_connection_before_is_of_a_program_that_is_gone() {
    let mut fleet = Fleet::default();
    let connected = |sequence, after| EngineStatus {
        statuses_after: Some(after),
        ..engine("a", 1, sequence, Online, vec![])
    };
    fleet.program_status(program(1, "a", 1, 1, 12, Running));
    fleet.program_status(program(2, "a", 1, 1, 13, Running));
    fleet.engine_status(connected(14, 11), 0);
    let presence = |fleet: &Fleet| [1, 2].map(|number| fleet.program(id(number)).map(|view| view.presence));
    assert_eq!(presence(&fleet), [Some(Presence::Known); 2]);
    // The broker was set back, and the engine, which has ended one of them since, is connected again.
    let before = fleet.changes_since(0, 0);
    fleet.program_status(program(2, "a", 1, 1, 21, Running));
    fleet.engine_status(connected(22, 20), 0);
    assert_eq!(presence(&fleet), [Some(Presence::Lost), Some(Presence::Known)]);
    let changes = fleet.changes_since(before.revision, 0);
    assert!(
        changes
            .programs
            .iter()
            .any(|view| view.presence == Presence::Lost),
        "{changes:?}"
    );
    // An answer overtakes the statuses that say the same.
    fleet.program_moved(id(1), Generation(2), &"a".parse().unwrap());
    assert_eq!(presence(&fleet), [Some(Presence::Known); 2]);
    fleet.program_status(program(1, "a", 1, 2, 21, Paused));
    assert_eq!(
        fleet.program(id(1)).unwrap().status.state,
        Paused,
        "its own word counts more"
    );
    // Engines of earlier releases do not say where a connection begins.
    fleet.engine_status(engine("b", 2, 9, Online, vec![]), 0);
    fleet.program_status(program(3, "b", 2, 1, 1, Running));
    assert_eq!(fleet.program(id(3)).unwrap().presence, Presence::Known);
}

#[test]
fn a_tombstone_stands_until_something_else_is_in_its_place_or_the_broker_comes_back_without_it() {
    let mut fleet = Fleet::default();
    fleet.begin_round();
    fleet.complete_round();
    let copy = program(1, "a", 1, 1, 5, Running);
    let ours = ProgramStatus::tombstone(id(1), "dispatcher".parse().unwrap());
    for tombstone in [copy.clone().into_tombstone(6), ours] {
        fleet.engine_status(engine("a", 1, 1, Online, vec![]), 0);
        fleet.program_status(copy.clone());
        assert!(fleet.changes_since(0, 0).standing.is_empty());
        fleet.program_status(tombstone.clone());
        assert_eq!(fleet.changes_since(0, 0).standing, [id(1)]);
        let before = fleet.changes_since(0, 0);
        fleet.program_status(copy.clone());
        let after = fleet.changes_since(before.revision, 0);
        assert_eq!(
            (after.standing, after.programs_gone),
            (vec![], vec![id(1)]),
            "it hides the copy"
        );
        let before = fleet.changes_since(0, 0);
        assert!(before.standing.is_empty());
        fleet.program_status(tombstone.clone());
        assert_eq!(
            fleet.changes_since(before.revision, 0).standing,
            [id(1)],
            "it was set again"
        );
        for is_retained in [true, false] {
            fleet.begin_round();
            if is_retained {
                fleet.program_status(tombstone.clone());
            }
            fleet.complete_round();
            assert_eq!(fleet.changes_since(0, 0).standing.is_empty(), !is_retained);
        }
        fleet.program_cleared(id(1));
    }
}

#[test]
fn a_tombstone_of_an_engine_is_told_of_until_something_newer_of_the_program_is_known() {
    let mut fleet = Fleet::default();
    let old = program(1, "b", 1, 1, 1, Running);
    fleet.engine_status(engine("a", 1, 1, Online, vec![]), 0);
    fleet.engine_status(engine("b", 1, 1, Online, vec![old.clone()]), 0);
    let ended = program(1, "a", 1, 1001, 5, Running);
    fleet.program_status(ended.clone());
    let before = fleet.changes_since(0, 0);
    assert!(before.tombstones.is_empty() && before.programs.len() == 1);
    fleet.program_status(ended.into_tombstone(6));
    let left = fleet.changes_since(before.revision, 0);
    assert_eq!((left.tombstones, left.programs_gone), (vec![id(1)], vec![id(1)]));
    assert_eq!(
        fleet.changes_since(0, 0).tombstones,
        [id(1)],
        "to who looks first"
    );
    // Begun anew.
    fleet.program_status(program(1, "b", 1, 2001, 9, Running));
    let anew = fleet.changes_since(left.revision, 0);
    assert!(anew.tombstones.is_empty() && anew.programs.len() == 1, "{anew:?}");
    fleet.program_cleared(id(1));
    assert!(fleet.changes_since(0, 0).tombstones.is_empty());
}

#[test]
fn what_was_cleared_while_away_is_gone_and_what_comes_again_stays() {
    let mut fleet = Fleet::default();
    let (kept, cleared) = (
        program(1, "a", 1, 1, 1, Running),
        program(2, "a", 1, 1, 1, Running),
    );
    let listed = vec![kept.clone(), cleared.clone()];
    fleet.engine_status(engine("a", 1, 1, Online, listed), 0);
    fleet.program_status(kept.clone());
    fleet.program_status(cleared);
    // Away; then the broker has lost everything: what was known stays until somebody knows better.
    fleet.begin_round();
    assert_eq!(fleet.programs().len(), 2);
    fleet.program_status(kept.clone());
    fleet.engine_status(engine("a", 1, 2, Online, vec![]), 0);
    assert_eq!(fleet.programs().len(), 2, "the rest may still come");
    assert!(fleet.complete_round());
    let left: Vec<_> = fleet.programs().iter().map(|view| view.status.program).collect();
    assert_eq!(left, [kept.program]);
}

#[test]
fn a_program_is_where_an_answer_says_that_it_moved() {
    let mut fleet = Fleet::default();
    fleet.engine_status(
        engine("a", 1, 1, Online, vec![program(1, "a", 1, 1, 7, Running)]),
        0,
    );
    fleet.engine_status(engine("b", 2, 1, Online, vec![]), 0);
    assert!(fleet.program_moved(id(1), Generation(2), &"b".parse().unwrap()));
    // What the source said before comes late, and changes nothing.
    fleet.program_status(program(1, "a", 1, 1, 9, Running));
    assert_eq!(fleet.program(id(1)).unwrap().status.engine.as_str(), "b");
    // The target's own word takes over, and an answer that comes late does not undo a further move.
    fleet.program_status(program(1, "b", 2, 2, 1, Paused));
    assert_eq!(fleet.program(id(1)).unwrap().status.state, Paused);
    assert!(!fleet.program_moved(id(1), Generation(2), &"a".parse().unwrap()));
}

/// The statuses of many programs do not fit into their engine's: it lists none, and has published each
/// before.
#[test]
fn an_engine_that_lists_nothing_has_the_programs_of_its_boot() {
    let present = |boot, sequence, live| EngineStatus {
        live_programs: Some(live),
        ..engine("a", boot, sequence, Online, vec![])
    };
    let words = |fleet: &Fleet| fleet.programs().iter().map(ProgramView::word).collect::<Vec<_>>();
    let mut fleet = Fleet::default();
    for number in 1..=3 {
        fleet.program_status(program(number, "a", 1, 1, 1, Running));
    }
    fleet.engine_status(present(1, 1, 3), 0);
    assert_eq!(words(&fleet), ["running"; 3]);
    assert_eq!(fleet.engines(0)[0].programs, 3);
    // It restarts without the third, which somebody has wiped from its disk.
    for number in 1..=2 {
        fleet.program_status(program(number, "a", 2, 1, 1, Running));
    }
    fleet.engine_status(present(2, 1, 2), 0);
    assert_eq!(words(&fleet), ["running", "running", "lost"]);
    assert_eq!(fleet.engines(0)[0].programs, 2);
    // All again, doubled, out of order and late: nothing changes.
    fleet.begin_round();
    fleet.engine_status(present(2, 1, 2), 0);
    for number in [3, 1, 2, 1] {
        let boot = if number == 3 { 1 } else { 2 };
        fleet.program_status(program(number, "a", boot, 1, 1, Running));
    }
    fleet.program_status(program(1, "a", 1, 1, 9, Paused));
    fleet.complete_round();
    assert_eq!(words(&fleet), ["running", "running", "lost"]);
}

#[test]
fn statuses_of_more_programs_than_an_engine_can_have_are_not_kept() {
    let mut fleet = Fleet::default();
    let status = |number: u32, engine: &str, generation| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ProgramStatus {
            program: ProgramId::from_random(bytes),
            ..program(1, engine, 1, generation, 1, Running)
        }
    };
    fleet.engine_status(engine("a", 1, 1, Online, vec![]), 0);
    let taken = (0..50_000).filter(|number| fleet.program_status(status(*number, "a", 1)));
    assert_eq!(taken.count(), PROGRAMS_OF_ENGINE_MAX + ENDED_PROGRAMS_MAX);
    assert!(!fleet.program_status(status(60_000, "a", 1)));
    // Others have theirs, what is known goes on being followed, and what is cleared makes room.
    fleet.engine_status(engine("b", 1, 1, Online, vec![]), 0);
    assert!(fleet.program_status(status(60_001, "b", 1)));
    assert!(fleet.program_status(status(0, "a", 2)));
    assert!(fleet.program_status(status(1, "b", 2)));
    assert!(fleet.program_status(status(60_000, "a", 1)));
    assert!(!fleet.program_status(status(60_002, "a", 1)));
    assert!(fleet.program_cleared(status(0, "a", 1).program));
    assert!(fleet.program_status(status(60_002, "a", 1)));
    // Engines that nobody has heard of have a bound together.
    let before = fleet.programs().len();
    for number in 100_000..121_000 {
        let name = format!("x{}", number % 1000);
        fleet.program_status(status(number, &name, 1));
    }
    let unknown = fleet.programs().len() - before;
    assert!(unknown <= PROGRAMS_OF_UNKNOWN_MAX, "{unknown}");
    // Whoever has an engine's login says what it likes of how many it can have.
    let boasts = EngineStatus {
        about: Some(EngineAbout {
            programs_max: u32::MAX,
            ..about(Labels::new(), "host")
        }),
        ..engine("c", 1, 1, Online, vec![])
    };
    fleet.engine_status(boasts, 0);
    let taken = (200_000..250_000).filter(|number| fleet.program_status(status(*number, "c", 1)));
    assert_eq!(taken.count(), PROGRAMS_OF_ENGINE_MAX + ENDED_PROGRAMS_MAX);
}

#[test]
fn statuses_of_more_engines_than_a_fleet_has_or_of_more_text_than_a_program_has_are_not_kept() {
    let mut fleet = Fleet::default();
    let says = |number: usize| engine(&format!("e{number}"), 1, 1, Online, vec![]);
    let taken = (0..ENGINES_MAX + 10).filter(|number| fleet.engine_status(says(*number), 0));
    assert_eq!(taken.count(), ENGINES_MAX);
    // Those that are known are followed on, and one that is cleared makes room.
    assert!(fleet.engine_status(engine("e0", 1, 2, Online, vec![]), 0));
    assert!(fleet.engine_cleared(&"e0".parse().unwrap()));
    assert!(fleet.engine_status(says(ENGINES_MAX + 1), 0));

    let long = ProgramStatus {
        name: "n".repeat(100_000),
        ..program(1, "e1", 1, 1, 1, Running)
    };
    assert!(!fleet.program_status(long.clone()));
    assert!(fleet.engine_status(engine("e1", 1, 2, Online, vec![long]), 0));
    assert!(fleet.programs().is_empty());
}

/// As whoever takes in changes one after the other has it.
#[derive(Default)]
struct Mirror {
    revision: u64,
    engines: BTreeMap<EngineId, EngineView>,
    programs: BTreeMap<ProgramId, ProgramView>,
}

impl Mirror {
    /// Takes in what has changed, and is then as a whole look. Answers how many were named.
    fn looks(&mut self, fleet: &Fleet, why: &str) -> usize {
        let changes = fleet.changes_since(self.revision, 0);
        self.revision = changes.revision;
        if changes.is_whole {
            (self.engines, self.programs) = Default::default();
        }
        let named = changes.engines.len() + changes.programs.len();
        for engine in &changes.engines_gone {
            self.engines.remove(engine);
        }
        for program in &changes.programs_gone {
            self.programs.remove(program);
        }
        let engines = changes.engines.into_iter();
        self.engines
            .extend(engines.map(|view| (view.engine.clone(), view)));
        let programs = changes.programs.into_iter();
        self.programs
            .extend(programs.map(|view| (view.status.program, view)));
        let engines: Vec<_> = self.engines.values().cloned().collect();
        assert_eq!(engines, fleet.engines(0), "{why}");
        let programs: Vec<_> = self.programs.values().cloned().collect();
        assert_eq!(programs, fleet.programs(), "{why}");
        named
    }
}

/// Whatever comes, in whatever order, and however seldom somebody looks.
#[test]
fn changes_taken_in_one_after_the_other_show_what_a_whole_look_shows() {
    for seed in 0..300_u64 {
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut fleet, mut mirror) = (Fleet::default(), Mirror::default());
        for step in 0..200 {
            let name = ["a", "b", "c"][below(3) as usize];
            let (number, boot_number) = (below(5) as u8, 1 + below(2) as u8);
            let any = |below: &mut dyn FnMut(u64) -> u64| {
                let states = [Running, Paused, ProgramState::Exited { code: 0 }];
                let state = states[below(3) as usize].clone();
                let (generation, sequence) = (1 + below(3), below(4));
                program(number, name, boot_number, generation, sequence, state)
            };
            match below(10) {
                0 => fleet.begin_round(),
                1 => {
                    fleet.complete_round();
                }
                2 | 3 => {
                    let listed = (0..below(3)).map(|_| any(&mut below)).collect();
                    let state = [Online, Offline][below(2) as usize];
                    let mut status = engine(name, boot_number, below(9), state, listed);
                    status.live_programs = (below(2) == 0).then_some(7);
                    fleet.engine_status(status, 0);
                }
                4 => {
                    fleet.engine_spoke(&name.parse().unwrap(), 0);
                }
                5 => fleet.engine_answered(&name.parse().unwrap()),
                6 if below(3) == 0 => {
                    fleet.engine_cleared(&name.parse().unwrap());
                }
                7 if below(2) == 0 => {
                    fleet.program_cleared(id(number));
                }
                8 => {
                    let target = name.parse().unwrap();
                    fleet.program_moved(id(number), Generation(1 + below(3)), &target);
                }
                _ => {
                    fleet.program_status(any(&mut below));
                }
            }
            if below(3) == 0 {
                mirror.looks(&fleet, &format!("seed {seed}, step {step}"));
            }
        }
    }
}

#[test]
fn a_look_after_one_change_names_what_has_changed_and_no_more() {
    let (mut fleet, mut mirror) = (Fleet::default(), Mirror::default());
    for number in 0..100 {
        let name = format!("e{number}");
        fleet.program_status(program(number, &name, 1, 1, 1, Running));
        fleet.engine_status(engine(&name, 1, 1, Online, vec![]), 0);
    }
    fleet.complete_round();
    assert_eq!(mirror.looks(&fleet, "first"), 200);
    assert_eq!(mirror.looks(&fleet, "nothing"), 0);
    fleet.engine_answered(&"e7".parse().unwrap());
    assert_eq!(mirror.looks(&fleet, "an answer"), 1);
    fleet.engine_status(engine("e7", 1, 2, Offline, vec![]), 0);
    assert_eq!(mirror.looks(&fleet, "a will"), 2);
    // What is gone is not remembered for ever.
    for number in 0..5_000_u32 {
        let mut bytes = [9; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let gone = ProgramId::from_random(bytes);
        fleet.program_status(ProgramStatus {
            program: gone,
            ..program(1, "e7", 1, 1, 1, Running)
        });
        fleet.program_cleared(gone);
    }
    assert!(fleet.changes_since(mirror.revision, 0).is_whole);
    mirror.looks(&fleet, "anew");
    let revision = mirror.revision;
    assert_eq!(fleet.changes_since(revision, 0).programs_gone, []);
}
