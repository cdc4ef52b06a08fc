//! `wayfare language`: languages that programs are run in.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::fs::{changing_files, with_files};
use crate::args::language::{LanguageAddArgs, LanguageVerb};
use crate::fail::{Fail, Result};
use crate::languages::{Language, builtin, kept};
use crate::output::{Output, Text};

pub(crate) async fn run(verb: LanguageVerb, output: Output) -> Result {
    match verb {
        LanguageVerb::Add(args) => {
            let (language, base) = described(&args)?;
            changing_files(&args.ask, async |files| {
                if args.dry.dry_run {
                    kept::readied(files, &language, &base).await?;
                    return would("add", &language.name, output);
                }
                let added = kept::add(files, language.clone(), &base, output).await?;
                output.print(&added, |added| {
                    format!("{} runs .{}", added.name, added.extensions.join(", ."))
                })
            })
            .await
        }
        LanguageVerb::Ls(args) => {
            with_files(&args.ask, async |files| {
                let mut all = vec![builtin::language()];
                all.extend(kept::all(files).await?);
                output.print(&all, |all| table(all))
            })
            .await
        }
        LanguageVerb::Rm(args) => {
            let name = args.name;
            let checked = wayfare_protocol::ids::is_name(&name);
            if !checked {
                return Err(Fail::usage(format!("'{name}' cannot name a language")));
            }
            changing_files(&args.ask, async |files| {
                if args.dry.dry_run {
                    let is_there = kept::all(files).await?.iter().any(|one| one.name == name);
                    return match is_there {
                        true => would("remove", &name, output),
                        false => Err(kept::absent(&name)),
                    };
                }
                kept::remove(files, &name).await?;
                output.print(&json!({ "removed": name }), |_| {
                    format!("removed language {name}")
                })
            })
            .await
        }
    }
}

fn would(what: &str, language: &str, output: Output) -> Result {
    let document = json!({ "would": what, "language": language });
    output.print(&document, |_| format!("would {what} language {language}"))
}

fn table(languages: &[Language]) -> Text {
    let row = |one: &Language| {
        vec![
            one.name.clone(),
            format!(".{}", one.extensions.join(" .")),
            one.memory.clone().unwrap_or_else(|| "-".into()),
            one.args.join(" "),
        ]
    };
    Text::table(
        &["NAME", "EXTENSIONS", "MEMORY", "ARGUMENTS"],
        languages.iter().map(row),
    )
}

/// From a manifest or from options, and where its files are looked for. Options win over what a manifest
/// says.
fn described(args: &LanguageAddArgs) -> Result<(Language, PathBuf)> {
    let here = std::env::current_dir()?;
    let (mut language, base) = match args.name.strip_suffix(".toml") {
        Some(_) => {
            let path = Path::new(&args.name);
            let base = here.join(path.parent().unwrap_or(Path::new("")));
            (Language::read(path)?, base)
        }
        None => {
            let language = Language {
                name: args.name.clone(),
                module: String::new(),
                extensions: Vec::new(),
                args: vec!["{program}".into()],
                library: None,
                env: Default::default(),
                memory: None,
            };
            (language, here.clone())
        }
    };
    let text = |path: &PathBuf| {
        let path = here.join(path);
        let lossless = path.to_str().map(str::to_owned);
        lossless.ok_or_else(|| Fail::usage(format!("'{}' is not text", path.display())))
    };
    if let Some(module) = &args.module {
        language.module = text(module)?;
    }
    if let Some(library) = &args.library {
        language.library = Some(text(library)?);
    }
    if !args.extensions.is_empty() {
        language.extensions = args.extensions.clone();
    }
    if !args.args.is_empty() {
        language.args = args.args.clone();
    }
    language.env.extend(args.env.iter().cloned());
    language.memory = args.memory.clone().or(language.memory);
    if language.module.is_empty() {
        return Err(Fail::usage("--module names the interpreter, a .wasm file").hint(
            "`wayfare language add NAME --module INTERPRETER.wasm --ext .EXTENSION`, or the path of a language.toml",
        ));
    }
    let language = language.check().map_err(Fail::usage)?;
    Ok((language, base))
}
