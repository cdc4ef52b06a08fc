//! The page `book/src/reference/commands.md`, made from the definition of the command, so that it cannot go
//! stale.
//!
//! The test fails when the page differs. To write it anew: `WAYFARE_UPDATE_BOOK=1 cargo test -p wayfare
//! reference`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::{AFTER_HELP, Cli};

const PAGE: &str = "../book/src/reference/commands.md";
/// Set, the page is written instead of compared.
const UPDATE: &str = "WAYFARE_UPDATE_BOOK";
/// Options that say which fleet is meant: described once.
const FLEET: [&str; 6] = [
    "broker",
    "broker_ca",
    "broker_login",
    "root",
    "operator_key",
    "context",
];

#[test]
fn the_books_reference_is_what_the_command_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == page,
        "{PAGE} is not what the command says: run `{UPDATE}=1 cargo test -p wayfare reference`, and commit the page"
    );
}

fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::from(
        "# Commands\n\n<!-- Made from the command's own help by cli/src/args/reference.rs: do not edit. -->\n\n\
         Every verb has `--help`, which says the same. `--json` goes with every verb: JSON, one document, or one a line where there are\n\
         several; errors too, on standard error.\n\n| verb | |\n| --- | --- |\n",
    );
    for verb in verbs(&command) {
        let (name, about) = (title(verb), about(verb));
        writeln!(out, "| [`{name}`](#{}) | {about} |", name.replace(' ', "-")).unwrap();
    }
    write!(
        out,
        "\n## Names, settings and exit codes\n\n```text\n{AFTER_HELP}\n```\n"
    )
    .unwrap();
    out.push_str("\n## The fleet's options\n\nVerbs that speak to a fleet take these:\n\n");
    let fleet = command.find_subcommand("ps").unwrap();
    options(&mut out, fleet.get_arguments().filter(|arg| is_of_fleet(arg)));
    for verb in verbs(&command) {
        section(&mut out, verb);
    }
    out
}

fn section(out: &mut String, verb: &Command) {
    let title = title(verb);
    write!(out, "\n## {title}\n\n{}.\n", about(verb)).unwrap();
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    write!(out, "\n```text\n{usage}\n```\n").unwrap();
    let shown =
        |arg: &&Arg| !arg.is_hide_set() && !["help", "version", "json"].contains(&arg.get_id().as_str());
    let all: Vec<&Arg> = verb.get_arguments().filter(shown).collect();
    // An engine says more of its broker than the others do.
    let folds = FLEET.iter().all(|id| all.iter().any(|arg| arg.get_id() == id)) && title != "wayfare engine";
    let own: Vec<&Arg> = all
        .into_iter()
        .filter(|arg| !(folds && is_of_fleet(arg)))
        .collect();
    if !own.is_empty() {
        out.push('\n');
        options(out, own.into_iter());
    }
    if folds {
        out.push_str("\nAlso: [the fleet's options](#the-fleets-options).\n");
    }
}

fn options<'a>(out: &mut String, all: impl Iterator<Item = &'a Arg>) {
    out.push_str("| | |\n| --- | --- |\n");
    for arg in all {
        let mut help = arg
            .get_help()
            .map(|help| cell(&help.to_string()))
            .unwrap_or_default();
        let mut notes = Vec::new();
        if let Some(variable) = arg.get_env() {
            notes.push(format!("variable: `{}`", variable.to_string_lossy()));
        }
        let defaults = arg.get_default_values().iter();
        let defaults: Vec<_> = defaults
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        if takes_value && !defaults.is_empty() && defaults != ["``"] {
            notes.push(format!("default: {}", defaults.join(" ")));
        }
        let possible = arg.get_possible_values();
        if takes_value && !possible.is_empty() {
            let names: Vec<_> = possible
                .iter()
                .map(|value| format!("`{}`", value.get_name()))
                .collect();
            notes.push(format!("one of {}", names.join(", ")));
        }
        if !notes.is_empty() {
            let gap = if help.is_empty() { "" } else { " " };
            write!(help, "{gap}({})", notes.join("; ")).unwrap();
        }
        writeln!(out, "| {} | {help} |", form(arg)).unwrap();
    }
}

/// As it is typed.
fn form(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names
        .iter()
        .map(|name| format!("<{name}>"))
        .collect::<Vec<_>>()
        .join(" ");
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let flag = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append => format!("`{flag} {value}`").replace('|', "\\|"),
        _ => format!("`{flag}`"),
    }
}

/// What does something: verbs, and those of verbs that have some.
fn verbs(command: &Command) -> Vec<&Command> {
    let all = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help" && !verb.is_hide_set());
    all.flat_map(|verb| {
        let own = (!verb.is_subcommand_required_set()).then_some(verb);
        let below = verb.get_subcommands().filter(|below| below.get_name() != "help");
        own.into_iter().chain(below).collect::<Vec<_>>()
    })
    .collect()
}

fn title(verb: &Command) -> String {
    verb.get_bin_name().unwrap_or(verb.get_name()).to_owned()
}

fn about(verb: &Command) -> String {
    verb.get_about()
        .map(|about| cell(&about.to_string()))
        .unwrap_or_default()
}

fn is_of_fleet(arg: &Arg) -> bool {
    FLEET.contains(&arg.get_id().as_str())
}

/// For a cell of a table.
fn cell(text: &str) -> String {
    let text = text.replace('\n', " ");
    text.replace('<', "&lt;").replace('|', "\\|").replace('*', "\\*")
}
