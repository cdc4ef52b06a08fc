//! The lines of `/wayfare/in` and `/wayfare/out`: one JSON object each. The book's page "Lines" is their
//! documentation.
//!
//! [`FORMAT`] counts what is added. Readers ignore fields of lines that they do not know; an action with a
//! field that is not known here is refused, because whoever wrote it means something by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use wayfare_protocol::address::{Address, AddressError};
use wayfare_protocol::call::{About, DEADLINE_MS, FailureKind, Outcome, Sent};
use wayfare_protocol::choice::{Choice, ChoiceError, Loads};
use wayfare_protocol::health::{HealthClaim, HoldClaim};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};

use wayfare_mail::{Attention, CallOptions, Manner, ReceivedMessage};

pub(crate) const FORMAT: u32 = 5;
/// How long a reply is awaited where the action does not say.
const REPLY_TIMEOUT_MS: u64 = 30_000;

/// The number that a program has given an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Number(pub(super) u64);

/// One line of `out`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: Option<Number>,
    pub(super) action: Result<Action, Trouble>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish {
        topic: String,
        payload: Vec<u8>,
        manner: Manner,
    },
    Subscribe {
        filter: String,
        qos: Qos,
    },
    Unsubscribe {
        filter: String,
    },
    Request {
        topic: String,
        payload: Vec<u8>,
        timeout_ms: u64,
    },
    Reply {
        reply_to: String,
        answers: u64,
        payload: Vec<u8>,
    },
    Serve {
        name: String,
        /// What it says of its functions, as JSON.
        schema: Option<String>,
    },
    Call {
        address: Address,
        function: String,
        arguments: Vec<u8>,
        deadline_ms: u64,
        options: CallOptions,
    },
    /// The call that the action of this number began, or by the imports the call of this number.
    Cancel {
        call: u64,
    },
    Progress {
        reply_to: String,
        answers: u64,
        payload: Vec<u8>,
    },
    HandOn {
        reply_to: String,
        answers: u64,
        address: Address,
        function: String,
        arguments: Vec<u8>,
        deadline_ms: u64,
    },
    Answer {
        reply_to: String,
        answers: u64,
        outcome: Outcome,
    },
    Send {
        address: Address,
        payload: Vec<u8>,
        timeout_ms: u64,
        about: About,
        expires_ms: Option<u64>,
    },
    /// Takes messages to its addresses, without a service.
    Listen,
    Attend(Attention),
    /// The message that is ordered by this key.
    Handled {
        key: String,
    },
    /// It is ready, and well for so long.
    Healthy(HealthClaim),
    Hold(HoldClaim),
    Get {
        key: String,
    },
    /// With the version that it must have; 0: none.
    Set {
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    },
    Remove {
        key: String,
    },
}

/// Why an action was not carried out, for the program and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl Trouble {
    pub(super) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        let reason = wayfare_protocol::reason::cut(reason.into());
        Self { kind, reason }
    }
}

fn malformed(reason: impl Into<String>) -> Trouble {
    Trouble::new("malformed", reason)
}

pub(super) fn parse(line: &[u8]) -> Line {
    let fields = match serde_json::from_slice(line) {
        Ok(Json::Object(fields)) => fields,
        Ok(_) => {
            return not_a_line("a line is a JSON object such as {\"do\":\"subscribe\",\"filter\":\"a/#\"}");
        }
        Err(error) => return not_a_line(&format!("not JSON: {error}")),
    };
    let mut fields = Fields(fields, None);
    let number = match fields.0.remove("id") {
        None | Some(Json::Null) => None,
        Some(id) => match id.as_u64() {
            Some(id) => Some(Number(id)),
            None => return not_a_line("'id' is a whole number from 0 on"),
        },
    };
    let action = whole_action(&mut fields);
    Line { number, action }
}

/// An action as the imports have it: a line without its payload, and that as it is.
pub(crate) fn parse_action(line: &[u8], payload: Vec<u8>) -> Result<Action, Trouble> {
    match serde_json::from_slice(line) {
        Ok(Json::Object(fields)) => whole_action(&mut Fields(fields, Some(payload))),
        _ => Err(malformed("an action is a JSON object")),
    }
}

fn whole_action(fields: &mut Fields) -> Result<Action, Trouble> {
    let action = action(fields)?;
    match fields.0.keys().next() {
        Some(unknown) => Err(malformed(format!("no field '{unknown}' is known here"))),
        None => Ok(action),
    }
}

fn not_a_line(reason: &str) -> Line {
    Line {
        number: None,
        action: Err(malformed(reason)),
    }
}

fn action(fields: &mut Fields) -> Result<Action, Trouble> {
    Ok(match fields.text("do")?.as_str() {
        "publish" => Action::Publish {
            topic: fields.text("topic")?,
            payload: fields.bytes("payload")?,
            manner: Manner {
                qos: fields.qos()?,
                retain: fields.flag("retain")?,
                plain: fields.flag("plain")?,
            },
        },
        "subscribe" => Action::Subscribe {
            filter: fields.text("filter")?,
            qos: fields.qos()?,
        },
        "unsubscribe" => Action::Unsubscribe {
            filter: fields.text("filter")?,
        },
        "request" => Action::Request {
            topic: fields.text("topic")?,
            payload: fields.bytes("payload")?,
            timeout_ms: fields.count("timeout_ms")?.unwrap_or(REPLY_TIMEOUT_MS),
        },
        "serve" => Action::Serve {
            name: fields.text("name")?,
            schema: fields.schema()?,
        },
        "call" => Action::Call {
            address: fields.address()?,
            function: fields.text("function")?,
            arguments: fields.bytes("payload")?,
            deadline_ms: fields.count("deadline_ms")?.unwrap_or(DEADLINE_MS),
            options: CallOptions {
                progress: fields.flag("progress")?,
                idempotent: fields.flag("idempotent")?,
                coalesce: fields.maybe_text("coalesce")?,
                supersede: fields.maybe_text("supersede")?,
                choose: fields.choice()?,
                loads: Loads::new(),
            },
        },
        "cancel" => Action::Cancel {
            call: fields.count("call")?.ok_or_else(|| lacks("call"))?,
        },
        "progress" => {
            let (answers, reply_to) = fields.request()?;
            Action::Progress {
                reply_to,
                answers,
                payload: fields.bytes("payload")?,
            }
        }
        "hand_on" => {
            let (answers, reply_to) = fields.request()?;
            Action::HandOn {
                reply_to,
                answers,
                address: fields.address()?,
                function: fields.text("function")?,
                arguments: fields.bytes("payload")?,
                deadline_ms: fields.count("deadline_ms")?.unwrap_or(DEADLINE_MS),
            }
        }
        "listen" => Action::Listen,
        "attend" => Action::Attend(Attention {
            cancels: fields.flag("cancels")?,
            ordered: fields.flag("order")?,
            about: fields.flag("about")?,
            reply: fields.count("reply")?,
        }),
        "handled" => Action::Handled {
            key: fields.text("order")?,
        },
        "ready" => Action::Healthy(HealthClaim::default()),
        "healthy" => Action::Healthy(HealthClaim {
            for_ms: fields.count("for_ms")?,
        }),
        "hold" => {
            let reason = fields.text("reason")?;
            let at_most_ms = fields.count("at_most_ms")?.ok_or_else(|| lacks("at_most_ms"))?;
            Action::Hold(HoldClaim::hold(&reason, at_most_ms))
        }
        "release" => Action::Hold(HoldClaim::Release),
        "answer" => {
            let (answers, reply_to) = fields.request()?;
            let payload = fields.bytes("payload")?;
            Action::Answer {
                reply_to,
                answers,
                outcome: Outcome::Done(payload),
            }
        }
        "fail" => {
            let (answers, reply_to) = fields.request()?;
            let kind = FailureKind::of_word(&fields.text("kind")?).ok_or_else(|| {
                malformed("'kind' is 'failed', 'refused', 'not-found' or another of the kinds of failure")
            })?;
            Action::Answer {
                reply_to,
                answers,
                outcome: Outcome::Failed(kind, wayfare_protocol::reason::cut(fields.text("reason")?)),
            }
        }
        "send" => Action::Send {
            address: fields.address()?,
            payload: fields.bytes("payload")?,
            timeout_ms: fields.count("timeout_ms")?.unwrap_or(DEADLINE_MS),
            about: About {
                kind: fields.maybe_text("type")?,
                ordered: fields.maybe_text("order")?,
                expires: None,
                receipt: fields.flag("receipt")?,
            },
            expires_ms: fields.count("expires_ms")?,
        },
        "reply" => {
            let (answers, reply_to) = fields.request()?;
            Action::Reply {
                reply_to,
                answers,
                payload: fields.bytes("payload")?,
            }
        }
        "get" => Action::Get {
            key: fields.text("key")?,
        },
        "set" => Action::Set {
            key: fields.text("key")?,
            value: fields.bytes("value")?,
            expected: None,
        },
        "compare_and_set" => Action::Set {
            key: fields.text("key")?,
            value: fields.bytes("value")?,
            expected: Some(fields.count("version")?.ok_or_else(|| lacks("version"))?),
        },
        "remove" => Action::Remove {
            key: fields.text("key")?,
        },
        other => {
            let other: String = other.chars().take(80).collect();
            let reason = format!("no action is called '{other}' in format {FORMAT}");
            return Err(Trouble::new("unknown-action", reason));
        }
    })
}

fn lacks(name: &str) -> Trouble {
    malformed(format!("'{name}' is missing"))
}

/// With the payload, where that is no field.
struct Fields(Map<String, Json>, Option<Vec<u8>>);

impl Fields {
    fn text(&mut self, name: &str) -> Result<String, Trouble> {
        match self.0.remove(name) {
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(malformed(format!("'{name}' is a text"))),
            None => Err(lacks(name)),
        }
    }

    fn maybe_text(&mut self, name: &str) -> Result<Option<String>, Trouble> {
        match self.0.contains_key(name) {
            true => self.text(name).map(Some),
            false => Ok(None),
        }
    }

    /// A text, or bytes in base64 under the same name with `_base64` behind it.
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Trouble> {
        if let Some(payload) = self.1.take() {
            return Ok(payload);
        }
        let encoded = format!("{name}_base64");
        match (self.0.contains_key(name), self.0.contains_key(&encoded)) {
            (true, true) => Err(malformed(format!("'{name}' and '{encoded}' are both there"))),
            (false, true) => STANDARD
                .decode(self.text(&encoded)?)
                .map_err(|error| malformed(format!("'{encoded}': {error}"))),
            (_, false) => self.text(name).map(String::into_bytes),
        }
    }

    /// By the imports the payload, if there is any.
    fn schema(&mut self) -> Result<Option<String>, Trouble> {
        let schema = match self.1.take().filter(|payload| !payload.is_empty()) {
            Some(payload) => Some(serde_json::from_slice(&payload).unwrap_or_default()),
            None => self.0.remove("schema"),
        };
        match schema {
            None => Ok(None),
            Some(schema @ Json::Object(_)) => Ok(Some(schema.to_string())),
            Some(_) => Err(malformed("'schema' is a JSON object")),
        }
    }

    fn address(&mut self) -> Result<Address, Trouble> {
        let address = self.text("address")?;
        address
            .parse()
            .map_err(|error: AddressError| malformed(error.to_string()))
    }

    fn choice(&mut self) -> Result<Choice, Trouble> {
        let choice = self.maybe_text("choose")?;
        let choice = choice.map_or(Ok(Choice::default()), |text| text.parse());
        choice.map_err(|error: ChoiceError| malformed(error.to_string()))
    }

    /// What `to` names: the number of a request or call, and where its reply goes.
    fn request(&mut self) -> Result<(u64, String), Trouble> {
        let to = self.text("to")?;
        parse_request(&to).ok_or_else(|| malformed("'to' is what a message or call has as 'request'"))
    }

    fn flag(&mut self, name: &str) -> Result<bool, Trouble> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(flag),
            Some(_) => Err(malformed(format!("'{name}' is true or false"))),
        }
    }

    fn count(&mut self, name: &str) -> Result<Option<u64>, Trouble> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(count) => match count.as_u64() {
                Some(count) => Ok(Some(count)),
                None => Err(malformed(format!("'{name}' is a whole number from 0 on"))),
            },
        }
    }

    fn qos(&mut self) -> Result<Qos, Trouble> {
        match self.count("qos")? {
            None | Some(1) => Ok(Qos::AtLeastOnce),
            Some(0) => Ok(Qos::AtMostOnce),
            Some(_) => Err(malformed("'qos' is 0 or 1")),
        }
    }
}

/// What a request is replied to by: its number need not fit into what a language has for numbers.
fn request(answers: u64, reply_to: &str) -> String {
    format!("{answers} {reply_to}")
}

fn parse_request(text: &str) -> Option<(u64, String)> {
    let (answers, reply_to) = text.split_once(' ')?;
    Some((answers.parse().ok()?, reply_to.to_owned()))
}

/// A line of `in`, without its newline.
pub(super) struct Event(Map<String, Json>);

impl Event {
    fn new(name: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("event".into(), name.into());
        Self(fields)
    }

    /// `sent`: what it was sent to one of the program's addresses as.
    pub(super) fn message(message: &ReceivedMessage, sent: Option<(Sent, &[u8])>) -> Self {
        let (mut event, payload) = match sent {
            Some((Sent::Call { to, function, .. }, payload)) => {
                let event = Self::new("call")
                    .with("address", to.as_str())
                    .with("function", function);
                (event, payload)
            }
            Some((Sent::Message { to, about }, payload)) => {
                let mut event = Self::new("message")
                    .with("topic", to.as_str())
                    .with("address", to.as_str());
                for (name, word) in [("type", about.kind), ("order", about.ordered)] {
                    if let Some(word) = word {
                        event = event.with(name, word);
                    }
                }
                (event, payload)
            }
            // What is cancelled has a line of its own.
            Some((Sent::Cancel { .. }, _)) | None => {
                let event = Self::new("message").with("topic", message.topic.as_str());
                (event, &message.payload[..])
            }
        };
        if message.retained {
            event = event.with("retained", true);
        }
        if let Some(Stamp {
            sender,
            number,
            purpose,
        }) = &message.stamp
        {
            event = event.with("from", sender.to_string());
            if let Purpose::Request { reply_to } = purpose {
                event = event.with("request", request(*number, reply_to));
            }
        }
        event.with_bytes("payload", payload)
    }

    /// That a call which the program has taken was cancelled: `request` is what that had.
    pub(super) fn cancelled(call: u64, reply_to: &str, address: &Address) -> Self {
        Self::new("cancelled")
            .with("address", address.as_str())
            .with("request", request(call, reply_to))
    }

    /// How far the call is that the action of this number began.
    pub(super) fn progress(number: Number, payload: &[u8]) -> Self {
        Self::new("progress")
            .with_number(Some(number))
            .with_bytes("payload", payload)
    }

    pub(super) fn answer(number: Option<Number>) -> Self {
        Self::new("answer").with_number(number)
    }

    pub(super) fn error(number: Option<Number>, trouble: &Trouble) -> Self {
        Self::new("error")
            .with_number(number)
            .with("kind", trouble.kind)
            .with("reason", trouble.reason.as_str())
    }

    /// What became of the call that the action of this number began.
    pub(super) fn outcome(number: Number, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(result) => Self::answer(Some(number)).with_bytes("payload", result),
            Outcome::Failed(kind, why) => Self::error(Some(number), &Trouble::new(kind.word(), why.as_str())),
        }
    }

    pub(super) fn moved(engine: &str) -> Self {
        Self::new("moved").with("engine", engine)
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    fn with_number(self, number: Option<Number>) -> Self {
        match number {
            Some(Number(number)) => self.with("id", number),
            None => self,
        }
    }

    /// As a text where it is one.
    pub(super) fn with_bytes(self, name: &str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with(name, text),
            Err(_) => self.with(&format!("{name}_base64"), STANDARD.encode(bytes)),
        }
    }

    pub(super) fn line(self) -> String {
        Json::Object(self.0).to_string()
    }
}
