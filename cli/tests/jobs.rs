//! The book's page of everyday jobs is a script: each of its commands is run, in its order, and has to end as
//! the page says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{STATE_HOME, Up};

/// Behind a command that is to fail.
const FAILS: &str = "# exits with 1";

/// What stands between fences of this kind, block by block.
fn blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let begin = format!("```{kind}\n");
    let blocks = page.split(begin.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_everyday_jobs_of_the_book_are_done_as_they_are_typed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src/jobs.md");
    let page = std::fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.toml"), blocks(&page, "toml")[0]).unwrap();
    let up = Up::start(&folder.path().join("up"), 2);
    up.waits_for_engines(2);
    let binary = Path::new(env!("CARGO_BIN_EXE_wayfare")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let commands = blocks(&page, "console").into_iter().flat_map(str::lines);
    let commands: Vec<&str> = commands.filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 15, "{commands:?}");
    for typed in commands {
        // The fleet is the test's own, and so are its user's settings.
        let mut shell = Command::new("bash");
        shell
            .args(["-o", "pipefail", "-c", typed])
            .current_dir(folder.path());
        shell
            .env("PATH", &path)
            .env("WAYFARE_BROKER", &up.broker)
            .env("USER", "ann");
        shell
            .env("HOME", folder.path())
            .env("XDG_STATE_HOME", STATE_HOME)
            .env_remove("WAYFARE_CONTEXT")
            .env_remove("XDG_CONFIG_HOME");
        let ran = shell.output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let expected = i32::from(typed.contains(FAILS));
        // Whose reader has read enough is not to blame.
        let exit = ran.status.code().filter(|exit| *exit != 141).unwrap_or(0);
        assert_eq!(exit, expected, "{typed}\n{said}");
    }
}
