//! Holds every verb to the rule of `--dry-run`: what changes something that the fleet keeps can be tried, but
//! for what is listed here with its reason.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory};

use super::Cli;

const READS: &str = "it changes nothing";
const OF_THIS_MACHINE: &str =
    "it is about this machine's processes and files, not about what the fleet keeps";
const PASSES_ON: &str = "it says something to programs: what these would do nobody knows";
const OF_THAT_MOMENT: &str = "whether it comes too late is known when it is done, and not before";
const OF_THE_ROSTER: &str =
    "it signs a new roster with the root key; `operator ls` and `enroll ls` show what it says";
const OF_ITS_VERBS: &str = "each verb that is typed there has its own";
const NOT_YET: &str = "it cannot be tried yet";

/// Verbs without `--dry-run`.
const NOT_TRIED: &[(&str, &[&str])] = &[
    (
        READS,
        &[
            "app history",
            "app plan",
            "app status",
            "device get",
            "device ls",
            "engine ls",
            "engines",
            "enroll ls",
            "events",
            "fs cat",
            "fs get",
            "fs history",
            "fs ls",
            "inspect",
            "js check",
            "key show",
            "language ls",
            "logs",
            "modules",
            "operator key",
            "operator ls",
            "ops",
            "ops show",
            "ops wait",
            "ps",
            "schema",
            "service stub",
            "services",
            "snapshots",
            "state export",
            "state get",
            "state ls",
            "state watch",
            "status",
            "support-bundle",
            "top",
        ],
    ),
    (
        OF_THIS_MACHINE,
        &[
            "compile",
            "completion",
            "context add",
            "context ls",
            "context rm",
            "context use",
            "demo",
            "dispatcher",
            "engine",
            "engine init",
            "engine start",
            "key init",
            "key rotate",
            "man",
            "new",
            "operator init",
            "ui",
            "up",
        ],
    ),
    (PASSES_ON, &["call", "send"]),
    (OF_THAT_MOMENT, &["ops cancel"]),
    (
        OF_THE_ROSTER,
        &[
            "enroll approve",
            "enroll rm",
            "operator add",
            "operator engines",
            "operator orders",
            "operator publish",
            "operator rm",
        ],
    ),
    (OF_ITS_VERBS, &["shell"]),
    (NOT_YET, &["state import"]),
];

fn without(command: &Command, before: &str, found: &mut BTreeSet<String>, with: &mut BTreeSet<String>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{before}{}", verb.get_name());
        if !verb.has_subcommands() || !verb.is_subcommand_required_set() {
            let can_be_tried = verb
                .get_arguments()
                .any(|argument| argument.get_id() == "dry_run");
            let verbs = if can_be_tried { &mut *with } else { &mut *found };
            verbs.insert(name.clone());
        }
        without(verb, &format!("{name} "), found, with);
    }
}

#[test]
fn every_verb_that_changes_something_can_be_tried_or_has_a_reason_not_to_be() {
    let (mut not_tried, mut tried) = (BTreeSet::new(), BTreeSet::new());
    without(&Cli::command(), "", &mut not_tried, &mut tried);
    let reasons: BTreeMap<&str, &str> = NOT_TRIED
        .iter()
        .flat_map(|(reason, verbs)| verbs.iter().map(move |verb| (*verb, *reason)))
        .collect();
    let missing: Vec<&String> = not_tried
        .iter()
        .filter(|verb| !reasons.contains_key(verb.as_str()))
        .collect();
    assert!(missing.is_empty(), "neither --dry-run nor a reason: {missing:?}");
    let stale: Vec<&&str> = reasons
        .keys()
        .filter(|verb| !not_tried.contains(**verb))
        .collect();
    assert!(
        stale.is_empty(),
        "has a reason, but --dry-run too or is no verb: {stale:?}"
    );
    assert!(
        tried.contains("hold") && tried.contains("state set") && tried.contains("kill"),
        "{tried:?}"
    );
}
