//! `wayfare run`.

mod held;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wayfare_client::{Client, LogStream, Order, Run};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::limits::STDIN_BYTES_MAX;
use wayfare_protocol::ports::Ports;

use super::dry;
use super::logs::{LinePrinter, Lines, badly, print_all};
use super::module::Module;
use crate::args::programs::RunArgs;
use crate::context::{options_for, with_fleet};
use crate::fail::{Fail, Result};
use crate::interrupt::or_interrupted;
use crate::languages::declared::Declared;
use crate::languages::source::{Source, has_program, program_file};
use crate::languages::{builtin, kept};
use crate::manifest;
use crate::output::{Output, error_is_terminal};
use crate::waiting::conclude;

/// For each piece of a language's files.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: RunArgs, output: Output) -> Result {
    let follower = OperationId::random();
    let named = Path::new(&args.module);
    // A folder without a program does not hide the sample of its name.
    let is_sample = !has_program(named)? && Module::sample(&args.module).is_some();
    let file = match is_sample {
        true => named.to_owned(),
        false => program_file(named)?,
    };
    let (grants, ports) = grants(&args, &file)?;
    let mut run = Run {
        args: args.args.clone(),
        env: args.env.iter().cloned().collect(),
        stdin: args.stdin.as_ref().map(read_stdin).transpose()?,
        memory_bytes_max: args.memory,
        grants,
        ports,
        on: args.on.clone(),
        follower: args.follow.then_some(follower),
        ..Run::default()
    };
    let source = match is_sample {
        true => None,
        false => Source::find(named)?,
    };
    if let Some(source) = source.as_ref().filter(|source| builtin::is_of(source)) {
        grant_declared(&mut run, &args, source, output)?;
    }
    if source.is_none() {
        let module = Module::find(&file.to_string_lossy())?;
        run.name = module.name;
        run.module = module.wasm;
        run.stdin = run.stdin.or(module.stdin.map(<[u8]>::to_vec));
    }
    with_fleet(&args.command.fleet, async |fleet| {
        let mut run = run.clone();
        if let Some(source) = &source {
            in_its_language(fleet, &mut run, source, output).await?;
        }
        if let Some(name) = &args.name {
            run.name.clone_from(name);
        }
        if args.if_absent {
            return held::run(fleet, run, &args, output).await;
        }
        let options = options_for(&args.command, args.marked);
        if args.command.dry.dry_run {
            return dry::order(fleet, Order::run(run), &options, output).await;
        }
        let operation = fleet.apply(Order::run(run), &options).await?;
        let finished = conclude(operation, &args.command, output).await?;
        let (true, Some(finished)) = (args.follow, finished) else {
            return Ok(());
        };
        let Outcome::Running { program, .. } = finished.outcome else {
            return Ok(());
        };
        let mut stream = fleet.follow(program, follower).await?;
        let printer = LinePrinter::new(Lines::Apart, false, output);
        or_interrupted(print_all(&mut stream, program, printer), || {
            let program = program.short();
            Fail::interrupted(format!("{program} runs on")).hint(format!(
                "`wayfare logs -f {program}` shows the rest, `wayfare kill {program}` ends it"
            ))
        })
        .await?;
        end_of(&stream, program)
    })
    .await
}

/// A program that did not end well is a failure of who followed it.
fn end_of(stream: &LogStream, program: ProgramId) -> Result {
    match stream.ended() {
        Some(state) => badly(state).map_or(Ok(()), |how| {
            Err(Fail::new("program", format!("program {} {how}", program.short())))
        }),
        None => Err(Fail::new(
            "program",
            format!("program {} is gone, and did not end by itself", program.short()),
        )
        .hint("it was killed, or lost with its engine; `wayfare events` may say why")),
    }
}

/// What is run is the interpreter of `source`, with that as its data.
async fn in_its_language(fleet: &Client, run: &mut Run, source: &Source, output: Output) -> Result {
    let made = kept::make(fleet, source, FETCH_TIMEOUT, output).await?;
    run.name.clone_from(&made.name);
    run.set_made(made.for_manifest()?);
    Ok(())
}

/// Those of the command line, and of the manifest next to the program's file, which declares inputs and
/// outputs besides.
fn grants(args: &RunArgs, file: &Path) -> Result<(Grants, Ports)> {
    let (mut grants, ports) = manifest::beside(file)?;
    grants.publish.extend(args.allow_pub.iter().cloned());
    grants.subscribe.extend(args.allow_sub.iter().cloned());
    grants.call.extend(args.allow_call.iter().cloned());
    grants.send.extend(args.allow_send.iter().cloned());
    grants.serve.extend(args.allow_serve.iter().cloned());
    grants.state.extend(args.allow_state.iter().cloned());
    grants.fs.extend(args.allow_fs.iter().cloned());
    grants.env.extend(args.allow_env.iter().cloned());
    grants.devices.extend(args.allow_device.iter().cloned());
    grants.publishes_per_second_max = args.publish_rate.or(grants.publishes_per_second_max);
    Ok((grants, ports))
}

/// Takes what the program's source declares, and grants it if a person or the command line says so. Where the
/// command line grants topics itself, those are what is granted.
fn grant_declared(run: &mut Run, args: &RunArgs, source: &Source, output: Output) -> Result {
    let declared = Declared::of(&source.main_path())?;
    let grants = &mut run.grants;
    let is_granted = !grants.publish.is_empty() || !grants.subscribe.is_empty();
    if !declared.0.is_empty() {
        run.ports.clone_from(&declared.0);
    }
    if declared.0.is_empty() || is_granted && !args.allow_declared {
        return Ok(());
    }
    if !args.allow_declared && !confirmed(&declared, &args.module, output)? {
        let text = format!("{} declares that it wants to {}", args.module, declared.text());
        return Err(Fail::new("not-granted", text)
            .hint("--allow-declared grants that; --allow-pub and --allow-sub grant something else"));
    }
    let granted = declared.granted();
    grants.publish.extend(granted.publish);
    grants.subscribe.extend(granted.subscribe);
    Ok(())
}

/// Asks whoever sits at the terminal. Without one nobody says yes.
fn confirmed(declared: &Declared, module: &str, output: Output) -> Result<bool> {
    if output == Output::Json || !std::io::stdin().is_terminal() || !error_is_terminal() {
        return Ok(false);
    }
    output.remark(format!(
        "{module} wants to {}. Grant that? [y/N]",
        declared.text()
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A file, or this command's own standard input; no more than a program may have.
fn read_stdin(path: &PathBuf) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = STDIN_BYTES_MAX + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        let file = std::fs::File::open(path).map_err(|error| Fail::file(path, &error))?;
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| Fail::file(path, &error))?;
    }
    Ok(bytes)
}
