//! `wayfare new`: a project that builds and runs.
//!
//! Always: nothing that is there is touched; a project that could not be written whole is not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::project::{NewArgs, NewLanguage};
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};

/// Where the crate for programs is, if nothing else is said.
const GUEST: &str = "git = \"https://github.com/wayfare-iot/wayfare\"";

/// A file of a project and what is in it, with @NAME@ for the program's name.
type Template = (&'static str, &'static str);

const JS: [Template; 3] = [
    ("app.js", include_str!("../../templates/js/app.js")),
    ("app.toml", include_str!("../../templates/js/app.toml")),
    ("README.md", include_str!("../../templates/js/README.md")),
];
const PYTHON: [Template; 3] = [
    ("app.py", include_str!("../../templates/python/app.py")),
    ("app.toml", include_str!("../../templates/python/app.toml")),
    ("README.md", include_str!("../../templates/python/README.md")),
];
const RUST: [Template; 6] = [
    (
        "Cargo.toml",
        include_str!("../../templates/rust/Cargo.toml.template"),
    ),
    ("src/main.rs", include_str!("../../templates/rust/src/main.rs")),
    (
        ".cargo/config.toml",
        include_str!("../../templates/rust/.cargo/config.toml"),
    ),
    (".gitignore", "target\n"),
    ("app.toml", include_str!("../../templates/rust/app.toml")),
    ("README.md", include_str!("../../templates/rust/README.md")),
];
const C: [Template; 5] = [
    ("main.c", include_str!("../../templates/c/main.c")),
    ("wayfare.h", include_str!("../../../guest/wayfare.h")),
    ("Makefile", include_str!("../../templates/c/Makefile")),
    ("app.toml", include_str!("../../templates/c/app.toml")),
    ("README.md", include_str!("../../templates/c/README.md")),
];

pub(super) fn run(args: &NewArgs, output: Output) -> Result {
    let templates: &[Template] = match args.lang {
        NewLanguage::Js => &JS,
        NewLanguage::Python => &PYTHON,
        NewLanguage::Rust => &RUST,
        NewLanguage::C => &C,
    };
    let name = args.folder.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Fail::usage("the folder needs a name"))?;
    let guest = match &args.guest {
        Some(guest) => {
            let guest = guest.canonicalize().map_err(|error| Fail::file(guest, &error))?;
            format!(
                "path = {}",
                toml::Value::from(guest.to_string_lossy().into_owned())
            )
        }
        None => GUEST.to_owned(),
    };
    let filled = |text: &str| text.replace("@NAME@", name).replace("@GUEST@", &guest);
    fs::create_dir(&args.folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Fail::new("exists", format!("{} is there already", args.folder.display()))
                .hint("give another folder: nothing that is there is touched")
        }
        _ => Fail::file(&args.folder, &error),
    })?;
    let mut files = Vec::new();
    for (file, text) in templates {
        let path = args.folder.join(file);
        if let Err(error) = write(&path, &filled(text)) {
            // It is ours alone.
            let _ = fs::remove_dir_all(&args.folder);
            return Err(Fail::file(&path, &error));
        }
        files.push(path);
    }
    let document = json!({ "folder": args.folder, "name": name, "files": files });
    output.print(&document, |_| shown(&args.folder, &files))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

fn shown(folder: &Path, files: &[PathBuf]) -> Text {
    let files: Text = files.iter().map(|file| file.display().to_string()).collect();
    files.line(format!(
        "{} says how it is built and run",
        folder.join("README.md").display()
    ))
}
