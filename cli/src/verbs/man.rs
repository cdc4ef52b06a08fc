//! `wayfare man`: pages for `man`, made from the definition of the command, so that they cannot go stale.

use std::fs;
use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::args::Cli;
use crate::args::project::ManArgs;
use crate::fail::{Fail, Result};
use crate::output::Output;

/// One page, and the file that `man` looks for.
struct Page {
    file: String,
    roff: Vec<u8>,
}

pub(super) fn run(args: &ManArgs, output: Output) -> Result {
    let pages = pages()?;
    let folder = &args.folder;
    fs::create_dir_all(folder).map_err(|error| Fail::file(folder, &error))?;
    for page in &pages {
        let path = folder.join(&page.file);
        fs::write(&path, &page.roff).map_err(|error| Fail::file(&path, &error))?;
    }
    let document = json!({ "folder": folder, "pages": pages.len() });
    output.print(&document, |_| {
        format!("{} pages are in {}", pages.len(), folder.display())
    })
}

/// Of the command and of each of its verbs.
fn pages() -> io::Result<Vec<Page>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, &command, None)?;
    Ok(pages)
}

fn add(pages: &mut Vec<Page>, command: &Command, of: Option<&str>) -> io::Result<()> {
    let name = match of {
        Some(of) => format!("{of}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("wayfare {}", env!("CARGO_PKG_VERSION")))
        .manual("Wayfare");
    let mut roff = Vec::new();
    man.render(&mut roff)?;
    pages.push(Page {
        file: format!("{name}.1"),
        roff,
    });
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        add(pages, verb, Some(&name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What roff is told to do; any other line that begins with a dot is text that was not escaped.
    const REQUESTS: [&str; 11] = [
        ".IP", ".PP", ".TH", ".SH", ".SS", ".TP", ".RS", ".RE", ".br", ".ie", ".el",
    ];

    /// Each verb's page, as its file is called, and how it is typed.
    fn verbs(command: &Command, before: &str, found: &mut BTreeSet<(String, String)>) {
        let typed = format!("{before}{}", command.get_name());
        found.insert((format!("{}.1", typed.replace(' ', "-")), typed.clone()));
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            verbs(verb, &format!("{typed} "), found);
        }
    }

    #[test]
    fn every_verb_has_a_page_that_says_how_it_is_typed() {
        let mut expected = BTreeSet::new();
        verbs(&Cli::command(), "", &mut expected);
        let pages = pages().unwrap();
        let files: BTreeSet<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        let wanted: BTreeSet<&str> = expected.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(files, wanted);
        assert!(files.contains("wayfare-engine-ls.1"), "{files:?}");
        for (file, typed) in &expected {
            let page = pages.iter().find(|page| page.file == *file).unwrap();
            let text = String::from_utf8(page.roff.clone()).unwrap();
            // Hyphens are escaped, and names are bold.
            let plain = text.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
            let synopsis = plain.split(".SH SYNOPSIS\n").nth(1).unwrap_or_default();
            assert!(synopsis.starts_with(typed.as_str()), "{file}: {synopsis:.200}");
            let options = plain.contains("--json");
            assert!(options, "{file} does not say what is told to every verb");
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                assert!(
                    REQUESTS.iter().any(|request| line.starts_with(request)),
                    "{file}: {line}"
                );
            }
        }
    }

    #[test]
    fn pages_are_written_where_they_are_to_be_and_a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("share/man/man1");
        let args = ManArgs { folder: into.clone() };
        run(&args, Output::Human).unwrap();
        let text = fs::read_to_string(into.join("wayfare-move.1")).unwrap();
        assert!(text.contains(".TH WAYFARE-MOVE 1"), "{text:.300}");
        let file = into.join("wayfare.1");
        let args = ManArgs { folder: file.clone() };
        let fail = run(&args, Output::Human).unwrap_err();
        assert!(
            fail.message().contains(&*file.to_string_lossy()),
            "{}",
            fail.message()
        );
    }
}
