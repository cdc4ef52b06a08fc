//! Stores that fail in the middle, whose answers get lost, that were torn by a power cut, that are damaged,
//! or that another has opened.

use super::super::log::LogError;
use super::*;
use crate::durable::Kind;
use crate::durable::fragile::Fragile;

/// What a program does, each asked again of whoever takes over when it was not answered.
async fn play(inner: &Arc<InMemory>, steps: usize, last_is_done: bool) -> bool {
    let fragile = Objects::of(Fragile::new(inner, steps, last_is_done));
    let mut has_failed = false;
    let mut files = match opened(fragile).await {
        Ok(files) => files,
        Err(_) => {
            has_failed = true;
            opened(Objects::of(inner.clone())).await.unwrap()
        }
    };
    let large = vec![7; 60_000];
    let mut held = None;
    for number in 0..8u64 {
        let what = match (number, held) {
            (0, _) => open("/f", creating()),
            (_, Some(held)) if number < 4 => Held::append(held, &large),
            (4, _) => rename("/f", "/g"),
            (5, _) => open("/f", creating()),
            (6, Some(held)) => held.append(b"end"),
            _ => unlink("/g"),
        };
        let asked = [Ok(request(1, number, what))];
        let answers = match files.serve(&asked, number).await {
            Ok(answers) => answers,
            Err(_) => {
                has_failed = true;
                files = opened(Objects::of(inner.clone())).await.unwrap();
                files.serve(&asked, number).await.unwrap()
            }
        };
        files.tidy().await;
        if let Ok(answer @ FileAnswer::Opened { .. }) = &answers[0] {
            held = Some(Held::of(answer));
        }
        assert!(
            !matches!(answers[0], Ok(FileAnswer::Refused { .. }) | Err(_)),
            "{number} {answers:?}"
        );
        if number == 3 {
            let mut world = World::on(Objects::of(inner.clone())).await;
            assert_eq!(world.content("/f").await.unwrap().len(), 3 * large.len());
            // Whoever had it open is told.
            let asked = [Ok(request(1, 100, make("/late")))];
            let late = files.serve(&asked, number).await;
            assert!(late.is_err());
            files = opened(Objects::of(inner.clone())).await.unwrap();
        }
    }
    has_failed
}

#[tokio::test]
async fn whatever_step_fails_each_change_is_made_once() {
    for last_is_done in [false, true] {
        let mut steps = 1;
        loop {
            let inner = Arc::new(InMemory::new());
            let has_failed = play(&inner, steps, last_is_done).await;
            let mut world = World::on(Objects::of(inner)).await;
            assert_eq!(world.content("/f").await.unwrap(), b"end", "{steps}");
            assert_eq!(world.content("/g").await, None);
            // Nobody has the removed file open for so long.
            world.now_ms += super::super::removed::KEPT_MS;
            world.ask(1, 100, make("/later")).await;
            let blocks = world.store.list(Kind::Block).await.unwrap();
            assert_eq!(blocks.len(), 1, "{steps}: what was not finished is swept away");
            if !has_failed {
                break;
            }
            steps += 1;
        }
        assert!(steps > 5, "it has to fail in the middle");
    }
}

#[tokio::test]
async fn of_two_that_write_to_one_store_the_later_to_open_it_goes_on() {
    let mut first = World::new().await;
    first.ask(1, 0, make("/a")).await;
    let mut second = World::on(first.store.clone()).await;
    let asked = [Ok(request(1, 1, make("/b")))];
    let late = first.files.serve(&asked, 0).await;
    assert!(matches!(late, Err(LogError::Succeeded)), "{late:?}");
    second.ask(1, 1, make("/b")).await;
    second.restart().await;
    assert_eq!(second.ask(1, 2, make("/b")).await, refused(FileRefusal::Exists));
}

#[tokio::test]
async fn a_long_log_is_cut_by_checkpoints() {
    let mut world = World::new().await;
    let held = Held::of(&world.ask(1, 0, open("/f", creating())).await);
    for number in 1..=700 {
        world.ask(1, number, held.append(b"line\n")).await;
    }
    assert!(world.store.list(Kind::Log).await.unwrap().len() <= 256);
    assert_eq!(world.store.list(Kind::Checkpoint).await.unwrap().len(), 1);
    let before = world.files.tree.clone();
    world.restart().await;
    assert_eq!(world.files.tree, before);
    assert_eq!(world.content("/f").await.unwrap().len(), 700 * 5);
}

/// In a folder, whose files can be torn and damaged.
#[tokio::test]
async fn a_torn_last_change_was_never_made_and_other_damage_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().to_str().unwrap();
    let mut world = World::on(Objects::open(location).unwrap()).await;
    let held = Held::of(&world.ask(1, 0, open("/f", creating())).await);
    world.ask(1, 1, held.append(b"first ")).await;
    let log = |number: u64| folder.path().join(format!("log/{number:020}"));
    let last = world.store.list(Kind::Log).await.unwrap().len() as u64;
    world.ask(1, 2, held.append(b"second")).await;
    let whole = std::fs::read(log(last + 1)).unwrap();
    for cut in [0, 10, 40, whole.len() - 1] {
        let copy = tempfile::tempdir().unwrap();
        for kind in ["log", "blocks", "checkpoints"] {
            std::fs::create_dir(copy.path().join(kind)).unwrap();
            for entry in std::fs::read_dir(folder.path().join(kind)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copy.path().join(kind).join(entry.file_name())).unwrap();
            }
        }
        std::fs::write(copy.path().join(format!("log/{:020}", last + 1)), &whole[..cut]).unwrap();
        let mut torn = World::on(Objects::open(copy.path().to_str().unwrap()).unwrap()).await;
        // The blocks were replaced already, which follows the change: the power cannot fail in between.
        assert!(torn.ask(1, 0, stat("/f")).await != refused(FileRefusal::Absent));
        torn.ask(1, 2, make("/d")).await;
        torn.restart().await;
    }
    world.restart().await;
    assert_eq!(world.content("/f").await.unwrap(), b"first second");
    let block = std::fs::read_dir(folder.path().join("blocks")).unwrap().next();
    let block = block.unwrap().unwrap().path();
    let mut bytes = std::fs::read(&block).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&block, bytes).unwrap();
    let read = FileAsk::Read {
        node: held.node,
        version: None,
        offset: 0,
        bytes: 100,
    };
    let answers = world.files.serve(&[Ok(request(1, 0, read))], 0).await.unwrap();
    assert!(
        matches!(&answers[0], Err(failure) if failure.to_string().contains("is damaged")),
        "{answers:?}"
    );
    std::fs::write(log(2), b"damaged").unwrap();
    let reopened = opened(Objects::open(location).unwrap()).await.map(|_| ());
    assert!(
        reopened
            .as_ref()
            .is_err_and(|error| error.to_string().contains("is damaged")),
        "{reopened:?}"
    );
    std::fs::remove_file(log(2)).unwrap();
    let reopened = opened(Objects::open(location).unwrap()).await.map(|_| ());
    assert!(
        matches!(reopened, Err(LogError::Gap { number: 2 })),
        "{reopened:?}"
    );
}
