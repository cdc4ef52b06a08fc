//! `wayfare js`: programs in JavaScript and TypeScript, before they are run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use wayfare_protocol::ports::Port;

use crate::args::language::JsVerb;
use crate::fail::{Fail, Result};
use crate::languages::declared::Declared;
use crate::languages::requires::Required;
use crate::languages::source::Source;
use crate::languages::{builtin, source};
use crate::output::{self, Output, Text};

#[derive(Serialize)]
struct Checked {
    /// The path that it is run by.
    main: String,
    files: Vec<String>,
    /// Of all files.
    bytes: u64,
    packages: BTreeSet<String>,
    /// Topics that its first comment declares.
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// What is required and is not there, with the file that requires it.
    lacking: BTreeMap<String, String>,
}

pub(crate) fn run(verb: &JsVerb, output: Output) -> Result {
    let JsVerb::Check { file } = verb;
    let checked = check(file)?;
    output.print(&checked, text)?;
    match checked.lacking.is_empty() {
        true => Ok(()),
        false => Err(Fail::quiet()),
    }
}

fn check(file: &Path) -> Result<Checked> {
    let found = Source::find(file)?;
    let Some(source) = found.filter(builtin::is_of) else {
        let text = format!(
            "{}: no program in JavaScript or TypeScript is there",
            file.display()
        );
        return Err(Fail::new("source", text).hint(format!(
            "their names end with .{}",
            source::EXTENSIONS.join(", .")
        )));
    };
    let required = Required::of(&source)?;
    let declared = Declared::of(&source.main_path())?;
    Ok(Checked {
        bytes: required.bytes(),
        main: required.main,
        files: required.files.into_keys().collect(),
        packages: required.packages,
        inputs: declared.0.inputs,
        outputs: declared.0.outputs,
        lacking: required.lacking,
    })
}

fn text(checked: &Checked) -> Text {
    let list = |names: &mut dyn Iterator<Item = &String>| {
        let names: Vec<&str> = names.map(String::as_str).collect();
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(", ")
        }
    };
    let topics = |ports: &[Port]| list(&mut ports.iter().map(Port::to_string).collect::<Vec<_>>().iter());
    let own = checked
        .files
        .iter()
        .filter(|file| !file.contains("node_modules/"));
    let lacking = checked
        .lacking
        .iter()
        .map(|(what, file)| format!("{what}, which {file} requires"));
    let lacking: Vec<String> = lacking.collect();
    let rows = [
        ("runs", checked.main.clone()),
        ("files", list(&mut own.into_iter())),
        ("packages", list(&mut checked.packages.iter())),
        (
            "size",
            format!("{} files, {}", checked.files.len(), output::bytes(checked.bytes)),
        ),
        ("subscribes to", topics(&checked.inputs)),
        ("publishes to", topics(&checked.outputs)),
        (
            "lacking",
            if lacking.is_empty() {
                "-".into()
            } else {
                lacking.join("; ")
            },
        ),
    ];
    Text::page(&rows)
}
