//! A program as somebody has written it: a file, or a folder, packed to travel beside its language's module.
//! A folder's program is the module that its `app.toml` names, if that names only one, or else its file
//! `main`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use wayfare_client::app::manifest;
use wayfare_protocol::folder::{FOLDER_BYTES_MAX, FOLDER_FILES_MAX, pack};

use super::is_source_name;
use crate::fail::{Fail, Result};
use crate::verbs::module::usable_name;

/// Of JavaScript and TypeScript, which the command runs without a language of the fleet.
pub(crate) const EXTENSIONS: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];

const WASM: &str = "wasm";
const MAGIC: &[u8] = b"\0asm";
/// What a folder's program is called, before its extension, where no manifest says otherwise.
const MAIN: &str = "main";
/// What `wayfare new` writes into each project, and `wayfare app apply` reads.
const MANIFEST: &str = "app.toml";
/// A manifest is text that people write.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What is run, and by which language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// In its folder.
    pub(crate) main: String,
    pub(crate) extension: String,
}

impl Source {
    /// `None`: what `named` names is no source text but a module, or is not there.
    pub(crate) fn find(named: &Path) -> Result<Option<Self>> {
        let main = program_file(named)?;
        if is_module(&main)? {
            return Ok(None);
        }
        let extension = main.extension().and_then(|extension| extension.to_str());
        let name = main.file_name().and_then(|name| name.to_str());
        let (Some(extension), Some(name)) = (extension, name) else {
            return Ok(None);
        };
        if !is_source_name(name) {
            let text = format!("{}: not the name of a program's file", main.display());
            return Err(Fail::new("source", text));
        }
        // What a folder's manifest names elsewhere is a file by itself.
        let is_within = main.parent() == Some(named);
        Ok(Some(Self {
            path: if is_within { named.to_owned() } else { main.clone() },
            main: name.to_owned(),
            extension: extension.to_owned(),
        }))
    }

    /// Where the text is that is run first.
    pub(crate) fn main_path(&self) -> PathBuf {
        match self.path.is_dir() {
            true => self.path.join(&self.main),
            false => self.path.clone(),
        }
    }

    /// Fit to name a program.
    pub(crate) fn name(&self) -> String {
        let name = match self.path.is_dir() {
            true => self
                .path
                .canonicalize()
                .ok()
                .and_then(|path| path.file_name().map(ToOwned::to_owned)),
            false => self.path.file_stem().map(ToOwned::to_owned),
        };
        usable_name(&name.unwrap_or_default().to_string_lossy())
    }

    /// All of its files, in one.
    pub(crate) fn pack(&self) -> Result<Vec<u8>> {
        if !self.path.is_dir() {
            let content = read_bounded(&self.path, FOLDER_BYTES_MAX)?;
            return packed(&self.path, &BTreeMap::from([(self.main.clone(), content)]));
        }
        pack_folder(&self.path)
    }
}

/// A folder with all that is in it, packed.
pub(crate) fn pack_folder(folder: &Path) -> Result<Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for path in files_below(folder, |name| name == "__pycache__")? {
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let name = path_text(relative)?;
        let content = read_bounded(&path, FOLDER_BYTES_MAX)?;
        bytes += content.len() as u64;
        files.insert(name, content);
        if bytes > FOLDER_BYTES_MAX {
            return Err(too_much(folder, &path));
        }
    }
    packed(folder, &files)
}

/// A path as it is written in a packed folder.
pub(crate) fn path_text(path: &Path) -> Result<String> {
    let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
    names
        .map(|names| names.join("/"))
        .ok_or_else(|| Fail::new("source", format!("{}: its name is not text", path.display())))
}

/// The files in a folder and in those below it. Links, and names that begin with a dot, are left out, with
/// what `is_left_out` names.
pub(crate) fn files_below(folder: &Path, is_left_out: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(&inner).map_err(|error| Fail::file(&inner, &error))? {
            let entry = entry.map_err(|error| Fail::file(&inner, &error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| Fail::file(&path, &error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            match kind {
                _ if name.starts_with('.') || is_left_out(&name) => {}
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
            if found.len() > FOLDER_FILES_MAX {
                return Err(too_much(folder, &inner));
            }
        }
    }
    Ok(found)
}

pub(crate) fn too_much(folder: &Path, at: &Path) -> Fail {
    let text = format!(
        "{}: more than {FOLDER_FILES_MAX} files or {FOLDER_BYTES_MAX} bytes, at {}",
        folder.display(),
        at.display()
    );
    Fail::new("too-large", text).hint("leave out what the program does not read")
}

pub(crate) fn packed(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    pack(files).map_err(|error| Fail::new("source", format!("{}: {error}", path.display())))
}

/// The file with the program that `named` names: a folder's, or `named` itself.
pub(crate) fn program_file(named: &Path) -> Result<PathBuf> {
    if !named.is_dir() {
        return Ok(named.to_owned());
    }
    match named_by_manifest(named)? {
        Some(file) => Ok(file),
        None => main_of(named),
    }
}

/// The one module of the folder's manifest; `None` where there is no manifest, where it names several
/// modules, or a folder or a sample.
fn named_by_manifest(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let bad = |what: String| Fail::new("manifest", format!("{}: {what}", path.display()));
    let text = String::from_utf8(read_bounded(&path, MANIFEST_BYTES_MAX)?);
    let text = text.map_err(|_| bad("not text".into()))?;
    let modules = manifest::modules(&text).map_err(|error| bad(error.to_string()))?;
    let mut modules = modules.into_iter();
    let (Some(module), None) = (modules.next(), modules.next()) else {
        return Ok(None);
    };
    let file = folder.join(&module);
    if file.is_file() {
        return Ok(Some(file));
    }
    match file.extension().is_some_and(|extension| extension == WASM) {
        true => Err(bad(format!("its module {module} is not there"))
            .hint("build it first: a project of `wayfare new` says in its README.md how")),
        false => Ok(None),
    }
}

/// Whether `named` is a file, or a folder that says which program it is.
pub(crate) fn has_program(named: &Path) -> Result<bool> {
    Ok(named.is_file()
        || named.is_dir() && (named.join(MANIFEST).is_file() || !files_main(named)?.is_empty()))
}

/// The files `main` with an extension.
fn files_main(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Fail::file(folder, &error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_stem().is_some_and(|stem| stem == MAIN) && path.is_file())
        .filter(|path| path.extension().is_some())
        .collect();
    found.sort();
    Ok(found)
}

/// The one file `main`, whichever language it is in.
fn main_of(folder: &Path) -> Result<PathBuf> {
    match files_main(folder)?.as_slice() {
        [main] => Ok(main.clone()),
        [] => {
            let text = format!(
                "{}: no file 'main' in this folder, and no {MANIFEST} that names one module",
                folder.display()
            );
            Err(Fail::new("source", text)
                .hint("give the program's file, or call it main with its extension, such as main.py"))
        }
        [one, other, ..] => {
            let text = format!(
                "{}: both {} and {} are there",
                folder.display(),
                one.display(),
                other.display()
            );
            Err(Fail::new("source", text))
        }
    }
}

/// Whether it is for a WebAssembly engine, or is not there.
fn is_module(path: &Path) -> Result<bool> {
    if path.extension().is_some_and(|extension| extension == WASM) || !path.is_file() {
        return Ok(true);
    }
    let mut magic = [0; MAGIC.len()];
    let mut file = std::fs::File::open(path).map_err(|error| Fail::file(path, &error))?;
    let begins = file.read(&mut magic).map_err(|error| Fail::file(path, &error))?;
    Ok(magic[..begins] == *MAGIC)
}

pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|error| Fail::file(path, &error))?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| Fail::file(path, &error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Fail::new(
            "too-large",
            format!("{}: more than {bytes_max} bytes", path.display()),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wayfare_protocol::folder::index;

    use super::*;

    #[test]
    fn a_file_or_a_folder_with_main_is_a_program_and_a_module_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("app.py"), b"\xff").unwrap();
        fs::write(at("module"), b"\0asm\x01\0\0\0").unwrap();
        fs::write(at("broken.wasm"), b"no").unwrap();
        fs::create_dir_all(at("tool/lib/.git")).unwrap();
        fs::write(at("tool/lib/.git/x"), "").unwrap();
        fs::write(at("tool/lib/a.lua"), "return 1").unwrap();
        assert!(
            Source::find(&at("tool"))
                .unwrap_err()
                .message()
                .contains("no file 'main'")
        );
        fs::write(at("tool/main.lua"), "require 'lib.a'").unwrap();
        let source = Source::find(&at("app.py")).unwrap().unwrap();
        assert_eq!((&*source.main, &*source.extension), ("app.py", "py"));
        let packed = source.pack().unwrap();
        assert_eq!(packed[index(&packed).unwrap()[0].1.clone()], *b"\xff");
        let source = Source::find(&at("tool")).unwrap().unwrap();
        assert_eq!((&*source.main, &*source.extension), ("main.lua", "lua"));
        let packed = source.pack().unwrap();
        let names: Vec<String> = index(&packed)
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(names, ["lib/a.lua", "main.lua"]);
        for module in ["module", "broken.wasm", "missing.py"] {
            assert_eq!(Source::find(&at(module)).unwrap(), None, "{module}");
        }
        fs::write(at("tool/main.py"), "").unwrap();
        assert!(Source::find(&at("tool")).unwrap_err().message().contains("both"));
    }

    #[test]
    fn a_folders_manifest_that_names_one_module_says_what_its_program_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let manifest = |modules: &[&str]| {
            let components = modules.iter().enumerate();
            let components: String = components
                .map(|(number, module)| format!("[component.c{number}]\nmodule = '{module}'\n"))
                .collect();
            fs::write(at("app.toml"), format!("name = 'x'\n{components}")).unwrap();
        };
        fs::create_dir(at("src")).unwrap();
        for (name, text) in [
            ("app.py", ""),
            ("src/app.js", ""),
            ("main.c", ""),
            ("x.wasm", "\0asm"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        let found = || Source::find(folder.path());
        let source = |path: PathBuf, main: &str| {
            let (_, extension) = main.split_once('.').unwrap();
            Some(Source {
                path,
                main: main.into(),
                extension: extension.into(),
            })
        };
        manifest(&["app.py"]);
        assert_eq!(found().unwrap(), source(folder.path().into(), "app.py"));
        manifest(&["src/app.js"]);
        assert_eq!(found().unwrap(), source(at("src/app.js"), "app.js"));
        manifest(&["x.wasm"]);
        assert_eq!(found().unwrap(), None);
        assert_eq!(program_file(folder.path()).unwrap(), at("x.wasm"));
        manifest(&["target/x.wasm"]);
        let not_built = found().unwrap_err();
        assert!(
            not_built
                .message()
                .ends_with("its module target/x.wasm is not there")
        );
        // A folder, a sample, and several modules.
        for modules in [&["."][..], &["counter"], &["app.py", "x.wasm"]] {
            manifest(modules);
            assert_eq!(
                found().unwrap(),
                source(folder.path().into(), "main.c"),
                "{modules:?}"
            );
        }
        fs::write(at("app.toml"), "name =").unwrap();
        assert!(found().unwrap_err().message().contains("app.toml: "));
    }
}
