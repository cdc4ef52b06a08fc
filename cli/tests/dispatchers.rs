//! The fleet's dispatcher as a process: of several on one root one acts, the others stand by, whatever
//! happens to it; and what it has acknowledged is there whatever the broker forgets and whenever its disk is
//! full.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Process, Ran, command, run};
use tokio::sync::watch;
use tokio::time::timeout;
use wayfare_client::{Client, ClientOptions};
use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker, Event, LinkOptions, Qos};
use wayfare_protocol::dispatcher::{Lease, LeaseState};
use wayfare_protocol::ids::Term;
use wayfare_protocol::reply::Reply;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::fakes::{FakeFleet, Fakes};
use wayfare_tests::small_disk::SmallDisk;

/// Above what anything takes, on machines that do much else.
const WAIT_MAX: Duration = Duration::from_secs(90);

struct Dispatching(Process);

impl Dispatching {
    fn start(broker: &BrokerUrl, name: &str, data: &Path) -> Self {
        Self::start_behind(&[], broker, name, data)
    }

    /// With words before its command.
    fn start_behind(before: &[String], broker: &BrokerUrl, name: &str, data: &Path) -> Self {
        Self::start_as(before, broker, name, data, &[])
    }

    /// And with more behind it.
    fn start_as(before: &[String], broker: &BrokerUrl, name: &str, data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let arguments = ["dispatcher", "--name", name, "--lease", "2s", "--data", data];
        let mut command = command(&broker.to_string(), &[&arguments, more].concat());
        if let [first, others @ ..] = before {
            let mut behind = Command::new(first);
            behind
                .args(others)
                .arg(command.get_program())
                .args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => behind.env(name, value),
                    None => behind.env_remove(name),
                };
            }
            command = behind;
        }
        Self(Process(command.spawn().unwrap()))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

/// The terms of everything that an acting dispatcher has said, in order, and who holds the lease.
#[derive(Default)]
struct Heard {
    terms: Vec<Term>,
    holder: Option<(String, Term)>,
    /// Every term's holder.
    holders: BTreeSet<(Term, String)>,
}

async fn listen(broker: BrokerUrl) -> watch::Receiver<Heard> {
    let topics = Topics::default();
    let mut options = LinkOptions::new(broker, "listener");
    options.subscriptions = vec![("wayfare/v1/#".into(), Qos::AtLeastOnce)];
    let (link, mut events) = wayfare_link::connect(options).unwrap();
    let (sender, heard) = watch::channel(Heard::default());
    tokio::spawn(async move {
        let _link = link;
        while let Some(event) = events.next().await {
            let Event::Received(incoming) = event else {
                continue;
            };
            match topics.parse(&incoming.topic) {
                Some(Topic::DispatcherLease) => {
                    let lease: Lease = wire::decode(&incoming.payload).unwrap();
                    let holder = (lease.dispatcher.to_string(), lease.term);
                    sender.send_modify(|heard| {
                        heard.holders.insert((lease.term, holder.0.clone()));
                        heard.holder = (lease.state == LeaseState::Held).then_some(holder);
                        if lease.state == LeaseState::Held {
                            heard.terms.push(lease.term);
                        }
                    });
                }
                Some(Topic::Reply(_)) => {
                    if let Ok(Reply::Answer(answer)) = Reply::decode(&incoming.payload) {
                        sender.send_modify(|heard| heard.terms.push(answer.term));
                    }
                }
                _ => {}
            }
        }
    });
    heard
}

/// Waits until somebody holds the lease in a later term than `after`.
async fn holder(heard: &mut watch::Receiver<Heard>, after: Term) -> (String, Term) {
    let later = |heard: &Heard| heard.holder.as_ref().is_some_and(|(_, term)| *term > after);
    let found = timeout(WAIT_MAX, heard.wait_for(later)).await;
    found.expect("somebody acts").unwrap().holder.clone().unwrap()
}

async fn asked(client: &Client) -> (String, Term) {
    let about = client
        .ask("about", serde_json::json!({}), WAIT_MAX)
        .await
        .unwrap();
    let term = serde_json::from_value(about["term"].clone()).unwrap();
    (about["dispatcher"].as_str().unwrap().to_owned(), term)
}

async fn one_acts_whatever_happens(broker: BrokerUrl) {
    let folder = tempfile::tempdir().unwrap();
    let mut heard = listen(broker.clone()).await;
    let start = |name: &str| Dispatching::start(&broker, name, folder.path());
    let (a, b) = (start("a"), start("b"));
    let of = |name: &str| if name == "a" { &a } else { &b };
    let client = Client::connect(ClientOptions::new(broker.clone())).await.unwrap();

    // Both try at once: the second may take over before it hears of the first, which stands by then.
    holder(&mut heard, Term(0)).await;
    let (first, term) = asked(&client).await;

    // Held up, it is succeeded; when it goes on, it finds out and stands by.
    of(&first).signal("-STOP");
    let (second, later) = holder(&mut heard, term).await;
    assert_ne!(second, first);
    assert_eq!(asked(&client).await, (second.clone(), later));
    of(&first).signal("-CONT");
    for _ in 0..20 {
        assert_eq!(asked(&client).await, (second.clone(), later));
    }

    // Killed, it is succeeded by the one that stood by.
    of(&second).signal("-KILL");
    let (third, last) = holder(&mut heard, later).await;
    assert_eq!(third, first);
    assert_eq!(asked(&client).await, (third, last));

    client.close().await;
    let heard = heard.borrow();
    assert!(
        heard.terms.is_sorted(),
        "an older term was heard after a later one: {:?}",
        heard.terms
    );
    let terms: BTreeSet<Term> = heard.holders.iter().map(|(term, _)| *term).collect();
    assert_eq!(
        terms.len(),
        heard.holders.len(),
        "a term had two holders: {:?}",
        heard.holders
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acts_whatever_happens_on_mosquitto() {
    let options = MosquittoOptions {
        persistence: Persistence::None,
        ..MosquittoOptions::default()
    };
    let started = tokio::task::spawn_blocking(move || MosquittoProcess::start(options)).await;
    if let Some(mosquitto) = started.unwrap().unwrap() {
        one_acts_whatever_happens(mosquitto.local_addr().into()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acts_whatever_happens_on_the_embedded_broker() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    one_acts_whatever_happens(broker.local_addr().into()).await;
    broker.shutdown().await.unwrap();
}

/// The command as people type it, with what it may take.
fn user(broker: &BrokerUrl, arguments: &[&str]) -> Ran {
    run(&broker.to_string(), &[arguments, &["--timeout", "60s"]].concat())
}

fn does(broker: &BrokerUrl, arguments: &[&str]) -> String {
    let ran = user(broker, arguments);
    assert_eq!(ran.exit, 0, "{arguments:?}: {}", ran.stderr);
    ran.stdout
}

/// Counts on in the value `/c/n`.
fn manifest(folder: &Path, name: &str) -> String {
    let path = folder.join(format!("{name}.toml"));
    let text = format!(
        r#"
        name = "{name}"
        [component.c]
        module = "tally"
        args = ["/c/n", "1000000", "20"]
        restart = {{ when = "always", backoff = "100ms", backoff-max = "100ms" }}
        grants = {{ state = ["/c/"] }}
        "#
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WAIT_MAX, "waited in vain for {what}");
    }
}

/// What `status` exits with, and the alarms that it shows.
fn status(broker: &BrokerUrl) -> (i32, Vec<(String, String)>) {
    // Where there are no engines, it waits for them as long as it may.
    let ran = run(&broker.to_string(), &["status", "--json", "--timeout", "500ms"]);
    let alarms = ran.documents().first().map(|status| status["alarms"].clone());
    let alarms = alarms
        .and_then(|alarms| alarms.as_array().cloned())
        .unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let alarms = alarms
        .iter()
        .map(|alarm| (word(&alarm["kind"]), word(&alarm["subject"])));
    (ran.exit, alarms.collect())
}

/// Waits until just that has become of alarms of a kind, the earliest first, and until `status` shows what
/// stands then.
fn until_alarm(broker: &BrokerUrl, (kind, subject): (&str, &str), changes: &[&str]) {
    let mut events = command(
        &broker.to_string(),
        &["events", "--follow", "--json", "--kind", kind],
    );
    let mut events = Process(events.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(events.0.stdout.take().unwrap()).lines();
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    for change in changes {
        let line = told.recv_timeout(WAIT_MAX);
        let line = line.unwrap_or_else(|error| panic!("{kind} is not {change}: {error}"));
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["alarm"], *change, "{line}");
    }
    let expected = match changes.last() {
        Some(&"raised") => (4, vec![(kind.to_owned(), subject.to_owned())]),
        _ => (0, Vec::new()),
    };
    until("an alarm to stand or to be cleared", || {
        status(broker) == expected
    });
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgets_takes_no_acknowledged_application_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let address = broker.local_addr();
    let url = BrokerUrl::from(address);
    let apply = async |name: &str| {
        let (url, path, data) = (
            url.clone(),
            manifest(folder.path(), name),
            folder.path().join("d"),
        );
        // Killed afterwards: each is another term.
        blocking(move || {
            let _dispatcher = Dispatching::start(&url, "d", &data);
            does(&url, &["app", "apply", &path]);
        })
        .await;
    };
    apply("first").await;
    apply("second").await;
    broker.shutdown().await.unwrap();
    // Another broker, or one without its disk.
    let options = BrokerOptions {
        bind: address,
        ..BrokerOptions::loopback()
    };
    let broker = EmbeddedBroker::start(options).await.unwrap();
    apply("third").await;
    apply("fourth").await;
    let (url, data) = (url.clone(), folder.path().join("d"));
    let status = blocking(move || {
        let _dispatcher = Dispatching::start(&url, "d", &data);
        does(&url, &["app", "status", "--json"])
    })
    .await;
    for name in ["first", "second", "third", "fourth"] {
        assert!(status.contains(name), "{name} is gone: {status}");
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_and_nothing_else() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let mut heard = listen(url.clone()).await;
    let data = disk.path().join("data");
    let dispatcher = Dispatching::start_behind(&disk.enter(), &url, "d", &data);
    let engine_data = folder.path().join("engine");
    let arguments = [
        "engine",
        "--config",
        "/dev/null",
        "--id",
        "a",
        "--data",
        engine_data.to_str().unwrap(),
    ];
    let _engine = Process(command(&url.to_string(), &arguments).spawn().unwrap());
    let (_, term) = holder(&mut heard, Term(0)).await;
    let kept = manifest(folder.path(), "kept");
    let asked_by = url.clone();
    blocking(move || {
        let url = asked_by;
        std::fs::write(folder.path().join("f"), "a file").unwrap();
        let file = folder.path().join("f");
        does(&url, &["fs", "put", file.to_str().unwrap(), "/fleet/f"]);
        does(&url, &["app", "apply", &kept, "--wait"]);
        let counted = || {
            let ran = user(&url, &["state", "get", "/c/n"]);
            ran.stdout.trim().parse::<u64>().unwrap_or(0)
        };
        let goes_on = || {
            let before = counted();
            until("the count to go on", || counted() > before);
        };
        goes_on();
        disk.fill();
        // The last page that a file has begun may still take some.
        let refuses = |change: &dyn Fn(u32) -> Vec<String>| {
            let mut number = 0;
            until("a change to be refused", || {
                number += 1;
                let words = change(number);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let ran = user(&url, &words);
                assert!(
                    ran.exit == 0 || ran.stderr.contains("the disk is full"),
                    "{words:?}: {}",
                    ran.stderr
                );
                assert!(
                    ran.exit == 0 || ran.stderr.contains("/data/"),
                    "which: {}",
                    ran.stderr
                );
                ran.exit != 0
            });
            change(number)
        };
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<String>>()
        };
        let made = refuses(&|number| words(&["fs", "mkdir", &format!("/fleet/d{number}")]));
        refuses(&|number| words(&["state", "rm", &format!("/c/other{number}")]));
        let applied =
            refuses(&|number| words(&["app", "apply", &manifest(folder.path(), &format!("n{number}"))]));
        for reading in [
            &["state", "get", "/c/n"][..],
            &["state", "ls"],
            &["fs", "ls"],
            &["fs", "cat", "/fleet/f"],
            &["app", "status", "kept"],
            &["app", "history", "kept"],
            &["events"],
        ] {
            does(&url, reading);
        }
        let name = Path::new(&applied[2])
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let is_wanted = || does(&url, &["app", "status", "--json"]).contains(&format!("\"{name}\""));
        assert!(!is_wanted(), "what was refused is not wanted");
        disk.empty();
        for change in [&made, &applied] {
            let change: Vec<&str> = change.iter().map(String::as_str).collect();
            until("a change to be taken", || user(&url, &change).exit == 0);
        }
        goes_on();
        let stored = counted();
        // The next one finds it all.
        dispatcher.signal("-KILL");
        let _next = Dispatching::start_behind(&disk.enter(), &url, "e", &data);
        assert!(counted() >= stored);
        assert!(does(&url, &["fs", "ls"]).contains(made[2].trim_start_matches("/fleet/")));
        assert!(is_wanted());
    })
    .await;
    let held = heard.borrow();
    let terms: BTreeSet<Term> = held.holders.iter().map(|(term, _)| *term).collect();
    assert_eq!(
        terms,
        BTreeSet::from([term, term.next()]),
        "nobody else acted meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_that_stand_by_than_are_wanted_are_an_alarm_also_for_who_acts_next() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let mut heard = listen(url.clone()).await;
    let start = |name: &str| Dispatching::start_as(&[], &url, name, folder.path(), &["--standbys", "1"]);
    let mut all = std::collections::BTreeMap::from([("a".to_owned(), start("a"))]);
    let (_, term) = holder(&mut heard, Term(0)).await;
    let (url, alarm) = (&url, ("no-standby", "dispatchers"));
    tokio::task::block_in_place(|| {
        until_alarm(url, alarm, &["raised"]);
        all.insert("b".to_owned(), start("b"));
        until_alarm(url, alarm, &["raised", "cleared"]);
    });
    // The one that stood by acts, and nobody stands by.
    let first = heard.borrow().holder.clone().unwrap();
    all.remove(&first.0).unwrap().signal("-KILL");
    let (second, _) = holder(&mut heard, term.max(first.1)).await;
    assert_ne!(second, first.0);
    tokio::task::block_in_place(|| until_alarm(url, alarm, &["raised", "cleared", "raised"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_lost_is_an_alarm_when_it_is_back_and_until_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let address = broker.local_addr();
    let url = BrokerUrl::from(address);
    let dispatcher = Dispatching::start(&url, "d", folder.path());
    let client = Client::connect(ClientOptions::new(url.clone())).await.unwrap();
    asked(&client).await;
    client.close().await;
    broker.shutdown().await.unwrap();
    // What answers there is no broker, for longer than the lease.
    let nothing = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut first = None;
    while first.is_none_or(|first: Instant| first.elapsed() < Duration::from_secs(3)) {
        drop(
            timeout(WAIT_MAX, nothing.accept())
                .await
                .expect("it tries")
                .unwrap(),
        );
        first.get_or_insert_with(Instant::now);
    }
    drop(nothing);
    let options = BrokerOptions {
        bind: address,
        ..BrokerOptions::loopback()
    };
    let broker = EmbeddedBroker::start(options).await.unwrap();
    tokio::task::block_in_place(|| {
        let alarm = ("broker-lost", "broker");
        until_alarm(&url, alarm, &["raised"]);
        until_alarm(&url, alarm, &["raised", "cleared"]);
    });
    drop(dispatcher);
    broker.shutdown().await.unwrap();
}

/// Takes a minute, after which a clock is still wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_clock_is_wrong_is_an_alarm_until_it_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let mut heard = listen(url.clone()).await;
    let _dispatcher = Dispatching::start(&url, "d", folder.path());
    holder(&mut heard, Term(0)).await;
    let fakes = |clock_ahead_ms| {
        let fleet = FakeFleet {
            engines: 1,
            programs: 0,
            clock_ahead_ms,
        };
        Fakes::start(&fleet, &url).unwrap()
    };
    let mut wrong = fakes(-3_600_000);
    let alarm = ("clock-skew", "fake-0");
    tokio::task::block_in_place(|| until_alarm(&url, alarm, &["raised"]));
    // As one that was restarted, with its clock set.
    wrong.drop_first(1).await.unwrap();
    let _right = fakes(20);
    tokio::task::block_in_place(|| {
        until_alarm(&url, alarm, &["raised", "cleared"]);
        let events = does(&url, &["events", "--kind", "clock-skew", "--about", "fake-0"]);
        assert!(events.contains("3600 s behind the dispatcher's"), "{events}");
    });
}
