//! Whose orders count in the fleet of a `wayfare up`: its user's, without a word, and nobody else's.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use support::{Process, Ran, Up};

/// Starts the program that everybody orders about.
const RUN_COUNTER: [&str; 10] = [
    "run",
    "counter",
    "--name",
    "c",
    "--on",
    "local-1",
    "--wait-for-engine",
    "--",
    "100000",
    "50",
];

#[test]
fn only_who_started_a_local_fleet_commands_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("up");
    let up = Up::start(&data, 1);
    let own = |arguments: &[&str]| support::run(&up.broker, arguments);
    let running = own(&RUN_COUNTER);
    assert_eq!(running.exit, 0, "{}", running.stderr);

    // An engine that its user starts beside it joins it, and obeys whom the others obey.
    let own_engine = folder.path().join("joined");
    let own_engine = own_engine.to_str().unwrap();
    let arguments = [
        "engine",
        "--config",
        "/dev/null",
        "--id",
        "joined",
        "--data",
        own_engine,
    ];
    let _joined = Process(support::command(&up.broker, &arguments).spawn().unwrap());
    up.waits_for_engines(2);
    let moved = own(&["move", "c", "--to", "joined"]);
    assert_eq!(moved.exit, 0, "{}", moved.stderr);

    // Another user of this machine, who finds nothing: the broker lets nobody in.
    let home = folder.path().join("other");
    let stranger = |arguments: &[&str], login: bool| {
        let mut command = support::command(&up.broker, arguments);
        command.env("XDG_STATE_HOME", &home);
        if login {
            command.env("WAYFARE_BROKER_LOGIN", data.join("login"));
        }
        let output = command.output().unwrap();
        Ran {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    let shut_out = stranger(&["ps"], false);
    assert_eq!(shut_out.exit, 1, "{}{}", shut_out.stdout, shut_out.stderr);
    // One who has got the login, but no key: it can look, and order nothing.
    let looked = stranger(&["ps"], true);
    assert_eq!(looked.exit, 0, "{}", looked.stderr);
    for arguments in [
        &["kill", "c"][..],
        &["pause", "c"],
        &["run", "counter", "--on", "local-1"],
    ] {
        let refused = stranger(arguments, true);
        assert_eq!(refused.exit, 1, "{arguments:?} {}", refused.stderr);
        assert!(
            refused.stderr.contains("does not take it: it is not signed"),
            "{}",
            refused.stderr
        );
    }
    // With a key of its own that nobody has named.
    let made = stranger(
        &[
            "operator",
            "key",
            "--operator-key",
            home.join("own.key").to_str().unwrap(),
        ],
        true,
    );
    assert_eq!(made.exit, 0, "{}", made.stderr);
    let strange = home.join("own.key");
    let refused = stranger(&["kill", "c", "--operator-key", strange.to_str().unwrap()], true);
    assert!(
        refused.stderr.contains("which the fleet's roster does not name"),
        "{}",
        refused.stderr
    );

    // Who has the root key names it, and takes it out again.
    let root = data.join("root.key");
    let root = root.to_str().unwrap();
    let added = own(&[
        "operator",
        "add",
        "bob",
        made.stdout.trim(),
        "--role",
        "viewer",
        "--root-key",
        root,
    ]);
    assert_eq!(added.exit, 0, "{}", added.stderr);
    let killed = || stranger(&["kill", "c", "--operator-key", strange.to_str().unwrap()], true);
    let refused = killed();
    assert!(
        refused.stderr.contains("'bob' has no role for 'kill'"),
        "{}",
        refused.stderr
    );
    let removed = own(&["operator", "rm", "bob", "--root-key", root]);
    assert_eq!(removed.exit, 0, "{}", removed.stderr);
    let listed = own(&["operator", "ls", "--root-key", root, "--json"]).documents();
    assert_eq!(listed[0]["orders"], "require");
    let names: Vec<&str> = listed[0]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["operator", "dispatcher"]);
    let again = own(&["operator", "add", "bob", made.stdout.trim(), "--root-key", root]);
    assert_eq!(again.exit, 0, "{}", again.stderr);
    let done = killed();
    assert_eq!(done.exit, 0, "{}", done.stderr);

    // The dispatcher looks at who asks it as well.
    let refused = stranger(&["hold"], true);
    assert_eq!(refused.exit, 1, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("the dispatcher does not take it"),
        "{}",
        refused.stderr
    );
    for verb in ["hold", "release"] {
        assert_eq!(own(&[verb]).exit, 0);
    }
    engines_are_approved(&up, &stranger, root);
}

/// An engine's key is its own; that it is, somebody has to say whom the roster names.
fn engines_are_approved(up: &Up, stranger: &dyn Fn(&[&str], bool) -> Ran, root: &str) {
    let own = |arguments: &[&str]| support::run(&up.broker, arguments);
    let state = || {
        let listed = own(&["enroll", "ls", "--json"]);
        assert_eq!(listed.exit, 0, "{}", listed.stderr);
        let document = listed.documents().remove(0);
        let mut engines = document["engines"].as_array().unwrap().iter();
        let joined = engines.find(|engine| engine["engine"] == "joined").unwrap();
        (
            joined["state"].as_str().unwrap().to_owned(),
            joined["labels"].clone(),
        )
    };
    assert_eq!(state().0, "not-approved");
    let root_key = std::fs::read_to_string(root).unwrap();
    let root_key: wayfare_protocol::code::SecretKey = root_key.trim().parse().unwrap();
    let root_key = root_key.public().to_string();
    let by_nobody = stranger(
        &[
            "enroll",
            "approve",
            "joined",
            "--trust-root",
            &root_key,
            "--operator-key",
            root,
        ],
        true,
    );
    assert_eq!(by_nobody.exit, 1, "{}", by_nobody.stdout);
    assert!(
        by_nobody.stderr.contains("your key approves no engine here"),
        "{}",
        by_nobody.stderr
    );
    let other_key = own(&["enroll", "approve", "joined", "--key", &root_key]);
    assert!(
        other_key.stderr.contains("shows another key"),
        "{}",
        other_key.stderr
    );
    let approved = own(&["enroll", "approve", "joined", "--label", "zone=attic", "--json"]);
    assert_eq!(approved.exit, 0, "{}", approved.stderr);
    assert_eq!(
        state(),
        ("approved".into(), serde_json::json!({ "zone": "attic" }))
    );
    let required = own(&["operator", "engines", "require", "--root-key", root, "--json"]);
    assert_eq!(required.documents()[0]["engines"], "require");
    let removed = own(&["enroll", "rm", "joined", "--root-key", root, "--json"]);
    assert_eq!(
        removed.documents()[0]["revoked"]["joined"],
        1,
        "{}",
        removed.stderr
    );
    assert_eq!(state().0, "not-approved");
    let again = own(&["enroll", "approve", "joined", "--json"]);
    assert_eq!(again.documents()[0]["serial"], 2, "{}", again.stderr);
}

/// Where nobody says which broker, and none listens where it would be.
#[test]
fn commands_find_the_one_up_that_this_user_runs_on_whatever_port() {
    const DEFAULT: &str = "127.0.0.1:1883";
    if std::net::TcpStream::connect(DEFAULT).is_ok() {
        eprintln!("NOT TESTED: a broker listens at {DEFAULT}, so that commands use that");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let command = |broker: &str, arguments: &[&str]| {
        let mut command = support::command(broker, arguments);
        command.env("XDG_STATE_HOME", &home);
        command
    };
    let types = |broker: &str, arguments: &[&str]| {
        let output = command(broker, arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (exit, _, said) = types("", &["ps"]);
    assert_eq!(exit, Some(1));
    assert!(said.contains("start one with `wayfare up`"), "{said}");

    let up = |name: &str| {
        let data = folder.path().join(name);
        let arguments = ["up", "--json", "--port", "0", "--engines", "0", "--no-dispatcher"];
        let arguments = [&arguments[..], &["--data", data.to_str().unwrap()]].concat();
        let mut up = command("", &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(up.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let broker = announced["broker"].as_str().unwrap().to_owned();
        // It goes on saying what happens.
        ((Process(up), stdout), broker)
    };
    let (_one, first) = up("one");
    let (exit, found, said) = types("", &["ps"]);
    assert_eq!((exit, said.as_str()), (Some(0), ""), "{found}");
    // A broker that is named and is not there is not replaced; what is there is said.
    let (exit, _, said) = types(&format!("mqtt://{DEFAULT}"), &["ps"]);
    assert_eq!(exit, Some(1));
    assert!(said.contains(&format!("--broker {first}")), "{said}");
    // Of two nobody knows which is meant.
    let (_two, second) = up("two");
    let (exit, _, said) = types("", &["ps"]);
    assert_eq!(exit, Some(2));
    assert!(said.contains(&first) && said.contains(&second), "{said}");
    assert_eq!(types(&second, &["ps"]).0, Some(0));
}

/// Signed with whose key, that is the question: of `up`, of a stranger, and of a dispatcher.
#[cfg(feature = "gateway")]
#[test]
fn what_is_ordered_over_http_is_signed_with_the_key_of_who_serves_it() {
    use over_http::{Served, order};

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("up");
    let up = Up::start_with(&data, 1, &["--http", "127.0.0.1:0"]);
    up.command(&RUN_COUNTER);
    let link = up.announced["http"].as_str().unwrap();
    let (status, body) = order(link, "POST /api/v1/programs/c/pause");
    assert_eq!(status, 200, "{body}");

    // Who has got the login, and has no key.
    let stranger = |arguments: &[&str]| {
        let mut command = support::command(&up.broker, arguments);
        command.env("XDG_STATE_HOME", path("other"));
        command.env("WAYFARE_BROKER_LOGIN", data.join("login"));
        command
    };
    let of_ui = path("ui");
    let ui = Served::start(stranger(&["ui"]), &of_ui);
    let (status, body) = order(&ui.link, "POST /api/v1/programs/c/resume");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("does not take it: it is not signed"), "{body}");

    // A dispatcher that stands by, before the roster names it and after.
    let of_dispatcher = path("dispatcher");
    let dispatcher = Served::start(stranger(&["dispatcher"]), &of_dispatcher);
    let (status, body) = order(&dispatcher.link, "POST /api/v1/programs/c/resume");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("which the fleet's roster does not name"), "{body}");
    let key = of_dispatcher.join("orders.key");
    let key = up.command(&["operator", "key", "--operator-key", key.to_str().unwrap()]);
    let root = data.join("root.key");
    up.command(&[
        "operator",
        "add",
        "hub",
        key.stdout.trim(),
        "--role",
        "dispatcher",
        "--root-key",
        root.to_str().unwrap(),
    ]);
    let (status, body) = order(&dispatcher.link, "POST /api/v1/programs/c/resume");
    assert_eq!(status, 200, "{body}");
}

#[cfg(feature = "gateway")]
mod over_http {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::path::Path;
    use std::process::Command;

    use super::support::Process;

    /// A command that serves HTTP; killed with the test.
    pub(crate) struct Served {
        pub(crate) link: String,
        _process: Process,
    }

    impl Served {
        /// Returns once it says where.
        pub(crate) fn start(mut command: Command, data: &Path) -> Self {
            command.args(["--http", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
            // The one says so on standard output, the other in its log.
            let (mut said, writer) = std::io::pipe().unwrap();
            command
                .env("NO_COLOR", "1")
                .stdout(writer.try_clone().unwrap())
                .stderr(writer);
            let process = Process(command.spawn().unwrap());
            drop(command);
            let mut lines = BufReader::new(&mut said).lines();
            let address = lines.find_map(|line| {
                let line = line.unwrap();
                let is_it = line.starts_with("dashboard") || line.contains("HTTP is served");
                let at = is_it.then(|| line.find("127.0.0.1:")).flatten()?;
                let address = line[at..].split(['/', ' ']).next()?;
                Some(address.to_owned())
            });
            let address = address.expect("it says where it serves HTTP");
            // Whatever else it says is read, or it could write no more.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            let token = std::fs::read_to_string(data.join("http-token")).unwrap();
            Self {
                link: format!("http://{address}/?token={}", token.trim()),
                _process: process,
            }
        }
    }

    /// The status and the body of the answer to this request.
    pub(crate) fn order(link: &str, line: &str) -> (u16, String) {
        let (address, token) = link
            .strip_prefix("http://")
            .and_then(|link| link.split_once("/?token="))
            .unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }
}
