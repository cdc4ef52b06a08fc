//! What is answered.

use wayfare_protocol::files::{DEPTH_MAX, FILE_BYTES_MAX, FileStat, VERSIONS_MAX};

use super::super::removed::{BYTES_MAX, FILES_MAX, KEPT_MS};
use super::super::requests::RECORDS_MAX;
use super::*;
use crate::durable::Kind;

#[tokio::test]
async fn names_are_made_changed_and_removed_as_on_any_file_system() {
    use FileRefusal::{Absent, Exists, Impossible, IsFolder, NotEmpty, NotFolder};
    let mut world = World::new().await;
    let plain = Opening::default();
    let exclusive = Opening {
        exclusive: true,
        ..creating()
    };
    let deep = "/x".repeat(DEPTH_MAX);
    for (number, (what, expected)) in [
        (make("/d"), None),
        (make("/d"), Some(Exists)),
        (make("/d/e/f"), Some(Absent)),
        (make(""), Some(Exists)),
        (open("/d/f", plain), Some(Absent)),
        (open("/d/f", creating()), None),
        (open("/d/f", exclusive), Some(Exists)),
        (open("/d", plain), None),
        (open("/d", creating()), Some(IsFolder)),
        (open("/d/f/g", creating()), Some(NotFolder)),
        (make("/d/f/g"), Some(NotFolder)),
        (remove("/d"), Some(NotEmpty)),
        (remove("/d/f"), Some(NotFolder)),
        (remove(""), Some(NotEmpty)),
        (unlink("/d"), Some(IsFolder)),
        (unlink("/n"), Some(Absent)),
        (rename("/n", "/m"), Some(Absent)),
        (rename("/d", "/d/e"), Some(Impossible)),
        (rename("", "/d/e"), Some(Impossible)),
        (rename("/d/f", "/d"), Some(IsFolder)),
        (rename("/d", "/d/f"), Some(Impossible)),
        (make("/e"), None),
        (rename("/e", "/d"), Some(NotEmpty)),
        (rename("/e", "/d/f"), Some(NotFolder)),
        (rename("/d", "/e"), None),
        (stat("/e/f"), None),
        (stat("/d/f"), Some(Absent)),
        (rename("/e/f", "/g"), None),
        (rename("/g", "/g"), None),
        (copy("/g", None, "/e"), Some(IsFolder)),
        (copy("/e", None, "/h"), Some(IsFolder)),
        (copy("/g", Some(7), "/h"), Some(FileRefusal::NoVersion)),
        (copy("/g", None, "/h"), None),
        (rename("/e", &deep), Some(Absent)),
        (remove("/e"), None),
        (unlink("/g"), None),
        (unlink("/h"), None),
        (remove(""), Some(Impossible)),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.ask(1, number as u64, what.clone()).await;
        let found = match &answer {
            FileAnswer::Refused { why } => Some(*why),
            _ => None,
        };
        assert_eq!(found, expected, "{what:?}");
        // Whatever was answered is so after a restart.
        world.restart().await;
    }
}

#[tokio::test]
async fn appending_never_interleaves_and_writing_over_what_others_changed_is_refused() {
    let mut world = World::new().await;
    let one = Held::of(&world.ask(1, 0, open("/f", creating())).await);
    let other = Held::of(&world.ask(2, 0, open("/f", creating())).await);
    // At once: in the order in which they came.
    let answers = world
        .ask_all(vec![
            request(1, 1, one.append(b"one\n")),
            request(2, 1, other.append(b"other\n")),
            request(1, 2, one.append(b"again\n")),
        ])
        .await;
    assert_eq!(world.content("/f").await.unwrap(), b"one\nother\nagain\n");
    // Who appended has not seen what the other did, and would write over it.
    let one = one.knowing(&answers[2]);
    let answer = world.ask(1, 3, one.write(0, b"X")).await;
    assert_eq!(answer, refused(FileRefusal::Changed));
    assert_eq!(
        world.ask(1, 3, one.set_length(0)).await,
        refused(FileRefusal::Changed)
    );
    let fresh = Held::of(&world.ask(1, 4, open("/f", creating())).await);
    let fresh = fresh.knowing(&world.ask(1, 5, fresh.write(0, b"O")).await);
    let fresh = fresh.knowing(&world.ask(1, 6, fresh.set_length(5)).await);
    world.ask(1, 7, fresh.write(8, b"end")).await;
    assert_eq!(world.content("/f").await.unwrap(), b"One\no\0\0\0end");
}

impl World {
    async fn read(&mut self, held: Held) -> Option<Vec<u8>> {
        let read = FileAsk::Read {
            node: held.node,
            version: None,
            offset: 0,
            bytes: 100,
        };
        match self.ask(9, 0, read).await {
            FileAnswer::Data { data } => Some(data.as_bytes().to_vec()),
            FileAnswer::Refused { why } => {
                assert_eq!(why, FileRefusal::Gone);
                None
            }
            other => panic!("{other:?}"),
        }
    }

    async fn stat_of(&mut self, held: Held) -> FileStat {
        match self.ask(9, 0, FileAsk::StatNode { node: held.node }).await {
            FileAnswer::Stat { stat } => stat,
            other => panic!("{other:?}"),
        }
    }

    async fn names(&mut self) -> Vec<String> {
        let list = FileAsk::List {
            path: path(""),
            after: 0,
        };
        match self.ask(9, 0, list).await {
            FileAnswer::Listed { files } => files.into_iter().map(|file| file.name).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_was_removed_or_replaced_is_used_on_by_who_has_it_open() {
    let mut world = World::new().await;
    let one = Held::of(&world.ask(1, 0, open("/f", creating())).await);
    let one = one.knowing(&world.ask(1, 1, one.write(0, b"removed")).await);
    assert!(!world.stat_of(one).await.removed);
    world.ask(1, 2, unlink("/f")).await;
    let other = Held::of(&world.ask(1, 3, open("/f", creating())).await);
    let other = other.knowing(&world.ask(1, 4, other.write(0, b"replaced")).await);
    let new = Held::of(&world.ask(1, 5, open("/g", creating())).await);
    let new = new.knowing(&world.ask(1, 6, new.write(0, b"new")).await);
    world.ask(1, 7, rename("/g", "/f")).await;
    for _ in 0..2 {
        assert_eq!(world.read(one).await.unwrap(), b"removed");
        assert_eq!(world.read(other).await.unwrap(), b"replaced");
        assert_eq!(world.content("/f").await.unwrap(), b"new");
        assert_eq!(world.names().await, ["f"]);
        assert!(world.stat_of(one).await.removed && world.stat_of(other).await.removed);
        assert!(!world.stat_of(new).await.removed);
        world.restart().await;
    }
    let written = world.ask(1, 8, other.write(8, b" and written")).await;
    assert!(matches!(written, FileAnswer::Written { .. }), "{written:?}");
    assert_eq!(world.read(other).await.unwrap(), b"replaced and written");
    // Asked again after whatever happened meanwhile, it is answered and not done again.
    assert_eq!(world.ask(1, 7, rename("/g", "/f")).await, FileAnswer::Done);
    assert_eq!(world.content("/f").await.unwrap(), b"new");
}

#[tokio::test]
async fn what_was_removed_is_kept_for_a_while_and_as_far_as_there_is_room() {
    let mut world = World::new().await;
    let old = Held::of(&world.ask(1, 0, open("/old", creating())).await);
    let used = Held::of(&world.ask(1, 1, open("/used", creating())).await);
    world.ask(1, 2, unlink("/old")).await;
    world.ask(1, 3, unlink("/used")).await;
    world.now_ms += KEPT_MS;
    // Writing keeps it, and nothing else is kept any longer.
    world.ask(1, 4, used.write(0, b"x")).await;
    assert_eq!(world.read(old).await, None);
    world.ask(1, 5, make("/d")).await;
    assert_eq!(world.read(used).await.unwrap(), b"x");
    let too_large = used.put(
        Place::At {
            offset: BYTES_MAX,
            basis: None,
        },
        b"x",
    );
    assert_eq!(world.ask(1, 6, too_large).await, refused(FileRefusal::Full));
    for number in 0..=FILES_MAX as u64 {
        world.ask(2, 2 * number, open("/n", creating())).await;
        world.ask(2, 2 * number + 1, unlink("/n")).await;
    }
    assert_eq!(world.read(used).await, None);
    let large = Held::of(&world.ask(1, 7, open("/large", creating())).await);
    world.ask(1, 8, large.set_length(BYTES_MAX + 1)).await;
    world.ask(1, 9, unlink("/large")).await;
    assert_eq!(world.read(large).await, None);
}

#[tokio::test]
async fn nobody_comes_to_what_was_removed_by_its_name() {
    let mut world = World::new().await;
    world.ask(1, 0, open("/f", creating())).await;
    world.ask(1, 1, unlink("/f")).await;
    let hidden = world.files.tree.folder(super::super::tree::ROOT).unwrap();
    let name = format!("/{}", hidden.keys().next().unwrap());
    for what in [
        stat(&name),
        open(&format!("{name}/x"), creating()),
        make(&format!("{name}/x")),
        remove(&name),
        rename(&name, "/x"),
        rename("/", &name),
    ] {
        assert_eq!(
            world.ask(1, 2, what.clone()).await,
            refused(FileRefusal::Absent),
            "{what:?}"
        );
    }
    assert_eq!(
        world.ask(1, 3, remove("")).await,
        refused(FileRefusal::Impossible)
    );
}

#[tokio::test]
async fn what_one_writer_writes_is_one_version_and_the_last_are_kept() {
    let mut world = World::new().await;
    for round in 0..20u64 {
        let number = round * 3;
        let held = Held::of(&world.ask(1, number, open("/f", truncating())).await);
        let held = held.knowing(&world.ask(1, number + 1, held.write(0, b"round ")).await);
        let text = round.to_string();
        world.ask(1, number + 2, held.write(6, text.as_bytes())).await;
    }
    world.restart().await;
    let history = FileAsk::History { path: path("/f") };
    let FileAnswer::History { versions } = world.ask(1, 0, history).await else {
        panic!("no history");
    };
    let numbers: Vec<u64> = versions.iter().map(|version| version.version).collect();
    assert_eq!(numbers, (5..=20).collect::<Vec<_>>());
    assert_eq!(versions.len(), VERSIONS_MAX);
    assert!(
        versions
            .iter()
            .all(|version| version.by == "p" && version.bytes >= 7)
    );
    let FileAnswer::Stat { stat } = world.ask(1, 0, stat("/f")).await else {
        panic!("no file");
    };
    for (version, expected) in [(5, Some("round 4")), (20, Some("round 19")), (4, None)] {
        let read = FileAsk::Read {
            node: stat.node,
            version: Some(version),
            offset: 0,
            bytes: 100,
        };
        let found = match world.ask(1, 0, read).await {
            FileAnswer::Data { data } => Some(String::from_utf8(data.as_bytes().to_vec()).unwrap()),
            _ => None,
        };
        assert_eq!(found.as_deref(), expected);
    }
    world.ask(1, 100, copy("/f", Some(7), "/f")).await;
    assert_eq!(world.content("/f").await.unwrap(), b"round 6");
}

#[tokio::test]
async fn a_repeat_is_answered_and_not_done_again() {
    let mut world = World::new().await;
    let opened = world.ask(1, 0, open("/f", creating())).await;
    let held = Held::of(&opened);
    let first = world.ask(1, 1, held.append(b"line\n")).await;
    for _ in 0..2 {
        assert_eq!(world.ask(1, 0, open("/f", creating())).await, opened);
        // With other words of the same length, as of a program that says the time.
        assert_eq!(world.ask(1, 1, held.append(b"LINE\n")).await, first);
        world.restart().await;
    }
    let longer = world.ask(1, 1, held.append(b"another way\n")).await;
    assert!(
        matches!(longer, FileAnswer::Written { end: 17, .. }),
        "{longer:?}"
    );
    assert_eq!(world.content("/f").await.unwrap(), b"line\nanother way\n");
    let mut moved = request(1, 2, held.append(b"x"));
    moved.generation = Generation(5);
    world.ask_all(vec![moved]).await;
    let stale = world.ask(1, 3, held.append(b"y")).await;
    assert_eq!(stale, refused(FileRefusal::Stale));
    for number in 0..RECORDS_MAX + 10 {
        world.ask(2, number, make(&format!("/{number}"))).await;
    }
    let old = world.ask(2, 9, make("/late")).await;
    assert_eq!(old, refused(FileRefusal::Stale));
}

#[tokio::test]
async fn bounds_are_said() {
    let mut world = World::new().await;
    let held = Held::of(&world.ask(1, 0, open("/f", creating())).await);
    for (number, offset) in [(1, FILE_BYTES_MAX), (2, u64::MAX)] {
        let answer = world.ask(1, number, held.write(offset, b"x")).await;
        assert_eq!(answer, refused(FileRefusal::TooLong));
    }
    assert_eq!(
        world.ask(1, 3, held.set_length(FILE_BYTES_MAX + 1)).await,
        refused(FileRefusal::TooLong)
    );
    // All zeros, and stored nowhere.
    world.ask(1, 4, held.set_length(FILE_BYTES_MAX)).await;
    let read = FileAsk::Read {
        node: held.node,
        version: None,
        offset: FILE_BYTES_MAX - 3,
        bytes: u32::MAX,
    };
    let answer = world.ask(1, 0, read).await;
    assert!(matches!(&answer, FileAnswer::Data { data } if data.as_bytes() == [0; 3]));
    assert!(world.store.list(Kind::Block).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_folder_is_listed_in_parts() {
    let mut world = World::new().await;
    for number in 0..600 {
        world
            .ask(
                1,
                number,
                open(&format!("/file-{number:04}-{}", "n".repeat(100)), creating()),
            )
            .await;
    }
    let (mut names, mut parts, mut after) = (Vec::new(), 0, 0);
    loop {
        let list = FileAsk::List {
            path: path(""),
            after,
        };
        let FileAnswer::Listed { files } = world.ask(1, 0, list).await else {
            panic!("no list");
        };
        let Some(last) = files.last() else { break };
        after = last.stat.node;
        parts += 1;
        names.extend(files.into_iter().map(|file| file.name));
    }
    assert!(parts > 1 && names.len() == 600);
    assert!(names.is_sorted(), "in the order in which they came to be");
}
