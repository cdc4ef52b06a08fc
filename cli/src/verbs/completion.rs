//! `wayfare completion`.

use std::fs;
use std::path::PathBuf;

use clap_complete::Shell;
use serde_json::json;

use crate::completing;
use crate::fail::{Fail, Result};
use crate::output::Output;
use crate::whole;

/// The shell that was named, or this user's.
pub(super) fn of_user(named: Option<Shell>) -> Result<Shell> {
    named.or_else(Shell::from_env).ok_or_else(|| {
        Fail::usage("SHELL names no shell that is known")
            .hint("say which: bash, elvish, fish, powershell or zsh")
    })
}

pub(super) fn print(shell: Shell) -> Result {
    crate::output::write_out(&completing::script(&shell.to_string())?)
}

/// Where the shell looks by itself; a file that is there is replaced.
pub(super) fn install(shell: Shell, output: Output) -> Result {
    let file = place(shell, |name| std::env::var(name).ok())?;
    let script = completing::script(&shell.to_string())?;
    let made = file.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| whole::write(&file, &script))
        .map_err(|error| Fail::file(&file, &error))?;
    output.print(&json!({ "file": file }), |_| {
        format!("{} is there for shells that begin from now on", file.display())
    })
}

/// The file in this user's folders that the shell reads when a line of `wayfare` is completed for the first
/// time.
fn place(shell: Shell, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let (folder, below_home, file) = match shell {
        Shell::Bash => (
            "XDG_DATA_HOME",
            ".local/share",
            "bash-completion/completions/wayfare",
        ),
        Shell::Fish => ("XDG_CONFIG_HOME", ".config", "fish/completions/wayfare.fish"),
        _ => {
            let fail = Fail::usage(format!("{shell} looks into no folder of this user's by itself"));
            return Err(fail.hint(format!(
                "have it run what `wayfare completion {shell}` prints at its start"
            )));
        }
    };
    let absolute = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute(folder).or_else(|| Some(absolute("HOME")?.join(below_home)));
    base.map(|base| base.join(file))
        .ok_or_else(|| Fail::usage("no home folder to put it in: HOME is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_where_the_shell_looks_by_itself() {
        let of = |shell, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            place(shell, variable).map_err(|fail| fail.in_a_line())
        };
        let home = [("HOME", "/h")];
        assert_eq!(
            of(Shell::Bash, &home),
            Ok("/h/.local/share/bash-completion/completions/wayfare".into())
        );
        assert_eq!(
            of(Shell::Fish, &home),
            Ok("/h/.config/fish/completions/wayfare.fish".into())
        );
        let moved = [
            ("HOME", "/h"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CONFIG_HOME", "relative"),
        ];
        assert_eq!(
            of(Shell::Bash, &moved),
            Ok("/d/bash-completion/completions/wayfare".into())
        );
        assert_eq!(
            of(Shell::Fish, &moved),
            Ok("/h/.config/fish/completions/wayfare.fish".into())
        );
        assert!(
            of(Shell::Zsh, &home)
                .unwrap_err()
                .contains("wayfare completion zsh")
        );
        assert!(of(Shell::Bash, &[]).unwrap_err().contains("HOME"));
    }
}
