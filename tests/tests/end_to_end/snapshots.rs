//! Snapshot files: what was captured can be gone on with, and what is damaged is refused with a reason.

use wayfare_client::{Client, CommandOptions, IdChoice, Order, Restore};
use wayfare_protocol::bundle::{self, BundleHeader};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::snapshot::Snapshot;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done, failed};
use wayfare_tests::job::Job;
use wayfare_tests::watched::{Watched, must_equal};

use crate::fleet;

async fn snapshot(client: &Client, watched: &Watched) -> Vec<u8> {
    let taken = client
        .apply(Order::snapshot(&watched.id()), &CommandOptions::default())
        .await;
    done(taken).await.into_bundle().expect("a snapshot's bytes")
}

fn from_file(file: Vec<u8>, on: &str, id: IdChoice) -> Restore {
    Restore {
        file,
        on: Some(on.into()),
        name: Some("restored".into()),
        id,
    }
}

/// What a program printed before it was captured comes with it as far as engines keep it.
async fn goes_on_to_the_end(fleet: &Fleet, restore: Restore, expected: &[u8]) {
    let restored = fleet.apply(Order::Restore(restore)).await;
    let Outcome::Running { program, .. } = done(restored).await.outcome else {
        panic!("it does not run");
    };
    let collected = Watched::follow(&fleet.client, program).await.finish().await;
    assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
    let mut lines = expected.split_inclusive(|byte| *byte == b'\n');
    lines.by_ref().take(collected.missing as usize).for_each(drop);
    must_equal(&collected.stdout, &lines.collect::<Vec<_>>().concat());
}

async fn is_copied_and_brought_back(fleet: &Fleet, job: Job) {
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a"]).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(1).await;
    let file = snapshot(&fleet.client, &watched).await;
    let copy = from_file(file.clone(), "b", IdChoice::New);
    goes_on_to_the_end(fleet, copy, &expected).await;
    let original = watched.id();
    watched.must_print(&expected).await;
    let killed = fleet.apply(Order::kill(&original)).await;
    done(killed).await;
    goes_on_to_the_end(fleet, from_file(file, "a", IdChoice::Kept), &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_file_goes_on_elsewhere_and_again_after_the_original_is_gone() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    tokio::join!(
        is_copied_and_brought_back(&fleet, Job::counter(50, 20, 256)),
        is_copied_and_brought_back(&fleet, Job::sample("primes", &["1500000"])),
        is_copied_and_brought_back(&fleet, Job::sample("sort", &["512", "30"])),
        is_copied_and_brought_back(&fleet, Job::wordfreq(1)),
    );
    fleet.spy.check_history();
}

/// A file of the same kind, sound on the outside: digests are those of its parts.
fn repacked(file: &[u8], change: impl FnOnce(&mut BundleHeader, &mut Vec<u8>, &mut Vec<u8>)) -> Vec<u8> {
    let (mut header, parts) = bundle::decode(file).expect("a sound file");
    let mut module = parts.first().expect("the module comes first").1.to_vec();
    let mut snapshot = parts.last().expect("the snapshot comes last").1.to_vec();
    change(&mut header, &mut module, &mut snapshot);
    header.spec.module = Blob::of(&module);
    header.snapshot = Blob::of(&snapshot);
    let module_digest = header.spec.module.digest;
    bundle::encode(&header, |digest| {
        if digest == module_digest {
            &module
        } else {
            &snapshot
        }
    })
}

/// With a checksum that is right.
fn resealed(mut snapshot: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    snapshot.truncate(snapshot.len() - 32);
    change(&mut snapshot);
    let checksum = Digest::of(&snapshot);
    snapshot.extend(checksum.0);
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_snapshots_are_refused_with_a_reason() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(3).await;
    let file = snapshot(&fleet.client, &watched).await;
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 1;
        file
    };
    let inner = |change: &dyn Fn(&mut Vec<u8>)| repacked(&file, |_, _, snapshot| change(snapshot));
    let sealed = |change: fn(&mut Vec<u8>)| {
        inner(&move |snapshot| *snapshot = resealed(std::mem::take(snapshot), change))
    };
    let other_module = wayfare_samples::find("primes").unwrap().wasm;
    for (what, file, says) in [
        // The file.
        ("nothing at all", Vec::new(), "not a wayfare snapshot file"),
        (
            "another file",
            b"hello, world".to_vec(),
            "not a wayfare snapshot file",
        ),
        ("a file cut in half", file[..file.len() / 2].to_vec(), "truncated"),
        (
            "a file without its last byte",
            file[..file.len() - 1].to_vec(),
            "truncated",
        ),
        (
            "a flipped bit in the module",
            flipped(file.len() / 3),
            "does not match its digest",
        ),
        (
            "a flipped bit in the snapshot",
            flipped(file.len() - 50),
            "does not match its digest",
        ),
        // The snapshot in it, in a file that is sound.
        (
            "a flipped bit within",
            inner(&|s| s[200] ^= 1),
            "its checksum does not match",
        ),
        (
            "a flipped bit in the seal",
            inner(&|s| *s.last_mut().unwrap() ^= 1),
            "its checksum does not match",
        ),
        (
            "a cut snapshot",
            inner(&|s| s.truncate(s.len() / 2)),
            "its checksum does not match",
        ),
        ("a very short snapshot", inner(&|s| s.truncate(20)), "truncated"),
        (
            "no snapshot",
            inner(&|s| *s = b"nonsense".to_vec()),
            "not a snapshot",
        ),
        ("another format", sealed(|s| s[8] = 99), "format version 99"),
        ("another compiler", sealed(|s| s[10] = 200), "compiler ABI"),
        (
            "contents that are cut",
            sealed(|s| s.truncate(s.len() - 100)),
            "malformed",
        ),
        (
            "a snapshot of another module",
            repacked(&file, |_, module, _| *module = other_module.to_vec()),
            "is of module",
        ),
        (
            "a snapshot relative to one that is not there",
            inner(&|bytes| {
                let mut snapshot = Snapshot::decode(bytes).unwrap();
                snapshot.base = Some(Digest::of(b"elsewhere"));
                *bytes = snapshot.encode();
            }),
            "needs its base",
        ),
        (
            "a call stack that no such program can have",
            inner(&|bytes| {
                let mut snapshot = Snapshot::decode(bytes).unwrap();
                snapshot.frames = vec![0xff; snapshot.frames.len()];
                *bytes = snapshot.encode();
            }),
            "",
        ),
    ] {
        let restore = from_file(file, "b", IdChoice::New);
        let restored = fleet.apply(Order::Restore(restore)).await;
        if says.is_empty() {
            // Sound by every seal: it may fail only later, and no one else may suffer from it.
            if let Ok(operation) = restored {
                let _ = operation.wait().await;
            }
            continue;
        }
        let error = failed(restored).await.to_string();
        assert!(error.contains(says), "{what}: expected '{says}' in: {error}");
    }
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
    // And the engine that refused all that is well.
    fleet.moves(watched.program, "b").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_not_restored_under_an_id_that_is_in_use() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(3).await;
    let file = snapshot(&fleet.client, &watched).await;
    let restore = from_file(file, "a", IdChoice::Kept);
    let error = failed(fleet.apply(Order::Restore(restore)).await).await;
    assert!(error.to_string().contains("is here already"), "{error}");
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_program_is_captured_as_it_stands() {
    let fleet = fleet(Kind::Embedded).engines(&["a", "b"]).start().await;
    let job = Job::counter(60, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a"]).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(5).await;
    let options = CommandOptions::default();
    done(fleet.client.apply(Order::pause(&watched.id()), &options).await).await;
    let (first, second) = (
        snapshot(&fleet.client, &watched).await,
        snapshot(&fleet.client, &watched).await,
    );
    let captured = |file: &[u8]| bundle::decode(file).unwrap().0.snapshot;
    assert_eq!(captured(&first), captured(&second), "it stands still");
    goes_on_to_the_end(&fleet, from_file(first, "b", IdChoice::New), &expected).await;
    assert_eq!(fleet.settled(watched.program).await.1, ProgramState::Paused);
}
