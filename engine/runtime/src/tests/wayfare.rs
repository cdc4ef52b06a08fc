//! What the imports offer, through the files of `/wayfare`, wherever the program goes on in the middle of it.

use serde_json::{Value as Json, json};
use wayfare_devices::{DeviceTables, Devices};
use wayfare_mail::{Accepted, INBOX_MESSAGES_MAX};
use wayfare_protocol::health::{Claims, HOLD_MS_MAX, HealthClaim, HoldClaim};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::values::{Value, ValueAnswer, ValueAsk};

use super::*;
use crate::{Reply, ServiceAsk};

/// The program `talk`, which does what these steps say.
fn talk(steps: &[&str]) -> Plan {
    static LOADED: LazyLock<Arc<Loaded>> = LazyLock::new(|| load_wasm(wayfare_samples::TALK).unwrap());
    let mut plan = Plan::new(LOADED.clone());
    plan.spec.args = steps.iter().map(|step| (*step).to_owned()).collect();
    plan.spec.grants.subscribe = vec!["in/#".into()];
    plan.spec.grants.publish = vec!["out/#".into()];
    plan
}

fn json_lines(text: &str) -> Vec<Json> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// As the session does it: when the program has asked for it.
fn grant(run: &Run, filter: &str) {
    let mailbox = run.process.mailbox();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while mailbox.with(|mail| mail.is_granted(filter)).is_none() {
            mailbox.changed().await;
        }
    });
    mailbox.granted(filter, Qos::AtLeastOnce);
}

fn published(run: &Run) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some(one) = run.process.mailbox().next_to_send() {
        let (_, payload) = Stamp::take_off(&one.payload);
        all.push((one.topic, String::from_utf8(payload.to_vec()).unwrap()));
    }
    all
}

/// Goes on elsewhere.
fn moved(plan: &Plan, run: &Run) -> Run {
    plan.restore(through_the_wire(&run.capture(false)))
}

#[test]
fn every_action_is_answered_under_its_number_and_a_bad_one_with_its_kind() {
    let said = [
        r#"{"do":"publish","topic":"out/a","payload":"one"}"#,
        r#"{"do":"publish","topic":"out/a","payload":"two","id":1}"#,
        r#"{"do":"publish","topic":"elsewhere","payload":"","id":2}"#,
        r#"{"do":"publish","topic":"a/#","payload":"","id":3}"#,
        r#"{"do":"subscribe","filter":"elsewhere","id":4}"#,
        r#"{"do":"unsubscribe","filter":"in/a","id":5}"#,
        r#"{"do":"reply","to":"3 out/a","payload":"","id":6}"#,
        r#"{"do":"get","key":"/shared","id":7}"#,
        r#"{"do":"get","key":"","id":8}"#,
        "",
        "no JSON",
        r#"{"do":"dance","id":9}"#,
        "",
    ];
    let run = talk(&["say", &said.join("\n"), "hear", "10"]).start();
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    let answers = json_lines(&stdout(&lines));
    let short: Vec<_> = answers
        .iter()
        .map(|line| (line["id"].as_u64(), line["kind"].as_str().unwrap_or("")))
        .collect();
    let expected = [
        (Some(1), ""),
        (Some(2), "not-granted"),
        (Some(3), "malformed"),
        (Some(4), "not-granted"),
        (Some(5), ""),
        (Some(6), "not-repliable"),
        (Some(7), "not-granted"),
        (Some(8), "malformed"),
        (None, "malformed"),
        (Some(9), "unknown-action"),
    ];
    assert_eq!(short, expected, "{answers:#?}");
    let pairs = [("out/a", "one"), ("out/a", "two")];
    assert_eq!(
        published(&run),
        pairs.map(|(topic, text)| (topic.into(), text.into()))
    );
    let log: String = lines
        .iter()
        .filter(|line| line.stream == Stream::Stderr)
        .map(|line| String::from_utf8_lossy(line.text.as_bytes()).into_owned())
        .collect();
    for option in ["--allow-pub", "--allow-sub", "--allow-state"] {
        assert!(log.contains(option), "{option}: {log}");
    }
}

/// Captured while it waits for its subscription, for messages, and in the middle of lines.
#[test]
fn lines_come_whole_and_once_however_often_the_program_is_moved_in_the_middle_of_them() {
    const MESSAGES: usize = 60;
    let heard = MESSAGES.to_string();
    let mut plan = talk(&[
        "bit",
        "{\"do\":\"subscribe\",\"filter\":\"in/#\"}\n",
        "hear",
        &heard,
    ]);
    plan.spec.name = "talk".into();
    let mut run = plan.start();
    run = moved(&plan, &run);
    grant(&run, "in/#");
    let (mut random, mut lines) = (Random(42), BTreeMap::new());
    let mut sent = 0;
    loop {
        while sent < MESSAGES && random.below(3) > 0 {
            let payload = format!("{sent} {}", "x".repeat(random.below(40) as usize));
            let accepted = run.process.mailbox().accept("in/a", payload.as_bytes(), false);
            assert!(matches!(accepted, Accepted::Taken(_)));
            sent += 1;
        }
        lines.extend(
            run.process
                .take_lines(usize::MAX)
                .into_iter()
                .map(|line| (line.line, line)),
        );
        match run.try_capture(false) {
            Ok((snapshot, _)) => run = plan.restore(through_the_wire(&snapshot)),
            Err(state) => {
                assert_eq!(state, ProgramState::Exited { code: 0 });
                break;
            }
        }
    }
    lines.extend(
        run.process
            .take_lines(usize::MAX)
            .into_iter()
            .map(|line| (line.line, line)),
    );
    let all: Vec<LogLine> = lines.into_values().collect();
    let numbers: Vec<String> = json_lines(&stdout(&all))
        .iter()
        .map(|line| {
            line["payload"]
                .as_str()
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_value_is_asked_for_under_its_number_again_and_answered_once() {
    let said = [
        r#"{"do":"publish","topic":"out/a","payload":"before"}"#,
        r#"{"do":"compare_and_set","key":"k","version":3,"value":"v","id":1}"#,
        r#"{"do":"compare_and_set","key":"k","version":3,"value":"w","id":2}"#,
        r#"{"do":"get","key":"k"}"#,
        r#"{"do":"publish","topic":"out/a","payload":"after"}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "3"]);
    let run = plan.start();
    let first = run.asks();
    let run = moved(&plan, &run);
    let again = run.asks();
    assert_eq!((again.number, &again.what), (first.number, &first.what));
    assert!(matches!(
        &again.what,
        ServiceAsk::Value(ValueAsk::CompareAndSet { expected: 3, .. })
    ));
    let answer = |run: &Run, answer| {
        run.process
            .service_answered(run.asks().request, Ok(Reply::Value(answer)))
    };
    run.process
        .service_answered(again.request, Ok(Reply::Value(ValueAnswer::Set { version: 4 })));
    answer(&run, ValueAnswer::Conflict { version: 4 });
    let asked = run.asks();
    assert!(
        matches!(&asked.what, ServiceAsk::Value(ValueAsk::Get { .. })),
        "{asked:?}"
    );
    let run = moved(&plan, &run);
    let value = Value::new(b"v".to_vec()).unwrap();
    answer(&run, ValueAnswer::Value { version: 4, value });
    let said = json_lines(&run.end_well());
    assert_eq!(said[0], json!({"event": "answer", "id": 1, "version": 4}));
    assert_eq!(
        (&said[1]["kind"], &said[1]["version"]),
        (&json!("conflict"), &json!(4))
    );
    assert_eq!(said[2], json!({"event": "answer", "value": "v", "version": 4}));
    let pairs = [("out/a", "before"), ("out/a", "after")];
    assert_eq!(
        published(&run),
        pairs.map(|(topic, text)| (topic.into(), text.into())),
        "each once"
    );
}

#[test]
fn requests_are_replied_to_and_replies_awaited_through_lines() {
    let sender = ProgramId::from_bytes([9; 16]);
    let ask = "{\"do\":\"request\",\"topic\":\"out/q\",\"payload\":\"why\",\"id\":1}\n\
               {\"do\":\"request\",\"topic\":\"out/q\",\"payload\":\"why\",\"id\":2}\n";
    let plan = talk(&["say", ask, "hear", "1", "hear", "1"]);
    let run = plan.start();
    let busy = json_lines(&stdout(&run.lines(1)));
    assert_eq!((&busy[0]["id"], &busy[0]["kind"]), (&json!(2), &json!("busy")));
    run.process.acknowledge_log(1);
    assert_eq!(published(&run), [("out/q".into(), "why".into())]);
    let run = moved(&plan, &run);
    let topic = Topics::default().topic(&wayfare_protocol::topics::Topic::ProgramReply(
        ProgramId::from_bytes([7; 16]),
    ));
    let reply = Stamp {
        sender,
        number: 0,
        purpose: Purpose::Reply { answers: 0 },
    };
    let accepted = run
        .process
        .mailbox()
        .accept(&topic, &reply.put_on(b"because"), false);
    assert!(matches!(accepted, Accepted::Taken(_)), "{accepted:?}");
    let said = run.end_well();
    let last = said.lines().last().unwrap();
    assert_eq!(
        serde_json::from_str::<Json>(last).unwrap(),
        json!({"event": "answer", "id": 1, "payload": "because"})
    );

    let late = "{\"do\":\"request\",\"topic\":\"out/q\",\"payload\":\"\",\"timeout_ms\":1,\"id\":3}\n";
    let said = json_lines(&talk(&["say", late, "hear", "1"]).start().end_well());
    assert_eq!((&said[0]["id"], &said[0]["kind"]), (&json!(3), &json!("timeout")));

    let plan = talk(&["hear", "1"]);
    let run = plan.start();
    let request = Stamp {
        sender,
        number: 5,
        purpose: Purpose::Request {
            reply_to: "out/reply".into(),
        },
    };
    run.process
        .mailbox()
        .accept("in/q", &request.put_on(b"why"), false);
    let said = json_lines(&run.end_well());
    assert_eq!(said[0]["request"], json!("5 out/reply"));
    assert_eq!(said[0]["from"], json!(sender.to_string()));
}

#[test]
fn polling_tells_of_lines_and_a_program_that_was_moved_is_told_so() {
    let mut plan = talk(&["poll", "0", "poll", "-1", "hear", "1", "hear", "1"]);
    plan.spec.name = "talk".into();
    let run = plan.start();
    assert_eq!(stdout(&run.lines(1)), "nothing\n");
    run.process.acknowledge_log(1);
    let mut snapshot = run.capture(false);
    // As it is where another engine takes it.
    let own = b"here";
    let at = snapshot
        .host
        .mail
        .windows(own.len())
        .position(|part| part == own)
        .unwrap();
    snapshot.host.mail[at..at + own.len()].copy_from_slice(b"home");
    let run = plan.restore(through_the_wire(&snapshot));
    assert_eq!(
        stdout(&run.lines(2)),
        "something\n{\"engine\":\"here\",\"event\":\"moved\"}\n"
    );
    run.process.acknowledge_log(3);
    run.process.mailbox().accept("in/a", b"x", false);
    assert_eq!(json_lines(&run.end_well()).last().unwrap()["payload"], json!("x"));
}

#[test]
fn a_program_that_reads_no_answers_can_give_no_more_actions() {
    let line = "{\"do\":\"unsubscribe\",\"filter\":\"in/a\",\"id\":1}\n";
    let too_many = line.repeat(300);
    let last = "{\"do\":\"publish\",\"topic\":\"out/a\",\"payload\":\"x\"}\n";
    let said = talk(&["say", &too_many, "hear", "256", "say", last]).start();
    let (lines, state) = said.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    assert!(
        stdout(&lines).starts_with("out: No buffer space available\n"),
        "{}",
        stdout(&lines)
    );
    assert_eq!(published(&said).len(), 1, "it goes on when it has read");
}

#[test]
fn plain_files_are_what_the_program_is_its_values_and_its_devices() {
    let tables: DeviceTables = toml::from_str(
        "[devices.led]\nkind = 'gpio-out'\nbackend = 'simulated'
         [devices.heat]\nkind = 'adc'\nbackend = 'simulated'\nsamples = [20.5]
         [devices.hidden]\nkind = 'adc'\nbackend = 'simulated'",
    )
    .unwrap();
    let devices = Arc::new(Devices::open(&tables.check().unwrap()));
    let options = RuntimeOptions {
        devices,
        ..RuntimeOptions::default()
    };
    let led = "/wayfare/device/led";
    let mut plan = talk(&[
        "ls",
        "/wayfare",
        "ls",
        "/wayfare/device",
        "ls",
        "/wayfare/state",
        "cat",
        led,
        "put",
        led,
        "on\n",
        "cat",
        led,
        "put",
        led,
        "perhaps",
        "cat",
        "/wayfare/device/heat",
        "cat",
        "/wayfare/device/hidden",
        "put",
        "/wayfare/me",
        "x",
        "cat",
        "/wayfare/nothing",
        "cat",
        "/wayfare/me/too",
        "rm",
        "/wayfare/me",
        "cat",
        "/wayfare/shared/k",
        "cat",
        "/wayfare/me",
    ]);
    plan.spec.grants.devices = ["led", "heat"].map(|alias| alias.parse().unwrap()).into();
    plan.runtime = Some(Arc::new(Runtime::new(options).unwrap()));
    let said = plan.start().end_well();
    let (rest, me) = said.trim_end().rsplit_once('\n').unwrap();
    let expected = "in\nout\nme\nstate/\nshared/\ndevice/\nheat\nled\n/wayfare/state: Not supported\n0\n1\n\
        /wayfare/device/led: Invalid argument\n20.5\n/wayfare/device/hidden: Capabilities insufficient\n\
        /wayfare/me: Permission denied\n/wayfare/nothing: No such file or directory\n/wayfare/me/too: Not a directory\n\
        /wayfare/me: Permission denied\n/wayfare/shared/k: Capabilities insufficient";
    assert_eq!(rest, expected);
    let me: Json = serde_json::from_str(me).unwrap();
    for (name, value) in [
        ("format", json!(5)),
        ("name", json!("test")),
        ("engine", json!("here")),
        ("moves", json!(2)),
        ("generation", json!(3)),
        ("stack_bytes", json!(RuntimeOptions::default().stack_bytes_max)),
    ] {
        assert_eq!(me[name], value, "{name}");
    }
    assert_eq!(me["grants"]["sub"], json!(["in/#"]));
}

#[test]
fn a_value_is_read_written_and_removed_as_a_file_wherever_the_program_is() {
    let own = "/wayfare/state/a/b";
    let mut plan = talk(&[
        "put",
        own,
        "new\n",
        "cat",
        own,
        "rm",
        own,
        "cat",
        "/wayfare/shared/count/a",
    ]);
    plan.spec.grants.state = vec!["/count/".into()];
    let asks = |run: &Run, expected: &ValueAsk, answer| {
        let asked = run.asks();
        assert_eq!(asked.what, ServiceAsk::Value(expected.clone()));
        run.process
            .service_answered(asked.request, Ok(Reply::Value(answer)));
    };
    let key = || wayfare_protocol::values::Key::of_program("test", "a/b").unwrap();
    let value = |text: &str| Value::new(text.as_bytes().to_vec()).unwrap();
    let run = plan.start();
    run.asks();
    let run = moved(&plan, &run);
    let set = ValueAsk::Set {
        key: key(),
        value: value("new\n"),
    };
    asks(&run, &set, ValueAnswer::Set { version: 1 });
    let get = ValueAsk::Get { key: key() };
    let longer = ValueAnswer::Value {
        version: 2,
        value: value("newer, and longer\n"),
    };
    asks(&run, &get, longer);
    assert_eq!(stdout(&run.lines(1)), "newer, and longer\n");
    run.process.acknowledge_log(1);
    asks(&run, &ValueAsk::Remove { key: key() }, ValueAnswer::Removed);
    let shared = wayfare_protocol::values::Key::of_program("test", "/count/a").unwrap();
    asks(&run, &ValueAsk::Get { key: shared }, ValueAnswer::Absent);
    let said = run.end_well();
    assert!(
        said.ends_with("/wayfare/shared/count/a: No such file or directory\n"),
        "{said}"
    );
}

#[test]
fn a_full_inbox_is_read_through_lines_and_takes_more() {
    let plan = talk(&["hear", "1025"]);
    let run = plan.launch(None, true);
    run.expect_started();
    let mailbox = run.process.mailbox();
    for _ in 0..INBOX_MESSAGES_MAX {
        assert!(matches!(mailbox.accept("in/a", b"x", false), Accepted::Taken(_)));
    }
    assert_eq!(mailbox.accept("in/a", b"x", false), Accepted::Full);
    run.process.unfreeze();
    while mailbox.accept("in/a", b"x", false) == Accepted::Full {
        std::thread::yield_now();
    }
    assert_eq!(run.end_well().lines().count(), 1025);
}

#[test]
fn folders_that_a_program_was_given_are_there_to_be_read_wherever_it_is() {
    let files = [("main.talk", "hear 1\n"), ("deep/er/text", "in a folder\n")];
    let packed = |files: &[(&str, &str)]| -> Arc<[u8]> {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        wayfare_protocol::folder::pack(&files.collect()).unwrap().into()
    };
    let text = "/program/deep/er/text";
    let mut plan = talk(&[
        "ls",
        "/program",
        "cat",
        text,
        "hear",
        "1",
        "cat",
        text,
        "put",
        text,
        "x",
        "put",
        "/program/new",
        "x",
        "rm",
        text,
        "cat",
        "/program/deep",
        "cat",
        "/program/deep/er/text/x",
        "cat",
        "/program/none",
        "ls",
        "/library",
        "cat",
        "/program/../x",
    ]);
    plan.folders = BTreeMap::from([(FolderName::Program, packed(&files))]);
    let run = plan.start();
    assert_eq!(stdout(&run.lines(3)), "deep/\nmain.talk\nin a folder\n");
    run.process.acknowledge_log(3);
    let snapshot = through_the_wire(&run.capture(false));
    let lacking = Plan {
        folders: BTreeMap::new(),
        ..plan.clone()
    };
    let refused = lacking
        .launch(Some(snapshot.clone()), false)
        .start_failure()
        .to_string();
    assert!(refused.contains("its files are malformed"), "{refused}");
    let run = plan.restore(snapshot);
    run.process.mailbox().accept("in/a", b"go", false);
    let said = run.end_well();
    let (_, rest) = said.split_once('\n').unwrap();
    let expected = "in a folder\n/program/deep/er/text: Read-only file system\n/program/new: Read-only file system\n\
        /program/deep/er/text: Read-only file system\n/program/deep: Is a directory\n\
        /program/deep/er/text/x: Not a directory\n/program/none: No such file or directory\n\
        /library: Capabilities insufficient\n/program/../x: Capabilities insufficient\n";
    assert_eq!(rest, expected);

    let broken = Plan {
        folders: BTreeMap::from([(FolderName::Library, packed(&files)[1..].into())]),
        ..plan
    };
    let refused = broken.launch(None, false).start_failure().to_string();
    assert!(refused.contains("/library: not a packed folder"), "{refused}");
}

/// All, until it has said for how long it is well.
fn claims(run: &Run) -> Claims {
    let mut all = Claims::default();
    while all.health.is_none_or(|health| health.for_ms.is_none()) {
        assert!(matches!(run.next_but_lines(), ProcessEvent::Claims));
        let some = run.process.take_claims();
        (all.health, all.hold) = (some.health.or(all.health), some.hold.or(all.hold));
    }
    all
}

#[test]
fn what_a_program_says_of_its_health_is_told_and_goes_where_it_goes() {
    let said = [
        r#"{"do":"ready"}"#,
        r#"{"do":"hold","reason":" flashing ","at_most_ms":900000000}"#,
        r#"{"do":"hold","reason":"without a time","id":1}"#,
        r#"{"do":"healthy","for_ms":5000,"id":2}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "3"]);
    let run = plan.start();
    let hold = HoldClaim::Hold {
        reason: "flashing".into(),
        at_most_ms: HOLD_MS_MAX,
    };
    assert_eq!(claims(&run).hold, Some(hold));
    // A hold is over where it goes on: it has been stopped.
    let there = moved(&plan, &run);
    assert!(matches!(there.next_but_lines(), ProcessEvent::Claims));
    let health = Some(HealthClaim { for_ms: Some(5_000) });
    assert_eq!(there.process.take_claims(), Claims { health, hold: None });
    // The moved one waits for a line more than it is told: what it is answered is seen on one that ends.
    let plan = talk(&["say", &said.join("\n"), "hear", "2"]);
    let answers = json_lines(&plan.start().end_well());
    assert_eq!(
        (&answers[0]["kind"], &answers[1]["id"]),
        (&json!("malformed"), &json!(2))
    );
}
