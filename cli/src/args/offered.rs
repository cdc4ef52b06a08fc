//! Holds the gateway's operations against the command's verbs: what the command can do, HTTP can do, but for
//! what is listed here with its reason.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory};
use wayfare_gateway::offers;

use super::Cli;

const OF_THIS_MACHINE: &str = "it is about this machine's processes and files, not about the fleet";
const BELOW_FILES: &str = "`/files/...` does it, as things of the web are got, put and deleted";
const OF_THE_ROOT_KEY: &str = "it takes the fleet's root key, which no service has";
const OF_OWN_KEY: &str = "whoever approves an engine does so with a key of their own";
const OF_A_TERMINAL: &str = "it is for who sits at a terminal";
const ANOTHER_WORD: &str = "it is another spelling of a verb that is offered";
const WITH_ENGINES: &str = "`/api/v1/engines` has each engine's devices";
const WITH_PROGRAMS: &str = "`/api/v1/programs` has each program's module";
const WITH_APPS: &str = "`/api/v1/apps` has each instance's";
const OF_SCHEMAS: &str = "`/api/v1/services/NAME` has the schema that it is made of";
const NOT_YET: &str = "not offered yet";

/// Verbs that are not offered.
const NOT_OFFERED: [(&str, &str); 56] = [
    ("up", OF_THIS_MACHINE),
    ("engine start", OF_THIS_MACHINE),
    ("engine init", OF_THIS_MACHINE),
    ("engine ls", ANOTHER_WORD),
    ("device ls", WITH_ENGINES),
    ("dispatcher", OF_THIS_MACHINE),
    ("ui", OF_THIS_MACHINE),
    ("demo", OF_THIS_MACHINE),
    ("compile", OF_THIS_MACHINE),
    ("key init", OF_THIS_MACHINE),
    ("key show", OF_THIS_MACHINE),
    ("key rotate", OF_THIS_MACHINE),
    ("operator init", OF_THE_ROOT_KEY),
    ("operator key", OF_THIS_MACHINE),
    ("operator add", OF_THE_ROOT_KEY),
    ("operator rm", OF_THE_ROOT_KEY),
    ("operator ls", OF_THE_ROOT_KEY),
    ("operator orders", OF_THE_ROOT_KEY),
    ("operator engines", OF_THE_ROOT_KEY),
    ("operator publish", OF_THE_ROOT_KEY),
    ("enroll ls", OF_THE_ROOT_KEY),
    ("enroll approve", OF_OWN_KEY),
    ("enroll rm", OF_THE_ROOT_KEY),
    ("js check", OF_THIS_MACHINE),
    ("context add", OF_THIS_MACHINE),
    ("context use", OF_THIS_MACHINE),
    ("context ls", OF_THIS_MACHINE),
    ("context rm", OF_THIS_MACHINE),
    ("completion", OF_THIS_MACHINE),
    ("man", OF_THIS_MACHINE),
    ("new", OF_THIS_MACHINE),
    ("service stub", OF_SCHEMAS),
    ("schema", OF_THIS_MACHINE),
    ("modules", WITH_PROGRAMS),
    ("snapshots", WITH_APPS),
    ("top", OF_A_TERMINAL),
    ("shell", OF_A_TERMINAL),
    ("batch", NOT_YET),
    ("support-bundle", NOT_YET),
    ("state set", NOT_YET),
    ("state watch", NOT_YET),
    ("state export", NOT_YET),
    ("state import", NOT_YET),
    ("prune", NOT_YET),
    ("language add", NOT_YET),
    ("language ls", NOT_YET),
    ("language rm", NOT_YET),
    ("fs ls", BELOW_FILES),
    ("fs cat", BELOW_FILES),
    ("fs put", BELOW_FILES),
    ("fs get", BELOW_FILES),
    ("fs rm", BELOW_FILES),
    ("fs mkdir", BELOW_FILES),
    ("fs mv", BELOW_FILES),
    ("fs cp", BELOW_FILES),
    ("fs history", BELOW_FILES),
];

fn verbs(command: &Command, before: &str, found: &mut BTreeSet<String>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{before}{}", verb.get_name());
        let has_own_use = !verb.is_subcommand_required_set() && verb.get_name() != "engine";
        if !verb.has_subcommands() || has_own_use {
            found.insert(name.clone());
        }
        verbs(verb, &format!("{name} "), found);
    }
}

#[test]
fn every_verb_is_offered_over_http_or_has_a_reason_not_to_be() {
    let mut there = BTreeSet::new();
    verbs(&Cli::command(), "", &mut there);
    let offered: BTreeSet<String> = offers::all()
        .filter_map(|offer| offer.verb)
        .map(str::to_owned)
        .collect();
    let not_offered: BTreeMap<&str, &str> = NOT_OFFERED.into_iter().collect();
    let unknown: Vec<&String> = offered.difference(&there).collect();
    assert!(unknown.is_empty(), "offered, but no verbs: {unknown:?}");
    let missing: Vec<&String> = there
        .iter()
        .filter(|verb| !offered.contains(*verb) && !not_offered.contains_key(verb.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "neither offered nor with a reason: {missing:?}"
    );
    let stale: Vec<&&str> = not_offered
        .keys()
        .filter(|verb| offered.contains(**verb) || !there.contains(**verb))
        .collect();
    assert!(
        stale.is_empty(),
        "has a reason, but is offered or is no verb: {stale:?}"
    );
}
