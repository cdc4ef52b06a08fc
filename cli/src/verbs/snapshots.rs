//! `wayfare snapshot` and `wayfare restore`.

use std::io::Write;
use std::path::Path;

use wayfare_client::{IdChoice, Order, Restore};
use wayfare_protocol::event::Outcome;

use super::dry;
use crate::args::programs::{RestoreArgs, SnapshotArgs};
use crate::context::{options, options_for, with_fleet};
use crate::fail::{Fail, Result};
use crate::output::{Output, bytes};
use crate::waiting::{conclude, watch};

pub(crate) async fn snapshot(args: SnapshotArgs, output: Output) -> Result {
    if args.command.no_wait {
        return Err(Fail::usage(
            "a snapshot is fetched by this command: it cannot be left alone with --no-wait",
        ));
    }
    with_fleet(&args.command.fleet, async |fleet| {
        let options = options(&args.command);
        if args.command.dry.dry_run {
            let program = args.program.clone();
            return dry::order(fleet, Order::Snapshot { program }, &options, output).await;
        }
        let operation = fleet.snapshot(&args.program, &options).await?;
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
        write_whole(&args.output, &file).map_err(|error| Fail::file(&args.output, &error))?;
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
        let operation = fleet.restore(restore, &options).await?;
        conclude(operation, &args.command, output).await.map(|_| ())
    })
    .await
}

/// The old file or the new one, never half of it.
fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
