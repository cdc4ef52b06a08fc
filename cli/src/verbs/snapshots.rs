//! `wayfare snapshot` and `wayfare restore`.

use std::io::IsTerminal;

use wayfare_client::{IdChoice, Order, Restore};
use wayfare_protocol::bundle;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;

use super::dry;
use crate::args::programs::{RestoreArgs, SnapshotArgs};
use crate::context::{options, options_for, with_fleet};
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, bytes, error_is_terminal, tell};
use crate::waiting::{conclude, watch};
use crate::whole;

pub(crate) async fn snapshot(args: SnapshotArgs, output: Output) -> Result {
    if args.command.no_wait {
        return Err(Fail::usage(
            "a snapshot is fetched by this command: it cannot be left alone with --no-wait",
        ));
    }
    with_fleet(&args.command.fleet, async |fleet| {
        let options = options(&args.command);
        if args.command.dry.dry_run {
            return dry::order(fleet, Order::snapshot(&args.program), &options, output).await;
        }
        let operation = fleet.apply(Order::snapshot(&args.program), &options).await?;
        let id = operation.id();
        let finished = watch(operation, output).await?;
        let (engine, program) = match &finished.outcome {
            Outcome::Captured { program, .. } => (finished.engine.clone(), *program),
            other => {
                return Err(Fail::new(
                    "unexpected-answer",
                    format!("unexpected answer: {other:?}"),
                ));
            }
        };
        let file = finished.into_bundle()?;
        whole::write(&args.output, &file).map_err(|error| Fail::file(&args.output, &error))?;
        let document = serde_json::json!({
            "operation": id, "engine": engine, "program": program,
            "file": args.output, "bytes": file.len(),
        });
        output.print(&document, |_| {
            let size = bytes(file.len() as u64);
            format!(
                "{} on {engine} captured into {} ({size})",
                program.short(),
                args.output.display()
            )
        })
    })
    .await
}

pub(crate) async fn restore(args: RestoreArgs, output: Output) -> Result {
    let file = std::fs::read(&args.file).map_err(|error| Fail::file(&args.file, &error))?;
    // A file that is none is refused below, by who knows all about it.
    if let Ok((header, _)) = bundle::decode(&file) {
        accept(&header.spec.grants, &args, output)?;
    }
    let restore = Restore {
        file,
        on: args.on.clone(),
        name: args.name.clone(),
        id: if args.keep_id {
            IdChoice::Kept
        } else {
            IdChoice::New
        },
    };
    with_fleet(&args.command.fleet, async |fleet| {
        let options = options_for(&args.command, args.marked);
        if args.command.dry.dry_run {
            return dry::order(fleet, Order::Restore(restore), &options, output).await;
        }
        let operation = fleet.apply(Order::Restore(restore), &options).await?;
        conclude(operation, &args.command, output).await.map(|_| ())
    })
    .await
}

/// Who made the file has chosen what its program is granted, not who restores it: it is shown, and a person
/// at a terminal is asked.
fn accept(grants: &Grants, args: &RestoreArgs, output: Output) -> Result {
    let granted = granted(grants);
    if granted.is_empty() || output == Output::Json {
        return Ok(());
    }
    let file = args.file.display();
    tell(Text::from_iter(
        std::iter::once(format!("{file} grants its program:")).chain(granted),
    ));
    if args.yes || args.command.dry.dry_run || !std::io::stdin().is_terminal() || !error_is_terminal() {
        return Ok(());
    }
    tell("Restore it with these grants? [y/N]");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Fail::new("declined", format!("{file} was not restored"))),
    }
}

/// A line for each kind of grant; the folders that a program brings are no access to anything.
fn granted(grants: &Grants) -> Vec<String> {
    let Ok(serde_json::Value::Object(all)) = serde_json::to_value(grants) else {
        return Vec::new();
    };
    let shown = all.iter().filter(|(kind, _)| *kind != "folders");
    let line = |(kind, value): (&String, &serde_json::Value)| match value.as_array() {
        Some(items) => {
            let text = |item: &serde_json::Value| item.as_str().map_or(item.to_string(), str::to_owned);
            format!(
                "  {kind}: {}",
                items.iter().map(text).collect::<Vec<_>>().join(", ")
            )
        }
        None => format!("  {kind}: {value}"),
    };
    shown.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_grants_its_program_is_shown_kind_by_kind() {
        assert!(granted(&Grants::default()).is_empty());
        let grants = Grants {
            publish: vec!["site/#".into(), "log".into()],
            env: vec!["TOKEN".into()],
            publishes_per_second_max: Some(5),
            devices: ["led".parse().unwrap()].into(),
            ..Grants::default()
        };
        let mut lines = granted(&grants);
        lines.sort();
        let expected = [
            "  devices: led",
            "  env: TOKEN",
            "  pub: site/#, log",
            "  publishes_per_second_max: 5",
        ];
        assert_eq!(lines, expected);
    }
}
