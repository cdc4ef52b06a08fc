//! How a verb fails: what happened, what to do about it, and the exit code.

use std::io;
use std::process::ExitCode;

use wayfare_client::calls::CallError;
use wayfare_client::files::FilesError;
use wayfare_client::problem::{BAD_USAGE, NO_ANSWER, Problem};
use wayfare_client::{AskError, CommandError, ConnectError};
use wayfare_link::BrokerUrl;

use crate::local::LocalFleet;
use crate::output::{Output, Text, tell, tell_json};

/// The kind of the failure of who was interrupted by Ctrl-C.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Exit codes are part of the interface: 0 is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NoAnswer = 3,
    /// It is done, and shows that an alarm stands.
    Alarm = 4,
    /// Ctrl-C: what shells show of a command that died of SIGINT.
    Interrupted = 130,
    /// What shells show of a command that died of SIGPIPE: whoever read standard output has gone away.
    ReaderGone = 141,
}

#[derive(Debug)]
pub(crate) struct Fail {
    exit: Exit,
    problem: Problem,
}

pub(crate) type Result<T = ()> = std::result::Result<T, Fail>;

impl Fail {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            problem: Problem::new(kind, message),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(BAD_USAGE, message)
        }
    }

    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::new("file", format!("{}: {error}", path.display()))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            problem: self.problem.hint(hint),
            ..self
        }
    }

    /// The same of a part of `whole`.
    pub(crate) fn within(&self, whole: &str) -> Self {
        self.worded(format!("{whole}: {}", self.message()), str::to_owned)
    }

    /// For who does not know of the folder that a file was put into: it is not named.
    pub(crate) fn in_folder(&self, folder: &std::path::Path) -> Self {
        let without = |text: &str| text.replace(&format!("{}/", folder.display()), "");
        self.worded(without(self.message()), without)
    }

    /// The same in other words.
    fn worded(&self, message: String, hint: impl Fn(&str) -> String) -> Self {
        let problem = Problem::new(self.problem.kind(), message);
        Self {
            exit: self.exit,
            problem: match self.problem.way_out() {
                Some(way_out) => problem.hint(hint(way_out)),
                None => problem,
            },
        }
    }

    pub(crate) fn into_problem(self) -> Problem {
        self.problem
    }

    /// What happened and what to do about it, for a screen that has one line for it.
    pub(crate) fn in_a_line(&self) -> String {
        match self.problem.way_out() {
            Some(hint) => format!("{}; {hint}", self.message()),
            None => self.message().to_owned(),
        }
    }

    /// Nothing went wrong, and there is nothing to say: only the exit code tells.
    pub(crate) fn quiet() -> Self {
        Self::new("quiet", "")
    }

    /// What was shown has an alarm in it.
    pub(crate) fn alarm() -> Self {
        Self {
            exit: Exit::Alarm,
            ..Self::quiet()
        }
    }

    /// Standard output cannot be written. A reader that has seen enough (`| head`) is told nothing.
    pub(crate) fn standard_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self {
                exit: Exit::ReaderGone,
                ..Self::quiet()
            },
            _ => Self::new(
                "standard-output",
                format!("cannot write to standard output: {error}"),
            ),
        }
    }

    /// Ctrl-C, and what goes on all the same.
    pub(crate) fn interrupted(goes_on: impl std::fmt::Display) -> Self {
        Self {
            exit: Exit::Interrupted,
            ..Self::new(INTERRUPTED, format!("interrupted: {goes_on}"))
        }
    }

    pub(crate) fn no_answer(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::NoAnswer,
            ..Self::new(NO_ANSWER, message)
        }
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.problem.kind() == kind
    }

    pub(crate) fn message(&self) -> &str {
        self.problem.message()
    }

    /// For people.
    pub(crate) fn text(&self) -> Text {
        let hint = self.problem.way_out().map(|hint| format!(": {hint}"));
        paragraph(&format!("error: {}{}", self.message(), hint.unwrap_or_default()))
    }

    pub(crate) fn print(self, output: Output) -> ExitCode {
        let exit = self.exit as u8;
        match output {
            _ if self.message().is_empty() => {}
            Output::Human => tell(self.text()),
            Output::Json => {
                let mut document = self.problem.document();
                document.insert("exit".into(), exit.into());
                tell_json(&document);
            }
        }
        ExitCode::from(exit)
    }
}

/// A message as it is shown: what follows on its first line is set back, so that it cannot be taken for
/// another.
fn paragraph(message: &str) -> Text {
    let mut lines = message.lines();
    let first = Text::from(lines.next().unwrap_or_default());
    lines.fold(first, |text, line| text.line(format!("  {line}")))
}

impl From<Problem> for Fail {
    /// Silence has an exit code of its own, and so has what was asked wrongly.
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind() {
            NO_ANSWER => Exit::NoAnswer,
            BAD_USAGE => Exit::Usage,
            _ => Exit::Failed,
        };
        Self { exit, problem }
    }
}

impl From<CommandError> for Fail {
    fn from(error: CommandError) -> Self {
        Problem::from(error).into()
    }
}

impl From<AskError> for Fail {
    fn from(error: AskError) -> Self {
        Problem::from(error).into()
    }
}

impl From<CallError> for Fail {
    fn from(error: CallError) -> Self {
        Problem::from(error).into()
    }
}

impl From<FilesError> for Fail {
    fn from(error: FilesError) -> Self {
        Problem::from(error).into()
    }
}

/// The same for the broker, which only the front end knows how to start.
pub(crate) fn connecting(error: ConnectError) -> Fail {
    match error {
        ConnectError::NoBroker { broker, reason } => {
            // That nobody listens there is what "no broker" says; anything else is worth saying.
            let reason = reason.filter(|reason| !reason.to_lowercase().contains("connection refused (os"));
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Fail::new("no-broker", format!("no broker at {}{reason}", address(&broker)))
                .hint(match LocalFleet::ports().first() {
                    Some(port) => format!(
                        "`wayfare up` runs here, with --broker mqtt://127.0.0.1:{port}; give that, or another"
                    ),
                    None => "start one with `wayfare up`, or give --broker".to_owned(),
                })
        }
        ConnectError::NoEcho { .. } => Fail::no_answer(error.to_string())
            .hint("another client may use this client's name, or the broker is too busy"),
        ConnectError::Cut { .. } => Fail::no_answer(error.to_string())
            .hint("give the broker a higher limit than the fleet has programs, as deploy/mosquitto/wayfare.conf does"),
        ConnectError::Link { .. } => Fail::new("broker", error.to_string()),
    }
}

/// Where a broker is, without who logs in there.
pub(crate) fn address(broker: &BrokerUrl) -> String {
    format!("{}:{}", broker.host(), broker.port())
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self::new("io", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use wayfare_client::{LookupError, Stage};
    use wayfare_protocol::ids::OperationId;

    use super::*;

    #[test]
    fn silence_is_three_and_everything_else_is_one() {
        let engine = || "pi-1".parse().unwrap();
        let silent = CommandError::NoAnswer {
            engine: engine(),
            verb: "move",
            operation: OperationId::random(),
            waited_ms: 30_000,
            stage: Stage::Sent,
        };
        assert!(
            silent
                .to_string()
                .starts_with("no answer from engine 'pi-1' to move within 30000 ms")
        );
        assert_eq!(Fail::from(silent).exit, Exit::NoAnswer);
        let missing = LookupError::NoEngine {
            wanted: "pi-9".into(),
            there: vec!["pi-1".into(), "pi-2".into()],
        };
        let fail = Fail::from(CommandError::from(missing));
        assert_eq!(
            (fail.exit, fail.message()),
            (Exit::Failed, "no engine 'pi-9'; there are: pi-1, pi-2")
        );
        let offline = CommandError::EngineOffline {
            engine: engine(),
            offline_for_ms: Some(65_000),
        };
        assert_eq!(
            Fail::from(offline).message(),
            "engine 'pi-1' is offline (since 65 s ago)"
        );
    }
}
