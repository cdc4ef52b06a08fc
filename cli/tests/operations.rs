//! `wayfare ops` as people type it: who gave which order, and what became of it, across dispatchers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Process, Ran, command};
use wayfare_link::{BrokerOptions, EmbeddedBroker};

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(90);

struct Fleet {
    broker: String,
}

impl Fleet {
    fn start(&self, arguments: &[&str], folder: &Path) -> Process {
        let data = folder.to_str().unwrap();
        let arguments = [arguments, &["--data", data, "--log-level", "error"]].concat();
        Process(command(&self.broker, &arguments).spawn().unwrap())
    }

    fn dispatcher(&self, name: &str, folder: &Path) -> Process {
        self.start(&["dispatcher", "--lease", "2s", "--name", name], folder)
    }

    fn engine(&self, id: &str, folder: &Path) -> Process {
        self.start(&["engine", "start", "--id", id], &folder.join(id))
    }

    fn run(&self, user: &str, arguments: &[&str]) -> Ran {
        let ran = command(&self.broker, arguments)
            .env("USER", user)
            .output()
            .unwrap();
        let ran = Ran {
            exit: ran.status.code().unwrap(),
            stdout: String::from_utf8(ran.stdout).unwrap(),
            stderr: String::from_utf8(ran.stderr).unwrap(),
        };
        support::schema::hold(arguments, &ran.stdout);
        ran
    }

    fn good(&self, user: &str, arguments: &[&str]) -> Value {
        let ran = self.run(user, arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.documents().remove(0)
    }

    /// Listens to events of this kind about something until there were so many, those that were among them;
    /// the last one.
    fn tells(&self, kind: &str, about: &str, count: usize) -> Value {
        let listens = [
            "--json",
            "events",
            "-f",
            "--timeout",
            "90s",
            "--kind",
            kind,
            "--about",
            about,
        ];
        let mut listens = command(&self.broker, &listens);
        let mut listener = Process(listens.stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(listener.0.stdout.take().unwrap()).lines();
        let (told, tells) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).take(count) {
                // Nobody waits any more.
                let _ = told.send(line);
            }
        });
        let next = |number: usize| {
            let line = tells.recv_timeout(LIMIT);
            line.unwrap_or_else(|error| panic!("{kind} of {about}, {number} of {count}: {error}"))
        };
        let mut lines: Vec<String> = (1..=count).map(next).collect();
        serde_json::from_str(&lines.pop().unwrap()).unwrap()
    }

    /// Asks again until it is as it should be.
    fn until(&self, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let ran = self.run("bob", arguments);
            if ran.exit == 0
                && let Some(found) = ran.documents().into_iter().find(|found| is_so(found))
            {
                return found;
            }
            let said = (ran.exit, ran.stdout, ran.stderr);
            assert!(Instant::now() < deadline, "{arguments:?}: {said:?}");
        }
    }
}

fn verbs(list: &Value) -> Vec<(&str, &str)> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|record| {
            (
                record["verb"].as_str().unwrap(),
                record["state"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_orders_are_told_with_one_end_each_also_by_a_dispatcher_that_took_over() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let fleet = Fleet {
        broker: wayfare_link::BrokerUrl::from(broker.local_addr()).to_string(),
    };
    let kept = folder.path().join("dispatcher");
    let first = fleet.dispatcher("d-1", &kept);
    let _engines = ["a", "b"].map(|id| fleet.engine(id, folder.path()));
    fleet.good("bob", &["--json", "ops", "--timeout", "90s"]);

    let run = [
        "--json",
        "run",
        "counter",
        "--name",
        "p",
        "--on",
        "a",
        "--wait-for-engine",
    ];
    fleet.good("ann", &[&run[..], &["--", "100000000", "1000"]].concat());
    let moved = fleet.good("ann", &["--json", "move", "p", "--to", "b", "--wait-for-engine"]);
    let id = moved["operation"].as_str().unwrap();
    let record = fleet.good("bob", &["--json", "ops", "wait", id, "--timeout", "90s"]);
    assert_eq!(record["state"], "done");
    assert_eq!(
        (&record["verb"], &record["target"], &record["name"]),
        (&"move".into(), &"b".into(), &"p".into())
    );
    assert!(record["by"].as_str().unwrap().starts_with("ann@"), "{record}");
    let both = [("move", "done"), ("run", "done")];
    fleet.until(&["--json", "ops"], |list| verbs(list) == both);
    // What is heard is stored within a second: until then it may be lost with the dispatcher.
    let stored = || {
        std::fs::read_dir(kept.join("operations"))
            .into_iter()
            .flatten()
            .flatten()
    };
    let is_end = |line: &str| line.contains(id) && line.contains(r#""state":"done""#);
    let is_stored = || {
        let texts = stored().filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.into_iter().any(|text| text.lines().any(is_end))
    };
    let deadline = Instant::now() + LIMIT;
    while !is_stored() {
        assert!(Instant::now() < deadline, "not stored");
        tokio::task::yield_now().await;
    }

    // Killed, not stopped: its successor has what it kept.
    let second = fleet.dispatcher("d-2", &kept);
    drop(first);
    fleet.until(&["--json", "ops"], |list| verbs(list) == both);
    let again = fleet.good("bob", &["--json", "ops", "show", &id[..12]]);
    assert_eq!(again, record, "exactly one end");

    // What nobody waited for, and what failed.
    let given = fleet.good("bob", &["--json", "move", "p", "--to", "a", "--no-wait"]);
    let id = given["operation"].as_str().unwrap();
    let waited = fleet.good("bob", &["--json", "ops", "wait", id]);
    assert_eq!(
        (&waited["state"], &waited["operation"]),
        (&"done".into(), &given["operation"])
    );
    fleet.good("bob", &["--json", "kill", "p"]);
    let of_bob = [("kill", "done"), ("move", "done")];
    fleet.until(&["--json", "ops", "--by", "bob", "--program", "p"], |list| {
        verbs(list) == of_bob
    });
    let late = fleet.run("bob", &["--json", "ops", "cancel", id]);
    assert_eq!(
        (late.exit, late.error()["message"].as_str()),
        (
            1,
            Some(format!("operation {} is done already (too-late)", &id[..8]).as_str())
        )
    );
    // Events say the same, and who.
    let events =
        |filter: &[&str]| fleet.run("bob", &[&["--json", "events", "--since", "1h"], filter].concat());
    let by_ann = ["--by", "ann", "--about", "p"];
    let kinds = |ran: &Ran| -> Vec<String> {
        let text = |event: Value| event["kind"].as_str().unwrap().to_owned();
        ran.documents().into_iter().map(text).collect()
    };
    assert_eq!(kinds(&events(&by_ann)), ["run", "move"]);
    let of_move = events(&["--kind", "move", "--about", "b", "--by", "ann"])
        .documents()
        .remove(0);
    assert!(
        of_move["text"]
            .as_str()
            .unwrap()
            .ends_with(": move p from a to b"),
        "{of_move}"
    );
    assert!(of_move["at"].as_str().unwrap().starts_with("20"), "{of_move}");
    assert_eq!(kinds(&events(&["--by", "ann", "--until", "1h"])), [""; 0]);
    let nothing = fleet.run("bob", &["--json", "ops", "wait", "ffffffffffff"]);
    assert_eq!(nothing.exit, 1, "{}", nothing.stderr);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_its_engine_is_withdrawn_and_never_given() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let fleet = Fleet {
        broker: wayfare_link::BrokerUrl::from(broker.local_addr()).to_string(),
    };
    let _dispatcher = fleet.dispatcher("d-1", &folder.path().join("dispatcher"));
    let _engine = fleet.engine("a", folder.path());
    let run = [
        "--json",
        "run",
        "counter",
        "--name",
        "p",
        "--wait-for-engine",
        "--on",
        "a",
    ];
    fleet.good("ann", &[&run[..], &["--", "100000000", "1000"]].concat());

    let waits = [
        "--json",
        "move",
        "p",
        "--to",
        "b",
        "--wait-for-engine",
        "--timeout",
        "10m",
    ];
    let mut waits = command(&fleet.broker, &waits);
    let waits = waits.env("USER", "ann").stderr(Stdio::piped()).spawn().unwrap();
    let waiting = ["--json", "ops", "--state", "waiting"];
    let list = fleet.until(&waiting, |list| {
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    let record = &list[0];
    assert_eq!((&record["verb"], &record["name"]), (&"move".into(), &"p".into()));
    let id = record["operation"].as_str().unwrap();
    let cancelled = fleet.good("bob", &["--json", "ops", "cancel", id]);
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    let ended = waits.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!(
        (ended.status.code(), &said["error"]),
        (Some(1), &"cancelled".into()),
        "{said}"
    );
    assert!(said["message"].as_str().unwrap().contains("by bob@"), "{said}");

    // The engine comes, and nothing happens.
    let _b = fleet.engine("b", folder.path());
    fleet.until(&["--json", "engines"], |engines| {
        engines.to_string().contains(r#""engine":"b""#)
    });
    let programs = fleet.good("bob", &["--json", "ps"]);
    assert_eq!(programs[0]["engine"], "a");
    let record = fleet.good("bob", &["--json", "ops", "show", id]);
    assert_eq!(
        (&record["state"], &record["ended"]),
        (&"cancelled".into(), &cancelled["ended"])
    );
    orders_that_wait_join_and_supersede_each_other(&fleet, folder.path());
}

/// `p` runs on `a`, `b` is there, `c` is not.
fn orders_that_wait_join_and_supersede_each_other(fleet: &Fleet, folder: &Path) {
    let begin = |user: &str, arguments: &[&str]| {
        let mut begun = command(&fleet.broker, arguments);
        let begun = begun.env("USER", user).stdout(Stdio::piped());
        Process(begun.stderr(Stdio::piped()).spawn().unwrap())
    };
    let ended = |begun: &mut Process| {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let (out, err) = (begun.0.stdout.take(), begun.0.stderr.take());
        out.unwrap().read_to_string(&mut stdout).unwrap();
        if let Some(mut err) = err {
            err.read_to_string(&mut stderr).unwrap();
        }
        let exit = begun.0.wait().unwrap().code().unwrap();
        let ran = Ran { exit, stdout, stderr };
        let text = if exit == 0 { &ran.stdout } else { &ran.stderr };
        let said: Value = serde_json::from_str(text.trim()).unwrap_or(Value::String(text.clone()));
        (exit, said)
    };
    let first_waiting = || {
        let waiting = ["--json", "ops", "--where", "state = waiting"];
        let list = fleet.until(&waiting, |list| {
            list.as_array().is_some_and(|list| !list.is_empty())
        });
        list[0]["operation"].clone()
    };
    let to_c = ["--json", "move", "p", "--to", "c", "--expires", "10m"];

    // Two ask for the same: one order is given, and both get its answer.
    let mut first = begin("ann", &to_c);
    let waiting = first_waiting();
    let mut second = begin(
        "bob",
        &["move", "p", "--to", "c", "--expires", "2d", "--coalesce"],
    );
    let mut joined = String::new();
    let mut lines = BufReader::new(second.0.stderr.take().unwrap());
    lines.read_line(&mut joined).unwrap();
    let id = waiting.as_str().unwrap();
    assert_eq!(
        joined,
        format!("joined operation {}, which waits already\n", &id[..8])
    );
    let c = fleet.engine("c", folder);
    let (exit, moved) = ended(&mut first);
    assert_eq!((exit, &moved["operation"]), (0, &waiting), "{moved}");
    let (exit, sentence) = ended(&mut second);
    let sentence = sentence.as_str().unwrap();
    assert!(exit == 0 && sentence.contains("moved from a to c"), "{sentence}");
    let moves = fleet.good(
        "bob",
        &["--json", "ops", "--where", "verb = move and state = done"],
    );
    assert_eq!(moves.as_array().unwrap().len(), 1, "{moves}");
    fleet.good("bob", &["--json", "move", "p", "--to", "a"]);
    drop(c);
    fleet.until(
        &["--json", "engines", "--where", "state = offline", "-q"],
        |gone| gone.to_string().contains(r#""c""#),
    );

    // A later order stands for one that waits, which is withdrawn before that is given.
    let mut first = begin("ann", &to_c);
    let waiting = first_waiting();
    let later = fleet.good("bob", &["--json", "move", "p", "--to", "b", "--supersede"]);
    assert_eq!((&later["superseded"], &later["target"]), (&1.into(), &"b".into()));
    let (exit, said) = ended(&mut first);
    assert_eq!((exit, &said["error"]), (1, &"superseded".into()), "{said}");
    let record = fleet.good("bob", &["--json", "ops", "show", waiting.as_str().unwrap()]);
    assert_eq!(record["state"], "superseded", "{record}");

    // And one that was not given in time has expired.
    let late = ["--json", "move", "p", "--to", "c", "--expires", "700ms"];
    let late = fleet.run("ann", &late);
    assert_eq!((late.exit, &late.error()["error"]), (1, &"expired".into()));
    let superseded = fleet.good("bob", &["--json", "ops", "--state", "superseded"]);
    assert_eq!(superseded[0]["operation"], waiting, "{superseded}");
    let expired = ["--json", "ops", "--state", "expired"];
    fleet.until(&expired, |list| {
        list.as_array().is_some_and(|list| list.len() == 1)
    });
}

/// Names of all programs, with their states.
fn states(list: &Value) -> Vec<(&str, &str)> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|program| {
            (
                program["name"].as_str().unwrap(),
                program["state"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_gone_is_an_alarm_until_it_is_forgotten_and_what_has_ended_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let fleet = Fleet {
        broker: wayfare_link::BrokerUrl::from(broker.local_addr()).to_string(),
    };
    let _dispatcher = fleet.dispatcher("d-1", &folder.path().join("dispatcher"));
    let _a = fleet.engine("a", folder.path());
    let b = fleet.engine("b", folder.path());
    fleet.tells("engine-joined", "b", 1);

    // Programs that run, and one that ends at once.
    let run = |name: &str, on: &str, limit: &str| {
        let run = [
            "--json",
            "run",
            "counter",
            "--name",
            name,
            "--on",
            on,
            "--wait-for-engine",
            "--",
            limit,
            "1",
        ];
        fleet.good("ann", &run);
    };
    run("long", "a", "100000000");
    run("also", "a", "100000000");
    run("far", "b", "100000000");
    run("short", "a", "1");
    let ended = fleet.until(&["--json", "ps"], |list| {
        states(list).contains(&("short", "exited"))
    });
    assert_eq!(states(&ended).len(), 4);
    let pruned = |dry: &[&str]| {
        let pruned = fleet.good("bob", &[&["--json", "prune"], dry].concat());
        let names = pruned["removed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone());
        names.collect::<Vec<Value>>()
    };
    // What would happen, and what would refuse it: nothing does.
    let would = fleet.good("bob", &["--json", "move", "long", "--to", "b", "--dry-run"]);
    assert_eq!(
        (&would["verb"], &would["engine"], &would["target"]),
        (&"move".into(), &"a".into(), &"b".into())
    );
    let ended = fleet.run("bob", &["--json", "pause", "short", "--dry-run"]);
    assert_eq!((ended.exit, &ended.error()["error"]), (1, &"refused".into()));
    let drain = fleet.good("bob", &["--json", "engine", "drain", "b", "--dry-run"]);
    assert!(
        drain["would"].to_string().contains("engine b is to be emptied"),
        "{drain}"
    );
    let long = fleet.good(
        "bob",
        &["--json", "ps", "--where", "name = long and state = running"],
    );
    assert_eq!(states(&long), [("long", "running")]);
    let exited = fleet.good("bob", &["--json", "ps", "--where", "state = exited", "-q"]);
    assert_eq!(exited.as_array().unwrap().len(), 1, "{exited}");
    let first = fleet.good(
        "bob",
        &["--json", "engines", "--sort", "-engine", "--limit", "1", "-q"],
    );
    assert_eq!(first, Value::from(vec!["b"]));
    let bad = fleet.run("bob", &["ps", "--where", "size > 1M"]);
    assert!(
        bad.exit == 2 && bad.stderr.contains("no field 'size'; there are: id, name"),
        "{}",
        bad.stderr
    );
    // While the fleet is held, no order is taken.
    fleet.good("ann", &["--json", "hold", "--for", "10m", "--reason", "upgrade"]);
    for verb in [
        &["move", "long", "--to", "b"][..],
        &["kill", "long", "--dry-run"],
        &["run", "counter"],
        &["engine", "cordon", "b"],
    ] {
        let refused = fleet.run("bob", &[&["--json"], verb].concat());
        let said = refused.error();
        let message = said["message"].as_str().unwrap();
        assert!(message.contains("the fleet is held by ann@"), "{verb:?}: {said}");
        assert_eq!(said["hint"], "`wayfare release` ends that");
    }
    let status = fleet.good("bob", &["--json", "status"]);
    assert_eq!(status["hold"]["reason"], "upgrade");
    fleet.good("bob", &["--json", "release"]);
    let programs = fleet.good("bob", &["--json", "ps"]);
    assert!(states(&programs).contains(&("long", "running")), "{programs}");

    assert_eq!(pruned(&["--dry-run"]), ["short"]);
    assert_eq!(pruned(&[]), ["short"]);
    assert_eq!(pruned(&[]), [""; 0]);
    let two = fleet.run("bob", &["--json", "stop", "long", "also", "nothing"]);
    assert_eq!((two.exit, two.documents().len()), (1, 2), "{}", two.stderr);
    assert_eq!(two.error()["error"], "no-program");

    // An engine that is killed is an alarm, raised once and cleared once.
    let there = fleet.run("bob", &["--json", "engine", "forget", "b"]);
    assert_eq!(there.error()["error"], "engine-there");
    assert_eq!(fleet.run("bob", &["status"]).exit, 0);
    drop(b);
    fleet.tells("engine-unreachable", "b", 1);
    let alarmed = fleet.run("bob", &["--json", "status"]);
    assert_eq!(alarmed.exit, 4, "{}", alarmed.stderr);
    let alarmed = alarmed.documents().remove(0);
    let alarms = &alarmed["alarms"];
    assert_eq!(
        (&alarms[0]["kind"], &alarms[0]["subject"]),
        (&"engine-unreachable".into(), &"b".into())
    );
    fleet.good("bob", &["--json", "engine", "cordon", "b"]);
    let cleared = fleet.tells("engine-unreachable", "b", 2);
    assert_eq!(cleared["alarm"], "cleared");
    assert_eq!(fleet.run("bob", &["status"]).exit, 0);
    let by_bob = fleet.run("bob", &["--json", "events", "--by", "bob", "--kind", "cordon"]);
    let cordoned = by_bob.documents().remove(0);
    assert_eq!(cordoned["engine"], "b");
    let text = cordoned["text"].as_str().unwrap();
    assert!(
        text.starts_with("bob@") && text.ends_with(": engine b gets nothing new"),
        "{text}"
    );
    let told = fleet.run(
        "bob",
        &["--json", "events", "--kind", "engine-unreachable", "--about", "b"],
    );
    let changes: Vec<Value> = told
        .documents()
        .into_iter()
        .map(|event| event["alarm"].clone())
        .collect();
    assert_eq!(changes, ["raised", "cleared"]);

    // It is not to come back.
    let left = fleet.good("bob", &["--json", "engine", "forget", "b", "--dry-run"]);
    assert_eq!(left["programs"][0]["name"], "far");
    fleet.good("bob", &["--json", "engine", "forget", "b"]);
    let gone = |list: &Value| !list.to_string().contains(r#""engine":"b""#);
    fleet.until(&["--json", "engines"], gone);
    fleet.until(&["--json", "ps", "--all"], gone);
    let forgotten = fleet.run(
        "bob",
        &["--json", "events", "--kind", "engine-forgotten", "--by", "bob"],
    );
    assert_eq!(forgotten.documents().len(), 1, "{}", forgotten.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn nouns_list_what_there_is_as_other_verbs_do() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let fleet = Fleet {
        broker: wayfare_link::BrokerUrl::from(broker.local_addr()).to_string(),
    };
    let _plain = fleet.engine("plain", folder.path());
    let settings = folder.path().join("bench.toml");
    let device = |alias, kind| format!("[devices.{alias}]\nkind = \"{kind}\"\nbackend = \"simulated\"\n");
    std::fs::write(&settings, device("lamp", "gpio-out") + &device("warmth", "adc")).unwrap();
    let arguments = ["engine", "--id", "bench", "--config", settings.to_str().unwrap()];
    let _bench = fleet.start(&arguments, &folder.path().join("bench"));
    fleet.until(&["--json", "engine", "ls"], |engines| {
        engines
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["online"] == true)
            .count()
            == 2
    });
    // Apart from how long things take.
    let of = |verb: &[&str]| fleet.good("ann", &[verb, &["-q", "--sort", "engine", "--json"]].concat());
    assert_eq!(of(&["engine", "ls"]), serde_json::json!(["bench", "plain"]));
    assert_eq!(of(&["engines"]), of(&["engine", "ls"]));
    let devices = fleet.good("ann", &["device", "ls", "--json", "--sort", "-device"]);
    let row = |device, kind| {
        serde_json::json!({
            "engine": "bench", "device": device, "kind": kind, "backend": "simulated", "online": true,
        })
    };
    assert_eq!(
        devices,
        serde_json::json!([row("warmth", "adc"), row("lamp", "gpio-out")])
    );
    let csv = fleet.run(
        "ann",
        &["device", "ls", "bench", "--where", "kind = adc", "-o", "csv"],
    );
    assert_eq!(
        csv.stdout,
        "engine,device,kind,backend,state\nbench,warmth,adc,simulated,online\n"
    );
    let none = fleet.run("ann", &["device", "ls", "plain"]);
    assert!(
        (none.exit, none.stdout.contains("no devices")) == (0, true),
        "{}",
        none.stdout
    );
    let unknown = fleet.run("ann", &["device", "ls", "--where", "colour = red"]);
    assert!(
        unknown.exit == 2 && unknown.stderr.contains("engine, device, kind"),
        "{}",
        unknown.stderr
    );
}
