//! State, input, expected effects. The other side is played by hand: no link, no clock.

mod bench;

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, Generation, Term};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::status::EngineState;

use super::*;
use crate::error::Stage;
use crate::order::Busy;
use bench::*;

#[test]
fn a_command_is_repeated_with_the_same_id_until_it_is_accepted() {
    let mut bench = Bench::connected();
    let first = commands(&bench.start(request("a", Action::Pause { on: on(1) }, &[])));
    assert_eq!(first[0].0, "a");
    for (at_ms, repeats) in [(1_000, 0), (2_000, 1), (3_000, 0), (4_000, 1)] {
        let again = commands(&bench.handle(Input::Tick, at_ms));
        assert_eq!(again.len(), repeats, "{at_ms}");
        assert!(again.iter().all(|command| *command == first[0]));
    }
    bench.event(1, "a", EventBody::Accepted, 4_100);
    assert!(commands(&bench.handle(Input::Tick, 6_200)).is_empty());
    let finished = settled(bench.event(1, "a", paused(), 7_000)).unwrap().unwrap();
    assert_eq!(finished.outcome, Outcome::Paused { program: program() });
    // The final answer, said twice, settles once.
    assert!(settled(bench.event(1, "a", paused(), 7_001)).is_none());
    assert!(bench.core.is_idle());
}

/// Its answer may have been lost with it: nobody waits for the next repetition.
#[test]
fn an_engine_that_comes_back_is_asked_again_at_once() {
    let mut bench = Bench::connected();
    bench.engine("a", 1, EngineState::Online, 0);
    let first = commands(&bench.start(request("a", Action::Pause { on: on(1) }, &[])));
    bench.event(1, "a", EventBody::Accepted, 10);
    for (engine, boot, state, repeats) in [
        ("a", 1, EngineState::Online, 0),
        ("b", 2, EngineState::Online, 0),
        ("a", 1, EngineState::Offline, 0),
        ("a", 2, EngineState::Online, 1),
        ("a", 2, EngineState::Online, 0),
        // Without a word of its going.
        ("a", 3, EngineState::Online, 1),
    ] {
        let again = commands(&bench.engine(engine, boot, state, 20));
        assert_eq!(again.len(), repeats, "{engine} {boot} {state:?}");
        assert!(again.iter().all(|command| *command == first[0]));
    }
}

#[test]
fn a_command_that_no_message_holds_is_refused_at_once_with_size_and_limit() {
    let mut bench = Bench::connected();
    let mut large = run_of(b"module");
    if let Action::Run { spec, .. } = &mut large.action {
        spec.args = vec!["\u{1}".repeat(30_000)];
    }
    let effects = bench.start(large);
    assert!(commands(&effects).is_empty());
    match settled(effects) {
        Some(Err(CommandError::Refused(Failure::TooLarge { bytes, bytes_max, .. }))) => {
            assert!(bytes > 180_000 && bytes_max == 122_880);
        }
        other => panic!("{other:?}"),
    }
    assert!(bench.core.is_idle());
}

#[test]
fn silence_is_a_typed_error_that_says_how_far_it_came() {
    let progress = |phase| EventBody::Progress {
        phase,
        done_bytes: 0,
        total_bytes: 0,
    };
    for (answers, up_ms, stage) in [
        (vec![], 30_000, Stage::Sent),
        (vec![EventBody::Accepted], 32_000, Stage::Accepted),
        (
            vec![EventBody::Accepted, progress(Phase::InDoubt)],
            32_000,
            Stage::InDoubt,
        ),
    ] {
        let mut bench = Bench::connected();
        bench.start(request(
            "a",
            Action::Move {
                on: on(1),
                target: "b".parse().unwrap(),
            },
            &[],
        ));
        for answer in answers {
            bench.event(1, "a", answer, 0);
        }
        assert!(settled(bench.handle(Input::Tick, up_ms - 1)).is_none());
        match settled(bench.handle(Input::Tick, up_ms)) {
            Some(Err(CommandError::NoAnswer {
                stage: found,
                verb: "move",
                ..
            })) => assert_eq!(found, stage),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_engine_that_says_that_it_compiles_is_waited_for() {
    let mut bench = Bench::connected();
    bench.start(run_of(b"module"));
    bench.event(1, "a", EventBody::Accepted, 0);
    let compiles = EventBody::Progress {
        phase: Phase::Compile,
        done_bytes: 0,
        total_bytes: 0,
    };
    for at_ms in (5_000..200_000).step_by(5_000) {
        assert!(settled(bench.event(1, "a", compiles.clone(), at_ms)).is_none());
        assert!(settled(bench.handle(Input::Tick, at_ms + 1)).is_none());
    }
    assert!(settled(bench.handle(Input::Tick, 195_000 + 31_999)).is_none());
    assert!(matches!(
        settled(bench.handle(Input::Tick, 195_000 + 32_000)),
        Some(Err(CommandError::NoAnswer { .. }))
    ));
}

#[test]
fn answers_from_others_and_unreadable_ones_change_nothing() {
    let mut bench = Bench::connected();
    bench.start(request("a", Action::Pause { on: on(1) }, &[]));
    assert!(bench.event(1, "b", paused(), 1).is_empty());
    assert!(bench.event(2, "a", paused(), 1).is_empty());
    for topic in [
        Topic::Reply("client".parse().unwrap()),
        Topic::EngineStatus("a".parse().unwrap()),
        Topic::ProgramStatus(program()),
        Topic::ProgramLog(program()),
        Topic::Peer(operation(1), "client".parse().unwrap()),
    ] {
        for payload in [b"{".to_vec(), vec![0xff; 9], b"{\"engine\":\"x\"}".to_vec()] {
            assert!(
                bench
                    .handle(
                        Input::Message {
                            topic: topic.clone(),
                            payload
                        },
                        1
                    )
                    .is_empty()
            );
        }
    }
}

/// Dispatchers answer to one name: an engine's refusal of what one ordered reaches the next, which has
/// ordered the same under its own term.
#[test]
fn the_refusal_of_a_predecessors_copy_ends_nothing() {
    let refused = |term: u64| EventBody::Failed {
        failure: Failure::StaleTerm {
            engine: "a".parse().unwrap(),
            term: Term(term),
            actual: Term(3),
        },
    };
    let mut bench = Bench::connected();
    let order = request("a", Action::Pause { on: on(1) }, &[]);
    bench.start(Request {
        term: Some(Term(3)),
        ..order
    });
    assert!(settled(bench.event(1, "a", refused(2), 1)).is_none());
    let finished = settled(bench.event(1, "a", paused(), 2)).unwrap().unwrap();
    assert_eq!(finished.outcome, Outcome::Paused { program: program() });
    let order = request("a", Action::Pause { on: on(1) }, &[]);
    bench.start(Request {
        term: Some(Term(2)),
        ..order
    });
    assert!(
        settled(bench.event(1, "a", refused(2), 3)).unwrap().is_err(),
        "its own"
    );
}

#[test]
fn a_view_that_was_old_is_looked_at_again_once() {
    let unknown = || EventBody::Failed {
        failure: Failure::UnknownProgram {
            engine: "a".parse().unwrap(),
            program: program(),
        },
    };
    // The news arrives: sent to the other engine under a new id, with the generation it has there.
    let mut bench = Bench::connected();
    bench.program_on("a", 1);
    bench.start(request("a", Action::Pause { on: on(1) }, &[]));
    assert!(settled(bench.event(1, "a", unknown(), 10)).is_none());
    bench.program_on("b", 2);
    let again = commands(&bench.handle(Input::Tick, 50));
    assert_eq!(again[0].0, "b");
    assert_eq!(again[0].1.operation, operation(101));
    assert_eq!(again[0].1.action, Action::Pause { on: on(2) });
    assert!(settled(bench.event(101, "b", paused(), 60)).unwrap().is_ok());

    // No news: the failure is the answer, after a moment.
    let mut bench = Bench::connected();
    bench.program_on("a", 1);
    bench.start(request("a", Action::Pause { on: on(1) }, &[]));
    bench.event(1, "a", unknown(), 10);
    assert!(settled(bench.handle(Input::Tick, 10 + SETTLE_MS - 1)).is_none());
    assert!(matches!(
        settled(bench.handle(Input::Tick, 10 + SETTLE_MS)),
        Some(Err(CommandError::Failed {
            failure: Failure::UnknownProgram { .. },
            ..
        }))
    ));
}

#[test]
fn the_engine_gets_what_it_wants_and_the_progress_is_counted() {
    let module: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|i| i as u8).collect();
    let blob = Blob::of(&module);
    let mut bench = Bench::connected();
    bench.start(run_of(&module));
    bench.event(1, "a", EventBody::Accepted, 1);
    let want = || PeerMessage::Want {
        missing: vec![blob.digest, Digest::of(b"never offered")],
    };
    let chunks = peer_messages(&bench.peer(want(), &[], 2));
    let sent: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(sent, module);
    // Wanted again while it is on its way: nothing is sent twice.
    assert!(peer_messages(&bench.peer(want(), &[], 3)).is_empty());
    // After silence everything from the last acknowledgement goes out again.
    bench.peer(
        PeerMessage::Ack {
            digest: blob.digest,
            received: CHUNK_BYTES as u64,
        },
        &[],
        4,
    );
    assert_eq!(peer_messages(&bench.handle(Input::Tick, 3_000)).len(), 2);
    let effects = bench.peer(
        PeerMessage::Ack {
            digest: blob.digest,
            received: blob.bytes,
        },
        &[],
        3_001,
    );
    let delivered =
        |effect: &Effect| matches!(effect, Effect::Progress { progress, .. } if progress.delivered);
    assert!(effects.iter().any(delivered));
    // An engine that lost everything wants it once more, and gets it.
    assert_eq!(peer_messages(&bench.peer(want(), &[], 3_002)).len(), 3);
}

#[test]
fn a_snapshot_is_fetched_whole_and_checked() {
    let (module, snapshot) = (b"module".to_vec(), vec![7; CHUNK_BYTES + 1]);
    let blobs = [Blob::of(&module), Blob::of(&snapshot)];
    let captured = || {
        let spec = match run_of(&module).action {
            Action::Run { spec, .. } => spec,
            _ => unreachable!(),
        };
        let outcome = Outcome::Captured {
            program: program(),
            generation: Generation(1),
            spec,
            snapshot: blobs[1],
        };
        EventBody::Done { outcome }
    };
    let mut bench = Bench::connected();
    bench.start(request("a", Action::Snapshot { on: on(1) }, &[]));
    let wants = peer_messages(&bench.event(1, "a", captured(), 1));
    let PeerMessage::Want { missing } = &wants[0].0 else {
        panic!()
    };
    assert_eq!(missing.len(), 2);
    // Lost: wanted again.
    assert_eq!(peer_messages(&bench.handle(Input::Tick, 2_100)).len(), 1);
    let chunk = |blob, offset| PeerMessage::Chunk { blob, offset };
    let acks = peer_messages(&bench.peer(chunk(blobs[0], 0), &module, 2_200));
    assert_eq!(
        acks[0].0,
        PeerMessage::Ack {
            digest: blobs[0].digest,
            received: 6
        }
    );
    bench.peer(chunk(blobs[1], 0), &snapshot[..CHUNK_BYTES], 2_300);
    let last = bench.peer(
        chunk(blobs[1], CHUNK_BYTES as u64),
        &snapshot[CHUNK_BYTES..],
        2_400,
    );
    let finished = settled(last).unwrap().unwrap();
    assert_eq!(finished.blobs[&blobs[1].digest], snapshot);
    let file = finished.into_bundle().unwrap();
    assert!(wayfare_protocol::bundle::decode(&file).is_ok());
}

#[test]
fn nothing_is_sent_while_disconnected_and_everything_is_said_again_after() {
    let mut bench = Bench::connected();
    bench.handle(Input::Disconnected, 0);
    assert!(
        bench
            .start(request("a", Action::Pause { on: on(1) }, &[]))
            .is_empty()
    );
    assert!(bench.handle(Input::Tick, 5_000).is_empty());
    assert_eq!(commands(&bench.handle(Input::Connected, 5_100)).len(), 1);
    bench.event(1, "a", EventBody::Accepted, 5_200);
    bench.handle(Input::Disconnected, 5_300);
    // Its answer may have been lost meanwhile.
    assert_eq!(commands(&bench.handle(Input::Connected, 5_400)).len(), 1);
}

#[test]
fn a_status_poll_ends_with_the_last_answer_or_names_who_was_silent() {
    let report = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::SettleReport { report, .. } => Some(report),
            _ => None,
        })
    };
    let reported = || EventBody::Done {
        outcome: Outcome::Reported,
    };
    for b_answers in [true, false] {
        let mut bench = Bench::connected();
        bench.program_on("a", 1);
        bench.program_on("b", 1);
        bench.handle(
            Input::Report {
                ticket: TICKET,
                operation: operation(1),
                engines: BTreeSet::new(),
                time_limit_ms: 1_000,
            },
            0,
        );
        assert!(report(bench.event(1, "a", reported(), 5)).is_none());
        let result = if b_answers {
            report(bench.event(1, "b", reported(), 8)).unwrap()
        } else {
            report(bench.handle(Input::Tick, 1_000)).unwrap()
        };
        assert_eq!(result.answered[&"a".parse().unwrap()], 5);
        assert_eq!(result.silent.len(), usize::from(!b_answers));
    }
}

#[test]
fn a_status_poll_of_some_asks_these_and_waits_for_no_other() {
    let mut bench = Bench::connected();
    bench.program_on("a", 1);
    bench.program_on("b", 1);
    let engines = BTreeSet::from(["a".parse().unwrap()]);
    let asked = bench.handle(
        Input::Report {
            ticket: TICKET,
            operation: operation(1),
            engines,
            time_limit_ms: 1_000,
        },
        0,
    );
    let question = asked.into_iter().find_map(|effect| match effect {
        Effect::Publish {
            topic: Topic::Report,
            payload,
        } => wire::decode::<wayfare_protocol::command::ReportRequest>(&payload).ok(),
        _ => None,
    });
    assert_eq!(question.unwrap().engines, ["a".parse().unwrap()]);
    let reported = EventBody::Done {
        outcome: Outcome::Reported,
    };
    let ended = bench
        .event(1, "a", reported, 5)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::SettleReport { report, .. } => Some(report),
            _ => None,
        });
    assert!(ended.unwrap().silent.is_empty());
}

/// Presence is retained: once all of it has come, it is known that there is nobody who could answer.
#[test]
fn a_status_poll_where_nobody_is_there_ends_when_that_is_known() {
    let ended = |effects: Vec<Effect>| {
        let settled =
            |effect| matches!(effect, Effect::SettleReport { report, .. } if report == Report::default());
        effects.into_iter().any(settled)
    };
    let poll = || Input::Report {
        ticket: TICKET,
        operation: operation(1),
        engines: BTreeSet::new(),
        time_limit_ms: 1_000,
    };
    let barrier = || Input::Message {
        topic: Topic::Reply("client".parse().unwrap()),
        payload: wire::encode(&Barrier { barrier: 1 }),
    };
    // Asked before it is known, and after.
    let mut bench = Bench::connected();
    assert!(!ended(bench.handle(poll(), 0)));
    bench.engine("gone", 1, EngineState::Offline, 1);
    assert!(!ended(bench.handle(Input::Tick, 2)));
    assert!(ended(bench.handle(barrier(), 3)));
    assert!(ended(bench.handle(poll(), 4)));
    // Without a connection nothing is known of who has come meanwhile.
    bench.handle(Input::Disconnected, 5);
    assert!(!ended(bench.handle(poll(), 6)));
    bench.handle(Input::Connected, 7);
    bench.engine("a", 1, EngineState::Online, 8);
    assert!(!ended(bench.handle(barrier(), 9)));
    assert!(!ended(bench.handle(Input::Tick, 10)));
}

/// One that comes up while others are asked was not there to be asked: its status is its answer. What is
/// retained is none.
#[test]
fn a_status_that_is_published_while_a_poll_is_under_way_is_an_answer() {
    let mut bench = Bench::connected();
    bench.engine("a", 1, EngineState::Online, 0);
    let own = Topic::Reply("client".parse().unwrap());
    let heard = |bench: &Bench| {
        bench
            .core
            .fleet()
            .engines(10)
            .iter()
            .map(|view| view.heard)
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(&bench), [Heard::Retained]);
    let barrier = Input::Message {
        topic: own,
        payload: wire::encode(&Barrier { barrier: 1 }),
    };
    bench.handle(barrier, 1);
    bench.handle(
        Input::Report {
            ticket: TICKET,
            operation: operation(1),
            engines: BTreeSet::new(),
            time_limit_ms: 1_000,
        },
        2,
    );
    bench.engine("b", 2, EngineState::Online, 5);
    assert_eq!(heard(&bench), [Heard::Retained, Heard::Live]);
    let effects = bench.handle(Input::Tick, 1_002);
    let report = effects.iter().find_map(|effect| match effect {
        Effect::SettleReport { report, .. } => Some(report),
        _ => None,
    });
    let silent = &report.expect("the time is up").silent;
    assert_eq!(silent, &["a".parse().unwrap()]);
    let mut views = bench.core.fleet().engines(1_003);
    report.unwrap().mark(&mut views);
    assert_eq!(
        views.iter().map(EngineView::word).collect::<Vec<_>>(),
        ["silent", "online"]
    );
    // Another connection: what was heard on the one before proves nothing on this.
    bench.handle(Input::Disconnected, 1_004);
    bench.handle(Input::Connected, 1_005);
    assert_eq!(heard(&bench), [Heard::Retained; 2]);
}

#[test]
fn our_own_message_is_a_barrier_and_no_answer() {
    let mut bench = Bench::connected();
    let topic = Topic::Reply("client".parse().unwrap());
    let effects = bench.handle(
        Input::Message {
            topic,
            payload: wire::encode(&Barrier { barrier: 3 }),
        },
        0,
    );
    assert!(matches!(effects[..], [Effect::Barrier(3)]));
}

#[test]
fn a_busy_program_is_waited_for_where_that_was_asked() {
    let failure = || Failure::Busy {
        program: program(),
        operation: operation(7),
    };
    let busy = || EventBody::Failed { failure: failure() };
    let mut bench = Bench::connected();
    bench.start(request("a", Action::Pause { on: on(1) }, &[]));
    assert!(matches!(
        settled(bench.event(1, "a", busy(), 1)),
        Some(Err(CommandError::Failed { .. }))
    ));

    let mut bench = Bench::connected();
    let mut waiting = request("a", Action::Pause { on: on(1) }, &[]);
    waiting.busy = Busy::Wait;
    bench.start(waiting);
    bench.event(1, "a", busy(), 1);
    assert!(commands(&bench.handle(Input::Tick, BUSY_RETRY_MS)).is_empty());
    let again = commands(&bench.handle(Input::Tick, BUSY_RETRY_MS + 1));
    assert_eq!(again[0].1.operation, operation(101));
    // Still busy when the time is up: that is the answer.
    bench.event(101, "a", busy(), 29_990);
    let end = settled(bench.handle(Input::Tick, 30_000));
    assert!(matches!(end, Some(Err(CommandError::Failed { failure: f, .. })) if f == failure()));
}

#[test]
fn orders_on_one_program_go_one_after_the_other_in_the_order_they_were_given() {
    let mut bench = Bench::connected();
    for number in [3, 2, 1] {
        let mut request = request("a", Action::Pause { on: on(1) }, &[]);
        request.busy = Busy::Wait;
        let sent = bench.handle(
            Input::Start {
                ticket: Ticket(u64::from(9 - number)),
                operation: operation(number),
                request: Box::new(request),
            },
            0,
        );
        assert_eq!(commands(&sent).len(), usize::from(number == 3));
    }
    for next in [2, 1] {
        assert!(commands(&bench.handle(Input::Tick, 50)).is_empty());
        bench.event(next + 1, "a", paused(), 60);
        let sent = commands(&bench.handle(Input::Tick, 100));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1.operation, operation(next));
    }
}

#[test]
fn only_who_has_a_program_prints_for_it() {
    let mut bench = Bench::connected();
    let of = |engine: &str, generation: u64, line: u64| LogBatch {
        program: program(),
        generation: Generation(generation),
        engine: engine.parse().unwrap(),
        lines: vec![wayfare_protocol::log::LogLine {
            line,
            stream: wayfare_protocol::log::Stream::Stdout,
            text: wayfare_protocol::log::LogText::Text(String::new()),
            open: false,
            at_ms: 0,
        }],
    };
    let heard = |effects: Vec<Effect>| -> Vec<(u64, Readers)> {
        let lines = |effect| match effect {
            Effect::Log { batch, readers } => Some((batch.lines[0].line, readers)),
            _ => None,
        };
        effects.into_iter().filter_map(lines).collect()
    };
    let print = |bench: &mut Bench, batch: LogBatch| {
        let payload = wire::encode(&batch);
        let topic = Topic::ProgramLog(program());
        heard(bench.handle(Input::Message { topic, payload }, 0))
    };
    // Nobody is known to have it: who keeps what all print would keep what anybody makes up.
    assert_eq!(print(&mut bench, of("a", 1, 0)), [(0, Readers::Followers)]);
    let _ = heard(bench.program_on("a", 1));
    for (engine, generation, line, passed) in [
        ("a", 1, 1, true),
        ("b", 1, 2, false),
        // It may have been there before.
        ("b", 0, 3, true),
        // Its status may be on its way.
        ("b", 2, 4, false),
        ("c", 2, 5, false),
        ("a", 1_000_000, 6, false),
    ] {
        let expected: &[_] = if passed { &[(line, Readers::All)] } else { &[] };
        assert_eq!(
            print(&mut bench, of(engine, generation, line)),
            expected,
            "{engine} {generation}"
        );
    }
    assert_eq!(heard(bench.program_on("b", 2)), [(4, Readers::All)]);
    assert_eq!(print(&mut bench, of("b", 2, 7)), [(7, Readers::All)]);
}
