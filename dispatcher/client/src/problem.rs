//! A failure as front ends tell it: a code word for programs, what happened, and what to do about it. The
//! command prints it, the gateway answers with it.

use serde_json::{Map, Value, json};
use wayfare_protocol::call::FailureKind;
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::FileRefusal;
use wayfare_protocol::ids::ProgramId;

use crate::calls::CallError;
use crate::client::MessagesError;
use crate::error::{AskError, CommandError, ConnectError, Stage};
use crate::files::FilesError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: &'static str,
    message: String,
    /// What to do about it.
    hint: Option<String>,
    failure: Option<Box<Failure>>,
}

impl Problem {
    /// `kind` is a code word such as `no-engine`: scripts tell by it.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            failure: None,
        }
    }

    /// With what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn with(self, failure: Failure) -> Self {
        Self {
            hint: hint_for(&failure).map(Into::into),
            failure: Some(Box::new(failure)),
            ..self
        }
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What an engine or the dispatcher refused it with.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    pub fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("error".into(), self.kind.into());
        document.insert("message".into(), self.message.clone().into());
        if let Some(hint) = &self.hint {
            document.insert("hint".into(), hint.clone().into());
        }
        if let Some(failure) = &self.failure {
            document.insert("failure".into(), json!(failure));
        }
        document
    }
}

/// The code word for silence.
pub const NO_ANSWER: &str = "no-answer";
/// The code word for what was asked wrongly.
pub const BAD_USAGE: &str = "bad-usage";

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let problem = Self::new(error.kind(), error.to_string());
        match error {
            CommandError::EngineOffline { .. } => {
                problem.hint("start it, or give --wait-for-engine to wait until it comes back")
            }
            CommandError::EngineClosed { .. } => {
                problem.hint("name another one, or give --even-cordoned to take it all the same")
            }
            CommandError::Held { .. } => problem.hint(RELEASE),
            CommandError::NotQueued { .. } => problem.hint(
                "start a dispatcher of this release with `wayfare dispatcher`, or leave out --coalesce and --supersede",
            ),
            CommandError::NoAnswer {
                stage: Stage::Sent, ..
            } => problem.hint(NOT_HEARD),
            CommandError::ProgramLost { .. } => problem.hint("`wayfare kill` forgets it"),
            CommandError::NotWasm { .. } => {
                problem.hint("build it for wasm32-wasip1 and give the .wasm file")
            }
            CommandError::Failed { failure, .. } | CommandError::Refused(failure) => problem.with(failure),
            _ => problem,
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::NoDispatcher { .. } => Self::new(NO_ANSWER, text).hint(NO_DISPATCHER),
            AskError::NoEngine { .. } => Self::new(NO_ANSWER, text).hint(NOT_HEARD),
            AskError::Failed(failure) => Self::new("refused", text).with(failure),
            AskError::Unexpected { .. } => Self::new("unexpected-answer", text),
            AskError::TooLarge { .. } => Self::new("too-large", text),
            AskError::Closed => Self::new("closed", text),
        }
    }
}

impl From<FilesError> for Problem {
    fn from(error: FilesError) -> Self {
        let problem = Self::new(error.kind(), error.to_string());
        match error {
            FilesError::Ask(error) => error.into(),
            FilesError::Io(_) => problem,
            FilesError::Refused { why, .. } => match why {
                FileRefusal::Absent => {
                    problem.hint("`wayfare fs ls` lists what there is, `mkdir -p` makes folders")
                }
                FileRefusal::NotEmpty => problem.hint("`wayfare fs rm --recursive` takes what is in it too"),
                FileRefusal::NoVersion => problem.hint("`wayfare fs history` lists those that are"),
                FileRefusal::Changed | FileRefusal::Gone => problem.hint("try again"),
                FileRefusal::Full => problem.hint("`wayfare fs rm` makes room"),
                _ => problem,
            },
        }
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::NoBroker { .. } => "no-broker",
            ConnectError::NoEcho { .. } | ConnectError::Cut { .. } => NO_ANSWER,
            ConnectError::Link { .. } => "broker",
        };
        Self::new(kind, error.to_string())
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let text = error.to_string();
        match error {
            CallError::Nobody(_) | CallError::NoneFits(_) | CallError::Unpicked(_) => {
                Self::new(FailureKind::NotFound.word(), text)
                    .hint("`wayfare services --all` lists who can be called")
            }
            CallError::Function(_) | CallError::Word => Self::new(BAD_USAGE, text),
            CallError::Failed {
                kind: FailureKind::DeadlineExceeded,
                text,
            } => Self::new(NO_ANSWER, text).hint("whether it was done is not known; --deadline waits longer"),
            CallError::NotTaken => Self::new(NO_ANSWER, text).hint("whether it was sent is not known"),
            CallError::Failed { kind, text } => Self::new(kind.word(), format!("{}: {text}", kind.word())),
            CallError::Link(_) | CallError::Closed => Self::new("broker", text),
        }
    }
}

/// That not all receivers of a message, of so many, have taken it.
pub fn not_taken(failures: &[(ProgramId, FailureKind)], all: usize) -> Option<Problem> {
    const LISTED_MAX: usize = 8;
    let (_, kind) = failures.first()?;
    let listed = failures.iter().take(LISTED_MAX);
    let listed: Vec<String> = listed
        .map(|(program, kind)| format!("program {} ({})", program.short(), kind.word()))
        .collect();
    let (failed, listed) = (failures.len(), listed.join(", "));
    let text = format!("{failed} of {all} have not taken it: {listed}");
    Some(match kind {
        FailureKind::DeadlineExceeded => Problem::new(NO_ANSWER, text).hint("they may take it later"),
        kind => Problem::new(kind.word(), text),
    })
}

impl From<MessagesError> for Problem {
    fn from(error: MessagesError) -> Self {
        let kind = match &error {
            MessagesError::Filter(_) | MessagesError::Topic(_) => BAD_USAGE,
            MessagesError::OfTheFleet(_) => FailureKind::Refused.word(),
            MessagesError::NoAnswer { .. } => NO_ANSWER,
            MessagesError::Link(_) => "broker",
        };
        Self::new(kind, error.to_string())
    }
}

/// A broker says nothing to who may not publish something (MQTT 3.1.1): it looks as if nobody were there.
const NOT_HEARD: &str = "`wayfare status` says who answers; where all do, this login may not be allowed to send it: the broker's access list says so";
const NO_DISPATCHER: &str = "start one with `wayfare dispatcher`, or with `wayfare up`; where one acts, this login may not be allowed to ask it: the \
                             broker's access list says so";

const RELEASE: &str = "`wayfare release` ends that";

fn hint_for(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Busy { .. } => Some("wait for that operation and try again"),
        Failure::NoDevice { .. } | Failure::WrongDevice { .. } => {
            Some("`wayfare engines` shows which engine has which devices")
        }
        Failure::DeviceTaken { .. } => Some("choose another engine, or end that program"),
        Failure::NoRoom { .. } => Some("choose another engine, or end a program there"),
        Failure::Forgotten { .. } => Some("if it is still wanted, order it anew"),
        Failure::Ended { .. } => Some("`wayfare logs` shows what it printed"),
        Failure::Snapshot { .. } => Some("take a new one with `wayfare snapshot`"),
        Failure::Unknown { error, .. } if error == "held" => Some(RELEASE),
        Failure::NotPermitted { .. } => Some(
            "orders are signed with your key (`wayfare operator key`), which the fleet's roster has to name (`wayfare operator add`)",
        ),
        Failure::Refused { failure, .. } => hint_for(failure),
        _ => None,
    }
}
