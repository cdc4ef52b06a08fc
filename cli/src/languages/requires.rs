//! What a JavaScript program requires, found where it is started: files beside it, and packages below
//! `node_modules`.
//!
//! Files are read for what they require as texts: what looks like `require('x')`, `import 'x'`, `import('x')`
//! or `from 'x'` is taken for it, also in a comment. What is found so and is not there is left to the
//! runtime, which knows whether it is really asked for. Of a package everything is taken, and the packages
//! that it depends on.
//!
//! What always holds: a program of somebody else takes nothing along but code and what stands beside it: of
//! files outside of a folder that is run, only those whose names end as code's do, and none below a name that
//! begins with a dot, such as `.ssh`.
//!
//! Reading order: this file (a program's own files), [`packages`].

mod packages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use wayfare_protocol::folder::{FOLDER_BYTES_MAX, FOLDER_FILES_MAX};

use self::packages::Packages;
use super::source::{self, Source, files_below, path_text, read_bounded, too_much};
use crate::fail::{Fail, Result};

const PACKAGES: &str = "node_modules";
const ABOUT: &str = "package.json";
/// What a name is tried with, in the order in which `js/internal/modules.js` does it.
const EXTENSIONS: [&str; 7] = ["js", "cjs", "mjs", "json", "ts", "mts", "cts"];
/// Modules of Node that the runtime has not, as `js/internal/modules.js` lists them.
pub(super) const LACKING: [&str; 21] = [
    "async_hooks",
    "child_process",
    "cluster",
    "constants",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "http2",
    "https",
    "inspector",
    "net",
    "punycode",
    "repl",
    "sys",
    "tls",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

static REQUIRED: LazyLock<Regex> = LazyLock::new(|| {
    let before = r"(?:\brequire(?:\.resolve)?\s*\(|\bimport\s*\(?|\bfrom\b)\s*";
    Regex::new(&format!(
        r#"{before}(?:"([^"\n\\]+)"|'([^'\n\\]+)'|`([^`$\n\\]+)`)"#
    ))
    .expect("the expression is right")
});

/// A name beside the file, which begins with no dot and is no URL.
static SOURCE_MAP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^//[#@] sourceMappingURL=([^\s./:][^\s/:]*\.map)\s*$").expect("the expression is right")
});

/// A program with all that it requires.
#[derive(Debug, Default)]
pub(crate) struct Required {
    /// The program's own file, by its path among the others.
    pub(crate) main: String,
    /// Where they are, by their paths in the program's folder.
    pub(crate) files: BTreeMap<String, PathBuf>,
    pub(crate) packages: BTreeSet<String>,
    /// What cannot be had there, with the file and line that ask for it.
    pub(crate) lacking: BTreeMap<String, String>,
    bytes: u64,
}

/// Where something is asked for.
#[derive(Debug, Clone)]
struct Site {
    file: PathBuf,
    /// Of a source; none, where a `package.json` asks.
    line: Option<usize>,
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package {
    main: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    dependencies: BTreeMap<String, serde_json::Value>,
    #[serde(rename = "optionalDependencies")]
    optional: BTreeMap<String, serde_json::Value>,
    #[serde(rename = "peerDependencies")]
    peers: BTreeMap<String, serde_json::Value>,
}

impl Package {
    /// None where there is none, or none that can be read: the runtime says what is wrong with it.
    fn of(folder: &Path) -> Option<Self> {
        let bytes = read_bounded(&folder.join(ABOUT), FOLDER_BYTES_MAX).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

impl Required {
    /// Of a file, or of a folder with a file `main`.
    pub(crate) fn of(source: &Source) -> Result<Self> {
        let path = &source.path;
        let whole = path.canonicalize().map_err(|error| Fail::file(path, &error))?;
        let mut search = Search::default();
        let main = match whole.is_dir() {
            true => {
                search.take_folder(&whole)?;
                // Which may be a link.
                search.take_file(whole.join(&source.main));
                whole.join(&source.main)
            }
            false => {
                // The program is what was named, also where that is a link.
                let folder = path.parent().filter(|folder| *folder != Path::new(""));
                let folder = folder.unwrap_or(Path::new(".")).canonicalize();
                let folder = folder.map_err(|error| Fail::file(path, &error))?;
                search.take_file(folder.join(&source.main));
                folder.join(&source.main)
            }
        };
        search.take_kind_of(&main);
        search.go_on()?;
        search.into_required(&main)
    }

    /// The contents of the files, by their paths.
    pub(crate) fn read(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let read =
            |(name, path): (&String, &PathBuf)| Ok((name.clone(), read_bounded(path, FOLDER_BYTES_MAX)?));
        self.files.iter().map(read).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What has been found, and what is to be looked into.
#[derive(Debug, Default)]
struct Search {
    /// Files of the program's own.
    own: BTreeSet<PathBuf>,
    packages: Packages,
    next: VecDeque<PathBuf>,
    lacking: BTreeMap<String, Site>,
}

impl Search {
    fn take_file(&mut self, file: PathBuf) {
        if self.own.insert(file.clone()) {
            self.next.push_back(file);
        }
    }

    /// A program that is a folder is all that is in it, but for packages that it does not ask for.
    fn take_folder(&mut self, folder: &Path) -> Result {
        for file in files_below(folder, |name| name == PACKAGES)? {
            self.take_file(file);
        }
        let about = Package::of(folder).unwrap_or_default();
        let file = folder.join(ABOUT);
        for name in about.dependencies.keys().chain(about.optional.keys()) {
            let site = Site {
                file: file.clone(),
                line: None,
            };
            self.packages.take(folder, name, site);
        }
        Ok(())
    }

    /// The `package.json` that says whether a file is an ES module.
    fn take_kind_of(&mut self, file: &Path) {
        let mut about = file.ancestors().skip(1).map(|folder| folder.join(ABOUT));
        let Some(about) = about.find(|about| about.is_file()) else {
            return;
        };
        let folder = about.parent().and_then(Package::of);
        if folder.is_some_and(|package| package.kind.is_some()) {
            self.own.insert(about);
        }
    }

    fn go_on(&mut self) -> Result {
        while let Some(file) = self.next.pop_front() {
            if self.own.len() > FOLDER_FILES_MAX {
                return Err(too_much(&self.root(), &file));
            }
            let is_code =
                extension_of(&file).is_some_and(|extension| source::EXTENSIONS.contains(&extension));
            if !is_code {
                continue;
            }
            let bytes = read_bounded(&file, FOLDER_BYTES_MAX)?;
            let text = String::from_utf8_lossy(&bytes);
            for (name, line) in names(&text) {
                let site = Site {
                    file: file.clone(),
                    line: Some(line),
                };
                self.take_name(site, name);
            }
            self.take_source_map(&file, &text);
        }
        Ok(())
    }

    /// Stacks name the sources by it. Only one beside the file: any other may be of anybody.
    fn take_source_map(&mut self, file: &Path, text: &str) {
        let Some(found) = SOURCE_MAP.captures_iter(text).last() else {
            return;
        };
        let map = file.with_file_name(&found[1]);
        if map.is_file() {
            self.own.insert(map);
        }
    }

    fn take_name(&mut self, site: Site, name: &str) {
        let folder = site.file.parent().unwrap_or(Path::new("/"));
        if name.starts_with("./") || name.starts_with("../") || name == "." || name == ".." {
            let path = plain(&folder.join(name));
            if let Some(found) = file_or_folder(&path).filter(|found| may_be_taken(folder, found)) {
                if extension_of(&found) == Some("node") {
                    self.lacking.insert(format!("the native add-on {name}"), site);
                }
                let about = path.join(ABOUT);
                if about.is_file() {
                    self.own.insert(about);
                }
                self.take_kind_of(&found);
                self.take_file(found);
            }
            return;
        }
        if name.starts_with('/') || name.contains(':') && !name.starts_with("node:") {
            return;
        }
        let bare = name.strip_prefix("node:").unwrap_or(name);
        let package = package_name(bare);
        if !name.starts_with("node:") && self.packages.take(folder, &package, site.clone()) {
            return;
        }
        if LACKING.contains(&bare.split('/').next().unwrap_or(bare)) {
            self.lacking.insert(format!("Node's module '{name}'"), site);
        }
    }

    fn into_required(self, main: &Path) -> Result<Required> {
        let root = self.root();
        let packages = self.packages.lay(&root)?;
        let mut required = Required {
            main: inside(&root, main)?,
            packages: packages.names,
            files: packages.files,
            ..Required::default()
        };
        for (what, site) in self.lacking {
            required.lacking.insert(what, site.to_string());
        }
        for (package, file) in packages.addons {
            let what = format!("the native add-on of package '{package}'");
            required.lacking.insert(what, file.display().to_string());
        }
        for file in self.own {
            required.files.insert(inside(&root, &file)?, file);
        }
        for file in required.files.values() {
            let about = std::fs::metadata(file).map_err(|error| Fail::file(file, &error))?;
            required.bytes += about.len();
            if required.bytes > FOLDER_BYTES_MAX || required.files.len() > FOLDER_FILES_MAX {
                return Err(too_much(&root, file));
            }
        }
        Ok(required)
    }

    /// The folder that all of the program's own files are in.
    fn root(&self) -> PathBuf {
        let mut folders = self.own.iter().filter_map(|file| file.parent());
        let mut root = folders.next().unwrap_or(Path::new("/"));
        for folder in folders {
            while !folder.starts_with(root) {
                root = root.parent().unwrap_or(Path::new("/"));
            }
        }
        root.to_owned()
    }
}

/// What a text requires, with the number of its line.
fn names(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let (mut line, mut counted) = (1, 0);
    REQUIRED.captures_iter(text).filter_map(move |found| {
        let name = found.get(1).or(found.get(2)).or(found.get(3))?;
        line += text[counted..name.start()].matches('\n').count();
        counted = name.start();
        Some((name.as_str(), line))
    })
}

fn package_name(name: &str) -> String {
    let parts = if name.starts_with('@') { 2 } else { 1 };
    name.split('/').take(parts).collect::<Vec<_>>().join("/")
}

fn extension_of(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

/// Code, and below no name with a dot that the file which asks for it is not below as well.
fn may_be_taken(from: &Path, found: &Path) -> bool {
    let common = found.ancestors().find(|folder| from.starts_with(folder));
    let rest = found
        .strip_prefix(common.unwrap_or(Path::new("/")))
        .unwrap_or(found);
    let is_hidden = rest.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_code = extension_of(found).is_some_and(|one| one == "node" || EXTENSIONS.contains(&one));
    is_code && !is_hidden
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn file(path: &Path) -> Option<PathBuf> {
    let with = |extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{extension}"));
        PathBuf::from(name)
    };
    // What TypeScript compiles is imported by the name that it will have.
    let text = path.to_str().unwrap_or_default();
    let other = ["js", "mjs", "cjs"]
        .iter()
        .any(|extension| extension_of(path) == Some(extension))
        .then(|| PathBuf::from(format!("{}ts", text.strip_suffix("js").unwrap_or(text))));
    std::iter::once(path.to_owned())
        .chain(EXTENSIONS.iter().map(|extension| with(extension)))
        .chain(other)
        .find(|path| path.is_file())
}

fn file_or_folder(path: &Path) -> Option<PathBuf> {
    if let Some(found) = file(path) {
        return Some(found);
    }
    // One that leads out of the package is none.
    let main = Package::of(path).and_then(|about| about.main);
    let main = main.filter(|main| plain(&path.join(main)).starts_with(path));
    let main = main.map(|main| plain(&path.join(main)));
    main.and_then(|main| file(&main).or_else(|| file(&main.join("index"))))
        .or_else(|| file(&path.join("index")))
}

/// Where one of its own files is for the program, which are all below its root.
fn inside(root: &Path, path: &Path) -> Result<String> {
    path_text(path.strip_prefix(root).unwrap_or(path))
}
