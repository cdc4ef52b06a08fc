//! Which program of several a call goes to, as its caller chooses.
//!
//! ```text
//!   same-engine  engine=pi-1  host=attic  label=zone=attic     only those: one is waited for
//!   first  round-robin  least-cpu  most-free-memory            of these, this one
//!   service/coolest                                            of these, the one that this service picks
//! ```
//! A choice is any number of the first kind and at most one of the others, with commas between them. Without
//! one of the others a call goes to the program that its number falls on, so that calls are spread.
//!
//! The caller's side chooses, by what is announced at the address, which names engines. Of hosts, labels and
//! load only the acting dispatcher knows: it is asked ([`LoadsAsk`]) by who makes such a choice, and measures
//! then and not otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::ids::{EngineId, ProgramId};
use crate::labels;

/// Bytes of a choice as it is written.
const CHOICE_BYTES_MAX: usize = 1024;
/// Engines of one [`LoadsAsk`].
pub const ENGINES_MAX: usize = 256;
/// The function of a service that picks: it is called with a [`PickAsk`] and answers with the id of one of
/// the candidates.
pub const PICK: &str = "pick";

/// Which of the programs at an address is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    only: Vec<Only>,
    by: By,
}

/// What a provider's engine has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Only {
    /// The caller's.
    SameEngine,
    Engine(EngineId),
    Host(String),
    Label(String, String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum By {
    #[default]
    Number,
    First,
    RoundRobin,
    LeastCpu,
    MostFreeMemory,
    Service(Address),
}

#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "'{0}' is not a choice: first, round-robin, same-engine, engine=ID, host=NAME, label=KEY=VALUE, least-cpu, most-free-memory and service/NAME are some, and 'label=zone=attic,least-cpu' is one of two"
)]
pub struct ChoiceError(String);

/// A program that could be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub program: ProgramId,
    pub engine: &'a EngineId,
}

/// What a choice is made by, beside who there is.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The caller's engine.
    pub here: Option<&'a str>,
    /// The call's number: it is the same when the call is made again after a crash.
    pub number: u64,
    /// Whom the caller called last at the address.
    pub last: Option<ProgramId>,
    pub loads: &'a Loads,
}

/// What the dispatcher has said of engines, of those that fit alone.
pub type Loads = BTreeMap<EngineId, Load>;

/// Asks the dispatcher's service [`crate::numbers::SERVICE`] about the engines of candidates. Answered with a
/// [`LoadsAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum LoadsAsk {
    Loads {
        /// At most [`ENGINES_MAX`].
        engines: Vec<EngineId>,
        /// Of these, those that are so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<Only>,
        /// How busy they are is wanted, which is measured for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        measured: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadsAnswer {
    pub engines: Vec<EngineAndLoad>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineAndLoad {
    pub engine: EngineId,
    #[serde(flatten)]
    pub load: Load,
}

/// How busy the machine of an engine is. What is not known is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Thousandths of a processor that everything on the machine asked for in the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_memory_bytes: Option<u64>,
    /// Of the hottest place that the machine measures, in thousandths of a degree Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_millidegrees: Option<i64>,
}

/// What a service that picks is called with, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickAsk {
    pub address: Address,
    pub function: String,
    /// In the order of their ids.
    pub candidates: Vec<Picked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picked {
    pub program: ProgramId,
    #[serde(flatten)]
    pub at: EngineAndLoad,
}

impl Choice {
    /// Nothing is chosen: it is as if this had not been there.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What the dispatcher is to be asked of these engines, if that has to be known.
    pub fn asks(&self, engines: impl IntoIterator<Item = EngineId>) -> Option<LoadsAsk> {
        let measured = matches!(self.by, By::LeastCpu | By::MostFreeMemory | By::Service(_));
        let only: Vec<Only> = self.only.iter().filter(|only| only.is_asked()).cloned().collect();
        (measured || !only.is_empty()).then(|| LoadsAsk::Loads {
            // Many providers may be on each.
            engines: BTreeSet::from_iter(engines)
                .into_iter()
                .take(ENGINES_MAX)
                .collect(),
            only,
            measured,
        })
    }

    /// Whether the dispatcher has to be asked.
    pub fn is_asked(&self) -> bool {
        self.asks([]).is_some()
    }

    /// The service that picks.
    pub fn service(&self) -> Option<&Address> {
        match &self.by {
            By::Service(address) => Some(address),
            _ => None,
        }
    }

    pub fn is_round_robin(&self) -> bool {
        self.by == By::RoundRobin
    }

    /// Those of the candidates that may be called.
    pub fn admitted<'a>(&self, all: &[Candidate<'a>], known: &Known<'_>) -> Vec<Candidate<'a>> {
        let is_asked = self.is_asked();
        let fits = |one: &&Candidate<'_>| {
            (!is_asked || known.loads.contains_key(one.engine))
                && self.only.iter().all(|only| match only {
                    Only::SameEngine => known.here == Some(one.engine.as_str()),
                    Only::Engine(engine) => engine == one.engine,
                    // The dispatcher has said nothing of others.
                    Only::Host(_) | Only::Label(..) => true,
                })
        };
        all.iter().filter(fits).copied().collect()
    }

    /// The one that is called, of candidates in the order of their ids; `None`: none of them fits. Where a
    /// service picks, this is not asked.
    pub fn pick(&self, all: &[Candidate<'_>], known: &Known<'_>) -> Option<ProgramId> {
        let there = self.admitted(all, known);
        let at = match &self.by {
            By::Number | By::Service(_) => {
                usize::try_from(known.number.checked_rem(u64::try_from(there.len()).ok()?)?).ok()?
            }
            By::First => 0,
            By::RoundRobin => {
                let next = there.iter().position(|one| Some(one.program) > known.last);
                next.unwrap_or(0)
            }
            By::LeastCpu => at_lowest(&there, known, |load| load.millicores_each().unwrap_or(u64::MAX))?,
            By::MostFreeMemory => at_lowest(&there, known, |load| {
                u64::MAX - load.free_memory_bytes.unwrap_or(0)
            })?,
        };
        there.get(at).map(|one| one.program)
    }
}

/// Of equals the one that the call's number falls on, so that calls are spread over them.
fn at_lowest(there: &[Candidate<'_>], known: &Known<'_>, rank: impl Fn(&Load) -> u64) -> Option<usize> {
    let rank = |one: &Candidate<'_>| known.loads.get(one.engine).map_or(u64::MAX, &rank);
    let lowest = there.iter().map(rank).min()?;
    let equals = || there.iter().enumerate().filter(|(_, one)| rank(one) == lowest);
    let count = u64::try_from(equals().count()).ok()?;
    let at = usize::try_from(known.number % count).ok()?;
    equals().nth(at).map(|(at, _)| at)
}

impl Load {
    /// Of one processor, on the average.
    fn millicores_each(&self) -> Option<u64> {
        Some(self.cpu_millicores? / u64::from(self.processors.unwrap_or(1).max(1)))
    }
}

impl Only {
    /// Whether only the dispatcher knows.
    fn is_asked(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Label(..))
    }

    /// Whether an engine is so, as far as the dispatcher decides.
    pub fn admits(&self, host: &str, labels: &labels::Labels) -> bool {
        match self {
            Self::SameEngine | Self::Engine(_) => true,
            Self::Host(wanted) => wanted == host,
            Self::Label(key, value) => labels.get(key) == Some(value),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "same-engine" {
            return Some(Self::SameEngine);
        }
        let (what, rest) = text.split_once('=')?;
        match what {
            "engine" => rest.parse().ok().map(Self::Engine),
            "host" => is_host(rest).then(|| Self::Host(rest.to_owned())),
            "label" => labels::parse(rest)
                .ok()
                .map(|(key, value)| Self::Label(key, value)),
            _ => None,
        }
    }
}

/// Machines have names of their own.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == ',')
}

impl By {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "first" => Self::First,
            "round-robin" => Self::RoundRobin,
            "least-cpu" => Self::LeastCpu,
            "most-free-memory" => Self::MostFreeMemory,
            _ => Self::Service(
                text.parse()
                    .ok()
                    .filter(|address: &Address| address.service_name().is_some())?,
            ),
        })
    }
}

impl FromStr for Choice {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let bad = || ChoiceError(text.chars().take(80).collect());
        if text.len() > CHOICE_BYTES_MAX {
            return Err(bad());
        }
        let mut choice = Self::default();
        for part in text.split(',') {
            match (Only::parse(part), By::parse(part)) {
                (Some(only), _) => choice.only.push(only),
                (None, Some(by)) if choice.by == By::Number => choice.by = by,
                _ => return Err(bad()),
            }
        }
        Ok(choice)
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameEngine => f.write_str("same-engine"),
            Self::Engine(engine) => write!(f, "engine={engine}"),
            Self::Host(host) => write!(f, "host={host}"),
            Self::Label(key, value) => write!(f, "label={key}={value}"),
        }
    }
}

impl TryFrom<String> for Only {
    type Error = ChoiceError;
    fn try_from(text: String) -> Result<Self, ChoiceError> {
        Self::parse(&text).ok_or_else(|| ChoiceError(text.chars().take(80).collect()))
    }
}

impl From<Only> for String {
    fn from(only: Only) -> Self {
        only.to_string()
    }
}

impl From<LoadsAnswer> for Loads {
    fn from(answer: LoadsAnswer) -> Self {
        let engines = answer.engines.into_iter().take(ENGINES_MAX);
        engines.map(|one| (one.engine, one.load)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
    use crate::wire;

    fn program(number: u8) -> ProgramId {
        ProgramId::from_bytes([number; 16])
    }

    fn picked(choice: &str, number: u64, last: Option<u8>) -> Option<u8> {
        let engines: Vec<EngineId> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let all: Vec<Candidate<'_>> = (1..)
            .zip(&engines)
            .map(|(at, engine)| Candidate {
                program: program(at),
                engine,
            })
            .collect();
        let load = |cpu, processors, memory| Load {
            cpu_millicores: cpu,
            processors: Some(processors),
            free_memory_bytes: memory,
            temperature_millidegrees: None,
        };
        let loads = Loads::from([
            (engines[0].clone(), load(Some(900), 1, Some(7))),
            (engines[1].clone(), load(Some(1_600), 4, Some(9))),
            (engines[2].clone(), load(None, 4, None)),
        ]);
        let known = Known {
            here: Some("b"),
            number,
            last: last.map(program),
            loads: &loads,
        };
        let found = choice.parse::<Choice>().unwrap().pick(&all, &known);
        found.map(|program| program.to_bytes()[0])
    }

    #[test]
    fn a_choice_picks_one_or_none_that_fits() {
        for (choice, number, last, expected) in [
            ("first", 5, None, Some(1)),
            ("round-robin", 5, None, Some(1)),
            ("round-robin", 5, Some(1), Some(2)),
            ("round-robin", 5, Some(3), Some(1)),
            ("round-robin", 5, Some(9), Some(1)),
            ("same-engine", 5, None, Some(2)),
            ("engine=c", 5, None, Some(3)),
            ("engine=d", 5, None, None),
            ("engine=c,same-engine", 5, None, None),
            ("least-cpu", 5, None, Some(2)),
            ("most-free-memory", 5, None, Some(2)),
            ("engine=a,least-cpu", 5, None, Some(1)),
            ("engine=c,least-cpu", 5, None, Some(3)),
        ] {
            assert_eq!(picked(choice, number, last), expected, "{choice}");
        }
    }

    #[test]
    fn of_what_the_dispatcher_has_not_named_nothing_fits() {
        let engine: EngineId = "a".parse().unwrap();
        let all = [Candidate {
            program: program(1),
            engine: &engine,
        }];
        let known = Known {
            here: None,
            number: 0,
            last: None,
            loads: &Loads::new(),
        };
        for choice in ["host=h", "label=a=b", "least-cpu", "service/s"] {
            let choice: Choice = choice.parse().unwrap();
            assert!(choice.is_asked());
            assert_eq!(choice.pick(&all, &known), None, "{choice:?}");
        }
    }

    #[test]
    fn calls_are_spread_over_what_is_equal() {
        let engine: EngineId = "a".parse().unwrap();
        let candidate = |number| Candidate {
            program: program(number),
            engine: &engine,
        };
        let loads = Loads::from([(engine.clone(), Load::default())]);
        let choice: Choice = "least-cpu".parse().unwrap();
        let pick = |number| {
            let known = Known {
                here: None,
                number,
                last: None,
                loads: &loads,
            };
            choice.pick(&[candidate(1), candidate(2)], &known)
        };
        assert_ne!(pick(0), pick(1));
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        let long = "same-engine,".repeat(100) + "first";
        for bad in [
            "",
            "fastest",
            "first,round-robin",
            "first,",
            "engine=",
            "engine=a b",
            "label=zone",
            "host=",
            "program/a",
            "service/",
            &long,
        ] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
        assert!(Choice::default().is_none());
    }

    #[test]
    fn the_dispatcher_is_asked_only_for_what_it_alone_knows() {
        let asks = |choice: &str| choice.parse::<Choice>().unwrap().asks([]);
        for none in ["first", "round-robin", "same-engine", "engine=a"] {
            assert_eq!(asks(none), None, "{none}");
        }
        let LoadsAsk::Loads { only, measured, .. } = asks("same-engine,host=h").unwrap();
        assert_eq!(
            (only.as_slice(), measured),
            (&[Only::Host("h".into())][..], false)
        );
        let labels = labels::Labels::from([("a".to_owned(), "b".to_owned())]);
        for (only, expected) in [
            ("host=h", true),
            ("host=g", false),
            ("label=a=b", true),
            ("label=a=c", false),
        ] {
            assert_eq!(
                Only::parse(only).unwrap().admits("h", &labels),
                expected,
                "{only}"
            );
        }
    }

    #[test]
    fn each_engine_is_asked_about_however_many_providers_are_on_the_first() {
        let many = (0..300).map(|_| "a".parse().unwrap());
        let last: EngineId = "b".parse().unwrap();
        let choice: Choice = "least-cpu".parse().unwrap();
        let LoadsAsk::Loads { engines, .. } = choice.asks(many.chain([last.clone()])).unwrap();
        assert_eq!(engines, ["a".parse().unwrap(), last]);
    }

    #[test]
    fn the_largest_questions_and_answers_fit_into_a_message() {
        let engine: EngineId = "e".repeat(NAME_BYTES_MAX).parse().unwrap();
        let load = Load {
            cpu_millicores: Some(u64::MAX),
            processors: Some(u32::MAX),
            free_memory_bytes: Some(u64::MAX),
            temperature_millidegrees: Some(i64::MIN),
        };
        let at = EngineAndLoad { engine, load };
        let ask = PickAsk {
            address: format!("service/{}", "s".repeat(NAME_BYTES_MAX)).parse().unwrap(),
            function: "f".repeat(crate::call::FUNCTION_BYTES_MAX),
            candidates: vec![
                Picked {
                    program: program(7),
                    at: at.clone()
                };
                ENGINES_MAX
            ],
        };
        let answer = LoadsAnswer {
            engines: vec![at; ENGINES_MAX],
        };
        for bytes in [wire::to_json(&ask).len(), wire::to_json(&answer).len()] {
            assert!(bytes < PAYLOAD_BYTES_MAX - 2 * 1024, "{bytes}");
        }
        assert_eq!(wire::from_json(&wire::to_json(&ask)), Ok(ask));
    }
}
