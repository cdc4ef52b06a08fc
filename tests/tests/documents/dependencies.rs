//! What crates may depend on: `deny.toml` is the list, `cargo metadata` says what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::{files, read, root};

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) license: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Deny {
    pub(crate) licenses: Licences,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Licences {
    pub(crate) allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    wrappers: BTreeSet<String>,
}

pub(crate) fn metadata() -> Metadata {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]);
    let output = cargo.current_dir(root()).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

pub(crate) fn deny() -> Deny {
    toml::from_str(&read(&root().join("deny.toml"))).expect("deny.toml can be read")
}

impl Metadata {
    /// Who names whom, by name; of the workspace's own crates with their tests and benches.
    fn named_by(&self, is_wanted: impl Fn(&DependencyKind) -> bool) -> BTreeMap<&str, BTreeSet<&str>> {
        let names: BTreeMap<&str, &str> = self
            .packages
            .iter()
            .map(|package| (package.id.as_str(), package.name.as_str()))
            .collect();
        let mut named_by = BTreeMap::<&str, BTreeSet<&str>>::new();
        for node in &self.resolve.nodes {
            for dependency in node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(&is_wanted))
            {
                named_by
                    .entry(names[dependency.pkg.as_str()])
                    .or_default()
                    .insert(names[node.id.as_str()]);
            }
        }
        named_by
    }
}

#[test]
fn what_one_crate_alone_may_name_is_named_by_no_other() {
    let metadata = metadata();
    let named_by = metadata.named_by(|_| true);
    for ban in deny().bans.deny {
        let by = named_by.get(ban.name.as_str());
        let by = by.unwrap_or_else(|| panic!("nobody names {} any more: take it out of deny.toml", ban.name));
        for name in by {
            assert!(
                ban.wrappers.contains(*name),
                "{name} names {}: deny.toml lets only {:?}",
                ban.name,
                ban.wrappers
            );
        }
    }
}

#[test]
fn who_decides_or_runs_programs_knows_nothing_that_acts() {
    let metadata = metadata();
    let named_by = metadata.named_by(|kind| kind.kind.is_none());
    for (name, forbidden) in [
        (
            "wayfare-protocol",
            ["tokio", "wasmtime", "rumqttc", "wayfare-link"],
        ),
        (
            "wayfare-scheduler",
            ["tokio", "wasmtime", "rumqttc", "wayfare-link"],
        ),
        (
            "wayfare-compiler",
            ["tokio", "wasmtime", "rumqttc", "wayfare-protocol"],
        ),
        (
            "wayfare-dispatcher-core",
            ["tokio", "wasmtime", "rumqttc", "wayfare-link"],
        ),
        ("wayfare-fleet", ["tokio", "wasmtime", "rumqttc", "wayfare-link"]),
        ("wayfare-core", ["tokio", "wasmtime", "rumqttc", "wayfare-link"]),
        (
            "wayfare-simulator",
            ["tokio", "wasmtime", "rumqttc", "wayfare-link"],
        ),
        ("wayfare-mail", ["tokio", "wasmtime", "rumqttc", "wayfare-link"]),
        (
            "wayfare-runtime",
            ["rumqttc", "wayfare-link", "wayfare-core", "wayfare-engine"],
        ),
        (
            "wayfare-abi",
            ["tokio", "wasmtime", "wayfare-protocol", "wayfare-compiler"],
        ),
    ] {
        for other in forbidden {
            let is_named = named_by.get(other).is_some_and(|by| by.contains(name));
            assert!(
                !is_named,
                "{name} must not depend on {other}: see ARCHITECTURE.md"
            );
        }
    }
}

/// Where the crates are that decide and do nothing.
/// And the simulator, whose runs are functions of their seeds.
const DECIDES: [&str; 6] = [
    "engine/core",
    "engine/mail",
    "dispatcher/core",
    "dispatcher/fleet",
    "scheduler",
    "simulator",
];

#[test]
fn who_decides_may_call_nothing_that_acts() {
    let list = read(&root().join(DECIDES[0]).join("clippy.toml"));
    for name in [
        "Instant::now",
        "SystemTime::now",
        "fs::write",
        "thread::spawn",
        "random",
    ] {
        assert!(
            list.contains(name),
            "{name} is not on the list of what is not called"
        );
    }
    for folder in DECIDES {
        let folder = root().join(folder);
        let found = read(&folder.join("clippy.toml"));
        assert_eq!(
            found,
            list,
            "{}: another list of what is not called",
            folder.display()
        );
    }
}

/// What has to be unsafe is in these modules: programs' memory, the kernel's devices, and a look at standard
/// output before `main`. What guests import is not among them: it is built for WebAssembly, and nothing else
/// is in its module.
const UNSAFE: [&str; 4] = [
    "cli/src/output/closed.rs",
    "engine/devices/src/linux/raw.rs",
    "engine/runtime/src/flag.rs",
    "engine/runtime/src/raw.rs",
];

#[test]
fn what_is_unsafe_is_in_few_modules() {
    let root = root();
    let tours = [
        "cli",
        "compiler",
        "dispatcher",
        "engine",
        "link",
        "protocol",
        "scheduler",
        "simulator",
    ]
    .iter()
    .flat_map(|folder| files(&root.join(folder), "rs"))
    .filter(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
    .filter(|path| !path.starts_with(root.join("cli/templates")));
    let mut count = 0;
    for tour in tours {
        let folder = tour.parent().expect("a file is in a folder");
        let has_some = UNSAFE.iter().any(|module| root.join(module).starts_with(folder));
        let level = match has_some {
            true => "#![deny(unsafe_code)]",
            false => "#![forbid(unsafe_code)]",
        };
        assert!(read(&tour).contains(level), "{}: {level}", tour.display());
        count += 1;
    }
    assert!(count >= 18, "{count} crates");
    let may_be: BTreeSet<PathBuf> = UNSAFE.iter().map(|module| root.join(module)).collect();
    let allows = |path: &PathBuf| {
        let text = read(path);
        text.lines().any(|line| line.starts_with("#![allow(unsafe_code"))
    };
    let are: BTreeSet<PathBuf> = files(&root, "rs").into_iter().filter(allows).collect();
    assert_eq!(are, may_be);
}

#[test]
fn everything_comes_from_crates_io_or_is_ours() {
    let metadata = metadata();
    for package in &metadata.packages {
        let is_ours = metadata.workspace_members.contains(&package.id);
        let is_crates_io =
            package.source.as_deref() == Some("registry+https://github.com/rust-lang/crates.io-index");
        assert!(
            is_ours || is_crates_io,
            "{} comes from {:?}",
            package.name,
            package.source
        );
    }
}

#[test]
fn only_its_module_names_the_embedded_broker() {
    for path in files(&root(), "rs") {
        let inside = path
            .strip_prefix(root())
            .expect("it is in the repository")
            .display()
            .to_string();
        let may = inside.starts_with("link/src/broker") || inside.starts_with("tests/tests/documents");
        assert!(may || !read(&path).contains("mqtt5::"), "{inside} names mqtt5");
    }
}
