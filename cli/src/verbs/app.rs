//! `wayfare app`: applications.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use wayfare_client::app::ask::{AppStatus, Ask, PlanAnswer, VersionStatus};
use wayfare_client::app::manifest::{self, Resolved};
use wayfare_client::{ANSWER_TIMEOUT, Client};
use wayfare_protocol::health::Health;
use wayfare_protocol::limits::MODULE_BYTES_MAX;

use super::dry;
use super::logs::{FailedInstance, failed_instances, failures_text};
use super::module::Module;
use crate::args::DryRunArgs;
use crate::args::apps::{AppApplyArgs, AppChangeArgs, AppPlanArgs, AppStatusArgs, AppVerb};
use crate::args::fleet::AskArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::interrupt::or_interrupted;
use crate::languages::kept;
use crate::languages::source::{Source, read_bounded};
use crate::output::{Output, Text, moment, tell};
use crate::waiting::upload;

/// A manifest is text that people write.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Between two looks at whether all instances are healthy.
const LOOK_PERIOD: Duration = Duration::from_millis(300);

pub(crate) async fn run(verb: AppVerb, output: Output) -> Result {
    match verb {
        AppVerb::Plan(args) => plan(args, output).await,
        AppVerb::Apply(args) => apply(args, output).await,
        AppVerb::Status(args) => status(args, output).await,
        AppVerb::History(args) => {
            let application = args.application;
            with_fleet(&args.ask.fleet, async |fleet| {
                let versions = fleet.app_history(&application, args.ask.timeout).await?;
                let status = fleet.app_status(Some(&application), args.ask.timeout).await?;
                let mut failures = Vec::new();
                for (number, version) in versions.iter().enumerate() {
                    let until = versions.get(number + 1).map_or(u64::MAX, |next| next.at_ms);
                    let failed = failures_of(fleet, &status, version.at_ms..until).await;
                    failures.push(failed);
                }
                let document = with_failures(&versions, &failures);
                output.print(&document, |_| {
                    let words = versions
                        .iter()
                        .zip(&failures)
                        .filter(|(_, failed)| !failed.is_empty());
                    words.fold(history_table(&versions), |text, (version, failed)| {
                        text.line(format!("version {}:", version.version))
                            .then(failures_text(failed))
                    })
                })
            })
            .await
        }
        AppVerb::Revert(args) => {
            let ask = Ask::Revert {
                application: args.application,
                version: args.version,
            };
            say(
                ask,
                args.dry,
                &args.ask,
                output,
                |answer| match answer["changed"].as_bool() {
                    Some(true) => format!("version {} is version {} again", answer["version"], answer["of"]),
                    _ => format!("version {} is the current one already", answer["version"]),
                },
            )
            .await
        }
        AppVerb::Scale(args) => {
            let ask = Ask::Scale {
                application: args.application,
                component: args.component,
                count: args.count,
            };
            say(ask, args.dry, &args.ask, output, varied).await
        }
        AppVerb::Restart(args) => {
            let ask = Ask::Restart {
                application: args.application,
                component: args.component,
            };
            say(ask, args.dry, &args.ask, output, varied).await
        }
        AppVerb::Promote(args) => {
            let ask = |application| Ask::Promote { application };
            change(args, ask, "goes on with its roll-out", output).await
        }
        AppVerb::Halt(args) => {
            let ask = |application| Ask::Halt { application };
            change(args, ask, "is halted in its roll-out", output).await
        }
        AppVerb::Fail(args) => {
            let ask = |application| Ask::Fail { application };
            change(args, ask, "goes back to the version before", output).await
        }
        AppVerb::Pause(args) => {
            change(
                args,
                |application| Ask::Pause { application },
                "is to pause",
                output,
            )
            .await
        }
        AppVerb::Resume(args) => {
            change(
                args,
                |application| Ask::Resume { application },
                "is to run on",
                output,
            )
            .await
        }
        AppVerb::Rm(args) => {
            change(
                args,
                |application| Ask::Remove { application },
                "is being removed",
                output,
            )
            .await
        }
    }
}

/// A version that was made without a manifest.
fn varied(answer: &Value) -> String {
    let name = answer["application"].as_str().unwrap_or_default();
    match answer["changed"].as_bool() {
        Some(true) => format!("{name}: version {}", answer["version"]),
        _ => format!("{name}: version {}, no changes", answer["version"]),
    }
}

/// Asks for what an application shall be from now on.
async fn change(args: AppChangeArgs, ask: impl FnOnce(String) -> Ask, what: &str, output: Output) -> Result {
    let ask = ask(args.application);
    say(ask, args.dry, &args.ask, output, |answer| standing(answer, what)).await
}

fn standing(answer: &Value, what: &str) -> String {
    let name = answer["application"].as_str().unwrap_or_default();
    match answer["changed"].as_bool() {
        Some(true) => format!("{name} {what}"),
        _ => format!("{name} {what} already"),
    }
}

/// One question, one sentence.
async fn say(
    ask: Ask,
    dry: DryRunArgs,
    args: &AskArgs,
    output: Output,
    human: impl FnOnce(&Value) -> String,
) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        if dry.dry_run {
            return dry::ask(fleet, ask, args.timeout, output).await;
        }
        let answer: Value = fleet.ask_apps(&ask, args.timeout).await?;
        output.print(&answer, human)
    })
    .await
}

async fn plan(args: AppPlanArgs, output: Output) -> Result {
    let Resolved { spec, .. } = read(&args.manifest, &args.ask, output).await?;
    let plan = with_fleet(&args.ask.fleet, async |fleet| {
        Ok(fleet
            .ask_apps::<PlanAnswer>(&Ask::Plan { spec }, args.ask.timeout)
            .await?)
    })
    .await?;
    if let Some(path) = &args.output {
        let document = serde_json::to_vec_pretty(&plan).expect("plain data serialises");
        std::fs::write(path, document).map_err(|error| Fail::file(path, &error))?;
    }
    output.print(&plan, plan_text)?;
    if plan.changes.is_empty() {
        Ok(())
    } else {
        Err(Fail::quiet())
    }
}

pub(super) fn plan_text(plan: &PlanAnswer) -> Text {
    if plan.changes.is_empty() {
        return format!("{}: no changes", plan.application).into();
    }
    let section = |title: &str, lines: &[String]| match lines {
        [] => Text::new(),
        lines => Text::from(title).then(Text::from_iter(lines.iter().map(|line| format!("  {line}")))),
    };
    Text::from(plan.application.as_str())
        .then(section("changes", &plan.changes))
        .then(section("at once", &plan.actions))
        .then(section("not placed", &plan.unplaced))
        .then(section("mind", &plan.warnings))
}

async fn apply(args: AppApplyArgs, output: Output) -> Result {
    let Resolved { spec, blobs } = read(&args.manifest, &args.ask, output).await?;
    let expects = match &args.plan {
        Some(path) => Some(read_plan(path, &spec.name)?.serial),
        None => None,
    };
    let timeout = args.ask.timeout;
    with_fleet(&args.ask.fleet, async |fleet| {
        if args.dry.dry_run {
            return dry::ask(fleet, Ask::apply(spec, expects), timeout, output).await;
        }
        upload(fleet, &blobs, timeout, output).await?;
        let application = spec.name.clone();
        let answer: Value = fleet.ask_apps(&Ask::apply(spec, expects), timeout).await?;
        let version = answer["version"].as_u64().unwrap_or_default();
        let healthy = async {
            output.print(&answer, varied)?;
            match args.wait {
                true => wait_until_healthy(fleet, &application, version, timeout).await,
                false => Ok(()),
            }
        };
        or_interrupted(healthy, || {
            let text = format!("version {version} of '{application}' goes on being rolled out");
            Fail::interrupted(text).hint(format!(
                "`wayfare app status {application}` shows how far it is, `wayfare app revert {application}` goes back"
            ))
        })
        .await
    })
    .await
}

/// Until every instance is healthy and of that version.
async fn wait_until_healthy(fleet: &Client, application: &str, version: u64, limit: Duration) -> Result {
    let deadline = Instant::now() + limit;
    loop {
        let statuses = fleet.app_status(Some(application), limit).await?;
        let Some(status) = statuses.first() else {
            return Err(Fail::new(
                "removed",
                format!("application '{application}' was removed meanwhile"),
            ));
        };
        if status.version != version {
            let text = format!(
                "version {version} of '{application}' was succeeded by version {}",
                status.version
            );
            tell_failures(fleet, &statuses, version).await;
            return Err(
                Fail::new("superseded", text).hint("`wayfare app history` and `wayfare events` say why")
            );
        }
        if status
            .instances
            .iter()
            .all(|i| i.away || (i.current && (i.healthy || i.state == "complete")))
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let waits = status
                .instances
                .iter()
                .filter(|i| !(i.away || i.current && (i.healthy || i.state == "complete")));
            tell_failures(fleet, &statuses, version).await;
            let list: Vec<String> = waits.map(|i| format!("{} ({})", i.instance, i.state)).collect();
            let roll_out = status.roll_out.as_ref();
            let roll_out = roll_out.map_or_else(String::new, |words| format!(" ({words})"));
            return Err(Fail::no_answer(format!(
                "not healthy in time: {}{roll_out}",
                list.join(", ")
            )));
        }
        sleep(LOOK_PERIOD).await;
    }
}

async fn status(args: AppStatusArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let application = args.application.as_deref();
        let statuses = fleet.app_status(application, args.ask.timeout).await?;
        let mut failures = Vec::new();
        for status in &statuses {
            let ill = status
                .instances
                .iter()
                .filter(|one| !one.healthy && one.state != "complete");
            let ill = ill.map(|one| one.instance.as_str());
            failures.push(failed_instances(fleet, ill, 0..u64::MAX).await);
        }
        let document = with_failures(&statuses, &failures);
        output.print(&document, |_| {
            let failures: Vec<FailedInstance> = failures.into_iter().flatten().collect();
            status_text(&statuses).then(failures_text(&failures))
        })
    })
    .await
}

/// Instances of an application that failed in this time.
async fn failures_of(fleet: &Client, status: &[AppStatus], times: Range<u64>) -> Vec<FailedInstance> {
    let instances = status.iter().flat_map(|status| &status.instances);
    failed_instances(fleet, instances.map(|one| one.instance.as_str()), times).await
}

/// Tells what instances of a version printed before they failed.
async fn tell_failures(fleet: &Client, status: &[AppStatus], version: u64) {
    let Some(application) = status.first() else { return };
    let Ok(versions) = fleet.app_history(&application.application, ANSWER_TIMEOUT).await else {
        return;
    };
    let from = versions.iter().find(|one| one.version == version);
    let until = versions.iter().find(|one| one.version > version);
    let times = from.map_or(0, |one| one.at_ms)..until.map_or(u64::MAX, |one| one.at_ms);
    let failures = failures_of(fleet, status, times).await;
    if !failures.is_empty() {
        tell(failures_text(&failures));
    }
}

/// The documents, each with the failures that belong to it.
fn with_failures<T: Serialize>(all: &[T], failures: &[Vec<FailedInstance>]) -> Vec<Value> {
    let one = |(one, failures): (&T, &Vec<FailedInstance>)| {
        let mut document = serde_json::to_value(one).expect("plain data serialises");
        if let (Value::Object(document), false) = (&mut document, failures.is_empty()) {
            document.insert("failures".into(), serde_json::json!(failures));
        }
        document
    };
    all.iter().zip(failures).map(one).collect()
}

pub(super) fn status_text(statuses: &[AppStatus]) -> Text {
    if statuses.is_empty() {
        return "no applications: make one with `wayfare app apply`".into();
    }
    let one = |status: &AppStatus| {
        let row = |instance: &wayfare_client::app::ask::InstanceStatus| {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            vec![
                instance.instance.clone(),
                match (instance.current, instance.program, instance.next_ms) {
                    (_, _, Some(next_ms)) => format!("{}, {}", instance.state, moment(next_ms)),
                    (false, Some(_), None) => format!("{} (outdated)", instance.state),
                    _ => instance.state.clone(),
                } + &says(instance.health, instance.hold.as_deref()),
                if instance.healthy {
                    "yes".into()
                } else {
                    "-".into()
                },
                or_dash(instance.engine.as_ref().map(ToString::to_string)),
                or_dash(instance.program.map(|program| program.short())),
                or_dash(instance.generation.map(|generation| generation.to_string())),
            ]
        };
        let head = ["INSTANCE", "STATE", "HEALTHY", "ENGINE", "PROGRAM", "GENERATION"];
        let unplaced = status.unplaced.iter().map(|line| format!("not placed: {line}"));
        let holders = status.holders.iter().map(|holder| format!("held by {holder}"));
        let roll_out = status.roll_out.as_ref();
        Text::from(format!(
            "{}: {}, version {}{}",
            status.application,
            status.state,
            status.version,
            roll_out.map_or_else(String::new, |words| format!(" ({words})"))
        ))
        .then(Text::table(&head, status.instances.iter().map(row)))
        .then(Text::from_iter(unplaced))
        .then(Text::from_iter(holders))
    };
    let parts = statuses.iter().map(one);
    parts
        .reduce(|text, part| text.line("").then(part))
        .unwrap_or_default()
}

/// What a program says of itself, where that is worth a word.
fn says(health: Option<Health>, hold: Option<&str>) -> String {
    let unhealthy = health.filter(|health| *health == Health::Unhealthy);
    wayfare_client::fleet::describe_report(unhealthy, hold)
}

pub(super) fn history_table(versions: &[VersionStatus]) -> Text {
    let row = |version: &VersionStatus| {
        vec![
            version.version.to_string(),
            if version.current {
                "*".into()
            } else {
                String::new()
            },
            moment(version.at_ms),
            version.by.clone().unwrap_or_else(|| "-".into()),
            version.note.clone(),
        ]
    };
    Text::table(&["VERSION", "", "AT", "BY", "NOTE"], versions.iter().map(row))
}

/// The manifest and all that it names: files beside it, or samples.
/// A manifest with all that it names. The fleet is asked only where a component's module is source text.
async fn read(path: &Path, args: &AskArgs, output: Output) -> Result<Resolved> {
    let text = read_bounded(path, MANIFEST_BYTES_MAX)?;
    let bad = |what: String| Fail::new("manifest", format!("{}: {what}", path.display()));
    let text = String::from_utf8(text).map_err(|_| bad("not text".into()))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut sources = BTreeMap::new();
    for name in manifest::modules(&text).map_err(|error| bad(error.to_string()))? {
        if let Some(source) = Source::find(&folder.join(&name))? {
            sources.insert(name, source);
        }
    }
    let mut made = BTreeMap::new();
    if !sources.is_empty() {
        with_fleet(&args.fleet, async |fleet| {
            for (name, source) in &sources {
                let ready = kept::make(fleet, source, args.timeout, output).await?;
                made.insert(name.clone(), ready.for_manifest()?);
            }
            Ok(())
        })
        .await?;
    }
    let file = |name: &str| {
        let beside = folder.join(name);
        if beside.is_file() {
            return read_bounded(&beside, MODULE_BYTES_MAX).map_err(|fail| fail.message().to_owned());
        }
        Module::find(name)
            .map(|module| module.wasm)
            .map_err(|fail| fail.message().to_owned())
    };
    let make = |name: &str| match made.get(name) {
        Some(made) => Ok(made.clone()),
        None => file(name).map(manifest::Made::from),
    };
    manifest::resolve(&text, make, file).map_err(|error| bad(error.to_string()))
}

fn read_plan(path: &Path, application: &str) -> Result<PlanAnswer> {
    let bytes = read_bounded(path, MANIFEST_BYTES_MAX)?;
    let plan: PlanAnswer = serde_json::from_slice(&bytes)
        .map_err(|error| Fail::new("plan", format!("{}: not a plan: {error}", path.display())))?;
    if plan.application == application {
        return Ok(plan);
    }
    let text = format!(
        "{}: a plan for '{}', not for '{application}'",
        path.display(),
        plan.application
    );
    Err(Fail::new("plan", text))
}

/// For the verbs on engines.
pub(super) async fn ask(fleet: &Client, ask: &Ask, limit: Duration) -> Result<Value> {
    Ok(fleet.ask_apps(ask, limit).await?)
}
