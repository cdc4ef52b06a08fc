//! A cache that is torn, rotted, swapped, shared, full and shut: each time a miss, and the module is had all
//! the same.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Barrier, LazyLock};

use super::folder::FILE_MODE;
use super::*;
use crate::shell::modules::Modules;
use crate::shell::store::{BlobSource, files as names};
use wayfare_runtime::{Runtime, RuntimeOptions, Tier};

const PLENTY: u64 = 64 << 20;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(runtime);
static PROVENANCE: LazyLock<Provenance> = LazyLock::new(|| RUNTIME.provenance());
static MODULES: LazyLock<Vec<(Vec<u8>, Compiled)>> = LazyLock::new(|| (0..6).map(compile).collect());

fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions::default()).unwrap()
}

/// Modules that differ by a byte, so that their compiled code is of one length.
fn compile(number: u8) -> (Vec<u8>, Compiled) {
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{number}") (func (export "_start")))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    let (_, compiled) = RUNTIME.compile(Digest::of(&wasm), &wasm).unwrap();
    (wasm, compiled)
}

fn compiled(number: usize) -> Compiled {
    MODULES[number].1.clone()
}

fn digest(number: usize) -> Digest {
    MODULES[number].1.module()
}

fn entry_bytes() -> u64 {
    compiled(0).bytes_written(&PROVENANCE)
}

/// As of code that was made from something else.
fn replaced(from: &str, to: &str) -> Provenance {
    let Provenance::Own(lines) = &*PROVENANCE else {
        panic!("{:?}", *PROVENANCE)
    };
    assert!(lines.contains(from), "{lines}");
    Provenance::Own(lines.replacen(from, to, 1))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &Path) -> Cache {
    open_with(folder, PLENTY)
}

fn open_with(folder: &Path, bytes_max: u64) -> Cache {
    Cache::open(folder, bytes_max, PROVENANCE.clone()).unwrap()
}

/// Keeps modules, and waits until they are on disk.
fn filled(folder: &Path, numbers: impl IntoIterator<Item = usize>) {
    let cache = open(folder);
    for number in numbers {
        cache.keep(compiled(number));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn present(folder: &Path) -> Vec<usize> {
    let files = files(folder);
    let numbers = 0..MODULES.len();
    numbers
        .filter(|number| files.contains(&digest(*number).to_string()))
        .collect()
}

/// An engine's modules over a cache in `folder`, as after a start.
fn engine(cache: Option<Cache>) -> Modules {
    Modules::new(runtime(), "a".parse().unwrap(), cache)
}

/// Loads module 0; returns how many compilations that took.
fn load(modules: &Modules) -> u64 {
    let before = modules.runtime().compilations();
    let wasm = MODULES[0].0.clone();
    let loaded = modules
        .load(digest(0), Some(BlobSource::Memory(wasm.into())))
        .unwrap();
    assert_eq!(loaded.digest(), digest(0));
    assert_eq!(loaded.initial_page(0, 0)[0], b'0', "it is module 0");
    modules.finish_background();
    modules.runtime().compilations() - before
}

#[test]
fn a_second_start_does_not_compile() {
    let folder = temporary();
    let path = folder.path().join("compiled");
    assert_eq!(load(&engine(Some(open(&path)))), 1);
    for _ in 0..2 {
        assert_eq!(load(&engine(Some(open(&path)))), 0);
    }
    assert_eq!(load(&engine(None)), 1, "there is no other cache");
    Cache::remove(&path);
    assert!(!path.exists());
    assert_eq!(load(&engine(Some(open(&path)))), 1);
}

/// Only optimised code is kept, and whoever starts when that is there begins on it.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn a_first_start_is_on_the_baseline_tier_and_later_ones_are_not() {
    let filling = "filling ".repeat(10 << 10);
    let text = format!(r#"(module (memory 2) (data (i32.const 0) "{filling}") (func (export "_start")))"#);
    let wasm = wat::parse_str(text).unwrap();
    let digest = Digest::of(&wasm);
    let load = |modules: &Modules| {
        let source = BlobSource::Memory(wasm.clone().into());
        modules.load(digest, Some(source)).unwrap()
    };
    let folder = temporary();
    let modules = engine(Some(open(folder.path())));
    let first = load(&modules);
    assert_eq!(first.tier(), Tier::Baseline);
    modules.finish_background();
    assert!(first.can_resume() && first.better().is_some());
    assert_eq!(load(&modules).tier(), Tier::Optimised);
    assert!(modules.ready(digest).unwrap().can_resume());
    assert_eq!(modules.runtime().optimisations(), 1);
    drop(modules);
    let both = [digest.to_string(), format!("{digest}.resuming")];
    assert_eq!(files(folder.path()), both);

    let modules = engine(Some(open(folder.path())));
    assert_eq!(load(&modules).tier(), Tier::Optimised);
    modules.finish_background();
    let runtime = modules.runtime();
    assert_eq!((runtime.compilations(), runtime.resuming_compilations()), (0, 0));
}

/// What only captured programs need is made when programs run already, and read from then on when somebody
/// needs it.
#[test]
fn resuming_code_is_made_behind_the_start_and_only_once() {
    let folder = temporary();
    let source = || Some(BlobSource::Memory(MODULES[0].0.clone().into()));
    let can_resume = |modules: &Modules| modules.load(digest(0), source()).unwrap().can_resume();
    let made = |modules: &Modules| modules.runtime().resuming_compilations();
    let modules = engine(Some(open(folder.path())));
    load(&modules);
    assert!(can_resume(&modules), "the background has made it");
    assert_eq!(made(&modules), 1);
    drop(modules);
    let both = [digest(0).to_string(), format!("{}.resuming", digest(0))];
    assert_eq!(files(folder.path()), both);

    let modules = engine(Some(open(folder.path())));
    assert_eq!(load(&modules), 0);
    assert!(!can_resume(&modules), "nobody has asked for it");
    modules.load_whole(digest(0), source()).unwrap();
    assert!(can_resume(&modules));
    assert_eq!(made(&modules), 0, "it was kept");
    drop(modules);

    // Damaged, it is made again; without it, before anything else is done with it.
    let path = folder.path().join(&both[1]);
    std::fs::write(&path, b"damaged").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE)).unwrap();
    let modules = engine(Some(open(folder.path())));
    modules.load_whole(digest(0), source()).unwrap();
    assert_eq!((modules.runtime().compilations(), made(&modules)), (0, 1));
}

fn waited<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(answer)
}

#[test]
fn who_needs_resuming_code_gets_it_ahead_of_what_nobody_waits_for() {
    let source = |number: usize| Some(BlobSource::Memory(MODULES[number].0.clone().into()));
    let modules = engine(None);
    let loaded: Vec<_> = (0..3)
        .map(|number| modules.load(digest(number), source(number)).unwrap())
        .collect();
    let answers: Vec<_> = [2, 2, 1]
        .map(|number| modules.hurry(&loaded[number], source(number)))
        .into();
    for (answer, number) in answers.into_iter().zip([2, 2, 1]) {
        waited(answer).unwrap();
        assert!(loaded[number].can_resume());
    }
    modules.finish_background();
    assert!(loaded[0].can_resume());
    assert_eq!(modules.runtime().resuming_compilations(), 3, "each once");
}

#[test]
fn nobody_waits_for_resuming_code_when_the_engine_ends() {
    let source = || Some(BlobSource::Memory(MODULES[0].0.clone().into()));
    let modules = engine(None);
    modules.close();
    let loaded = modules.load(digest(0), source()).unwrap();
    assert!(!loaded.can_resume(), "nothing new is begun");
    let refused = waited(modules.hurry(&loaded, source())).unwrap_err();
    assert!(refused.to_string().contains("the engine ends"), "{refused}");
    assert!(modules.load_whole(digest(0), source()).unwrap().can_resume());
}

#[test]
fn whatever_is_wrong_with_a_file_it_is_compiled_anew() {
    let folder = temporary();
    filled(folder.path(), [0, 1]);
    let path = folder.path().join(digest(0).to_string());
    let whole = std::fs::read(&path).unwrap();
    let header = PROVENANCE.header(digest(0), Piece::Program).len();
    let mut adversaries: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("a zero more".into(), [&whole[..], &[0]].concat()),
        ("twice".into(), [&whole[..], &whole[..]].concat()),
        ("zeros".into(), vec![0; whole.len()]),
        (
            "another module's".into(),
            std::fs::read(folder.path().join(digest(1).to_string())).unwrap(),
        ),
        (
            "its tail is zeros, as after a power cut".into(),
            [&whole[..4096], &vec![0; whole.len() - 4096]].concat(),
        ),
    ];
    for (from, to) in [
        ("compiler ", "compiler 9"),
        ("abi ", "abi 9"),
        ("wasmtime ", "wasmtime 0"),
        ("target ", "target z80-"),
    ] {
        let mut bytes = Vec::new();
        let other = replaced(from, to);
        compiled(0).write_to(&other, &mut bytes).unwrap();
        adversaries.push((to.into(), bytes));
    }
    // All places are tried in the runtime; here, some of each part.
    let step = whole.len() / 24;
    for place in [0, header - 1, header, whole.len() - 33, whole.len() - 1]
        .into_iter()
        .chain((0..whole.len()).step_by(step))
    {
        adversaries.push((format!("cut to {place}"), whole[..place].to_vec()));
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        adversaries.push((format!("byte {place} flipped"), flipped));
    }
    for (what, bytes) in adversaries {
        // Under a cache that knows the file, and before one that begins.
        let cache = open(folder.path());
        std::fs::write(&path, &bytes).unwrap();
        assert!(cache.find(digest(0), Piece::Program).is_none(), "{what}");
        assert!(!path.exists(), "{what}: removed");
        std::fs::write(&path, &bytes).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE)).unwrap();
        assert_eq!(load(&engine(Some(open(folder.path())))), 1, "{what}");
        assert_eq!(std::fs::read(&path).unwrap(), whole, "{what}: kept anew");
    }
}

/// Checksum and header are right, but wasmtime finds that the code is none of its own.
#[test]
fn code_that_wasmtime_refuses_is_compiled_anew() {
    let folder = temporary();
    filled(folder.path(), [0]);
    let path = folder.path().join(digest(0).to_string());
    let mut bytes = PROVENANCE.header(digest(0), Piece::Program).into_bytes();
    bytes.extend([7; 4096]);
    let checksum = Digest::of(&bytes);
    bytes.extend(checksum.0);
    std::fs::write(&path, &bytes).unwrap();
    let modules = engine(Some(open(folder.path())));
    assert_eq!(load(&modules), 1);
    drop(modules);
    assert_eq!(load(&engine(Some(open(folder.path())))), 0);
}

#[test]
fn only_we_have_access() {
    let folder = temporary();
    let path = folder.path().join("compiled");
    filled(&path, [0]);
    let file = path.join(digest(0).to_string());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    // A file that others could have written.
    let cache = open(&path);
    std::fs::set_permissions(&file, Permissions::from_mode(0o620)).unwrap();
    assert!(cache.find(digest(0), Piece::Program).is_none());
    assert!(!file.exists());
    // A folder that others could have written to.
    filled(&path, [0, 1]);
    std::fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
    let cache = open(&path);
    assert!(files(&path).is_empty());
    assert_eq!(mode(&path), 0o700);
    assert!(cache.find(digest(1), Piece::Program).is_none());
}

#[test]
fn a_link_is_neither_folder_nor_file() {
    let folder = temporary();
    filled(&folder.path().join("elsewhere"), [0, 1]);
    let link = folder.path().join("compiled");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
    assert!(Cache::open(&link, PLENTY, PROVENANCE.clone()).is_none());
    let real = folder.path().join("real");
    filled(&real, []);
    let name = digest(0).to_string();
    std::os::unix::fs::symlink(link.join(&name), real.join(&name)).unwrap();
    assert!(open(&real).find(digest(0), Piece::Program).is_none());
}

#[test]
fn the_limit_holds_and_the_least_recently_used_go() {
    let folder = temporary();
    let cache = open_with(folder.path(), 3 * entry_bytes());
    for number in [0, 1, 2] {
        cache.keep(compiled(number));
    }
    drop(cache);
    let cache = open_with(folder.path(), 3 * entry_bytes());
    assert!(cache.find(digest(0), Piece::Program).is_some());
    cache.keep(compiled(3));
    drop(cache);
    assert_eq!(present(folder.path()), [0, 2, 3], "1 was not used for longest");
    // What was used before a start counts, whatever the clock said.
    let cache = open_with(folder.path(), 3 * entry_bytes());
    cache.keep(compiled(4));
    cache.keep(compiled(5));
    drop(cache);
    assert_eq!(present(folder.path()), [3, 4, 5]);
    for round in 0..20 {
        let cache = open_with(folder.path(), 3 * entry_bytes());
        cache.keep(compiled(round % 6));
        cache.keep(compiled((round * 5 + 1) % 6));
        drop(cache);
        let bytes: u64 = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 3 * entry_bytes(), "round {round}: {bytes} bytes");
    }
    // A smaller limit holds from the start on.
    drop(open_with(folder.path(), entry_bytes()));
    assert_eq!(present(folder.path()).len(), 1);
}

#[test]
fn what_is_larger_than_the_limit_displaces_nothing() {
    let folder = temporary();
    let pages = "x".repeat(200_000);
    let text = format!(
        r#"(module (memory (export "memory") 4) (data (i32.const 0) "{pages}") (func (export "_start")))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    let (_, large) = RUNTIME.compile(Digest::of(&wasm), &wasm).unwrap();
    let bytes_max = 2 * entry_bytes();
    assert!(large.bytes_written(&PROVENANCE) > bytes_max);
    let cache = open_with(folder.path(), bytes_max);
    cache.keep(compiled(0));
    cache.keep(large);
    drop(cache);
    assert_eq!(present(folder.path()), [0]);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_crash_in_mid_write_leaves_nothing_but_a_file_that_the_next_start_clears() {
    let folder = temporary();
    filled(folder.path(), [0]);
    let name = digest(1).to_string();
    let unfinished = names::unfinished(folder.path(), &name);
    let cache = open(folder.path());
    cache
        .folder
        .write_unfinished(&unfinished, &compiled(1), 9)
        .unwrap();
    assert!(unfinished.exists());
    assert!(
        cache.find(digest(1), Piece::Program).is_none(),
        "it has no name yet"
    );
    drop(cache);
    let cache = open(folder.path());
    assert_eq!(present(folder.path()), [0]);
    assert_eq!(files(folder.path()).len(), 1);
    assert!(cache.find(digest(0), Piece::Program).is_some());
}

#[test]
fn another_versions_files_go_at_a_start_and_strangers_stay() {
    let folder = temporary();
    filled(folder.path(), [0, 1]);
    std::fs::write(folder.path().join("notes"), "not ours").unwrap();
    std::fs::create_dir(folder.path().join(digest(2).to_string())).unwrap();
    let other = replaced("abi ", "abi 9");
    let cache = Cache::open(folder.path(), PLENTY, other).unwrap();
    for number in 0..3 {
        assert!(cache.find(digest(number), Piece::Program).is_none());
    }
    assert!(!folder.path().join(digest(0).to_string()).exists());
    assert!(folder.path().join("notes").exists());
}

#[test]
fn many_threads_and_two_engines_write_and_read_the_same_entry() {
    let folder = temporary();
    let caches = [open(folder.path()), open(folder.path())];
    let begin = Barrier::new(8);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (cache, begin) = (&caches[number % 2], &begin);
            scope.spawn(move || {
                begin.wait();
                for _ in 0..10 {
                    cache.keep(compiled(0));
                    if let Some(found) = cache.find(digest(0), Piece::Program) {
                        RUNTIME.revive(&found).unwrap();
                    }
                }
            });
        }
    });
    drop(caches);
    assert_eq!(files(folder.path()), [digest(0).to_string()]);
    assert_eq!(load(&engine(Some(open(folder.path())))), 0);
}

#[test]
fn where_nothing_can_be_written_modules_load_all_the_same() {
    let folder = temporary();
    // No folder can be made below a file, whoever we are.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("compiled"), file] {
        let cache = Cache::open(&path, PLENTY, PROVENANCE.clone());
        assert!(cache.is_none());
        assert_eq!(load(&engine(cache)), 1);
    }
    // It was taken away after the start.
    let path = folder.path().join("compiled");
    let modules = engine(Some(open(&path)));
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(load(&modules), 1);
    drop(modules);
    assert!(!path.exists());
}

#[test]
fn it_gives_way() {
    let folder = temporary();
    filled(folder.path(), [0, 1, 2]);
    let cache = open(folder.path());
    assert_eq!(cache.give_way(), 3 * entry_bytes());
    assert!(files(folder.path()).is_empty());
    assert_eq!(cache.give_way(), 0);
    assert!(cache.find(digest(0), Piece::Program).is_none());
    cache.keep(compiled(0));
    drop(cache);
    assert_eq!(present(folder.path()), [0]);
}
