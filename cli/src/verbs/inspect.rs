//! `wayfare inspect`: all about a program, an engine or a module.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use wayfare_client::numbers::Point;
use wayfare_client::{ANSWER_TIMEOUT, Client, CommandError, LookupError, ProgramView};
use wayfare_compiler::Report;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, is_name};
use wayfare_runtime::{Runtime, RuntimeOptions};

use super::fleet::{Listed, ListedEngine, labels, measured};
use super::module::Module;
use super::{numbers, open_calls, service};
use crate::args::looking::InspectArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, bytes, now_ms};

/// A file is a module. Otherwise the fleet is asked, and what it does not know may be a sample.
pub(crate) async fn run(args: InspectArgs, output: Output) -> Result {
    if let Some(module) = Module::read(Path::new(&args.what))? {
        return inspect_module(&module, output);
    }
    if let Some(name) = args.what.strip_prefix("service/").filter(|name| is_name(name)) {
        return service::inspect(name, &args.fleet, output).await;
    }
    let sample = Module::sample(&args.what);
    let found = with_fleet(&args.fleet, async |fleet| find(fleet, &args.what).await).await;
    match (found, sample) {
        (Ok(Found::Program(one, history, calls)), _) => {
            let mut document = document(&*one, &history);
            if let Value::Object(object) = &mut document {
                let told = calls.told.as_ref().and_then(|told| told.as_ref().ok());
                object.insert("calls".into(), json!(told));
            }
            output.print(&document, |_| {
                let page = program_page(&one, &history, now_ms());
                open_calls::program_text(page, calls.told.as_ref(), &calls.names)
            })
        }
        (Ok(Found::Engine(one, history)), _) => {
            let document = document(&*one, &history);
            output.print(&document, |_| engine_page(&one, &history))
        }
        (Ok(Found::Nothing) | Err(_), Some(sample)) => inspect_module(&sample, output),
        (Ok(Found::Nothing), None) => Err(Fail::new(
            "not-found",
            format!("no program, engine, file or sample '{}'", args.what),
        )
        .hint("`wayfare ps` and `wayfare engines` list what there is")),
        (Err(fail), None) => Err(fail),
    }
}

/// What calls a program has open, and what the others are called.
struct Calls {
    told: Option<open_calls::Told>,
    names: open_calls::Names,
}

/// What was found, and what it used in the last hour.
enum Found {
    Program(Box<Listed>, Vec<Point>, Calls),
    Engine(Box<ListedEngine>, Vec<Point>),
    Nothing,
}

fn document(found: &impl Serialize, history: &[Point]) -> Value {
    let mut document = json!(found);
    if let Value::Object(object) = &mut document {
        object.insert("history".into(), json!(history));
    }
    document
}

async fn find(fleet: &Client, what: &str) -> Result<Found> {
    let (program, engine) = (fleet.program(what).await, fleet.engine(what).await);
    match (program, engine) {
        // An exact name of one wins over the beginning of the other's.
        (Ok(program), Ok(engine)) if engine.engine.as_str() != what => found_program(fleet, program).await,
        (_, Ok(engine)) => {
            let asked = fleet.engines_asked(ANSWER_TIMEOUT).await?;
            let view = asked.into_iter().find(|view| view.engine == engine.engine);
            let view = view.unwrap_or(engine);
            let mut numbers = fleet.numbers().await?.unwrap_or_default();
            let history = fleet.engine_history(&view.engine).await?;
            let numbers = numbers.engines.remove(&view.engine);
            Ok(Found::Engine(Box::new(ListedEngine { view, numbers }), history))
        }
        (Ok(program), Err(_)) => found_program(fleet, program).await,
        (
            Err(CommandError::Lookup(LookupError::NoProgram { .. })),
            Err(CommandError::Lookup(LookupError::NoEngine { .. })),
        ) => Ok(Found::Nothing),
        (Err(CommandError::Lookup(LookupError::NoProgram { .. })), Err(error)) | (Err(error), Err(_)) => {
            Err(error.into())
        }
    }
}

async fn found_program(fleet: &Client, view: ProgramView) -> Result<Found> {
    let program = view.status.program;
    let (all, _) = measured(fleet).await?;
    let names = open_calls::names(all.iter().map(|one| &one.view));
    let listed = all.into_iter().find(|one| one.view.status.program == program);
    let listed = listed.unwrap_or(Listed {
        view,
        about: None,
        numbers: None,
    });
    let history = fleet.program_history(program).await?;
    let calls = Calls {
        told: open_calls::of_program(fleet, &listed.view).await,
        names,
    };
    Ok(Found::Program(Box::new(listed), history, calls))
}

pub(super) fn program_page(one: &Listed, history: &[Point], now_ms: u64) -> Text {
    let (view, status) = (&one.view, &one.view.status);
    let state = match view.presence {
        wayfare_client::Presence::Known => wayfare_client::fleet::describe_program(status),
        _ => format!("{} (last known: {})", view.word(), status.state.word()),
    };
    let mut lines = vec![
        ("program", status.program.to_string()),
        ("name", status.name.clone()),
        ("state", state),
        ("engine", status.engine.to_string()),
        ("generation", status.generation.to_string()),
        ("module", status.module.to_string()),
        ("memory", bytes(one.memory_bytes())),
    ];
    lines.extend(status.ports.inputs.iter().map(|port| ("input", port.to_string())));
    lines.extend(
        status
            .ports
            .outputs
            .iter()
            .map(|port| ("output", port.to_string())),
    );
    lines.extend(numbers::of_program(one, now_ms));
    lines.extend(numbers::over_time(history));
    Text::page(&lines)
}

pub(super) fn engine_page(one: &ListedEngine, history: &[Point]) -> Text {
    let view = &one.view;
    let mut lines = vec![
        ("engine", view.engine.to_string()),
        ("state", view.word().to_owned()),
        ("programs", view.programs.to_string()),
    ];
    if let Some(about) = &view.about {
        lines.extend([
            ("programs at most", about.programs_max.to_string()),
            ("memory per program", bytes(about.program_memory_bytes_max)),
            ("version", about.version.clone()),
            ("platform", about.platform.clone()),
            ("host", about.host.clone()),
            ("labels", labels(about).unwrap_or_else(|| "none".into())),
            ("wasmtime", about.code.wasmtime.clone()),
            ("runs code for", about.code.architecture.clone()),
            (
                "takes WebAssembly",
                if about.compiles {
                    "yes".into()
                } else {
                    "no, only compiled code".into()
                },
            ),
            ("processors", about.processors.to_string()),
            ("memory", bytes(about.memory_bytes)),
        ]);
    }
    if let Some(rival) = &view.rival {
        lines.push(("the same id", format!("{rival}, which holds still")));
    }
    if let Some(disk) = view.load.and_then(|load| load.disk) {
        let minutes = disk.seconds.div_ceil(60);
        let written = format!(
            "{} in {} h {:02} min: {} a day",
            bytes(disk.written_bytes),
            minutes / 60,
            minutes % 60,
            bytes(disk.written_bytes_per_day())
        );
        lines.push(("written to disk", written));
    }
    lines.extend(one.numbers.iter().flat_map(numbers::of_engine));
    lines.extend(numbers::over_time(history));
    Text::page(&lines)
}

/// Rewrites it as an engine would, and says what that does.
fn inspect_module(module: &Module, output: Output) -> Result {
    let options = wayfare_compiler::Options {
        blocking: &wayfare_abi::calls::may_block,
        entry: wayfare_compiler::Entry::Command,
        form: wayfare_compiler::Form::Joined,
    };
    let rewritten = wayfare_compiler::rewrite(&module.wasm, &options)
        .map_err(|error| Fail::new("module", format!("{} cannot run: {error}", module.name)))?;
    let digest = Digest::of(&module.wasm);
    let refusal = refusal(module, digest);
    let document = module_document(module, digest, &rewritten.report, refusal.as_deref());
    output.print(&document, |_| {
        module_page(module, digest, &rewritten.report, refusal.as_deref())
    })
}

/// Why an engine with default limits would not take it: an import that nobody offers, too much memory.
fn refusal(module: &Module, digest: Digest) -> Option<String> {
    let runtime = Runtime::new(RuntimeOptions::default());
    let loaded = runtime.and_then(|runtime| runtime.load(digest, &module.wasm).map(|_| ()));
    loaded.err().map(|failure| match failure {
        Failure::Module { reason, .. } => reason,
        other => other.to_string(),
    })
}

fn module_document(module: &Module, digest: Digest, report: &Report, refusal: Option<&str>) -> Value {
    json!({
        "module": digest,
        "name": module.name,
        "imports": report.imports.iter().map(|(module, name)| json!({ "module": module, "name": name })).collect::<Vec<_>>(),
        "refusal": refusal,
        "functions": report.functions,
        "functions_rewritten": report.functions_rewritten,
        "sites": {
            "loop_polls": report.loop_polls,
            "entry_polls": report.entry_polls,
            "calls": report.calls_checked,
            "blocking_calls": report.blocking_calls,
        },
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "bytes_twins": report.bytes_twins,
    })
}

pub(super) fn module_page(module: &Module, digest: Digest, report: &Report, refusal: Option<&str>) -> Text {
    let size = |size: usize| bytes(size as u64);
    let percent = |size: usize| 100.0 * size as f64 / report.bytes_before.max(1) as f64;
    let imports = imports(report);
    Text::page(&[
        ("module", digest.to_string()),
        ("name", module.name.clone()),
        (
            "engines",
            refusal.map_or_else(|| "take it".into(), |reason| format!("refuse it: {reason}")),
        ),
        (
            "imports",
            if imports.is_empty() {
                "none".into()
            } else {
                imports
            },
        ),
        (
            "functions",
            format!(
                "{}, of which {} can be on the stack at a capture",
                report.functions, report.functions_rewritten
            ),
        ),
        (
            "can be captured at",
            format!(
                "{} sites: {} loop headers, {} function entries, {} calls, {} blocking host calls",
                report.sites(),
                report.loop_polls,
                report.entry_polls,
                report.calls_checked,
                report.blocking_calls
            ),
        ),
        ("size", format!("{} as given", size(report.bytes_before))),
        (
            "rewritten",
            format!(
                "{} ({:.0} %), and {} of twins ({:.0} %), which only resuming needs",
                size(report.bytes_after),
                percent(report.bytes_after),
                size(report.bytes_twins),
                percent(report.bytes_twins)
            ),
        ),
    ])
}

/// Each module once, with what is imported from it.
fn imports(report: &Report) -> String {
    let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (module, name) in &report.imports {
        modules.entry(module).or_default().push(name);
    }
    let lines = modules
        .iter()
        .map(|(module, names)| format!("{module}: {}", names.join(" ")));
    lines.collect::<Vec<_>>().join("; ")
}
