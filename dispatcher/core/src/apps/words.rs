//! Differences and plans, as people read them.

use wayfare_scheduler::plan::{Action, KillReason, MoveReason};

use wayfare_fleet::app::{AppSpec, ComponentSpec};

/// What differs between what is wanted now and what was, a line each; none if nothing does.
pub(super) fn changes(before: Option<&AppSpec>, after: &AppSpec) -> Vec<String> {
    let mut lines = Vec::new();
    let old = |name: &str| before.and_then(|before| before.components.get(name));
    for (name, component) in &after.components {
        match old(name) {
            None => lines.push(format!(
                "+ {name}: {} of module {}{}",
                instances(component),
                component.module.digest.short(),
                component
                    .schedule
                    .as_ref()
                    .map_or_else(String::new, |schedule| format!(", begun at {schedule}")),
            )),
            Some(old) => {
                lines.extend(component_changes(old, component).map(|change| format!("~ {name}: {change}")))
            }
        }
    }
    if before.is_some_and(|before| before.staging != after.staging) {
        lines.push("~ stages and window of updates changed".to_owned());
    }
    for (name, component) in before.iter().flat_map(|before| &before.components) {
        if !after.components.contains_key(name) {
            lines.push(format!("- {name}: {}", instances(component)));
        }
    }
    lines
}

fn component_changes(old: &ComponentSpec, new: &ComponentSpec) -> impl Iterator<Item = String> {
    let said = |what: &str, changed: bool, text: String| changed.then(|| format!("{what} {text}"));
    let plain = |what: &str, changed: bool| changed.then(|| format!("{what} changed"));
    [
        said(
            "count",
            count(old) != count(new),
            format!("{} -> {}", count(old), count(new)),
        ),
        said(
            "module",
            old.module != new.module,
            format!("{} -> {}", old.module.digest.short(), new.module.digest.short()),
        ),
        plain("arguments", old.args != new.args),
        plain("environment", old.env != new.env),
        plain("standard input", old.stdin != new.stdin),
        said(
            "memory",
            old.memory_bytes != new.memory_bytes,
            format!("{} -> {}", limit(old.memory_bytes), limit(new.memory_bytes)),
        ),
        plain("grants", old.grants != new.grants),
        plain("inputs and outputs", old.ports != new.ports),
        plain("processor", old.processor_millicores != new.processor_millicores),
        plain(
            "requirements",
            old.constraints != new.constraints || old.mobility != new.mobility,
        ),
        (old.restarts != new.restarts).then(|| "its instances begin anew".to_owned()),
        plain("health", old.health != new.health),
        plain("checkpoint", old.checkpoint_ms != new.checkpoint_ms),
        plain("restart", old.restart != new.restart),
        said(
            "schedule",
            old.schedule != new.schedule,
            format!("{} -> {}", scheduled(old), scheduled(new)),
        ),
        plain("update", old.update != new.update),
    ]
    .into_iter()
    .flatten()
}

fn scheduled(component: &ComponentSpec) -> String {
    let schedule = component.schedule.as_ref();
    schedule.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn count(component: &ComponentSpec) -> String {
    match component.is_everywhere() {
        true => "one on every engine".to_owned(),
        false => component.count.to_string(),
    }
}

fn instances(component: &ComponentSpec) -> String {
    match component.count {
        _ if component.is_everywhere() => "an instance on every engine that matches".to_owned(),
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    }
}

fn limit(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "the engine's limit".to_owned(),
        |bytes| format!("{bytes} bytes"),
    )
}

pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Run { instance, engine } => format!("run {instance} on {engine}"),
        Action::Restart {
            instance,
            lost,
            target,
            ..
        } => format!("restart {instance} on {target}: {lost} is lost"),
        Action::Move {
            instance,
            source,
            target,
            why,
            ..
        } => {
            let why = match why {
                MoveReason::Drain => "drain",
                MoveReason::Misplaced => "it does not fit there",
                MoveReason::Rebalance { .. } => "balance",
            };
            format!("move {instance} from {source} to {target}: {why}")
        }
        Action::Kill {
            instance,
            engine,
            why,
            ..
        } => {
            let why = match why {
                KillReason::Unwanted => "not wanted any more",
                KillReason::Superseded => "another has taken its place",
            };
            format!("end {instance} on {engine}: {why}")
        }
    }
}
