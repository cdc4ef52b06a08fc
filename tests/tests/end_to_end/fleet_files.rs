//! Programs that read and write the fleet's files while they are moved and killed, and the dispatcher is
//! replaced.

use std::time::Duration;

use wayfare_client::Run;
use wayfare_client::files::{Extent, Files, FilesError};
use wayfare_protocol::files::{FileGrant, FilePath, FileRefusal};
use wayfare_protocol::grants::Grants;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::registry::Registry;
use wayfare_tests::watched::Watched;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];
const LIMIT: Duration = Duration::from_secs(60);

async fn run(fleet: &Fleet, (sample, name): (&str, &str), args: &[&str], on: &str, grant: &str) -> Watched {
    let module = wayfare_samples::find_talker(sample).expect("a sample").wasm;
    fleet.runs(order((module, name), args, on, grant)).await
}

/// So that no move waits for a compiler while the program goes on to its end.
async fn loads(fleet: &Fleet, sample: &str, args: &[&str], engines: &[&str]) {
    let module = wayfare_samples::find_talker(sample).expect("a sample").wasm;
    let endless = |on: &str| order((module, "loads"), args, on, "/fleet/loads:rw");
    fleet.loads_for(engines, endless).await;
}

fn order((module, name): (&[u8], &str), args: &[&str], on: &str, grant: &str) -> Run {
    Run {
        name: name.into(),
        module: module.to_vec(),
        args: args.iter().map(|text| (*text).to_owned()).collect(),
        on: Some(on.into()),
        grants: Grants {
            fs: vec![FileGrant::try_from(grant.to_owned()).expect("a grant")],
            ..Grants::default()
        },
        ..Run::default()
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::try_from(text.to_owned()).expect("a path")
}

pub(crate) fn files(fleet: &Fleet) -> Files<'_> {
    Files::new(&fleet.client, "tests".parse().expect("a name"), LIMIT)
}

pub(crate) async fn content(fleet: &Fleet, at: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let (files, at) = (files(fleet), path(at));
    let read = files.read(&at, Extent::default(), |piece, _| {
        content.extend_from_slice(piece);
        Ok(())
    });
    read.await.expect("it can be read");
    content
}

/// Writes, renames, removes and reads back: it prints what it prints with files of its own, and so does
/// whoever reads after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diary_in_fleet_files_is_the_same_wherever_its_writer_is_moved() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let data = fleet.folder().join("service");
    let dispatcher = Registry::start(fleet.broker.url(), data.clone());
    let own = run(&fleet, ("scribe", "own"), &["300"], "c", "/fleet/room:ro").await;
    let expected = own.finish().await.stdout;
    loads(&fleet, "scribe", &["1000000", "10"], &RING).await;
    let args = ["300", "2", "/fleet/room"];
    let scribe = run(&fleet, ("scribe", "scribe"), &args, "a", "/fleet/room:rw").await;
    for step in 1..=6 {
        scribe.printed(step * 12).await;
        fleet.moves(scribe.program, RING[step % 3]).await;
    }
    dispatcher.stop().await;
    // It waits for another: whenever it is moved now, it is in the middle of asking.
    fleet.moves(scribe.program, "b").await;
    fleet.moves(scribe.program, "c").await;
    let dispatcher = Registry::start(fleet.broker.url(), data);
    scribe.must_print(&expected).await;
    dispatcher.stop().await;
    fleet.spy.check_history();
}

/// What is said of files of `/tmp`, in the engine's tests, holds for those of the fleet, and wherever the
/// program is moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_files_are_what_posix_programs_expect() {
    const PAIR: [&str; 2] = ["a", "b"];
    let fleet = fleet(Kind::Mosquitto).engines(&PAIR).start().await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    files(&fleet)
        .make_folder(&path("/fleet/x"))
        .await
        .expect("it is made");
    let program = (wayfare_samples::POSIX, "posix");
    // So that no move waits for a compiler.
    let waits = |on: &str| order(program, &["line"], on, "/fleet/x:rw");
    fleet.loads_for(&PAIR, waits).await;
    let args = ["/fleet/x", "10"];
    let watched = fleet.runs(order(program, &args, "a", "/fleet/x:rw")).await;
    for step in 1..=6 {
        watched.printed(step * 25).await;
        fleet.moves(watched.program, PAIR[step % 2]).await;
    }
    let said = String::from_utf8(watched.finish().await.stdout).expect("text");
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(said.lines().count() > 200 && said.ends_with("done\n"), "{said}");
    let left = files(&fleet).list(&path("/fleet/x")).await.expect("a list");
    assert!(left.is_empty(), "{left:?}");
    dispatcher.stop().await;
}

/// Two programs append to one file; both are moved, and one's engine is killed: its last checkpoint goes on,
/// and says nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_two_programs_append_are_all_there_once() {
    const LINES: usize = 200;
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &[])
        .engine("c", &[])
        .start()
        .await;
    let data = fleet.folder().join("service");
    let dispatcher = Registry::start(fleet.broker.url(), data.clone());
    loads(&fleet, "ledger", &["/fleet/loads", "1000000", "10"], &["b", "c"]).await;
    let args = ["/fleet/ledger", &LINES.to_string(), "10"];
    let one = run(&fleet, ("ledger", "one"), &args, "a", "/fleet/ledger:rw").await;
    let other = run(&fleet, ("ledger", "other"), &args, "b", "/fleet/ledger:rw").await;
    one.printed(3).await;
    fleet.moves(other.program, "c").await;
    fleet.start_again(&["a"]).await;
    other.printed(8).await;
    fleet.moves(other.program, "b").await;
    dispatcher.stop().await;
    let dispatcher = Registry::start(fleet.broker.url(), data);
    one.printed(10).await;
    fleet.start_again(&["a"]).await;
    for watched in [one, other] {
        let collected = watched.finish().await;
        let said = String::from_utf8_lossy(&collected.stdout).into_owned();
        assert!(said.ends_with(&format!("done: {LINES} written\n")), "{said}");
    }
    let text = String::from_utf8(content(&fleet, "/fleet/ledger").await).expect("text");
    for name in ["one", "other"] {
        let found: Vec<&str> = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(name))
            .collect();
        let expected: Vec<String> = (1..=LINES).map(|line| format!("{name} {line}")).collect();
        assert_eq!(found, expected, "in order, none lost, none twice");
    }
    assert_eq!(text.lines().count(), 2 * LINES, "none torn");
    dispatcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_granted_is_refused_and_said_in_the_log() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let args = ["/fleet/ledger", "1"];
    let watched = run(&fleet, ("ledger", "one"), &args, "a", "/fleet/ledger:ro").await;
    let log = String::from_utf8_lossy(&watched.finish().await.stderr).into_owned();
    let expected =
        "not granted: write '/fleet/ledger'; --allow-fs /fleet/ledger:rw at 'wayfare run' grants it";
    assert!(log.contains(expected), "{log}");
}

/// A file goes in whole and comes out whole, in any version and part; a writing that breaks off leaves what
/// was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_files_go_in_and_come_out_though_the_dispatcher_is_replaced() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let data = fleet.folder().join("service");
    let dispatcher = Registry::start(fleet.broker.url(), data.clone());
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let at = path("/fleet/large");
    let all = files(&fleet);
    all.write(&at, &b"small"[..], |_| {})
        .await
        .expect("it is written");
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let writing = all.write(&at, &large[..], |done| {
        if done > 500_000 {
            // Nobody listens any more once it was said.
            let _ = begun.take().map(|begun| begun.send(()));
        }
    });
    let replacing = async {
        has_begun.await.expect("it begins");
        dispatcher.stop().await;
        Registry::start(fleet.broker.url(), data)
    };
    let (written, dispatcher) = tokio::join!(writing, replacing);
    assert_eq!(written.expect("it is written"), large.len() as u64);
    assert!(content(&fleet, "/fleet/large").await == large);
    let mut part = Vec::new();
    for (version, offset, bytes) in [(Some(1), 1, Some(3)), (None, 2_999_998, None)] {
        let extent = Extent {
            version,
            offset,
            bytes,
            ..Extent::default()
        };
        let read = all.read(&at, extent, |piece, _| {
            part.extend_from_slice(piece);
            Ok(())
        });
        read.await.expect("it can be read");
    }
    assert_eq!(part, [b"mal", &large[2_999_998..]].concat());
    let missing = all.write(&path("/fleet/no/file"), &b"x"[..], |_| {}).await;
    assert!(
        matches!(
            missing,
            Err(FilesError::Refused {
                why: FileRefusal::Absent,
                ..
            })
        ),
        "{missing:?}"
    );
    let names = all.list(&path("/fleet")).await.expect("a list");
    let names: Vec<&str> = names.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["large"], "nothing unfinished is left");
    dispatcher.stop().await;
}
