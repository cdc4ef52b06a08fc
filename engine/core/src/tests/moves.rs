//! A move, from both sides.

use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Generation;
use wayfare_protocol::peer::PeerMessage;

use super::bench::*;
use crate::types::{CaptureId, Effect, Input, Saved};

fn verified(number: u8) -> Input {
    Input::SnapshotVerified {
        operation: operation(number),
        result: Ok(()),
    }
}

/// Engine `e2`, where everything of operation 2 but its final snapshot has come from `e1`.
fn arriving() -> Bench {
    let mut bench = Bench::new("e2");
    assert_eq!(bench.words(says("e1", 2, prepare(2))), ["say want"]);
    assert_eq!(bench.words(chunk("e1", 2, "module")), ["keep chunk"]);
    assert_eq!(
        bench.words(complete("module")),
        ["load module"],
        "not acknowledged before it is loaded"
    );
    assert_eq!(bench.words(loaded(2)), ["say ack"]);
    assert_eq!(bench.words(chunk("e1", 2, "base")), ["keep chunk"]);
    assert_eq!(bench.words(complete("base")), ["say ack"]);
    bench
}

/// ... and the final snapshot as well: it waits to be started.
fn starting() -> Bench {
    let mut bench = arriving();
    bench.feed(says("e1", 2, commit()));
    bench.feed(chunk("e1", 2, "final"));
    assert_eq!(bench.words(complete("final")), ["say ack", "verify"]);
    assert_eq!(bench.words(verified(2)), ["start frozen"]);
    bench
}

#[test]
fn who_waits_for_a_capture_hears_that_code_is_compiled_for_it() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    assert_eq!(bench.words(acknowledges("e2", 2, "module")), ["capture"]);
    let compiles = |capture| Input::CaptureCompiles {
        program: program(1),
        capture: CaptureId(capture),
    };
    assert_eq!(bench.words(compiles(1)), ["progress compile"]);
    assert!(bench.words(compiles(9)).is_empty(), "nobody waits for that one");
}

#[test]
fn the_code_that_goes_on_from_a_snapshot_is_loaded_only_for_what_does() {
    let resumes = |effects: &[Effect]| {
        let found = effects.iter().find_map(|effect| match effect {
            Effect::LoadModule { resumes, .. } => Some(*resumes),
            _ => None,
        });
        found.expect("it loads the module")
    };
    let mut bench = Bench::new("e2");
    bench.feed(says("e1", 2, prepare(2)));
    bench.feed(chunk("e1", 2, "module"));
    assert!(resumes(bench.feed(complete("module"))));
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    bench.feed(chunk("client", 1, "module"));
    assert!(!resumes(bench.feed(complete("module"))));
}

#[test]
fn the_source_sends_while_the_program_runs_and_freezes_it_last() {
    let mut bench = Bench::running();
    for (input, expected) in [
        (
            move_to(2, "e2"),
            vec!["store accepted", "reply accepted", "say prepare"],
        ),
        (acknowledges("e2", 2, "module"), vec!["capture"]),
        (
            captured(1, "base"),
            vec!["say prepare", "send chunk", "progress precopy"],
        ),
        (acknowledges("e2", 2, "base"), vec!["freeze and capture"]),
        (
            captured(2, "final"),
            vec![
                "say prepare",
                "send chunk",
                "store offered",
                "say commit",
                "progress handover",
            ],
        ),
        (acknowledges("e2", 2, "final"), vec![]),
        (
            says("e2", 2, adopted(2)),
            vec!["store done", "reply done", "erase program", "discard"],
        ),
    ] {
        assert_eq!(bench.words(input.clone()), expected, "{input:?}");
    }
    assert_eq!(bench.state(), "gone");
}

#[test]
fn commit_is_only_sent_after_the_offer_is_stored() {
    let bench = Bench::offered();
    let at = |wanted: &str| bench.effects.iter().position(|e| word(e) == wanted).unwrap();
    assert!(at("store offered") < at("say commit"));
    let Some(Effect::Peer { message, .. }) = bench.effects.get(at("say commit")) else {
        panic!("it says commit");
    };
    assert_eq!(*message, commit());
}

#[test]
fn refused_move_resumes_source() {
    let before = "what the target says, and what it leads to";
    for (mut bench, expected) in [
        (
            Bench::offered(),
            vec!["store running", "unfreeze", "store failed", "reply failed"],
        ),
        (
            {
                let mut asking = Bench::running();
                asking.feed(move_to(2, "e2"));
                asking
            },
            vec!["store failed", "reply failed"],
        ),
    ] {
        assert_eq!(bench.words(says("e2", 2, refused())), expected, "{before}");
        assert_eq!(bench.state(), "running");
        assert!(matches!(bench.failure(), Failure::Refused { .. }));
        assert_eq!(bench.words(says("e2", 2, adopted(2))), [""; 0], "too late");
    }
}

#[test]
fn a_move_given_up_while_the_program_is_being_frozen_lets_it_run_on() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.feed(acknowledges("e2", 2, "module"));
    bench.feed(captured(1, "base"));
    bench.feed(acknowledges("e2", 2, "base"));
    assert_eq!(
        bench.words(says("e2", 2, refused())),
        ["store failed", "reply failed"]
    );
    assert_eq!(bench.words(captured(2, "final")), ["unfreeze"]);
}

#[test]
fn a_move_that_nobody_answers_is_cancelled_at_its_time_limit() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    let words = bench.wait(31 * SECOND);
    assert!(
        words.iter().filter(|w| *w == "say prepare").count() >= 5,
        "{words:?}"
    );
    assert_eq!(
        words[words.len() - 3..],
        ["say cancel", "store failed", "reply failed"]
    );
    assert_eq!(bench.state(), "running");
}

#[test]
fn a_move_waits_for_a_target_that_compiles_and_says_so_but_not_for_one_that_falls_silent() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    let has_it = || says("e2", 2, PeerMessage::Want { missing: vec![] });
    assert_eq!(
        bench.words(has_it()),
        [""; 0],
        "it may be about to acknowledge it"
    );
    for _ in 0..100 {
        bench.wait(SECOND);
        assert_eq!(bench.words(has_it()), ["progress compile"]);
    }
    let mut acknowledged = bench;
    assert_eq!(acknowledged.words(acknowledges("e2", 2, "module")), ["capture"]);
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.feed(has_it());
    bench.wait(20 * SECOND);
    bench.feed(has_it());
    assert!(!bench.wait(29 * SECOND).contains(&"reply failed".to_owned()));
    assert!(bench.wait(2 * SECOND).contains(&"reply failed".to_owned()));
    assert_eq!(bench.state(), "running");
}

#[test]
fn the_time_that_capturing_code_takes_to_compile_is_not_the_time_of_what_waits_for_it() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.feed(acknowledges("e2", 2, "module"));
    let compiles = Input::CaptureCompiles {
        program: program(1),
        capture: CaptureId(1),
    };
    bench.feed(compiles);
    let words = bench.wait(100 * SECOND);
    assert!(words.contains(&"progress compile".to_owned()));
    assert!(!words.contains(&"reply failed".to_owned()), "{words:?}");
    assert_eq!(bench.words(captured(1, "base"))[..1], ["say prepare"]);
}

#[test]
fn silence_after_the_offer_keeps_the_program_frozen() {
    let mut bench = Bench::offered();
    let words = bench.wait(29 * SECOND);
    assert!(words.contains(&"say commit".to_owned()));
    assert!(words.contains(&"progress indoubt".to_owned()));
    assert_eq!(bench.state(), "in doubt");
    let words = bench.wait(3600 * SECOND);
    assert!(words.iter().filter(|w| *w == "say cancel").count() > 600);
    assert!(
        words
            .iter()
            .all(|w| matches!(w.as_str(), "say cancel" | "say commit" | "send chunk"))
    );
    assert_eq!(bench.state(), "in doubt");
    // Either verdict is believed, however late.
    assert_eq!(
        bench.words(says("e2", 2, refused())),
        ["store running", "unfreeze", "store failed", "reply failed"]
    );
    assert!(matches!(bench.failure(), Failure::Silent { .. }));
}

#[test]
fn only_the_target_is_believed() {
    let mut bench = Bench::offered();
    for stranger in ["e3", "client", "e1"] {
        for message in [refused(), adopted(2), PeerMessage::Want { missing: vec![] }] {
            assert_eq!(bench.words(says(stranger, 2, message)), [""; 0]);
        }
    }
    assert_eq!(
        bench.words(says("e2", 2, adopted(3))),
        [""; 0],
        "of another generation"
    );
    assert_eq!(
        bench.words(says("e2", 9, adopted(2))),
        [""; 0],
        "of another operation"
    );
    assert_eq!(bench.state(), "moving");
    let mut bench = arriving();
    for stranger in ["e3", "client"] {
        for message in [prepare(2), commit(), PeerMessage::Query, PeerMessage::Cancel] {
            assert_eq!(bench.words(says(stranger, 2, message)), [""; 0]);
        }
        assert_eq!(bench.words(chunk(stranger, 2, "base")), [""; 0]);
    }
}

#[test]
fn a_target_that_adopted_before_it_was_committed_to_is_not_believed() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    assert_eq!(bench.words(says("e2", 2, adopted(2))), [""; 0]);
    assert_eq!(bench.state(), "moving");
}

#[test]
fn whoever_hears_that_it_has_moved_finds_it_at_the_target() {
    let mut bench = starting();
    let effects = bench.feed(started());
    let status = effects
        .iter()
        .position(|e| matches!(e, Effect::PublishProgram(_)));
    let said = effects.iter().position(|e| word(e) == "say adopted");
    assert!(status.is_some() && status < said, "{effects:?}");
}

#[test]
fn the_target_lets_the_program_run_only_once_it_is_stored() {
    let mut bench = starting();
    assert_eq!(
        bench.words(started()),
        ["store running", "unfreeze", "say adopted", "store adopted"]
    );
    assert_eq!(bench.state(), "running");
    for again in [commit(), prepare(2), PeerMessage::Query, PeerMessage::Cancel] {
        assert_eq!(bench.words(says("e1", 2, again)), ["say adopted"]);
    }
}

#[test]
fn a_paused_program_arrives_paused() {
    let mut bench = Bench::new("e2");
    let PeerMessage::Prepare {
        program,
        generation,
        spec,
        memory_bytes,
        blobs,
        ..
    } = prepare(2)
    else {
        unreachable!()
    };
    let paused = PeerMessage::Prepare {
        program,
        generation,
        spec,
        memory_bytes,
        paused: true,
        devices: Default::default(),
        blobs,
    };
    bench.feed(says("e1", 2, paused));
    bench.feed(chunk("e1", 2, "module"));
    bench.feed(complete("module"));
    bench.feed(loaded(2));
    bench.feed(says(
        "e1",
        2,
        PeerMessage::Commit {
            snapshot: blob("final"),
            base: None,
        },
    ));
    bench.feed(chunk("e1", 2, "final"));
    bench.feed(complete("final"));
    bench.feed(verified(2));
    assert_eq!(
        bench.words(started()),
        ["store paused", "say adopted", "store adopted"]
    );
    assert_eq!(bench.state(), "paused");
}

#[test]
fn a_program_that_cannot_be_started_is_refused_for_good() {
    let mut bench = starting();
    let failed = Input::Started {
        program: program(1),
        result: Err(Failure::Internal {
            reason: "no memory".into(),
        }),
    };
    assert_eq!(
        bench.words(failed),
        ["discard", "store refused", "say refused"],
        "and whatever is left of it goes"
    );
    assert_eq!(bench.words(says("e1", 2, commit())), ["say refused"]);
    assert_eq!(bench.state(), "gone");
}

#[test]
fn a_cancel_stops_an_arrival_wherever_it_is() {
    assert_eq!(
        arriving().words(says("e1", 2, PeerMessage::Cancel)),
        ["store refused", "say refused"]
    );
    assert_eq!(
        starting().words(says("e1", 2, PeerMessage::Cancel)),
        ["discard", "store refused", "say refused"]
    );
}

#[test]
fn a_late_commit_after_a_tombstone_is_refused() {
    for question in [PeerMessage::Query, PeerMessage::Cancel, commit()] {
        let mut bench = Bench::new("e2");
        assert_eq!(
            bench.words(says("e1", 2, question)),
            ["store refused", "say refused"],
            "what is not known is decided"
        );
        assert_eq!(bench.restart(), [""; 0]);
        for late in [prepare(2), commit(), PeerMessage::Query] {
            assert_eq!(bench.words(says("e1", 2, late)), ["say refused"]);
        }
    }
}

#[test]
fn a_target_that_restarts_before_its_verdict_takes_the_move_anew_or_not_at_all() {
    let mut bench = arriving();
    assert_eq!(bench.restart(), [""; 0]);
    assert_eq!(bench.words(says("e1", 2, prepare(2))), ["say want"]);
    assert_eq!(bench.restart(), [""; 0]);
    assert_eq!(
        bench.words(says("e1", 2, commit())),
        ["store refused", "say refused"]
    );
}

#[test]
fn forced_resume_fences_off_what_the_target_may_have() {
    let mut bench = Bench::offered();
    let resume = |force| Action::Resume { on: on(1), force };
    assert_eq!(
        bench.words(command(3, resume(false))),
        ["store failed", "reply failed"]
    );
    assert!(matches!(bench.failure(), Failure::Busy { .. }));
    assert_eq!(
        bench.words(command(4, resume(true))),
        [
            "store accepted",
            "reply accepted",
            "store running",
            "unfreeze",
            "say cancel",
            "store failed",
            "reply failed",
            "store done",
            "reply done"
        ]
    );
    let status = &bench.core.statuses()[0];
    assert_eq!((status.generation, bench.state()), (Generation(1001), "running"));
    // The target has it, as it turns out, and has even sent it on.
    let fenced = |generation| Input::Fenced {
        program: program(1),
        generation: Generation(generation),
    };
    let published = |bench: &Bench| {
        let effects = bench.effects.iter();
        effects.filter(|e| matches!(e, Effect::PublishProgram(_))).count()
    };
    bench.feed(fenced(3));
    assert_eq!(published(&bench), 1, "so that the other hears of it");
    bench.feed(fenced(1001));
    assert_eq!(published(&bench), 0);
    assert_eq!(
        bench.words(fenced(1002)),
        ["erase program", "discard"],
        "its status is another's now"
    );
}

#[test]
fn a_program_that_is_sent_back_ends_the_doubt_when_it_is_known_to_be_good() {
    // The target sends the program back before its word of the adoption was heard.
    let mut bench = Bench::offered();
    assert_eq!(
        bench.words(says("e2", 7, prepare(3))),
        ["say want", "say ack", "load module"]
    );
    assert_eq!(bench.words(loaded(7)), ["say ack"]);
    bench.feed(says("e2", 7, commit()));
    bench.feed(chunk("e2", 7, "final"));
    assert_eq!(
        bench.state(),
        "moving",
        "until it is there and good, nothing is ended"
    );
    let mut damaged = Bench::offered();
    std::mem::swap(&mut bench, &mut damaged);
    let bad = Input::SnapshotVerified {
        operation: operation(7),
        result: Err(Failure::Snapshot {
            reason: "it is another's".into(),
        }),
    };
    damaged.feed(complete("final"));
    assert_eq!(damaged.words(bad), ["store refused", "say refused"]);
    assert_eq!(damaged.state(), "moving");
    let mut bench = Bench::offered();
    bench.feed(says("e2", 7, prepare(3)));
    bench.feed(loaded(7));
    bench.feed(says("e2", 7, commit()));
    bench.feed(chunk("e2", 7, "final"));
    bench.feed(complete("final"));
    assert_eq!(
        bench.words(verified(7)),
        [
            "store done",
            "reply done",
            "erase program",
            "discard",
            "start frozen"
        ]
    );
    assert_eq!(
        bench.words(started()),
        ["store running", "unfreeze", "say adopted", "store adopted"]
    );
}

#[test]
fn a_stranger_that_offers_a_program_ends_nothing_here() {
    let offers = [2, 3, 1_000_000, u64::MAX].map(prepare);
    for make in [Bench::running, Bench::offered] {
        for offer in &offers {
            let mut bench = make();
            let before = bench.state();
            // Everything that would follow changes nothing either.
            assert_eq!(
                bench.words(says("e3", 9, offer.clone())),
                ["store refused", "say refused"]
            );
            assert_eq!(bench.words(says("e3", 9, commit())), ["say refused"]);
            assert_eq!(bench.state(), before);
        }
    }
    // Nor does one that has only been taken back from.
    let mut bench = Bench::offered();
    bench.feed(says("e2", 7, prepare(3)));
    bench.feed(loaded(7));
    bench.feed(says("e2", 7, commit()));
    bench.feed(chunk("e2", 7, "final"));
    bench.feed(says("e2", 2, refused()));
    bench.feed(complete("final"));
    assert_eq!(bench.words(verified(7)), ["store refused", "say refused"]);
    assert_eq!(bench.state(), "running");
}

#[test]
fn a_stranger_does_not_take_the_place_of_a_program_that_is_on_its_way() {
    let mut bench = arriving();
    assert_eq!(
        bench.words(says("e3", 9, prepare(1_000_000))),
        ["store refused", "say refused"]
    );
    bench.feed(says("e1", 2, commit()));
    bench.feed(chunk("e1", 2, "final"));
    bench.feed(complete("final"));
    assert_eq!(bench.words(verified(2)), ["start frozen"]);
    // Its source may begin anew.
    let mut bench = arriving();
    assert_eq!(
        bench.words(says("e1", 9, prepare(2))),
        ["say want", "say ack", "load module"]
    );
}

#[test]
fn two_engines_cannot_both_have_a_program() {
    let mut bench = Bench::running();
    assert_eq!(
        bench.words(says("e2", 5, prepare(2))),
        ["store refused", "say refused"]
    );
    assert_eq!(bench.words(command(6, run())), ["store failed", "reply failed"]);
    assert!(matches!(bench.failure(), Failure::AlreadyHere { .. }));
    assert_eq!(bench.words(move_to(7, "e1")), ["store failed", "reply failed"]);
    assert!(matches!(bench.failure(), Failure::AlreadyHere { .. }));
}

#[test]
fn a_snapshot_and_its_base_go_together() {
    let mut bench = arriving();
    bench.feed(says("e1", 2, commit()));
    bench.feed(chunk("e1", 2, "final"));
    bench.feed(complete("final"));
    let saved = Saved {
        snapshot: blob("final"),
        base: Some(blob("base")),
    };
    let verify = |e: &Effect| matches!(e, Effect::VerifySnapshot { saved: s, .. } if *s == saved);
    assert!(bench.effects.iter().any(verify));
}

#[test]
fn a_spawn_leaves_the_original_running() {
    let mut bench = Bench::running();
    let spawn = Action::Spawn {
        on: on(1),
        target: peer("e2"),
        copy: program(2),
        copy_name: "copy".into(),
    };
    for (input, expected) in [
        (
            command(2, spawn),
            vec!["store accepted", "reply accepted", "say prepare"],
        ),
        (acknowledges("e2", 2, "module"), vec!["capture"]),
        (
            captured(1, "copy"),
            vec!["say prepare", "send chunk", "say commit"],
        ),
        (says("e2", 2, adopted(1)), vec!["store done", "reply done"]),
    ] {
        assert_eq!(bench.words(input.clone()), expected, "{input:?}");
        assert_eq!(bench.state(), "running");
    }
}
