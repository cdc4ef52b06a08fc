//! `wayfare context`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::args::context::{ContextAddArgs, ContextVerb};
use crate::args::fleet::FleetArgs;
use crate::config::Settings;
use crate::contexts::{Context, Contexts};
use crate::fail::{Fail, Result};
use crate::folders::contexts_path;
use crate::output::{Output, Text};

pub(crate) fn run(verb: ContextVerb, output: Output) -> Result {
    let path = contexts_path()
        .ok_or_else(|| Fail::usage("there is no folder for contexts: set HOME or XDG_CONFIG_HOME"))?;
    let mut contexts = Contexts::load(&path)?;
    match verb {
        ContextVerb::Ls => list(&contexts, output),
        ContextVerb::Add(args) => add(args, contexts, &path, output),
        ContextVerb::Use(args) => {
            contexts.get(&args.name)?;
            contexts.current = Some(args.name.clone());
            contexts.save(&path)?;
            said(&args.name, "is in use", output)
        }
        ContextVerb::Rm(args) => {
            contexts.get(&args.name)?;
            contexts.context.remove(&args.name);
            if contexts.current.as_deref() == Some(&args.name) {
                contexts.current = None;
            }
            contexts.save(&path)?;
            said(&args.name, "is removed", output)
        }
    }
}

fn add(args: ContextAddArgs, mut contexts: Contexts, path: &Path, output: Output) -> Result {
    let FleetArgs {
        broker,
        broker_ca,
        broker_login,
        root,
        operator_key,
        context: _,
    } = args.fleet;
    let context = Context {
        broker,
        broker_ca: broker_ca.map(absolute).transpose()?,
        broker_login: broker_login.map(absolute).transpose()?,
        root,
        operator_key: operator_key.map(absolute).transpose()?,
    };
    if context.broker.as_deref().is_some_and(|url| url.contains('@')) {
        return Err(Fail::usage(
            "a context holds no login: name a file with --broker-login",
        ));
    }
    // Whatever is wrong with it is said now.
    Settings::of_context(&context)?;
    contexts.context.insert(args.name.clone(), context);
    let is_first = contexts.context.len() == 1;
    if is_first {
        contexts.current = Some(args.name.clone());
    }
    contexts.save(path)?;
    let word = if is_first {
        "is kept, and in use"
    } else {
        "is kept"
    };
    said(&args.name, word, output)
}

/// It is used from other folders as well.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|error| Fail::file(&path, &error))
}

fn said(name: &str, word: &str, output: Output) -> Result {
    output.print(&json!({ "context": name }), |_| format!("context {name} {word}"))
}

fn list(contexts: &Contexts, output: Output) -> Result {
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    let document = |(name, context): (&String, &Context)| {
        let mut document = json!(Context {
            broker: context.shown_broker(),
            ..context.clone()
        });
        if let Value::Object(object) = &mut document {
            object.insert("context".into(), json!(name));
            object.insert("current".into(), json!(is_current(name)));
        }
        document
    };
    let documents: Vec<Value> = contexts.context.iter().map(document).collect();
    output.print(&documents, |_| {
        if contexts.context.is_empty() {
            return "no contexts: `wayfare context add NAME --broker URL` makes one".into();
        }
        let or_default = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let row = |(name, context): (&String, &Context)| {
            let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
            vec![
                name.clone(),
                if is_current(name) {
                    "*".into()
                } else {
                    String::new()
                },
                or_default(context.shown_broker()),
                or_default(context.root.clone()),
                or_default(path(&context.broker_login)),
                or_default(path(&context.broker_ca)),
            ]
        };
        Text::table(
            &["CONTEXT", "", "BROKER", "ROOT", "LOGIN", "CA"],
            contexts.context.iter().map(row),
        )
    })
}
