//! How a verb fails: what happened, what to do about it, and the exit code.

use std::io;
use std::process::ExitCode;

use serde_json::{Map, json};
use wayfare_client::files::FilesError;
use wayfare_client::{AskError, CommandError, ConnectError};
use wayfare_link::BrokerUrl;
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::FileRefusal;

use crate::output::{Output, Text, tell, tell_json};

/// Exit codes are part of the interface: 0 is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NoAnswer = 3,
    /// It is done, and shows that an alarm stands.
    Alarm = 4,
    /// What shells show of a command that died of SIGPIPE: whoever read standard output has gone away.
    ReaderGone = 141,
}

#[derive(Debug)]
pub(crate) struct Fail {
    exit: Exit,
    kind: &'static str,
    message: String,
    /// What to do about it.
    hint: Option<String>,
    failure: Option<Box<Failure>>,
}

pub(crate) type Result<T = ()> = std::result::Result<T, Fail>;

impl Fail {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            kind,
            message: message.into(),
            hint: None,
            failure: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new("bad-usage", message)
        }
    }

    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::new("file", format!("{}: {error}", path.display()))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// What happened and what to do about it, for a screen that has one line for it.
    pub(crate) fn in_a_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
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

    pub(crate) fn no_answer(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::NoAnswer,
            ..Self::new("no-answer", message)
        }
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// For people.
    pub(crate) fn text(&self) -> Text {
        let hint = self.hint.as_ref().map(|hint| format!(": {hint}"));
        paragraph(&format!("error: {}{}", self.message, hint.unwrap_or_default()))
    }

    pub(crate) fn print(self, output: Output) -> ExitCode {
        let exit = self.exit as u8;
        match output {
            _ if self.message.is_empty() => {}
            Output::Human => tell(self.text()),
            Output::Json => {
                let mut document = Map::new();
                document.insert("error".into(), self.kind.into());
                document.insert("message".into(), self.message.into());
                if let Some(hint) = self.hint {
                    document.insert("hint".into(), hint.into());
                }
                if let Some(failure) = self.failure {
                    document.insert("failure".into(), json!(failure));
                }
                document.insert("exit".into(), exit.into());
                tell_json(&document);
            }
        }
        ExitCode::from(exit)
    }
}

/// A message as it is shown: what follows on its first line is set back, so that it cannot be taken for another.
fn paragraph(message: &str) -> Text {
    let mut lines = message.lines();
    let first = Text::from(lines.next().unwrap_or_default());
    lines.fold(first, |text, line| text.line(format!("  {line}")))
}

impl From<CommandError> for Fail {
    fn from(error: CommandError) -> Self {
        let fail = Self::new(error.kind(), error.to_string());
        match error {
            CommandError::NoAnswer { .. } => Self {
                exit: Exit::NoAnswer,
                ..fail
            },
            CommandError::EngineOffline { .. } => {
                fail.hint("start it, or give --wait-for-engine to wait until it comes back")
            }
            CommandError::EngineClosed { .. } => {
                fail.hint("name another one, or give --even-cordoned to take it all the same")
            }
            CommandError::Held { .. } => fail.hint(RELEASE),
            CommandError::ProgramLost { .. } => fail.hint("`wayfare kill` forgets it"),
            CommandError::NotWasm { .. } => fail.hint("build it for wasm32-wasip1 and give the .wasm file"),
            CommandError::Failed { failure, .. } | CommandError::Refused(failure) => {
                let fail = match hint_for(&failure) {
                    Some(hint) => fail.hint(hint),
                    None => fail,
                };
                Self {
                    failure: Some(Box::new(failure)),
                    ..fail
                }
            }
            _ => fail,
        }
    }
}

impl From<AskError> for Fail {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::NoDispatcher { .. } => {
                Self::no_answer(text).hint("start one with `wayfare dispatcher`, or with `wayfare up`")
            }
            AskError::NoEngine { .. } => Self::no_answer(text).hint("`wayfare engines` shows who is there"),
            AskError::Failed(failure) => Self {
                hint: hint_for(&failure).map(Into::into),
                failure: Some(Box::new(failure)),
                ..Self::new("refused", text)
            },
            AskError::Unexpected { .. } => Self::new("unexpected-answer", text),
            AskError::TooLarge { .. } => Self::new("too-large", text),
            AskError::Closed => Self::new("closed", text),
        }
    }
}

const RELEASE: &str = "`wayfare release` ends that";

fn hint_for(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Busy { .. } => Some("wait for that operation and try again"),
        Failure::NoDevice { .. } | Failure::WrongDevice { .. } => {
            Some("`wayfare engines` shows which engine has which devices")
        }
        Failure::DeviceTaken { .. } => Some("choose another engine, or end that program"),
        Failure::NoRoom { .. } => Some("choose another engine, or end a program there"),
        Failure::Ended { .. } => Some("`wayfare logs` shows what it printed"),
        Failure::Snapshot { .. } => Some("take a new one with `wayfare snapshot`"),
        Failure::Unknown { error, .. } if error == "held" => Some(RELEASE),
        _ => None,
    }
}

/// The same for the broker, which only the front end knows how to start.
pub(crate) fn connecting(error: ConnectError) -> Fail {
    let (kind, exit) = match &error {
        ConnectError::NoBroker { .. } => ("no-broker", Exit::Failed),
        ConnectError::NoEcho { .. } => ("no-answer", Exit::NoAnswer),
        ConnectError::Link { .. } => ("broker", Exit::Failed),
    };
    let fail = Fail {
        exit,
        ..Fail::new(kind, error.to_string())
    };
    match error {
        ConnectError::NoBroker { broker, reason } => {
            // That nobody listens there is what "no broker" says; anything else is worth saying.
            let reason = reason.filter(|reason| !reason.to_lowercase().contains("connection refused (os"));
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Fail {
                message: format!("no broker at {}{reason}", address(&broker)),
                ..fail.hint("start one with `wayfare up`, or give --broker")
            }
        }
        ConnectError::NoEcho { .. } => {
            fail.hint("another client may use this client's name, or the broker is too busy")
        }
        ConnectError::Link { .. } => fail,
    }
}

fn address(broker: &BrokerUrl) -> String {
    format!("{}:{}", broker.host(), broker.port())
}

impl From<FilesError> for Fail {
    fn from(error: FilesError) -> Self {
        let fail = Self::new(error.kind(), error.to_string());
        match error {
            FilesError::Ask(error) => error.into(),
            FilesError::Io(_) => fail,
            FilesError::Refused { why, .. } => match why {
                FileRefusal::Absent => {
                    fail.hint("`wayfare fs ls` lists what there is, `mkdir -p` makes folders")
                }
                FileRefusal::NotEmpty => fail.hint("`wayfare fs rm --recursive` takes what is in it too"),
                FileRefusal::NoVersion => fail.hint("`wayfare fs history` lists those that are"),
                FileRefusal::Changed | FileRefusal::Gone => fail.hint("try again"),
                FileRefusal::Full => fail.hint("`wayfare fs rm` makes room"),
                _ => fail,
            },
        }
    }
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
