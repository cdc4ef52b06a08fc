//! Completion in shells: verbs and options as they are defined, programs, engines and applications as the
//! fleet has them.
//!
//! ```text
//!  shell --WAYFARE_COMPLETE=bash wayfare -- <the line>--> this command --as any other--> broker
//! ```
//! What always holds: whoever presses the key does not wait. Names that are not there in time are left out,
//! silently.

pub(crate) mod kept;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::Parser;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use wayfare_client::fleet::describe;
use wayfare_client::{Client, ClientOptions};

use self::kept::candidates;
use crate::args::fleet::FleetArgs;
use crate::config::Settings;
use crate::fail::{Fail, Result};

/// Says for which shell the rest of the arguments is to be completed.
pub(crate) const VARIABLE: &str = "WAYFARE_COMPLETE";
const NAME: &str = "wayfare";
/// Longer than this nobody waits for names.
const TIME_LIMIT: Duration = Duration::from_millis(80);

/// What a shell runs at its start, to ask for completion from then on.
pub(crate) fn script(shell: &str) -> Result<Vec<u8>> {
    let shells = Shells::builtins();
    let mut script = Vec::new();
    let Some(completer) = shells.completer(shell) else {
        let there: Vec<&str> = shells.names().collect();
        return Err(Fail::usage(format!(
            "no completion for '{shell}'; there is: {}",
            there.join(", ")
        )));
    };
    completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    Ok(script)
}

pub(crate) fn programs() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |fleet| {
            let views = fleet.programs().await.ok()?;
            let named = views.iter().map(|view| {
                let status = &view.status;
                let state = describe(&status.state);
                (status.name.clone(), format!("{state}, on {}", status.engine))
            });
            Some(named.collect())
        })
    })
}

pub(crate) fn engines() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |fleet| {
            let views = fleet.engines().await.ok()?.into_iter();
            let named = views.map(|view| (view.engine.to_string(), view.word().to_owned()));
            Some(named.collect())
        })
    })
}

pub(crate) fn applications() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |fleet| {
            let apps = fleet.app_status(None, TIME_LIMIT).await.ok()?.into_iter();
            Some(apps.map(|app| (app.application, app.state)).collect())
        })
    })
}

/// Names that begin like this, each with what is known of it.
fn names(
    begun: &OsStr,
    ask: impl AsyncFnOnce(&Client) -> Option<Vec<(String, String)>>,
) -> Vec<CompletionCandidate> {
    candidates(begun, asked(ask).unwrap_or_default())
}

/// What the fleet answers in time.
fn asked<T>(ask: impl AsyncFnOnce(&Client) -> Option<T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let settings = Settings::load(&typed(std::env::args_os())).ok()?;
    let answer = runtime.block_on(async {
        let mut options = ClientOptions::new(settings.broker);
        options.topics = settings.topics;
        options.connect_timeout = TIME_LIMIT;
        let answer = async {
            let fleet = Client::connect(options).await.ok()?;
            ask(&fleet).await
        };
        tokio::time::timeout(TIME_LIMIT, answer).await.ok()?
    });
    runtime.shutdown_background();
    answer
}

/// The fleet that the line names so far: it is not whole, so that nothing else of it can be read.
fn typed(line: impl Iterator<Item = OsString>) -> FleetArgs {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        fleet: FleetArgs,
    }
    let options = [
        "--broker",
        "--broker-ca",
        "--broker-login",
        "--root",
        "--operator-key",
        "--context",
    ];
    let line: Vec<OsString> = line.skip_while(|word| word != "--").skip(1).collect();
    let mut kept = vec![OsString::from(NAME)];
    for (at, word) in line.iter().enumerate() {
        let text = word.to_string_lossy();
        if options
            .iter()
            .any(|option| text.starts_with(&format!("{option}=")))
        {
            kept.push(word.clone());
        } else if let (true, Some(value)) = (options.contains(&&*text), line.get(at + 1)) {
            kept.extend([word.clone(), value.clone()]);
        }
    }
    Line::try_parse_from(kept)
        .map(|line| line.fleet)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_of_a_line_that_is_not_whole_is_read() {
        let typed = |line: &str| typed(line.split(' ').map(OsString::from));
        let fleet = typed("wayfare -- wayfare kill --broker mqtt://hub --root=site p");
        assert_eq!(
            (fleet.broker.as_deref(), fleet.root.as_deref()),
            (Some("mqtt://hub"), Some("site"))
        );
        for line in [
            "wayfare -- wayfare kill --broker",
            "wayfare -- wayfare move p --to",
            "wayfare",
        ] {
            assert_eq!(typed(line).broker, None, "{line}");
        }
    }

    #[test]
    fn a_script_asks_this_command_and_an_unknown_shell_is_refused() {
        for shell in ["bash", "zsh", "fish"] {
            let script = String::from_utf8(script(shell).unwrap()).unwrap();
            assert!(script.contains(VARIABLE) && script.contains(NAME), "{script}");
        }
        assert!(script("tcsh").is_err());
    }
}
