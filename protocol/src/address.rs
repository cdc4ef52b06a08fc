//! Where a program can be called: names that do not change when it moves.
//!
//! ```text
//!   service/calc         whoever serves 'calc'
//!   program/adder-1      programs of that name that can be reached, or the one with that id
//!   app/shop/web/0       one instance of an application; app/shop and app/shop/web are sets of them
//!   engine/pi-1          a set: programs that can be reached there
//!   label/zone=attic     a set: programs that can be reached on engines with that label
//! ```
//! A message to a set goes to each of its members, a call to one of them. A program that can be reached is
//! *announced*, retained, under each of its addresses, by the engine that has it; who wants to call watches
//! the address. What always holds: an announcement names the program's id, and messages go to that, so
//! nothing about it changes in a move.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{EngineId, Generation, ProgramId, is_name};
use crate::labels::{self, Labels};

/// Services of one program.
pub const SERVICES_MAX: usize = 16;
/// Applications that a program's name may be an instance's of: dashes can be in names of applications and of
/// components.
const APPLICATIONS_MAX: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "'{0}' is not an address: service/NAME, program/NAME, program/ID, app/NAME[/COMPONENT[/N]], engine/ID and label/KEY=VALUE are some"
)]
pub struct AddressError(String);

impl Address {
    /// All addresses of a program that serves these names. Where its name is an id, it is not called by name:
    /// the calls would be those of the program that has the id.
    pub fn of_program<'a>(
        program: ProgramId,
        name: &str,
        services: impl IntoIterator<Item = &'a String>,
    ) -> Vec<Self> {
        let services = services.into_iter().map(|service| format!("service/{service}"));
        let mut all: Vec<String> = services.collect();
        all.push(format!("program/{program}"));
        if name.parse::<ProgramId>().is_err() {
            all.push(format!("program/{name}"));
        }
        for (application, component, number) in instances(name) {
            all.push(format!("app/{application}"));
            all.push(format!("app/{application}/{component}"));
            all.push(format!("app/{application}/{component}/{number}"));
        }
        all.into_iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The addresses of whatever can be reached on an engine.
    pub fn of_engine(engine: &EngineId, labels: &Labels) -> Vec<Self> {
        let labels = labels.iter().map(|(key, value)| format!("label/{key}={value}"));
        let all = labels.chain([format!("engine/{engine}")]);
        all.filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether it is an address of an engine's: a program leaves it when it moves.
    pub fn is_of_engine(&self) -> bool {
        matches!(self.0.split_once('/'), Some(("engine" | "label", _)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for any number of programs: a message to it goes to each of them.
    pub fn is_set(&self) -> bool {
        match self.0.split_once('/') {
            Some(("app", rest)) => rest.matches('/').count() < 2,
            Some((kind, _)) => matches!(kind, "engine" | "label"),
            None => false,
        }
    }

    /// `None`: it is no name.
    pub fn of_service(name: &str) -> Option<Self> {
        format!("service/{name}").parse().ok()
    }

    /// The name of the service, if it is one's.
    pub fn service_name(&self) -> Option<&str> {
        self.0.strip_prefix("service/")
    }

    /// In one level of a topic: names have no colons.
    pub(crate) fn level(&self) -> String {
        self.0.replace('/', ":")
    }

    pub(crate) fn of_level(level: &str) -> Option<Self> {
        level.replace(':', "/").parse().ok()
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_good = |(kind, rest): (&str, &str)| match kind {
            "service" | "program" | "engine" => is_name(rest),
            "app" => is_instance_or_more(rest),
            "label" => labels::parse(rest).is_ok(),
            _ => false,
        };
        match text.split_once('/').is_some_and(is_good) {
            true => Ok(Self(text.to_owned())),
            false => Err(AddressError(text.chars().take(80).collect())),
        }
    }
}

/// What instances a program of this name may be: application, component and number, with dashes between them.
fn instances(name: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let (all, number) = name.rsplit_once('-').unwrap_or_default();
    let is_number = number
        .parse::<u32>()
        .is_ok_and(|value| value.to_string() == number);
    let dashes = all.match_indices('-').filter(move |_| is_number);
    dashes
        .map(move |(at, _)| (&all[..at], &all[at + 1..], number))
        .filter(|(application, component, _)| is_name(application) && is_name(component))
        .take(APPLICATIONS_MAX)
}

/// `application`, `application/component` or `application/component/number`.
fn is_instance_or_more(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let is_number = |text: &&str| {
        text.parse::<u32>()
            .is_ok_and(|number| number.to_string() == **text)
    };
    parts.len() <= 3 && parts.iter().take(2).all(|part| is_name(part)) && parts.iter().skip(2).all(is_number)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

/// What is retained under an address for a program that can be called there. Empty once it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub program: ProgramId,
    pub name: String,
    /// Where it was when this was published.
    pub engine: EngineId,
    pub generation: Generation,
    /// Nobody answers for it there, as far as is known: it has ended, or its engine is lost. Who does not
    /// know this reads a repeat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_were_written_as_and_others_are_refused() {
        for good in [
            "service/calc",
            "program/adder-1",
            "program/00112233445566778899aabbccddeeff",
            "app/shop",
            "app/shop/web",
            "app/shop/web/0",
            "engine/pi-1",
            "label/zone=attic",
        ] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good);
            assert_eq!(Address::of_level(&address.level()), Some(address));
        }
        let long = format!("service/{}", "x".repeat(65));
        for bad in [
            "",
            "service",
            "service/",
            "service/a/b",
            "service/+",
            "service/a:b",
            "calc",
            "engine/a/b",
            "app/",
            "app/a/b/01",
            "app/a/b/c",
            "app/a/b/0/1",
            "label/zone",
            "label/zone=+",
            "operator/ann",
            "program/#",
            &long,
        ] {
            let refused = bad.parse::<Address>().unwrap_err().to_string();
            assert!(refused.contains("is not an address"), "{refused}");
        }
    }

    #[test]
    fn sets_are_told_from_what_is_one_program() {
        for (address, expected) in [
            ("service/a", false),
            ("program/a", false),
            ("app/a", true),
            ("app/a/b", true),
            ("app/a/b/0", false),
            ("engine/a", true),
            ("label/a=b", true),
        ] {
            assert_eq!(
                address.parse::<Address>().unwrap().is_set(),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn a_program_is_found_by_each_of_its_services_and_by_itself() {
        let program = ProgramId::from_bytes([7; 16]);
        let services = ["a".to_owned(), "b".to_owned()];
        let all: Vec<String> = Address::of_program(program, "p", &services)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            all,
            [
                "service/a",
                "service/b",
                &format!("program/{program}"),
                "program/p"
            ]
        );
    }

    #[test]
    fn an_instance_is_found_as_one_and_by_where_it_is() {
        let program = ProgramId::from_bytes([7; 16]);
        let texts = |all: Vec<Address>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let of_name = |name: &str| texts(Address::of_program(program, name, &[]))[2..].to_vec();
        assert_eq!(
            of_name("shop-web-0"),
            ["app/shop", "app/shop/web", "app/shop/web/0"]
        );
        assert_eq!(of_name("a-b-c-12").len(), 6, "a has b-c, or a-b has c");
        assert_eq!(of_name("a-b-c-d-e-f-g-h-1").len(), 3 * APPLICATIONS_MAX);
        for none in ["shop", "shop-0", "shop-web", "shop-web-01", "shop--0"] {
            assert!(of_name(none).is_empty(), "{none}");
        }
        let labels = Labels::from([("zone".to_owned(), "attic".to_owned())]);
        let of_engine = Address::of_engine(&"pi-1".parse().unwrap(), &labels);
        assert!(of_engine.iter().all(Address::is_of_engine));
        assert_eq!(texts(of_engine), ["label/zone=attic", "engine/pi-1"]);
    }

    #[test]
    fn a_program_is_not_found_by_a_name_that_is_an_id() {
        let program = ProgramId::from_bytes([7; 16]);
        let other = ProgramId::from_bytes([8; 16]).to_string();
        let own = vec![format!("program/{program}").parse().unwrap()];
        for name in [other.to_uppercase(), other] {
            assert_eq!(Address::of_program(program, &name, &[]), own, "{name}");
        }
    }
}
