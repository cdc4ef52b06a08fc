//! Changes that are made only of what the asker knows.

use wayfare_protocol::files::{Expected, FileStat};

use super::*;

const CHANGED: FileAnswer = FileAnswer::Refused {
    why: FileRefusal::Changed,
};

async fn known(world: &mut World, at: &str) -> FileStat {
    match world.ask(99, 0, stat(at)).await {
        FileAnswer::Stat { stat } => stat,
        other => panic!("{other:?}"),
    }
}

fn put(from: &str, to: &str, expects: Expected) -> FileAsk {
    FileAsk::Copy {
        from: path(from),
        version: None,
        to: path(to),
        expects: Some(expects),
    }
}

fn unlink_if(at: &str, expects: Expected) -> FileAsk {
    FileAsk::Unlink {
        path: path(at),
        expects: Some(expects),
    }
}

async fn write(world: &mut World, number: u64, at: &str, text: &[u8]) {
    let held = Held::of(&world.ask(1, number, open(at, creating())).await);
    world.ask(1, number + 1, held.append(text)).await;
}

#[tokio::test]
async fn of_several_who_know_the_same_one_changes_it() {
    let mut world = World::new().await;
    for (number, at) in [(0, "/f"), (2, "/a"), (4, "/b"), (6, "/c")] {
        write(&mut world, number, at, at.as_bytes()).await;
    }
    let before = Expected::unchanged(&known(&mut world, "/f").await);
    // At once, as from two gateways, and each twice, as it is repeated until it is answered.
    let asked = |program, from: &str| request(program, 0, put(from, "/f", before));
    let all = vec![asked(2, "/a"), asked(3, "/b"), asked(2, "/a"), asked(3, "/b")];
    let answers = world.ask_all(all).await;
    assert_eq!(answers, [FileAnswer::Done, CHANGED, FileAnswer::Done, CHANGED]);
    world.restart().await;
    assert_eq!(world.content("/f").await.unwrap(), b"/a");
    assert_eq!(world.ask(4, 0, put("/c", "/f", before)).await, CHANGED);
    let now = Expected::unchanged(&known(&mut world, "/f").await);
    assert_eq!(world.ask(4, 1, put("/c", "/f", now)).await, FileAnswer::Done);
    assert_eq!(world.content("/f").await.unwrap(), b"/c");
}

#[tokio::test]
async fn what_is_expected_is_absent_present_or_unchanged() {
    let mut world = World::new().await;
    write(&mut world, 0, "/a", b"a").await;
    for (number, (what, expected)) in [
        (put("/a", "/f", Expected::Present), CHANGED),
        (put("/a", "/f", Expected::Absent), FileAnswer::Done),
        (put("/a", "/f", Expected::Absent), CHANGED),
        (put("/a", "/f", Expected::Present), FileAnswer::Done),
        (unlink_if("/g", Expected::Present), CHANGED),
        (unlink_if("/f", Expected::Absent), CHANGED),
        (unlink_if("/f", Expected::Present), FileAnswer::Done),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            world.ask(2, number as u64, what.clone()).await,
            expected,
            "{what:?}"
        );
    }
    write(&mut world, 10, "/f", b"one").await;
    let before = Expected::unchanged(&known(&mut world, "/f").await);
    // Whoever has it open goes on with its own version: the time is another.
    let held = Held::of(&world.ask(1, 20, open("/f", creating())).await);
    world.ask(1, 21, held.append(b"two")).await;
    assert_eq!(world.ask(2, 50, unlink_if("/f", before)).await, CHANGED);
    let now = Expected::unchanged(&known(&mut world, "/f").await);
    // Another file of that name is not what was known.
    assert_eq!(world.ask(2, 51, unlink_if("/f", now)).await, FileAnswer::Done);
    write(&mut world, 30, "/f", b"onetwo").await;
    assert_eq!(world.ask(2, 52, put("/a", "/f", now)).await, CHANGED);
}
