//! Warrants: that a member of the roster wants a program to be what it is, and to be granted what it is
//! granted.
//!
//! Whoever orders a program to be started signs its description with that. The engine keeps the warrant
//! beside the program and shows it wherever the program goes, so that a target knows that what comes is what
//! was ordered, whatever its source says. The program's name is not part of it: a copy has another.

use serde::{Deserialize, Serialize};

use super::signed::Detached;
use crate::code::SecretKey;
use crate::command::ProgramSpec;
use crate::ids::Digest;
use crate::topics::Topics;
use crate::wire;

const DOMAIN: &[u8] = b"wayfare warrant 1\0";

/// A member's signature under a program's description in one fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Warrant(pub Detached);

impl Warrant {
    pub fn sign(key: &SecretKey, topics: &Topics, spec: &ProgramSpec) -> Self {
        Self(Detached::sign(key, &bytes(topics, spec)))
    }

    /// Whether its key has signed exactly this description, whatever the program's name.
    pub fn is_good(&self, topics: &Topics, spec: &ProgramSpec) -> bool {
        self.0.is_good(&bytes(topics, spec))
    }

    /// That of an order, if it shows one.
    pub fn shown_in(payload: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Showing {
            #[serde(default)]
            warrant: Option<Warrant>,
        }
        wire::from_json::<Showing>(payload).ok()?.warrant
    }

    /// `message`, a JSON object, which shows it.
    pub fn show_in(&self, message: &[u8]) -> Vec<u8> {
        wire::with_field(message, "warrant", self)
    }
}

fn bytes(topics: &Topics, spec: &ProgramSpec) -> Vec<u8> {
    let nameless = ProgramSpec {
        name: String::new(),
        ..spec.clone()
    };
    let digest = Digest::of(&wire::to_json(&nameless));
    [DOMAIN, &digest.0, topics.to_string().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Blob;

    #[test]
    fn a_warrant_is_good_for_one_description_under_any_name() {
        let spec = ProgramSpec {
            name: "p".into(),
            module: Blob::of(b"module"),
            args: vec!["a".into()],
            env: [("K".into(), "v".into())].into(),
            stdin: None,
            memory_bytes_max: None,
            grants: Box::default(),
            ports: Box::default(),
            health_every_ms: None,
        };
        let (key, topics) = (SecretKey::from_random([1; 32]), Topics::default());
        let warrant = Warrant::sign(&key, &topics, &spec);
        let is_good = |change: fn(&mut ProgramSpec)| {
            let mut other = spec.clone();
            change(&mut other);
            warrant.is_good(&topics, &other)
        };
        assert!(is_good(|_| {}) && is_good(|spec| spec.name = "copy".into()));
        let changes: [fn(&mut ProgramSpec); 5] = [
            |spec| spec.module = Blob::of(b"another"),
            |spec| spec.args.clear(),
            |spec| spec.env.clear(),
            |spec| spec.memory_bytes_max = Some(1),
            |spec| spec.grants.env = ["HOME".into()].into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!is_good(change), "change {number}");
        }
        assert!(!warrant.is_good(&"other".parse().unwrap(), &spec));
        assert_eq!(
            Warrant::shown_in(&warrant.show_in(b"{\"type\":\"x\"}")),
            Some(warrant)
        );
    }
}
