//! Where a program can be called: names that do not change when it moves.
//!
//! ```text
//!   service/calc         whoever serves 'calc'
//!   program/adder-1      programs of that name that serve anything, or the one with that id
//! ```
//! A program that serves is *announced*, retained, under each of its addresses, by the engine that has it; who wants to call watches the
//! address. What always holds: an announcement names the program's id, and messages go to that, so nothing about it changes in a move.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{EngineId, Generation, ProgramId, is_name};

/// Services of one program.
pub const SERVICES_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("'{0}' is no address: service/NAME, program/NAME and program/ID are some")]
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
        all.into_iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub fn as_str(&self) -> &str {
        &self.0
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
        let is_good = text
            .split_once('/')
            .is_some_and(|(kind, name)| matches!(kind, "service" | "program") && is_name(name));
        match is_good {
            true => Ok(Self(text.to_owned())),
            false => Err(AddressError(text.chars().take(80).collect())),
        }
    }
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
            "engine/a",
            "app/a",
            "program/#",
            &long,
        ] {
            let refused = bad.parse::<Address>().unwrap_err().to_string();
            assert!(refused.contains("is no address"), "{refused}");
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
    fn a_program_is_not_found_by_a_name_that_is_an_id() {
        let program = ProgramId::from_bytes([7; 16]);
        let other = ProgramId::from_bytes([8; 16]).to_string();
        let own = vec![format!("program/{program}").parse().unwrap()];
        for name in [other.to_uppercase(), other] {
            assert_eq!(Address::of_program(program, &name, &[]), own, "{name}");
        }
    }
}
