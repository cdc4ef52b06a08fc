//! Finding engines and programs by what people type: a name, an id, or the beginning of either.
//!
//! An exact name or id wins over a prefix. What is ambiguous or missing is answered with what there is, so
//! that the next try succeeds. For what cannot be taken back, the beginning of a name is not enough: who
//! types `pi-1` and means an engine that is not there must not hit `pi-11`.

use std::borrow::Cow;

use thiserror::Error;
use wayfare_protocol::ids::EngineId;

use crate::fleet::{EngineView, ProgramView};

/// Candidates named in an error before "and N more".
const CANDIDATES_SHOWN_MAX: usize = 12;

/// How much like a name something must be to be taken for a slip: 1 is the same.
const LIKENESS_MIN: f64 = 0.85;

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LookupError {
    #[error(
        "no engine '{wanted}'; {}",
        there_are(wanted, there, "there are no engines: start one with `wayfare engine start`")
    )]
    NoEngine { wanted: String, there: Vec<String> },
    #[error("'{wanted}' could be any of these engines: {}", list(candidates))]
    AmbiguousEngine { wanted: String, candidates: Vec<String> },
    #[error(
        "no program '{wanted}'; {}",
        there_are(wanted, there, "there are no programs: start one with `wayfare run`")
    )]
    NoProgram { wanted: String, there: Vec<String> },
    #[error(
        "'{wanted}' could be any of these programs: {}; give more of the id",
        list(candidates)
    )]
    AmbiguousProgram { wanted: String, candidates: Vec<String> },
    #[error("'{wanted}' is only the beginning of {name}: give the whole name for this")]
    OnlyBeginning { wanted: String, name: String },
}

impl LookupError {
    /// Whether more news from the broker could change the answer.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoEngine { .. } | Self::NoProgram { .. })
    }
}

/// The engine that `wanted` names.
pub fn engine<'a>(engines: &'a [EngineView], wanted: &str) -> Result<&'a EngineView, LookupError> {
    if let Some(exact) = engines.iter().find(|view| view.engine.as_str() == wanted) {
        return Ok(exact);
    }
    let found: Vec<_> = prefixed(engines, wanted, |view| view.engine.as_str().starts_with(wanted));
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(LookupError::NoEngine {
            wanted: wanted.into(),
            there: names(engines),
        }),
        several => Err(LookupError::AmbiguousEngine {
            wanted: wanted.into(),
            candidates: several.iter().map(|view| view.engine.to_string()).collect(),
        }),
    }
}

/// The engine of this very name.
pub fn whole_engine<'a>(engines: &'a [EngineView], wanted: &str) -> Result<&'a EngineView, LookupError> {
    let found = engine(engines, wanted)?;
    if found.engine.as_str() == wanted {
        return Ok(found);
    }
    Err(LookupError::OnlyBeginning {
        wanted: wanted.into(),
        name: format!("engine '{}'", found.engine),
    })
}

/// The program of this very name, or whose id begins like this.
pub fn whole_program<'a>(programs: &'a [ProgramView], wanted: &str) -> Result<&'a ProgramView, LookupError> {
    let found = program(programs, wanted)?;
    if found.status.name == *instance_name(wanted) || found.status.program.to_string().starts_with(wanted) {
        return Ok(found);
    }
    Err(LookupError::OnlyBeginning {
        wanted: wanted.into(),
        name: format!("program {}", label(found)),
    })
}

/// The program that `wanted` names. Among programs of one name those that still run are preferred: a name
/// is used again after its program has ended.
pub fn program<'a>(programs: &'a [ProgramView], wanted: &str) -> Result<&'a ProgramView, LookupError> {
    let id = |view: &ProgramView| view.status.program.to_string();
    if let Some(exact) = programs.iter().find(|view| id(view) == wanted) {
        return Ok(exact);
    }
    let name = instance_name(wanted);
    let named = prefixed(programs, wanted, |view| view.status.name == *name);
    let found = if named.is_empty() {
        prefixed(programs, wanted, |view| {
            id(view).starts_with(wanted) || view.status.name.starts_with(wanted)
        })
    } else {
        named
    };
    let live: Vec<_> = found
        .iter()
        .copied()
        .filter(|view| !view.status.state.is_ended())
        .collect();
    match (live.as_slice(), found.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], []) => Err(LookupError::NoProgram {
            wanted: wanted.into(),
            there: programs.iter().map(label).collect(),
        }),
        ([], several) | (several, _) => Err(LookupError::AmbiguousProgram {
            wanted: wanted.into(),
            candidates: several.iter().map(|view| label(view)).collect(),
        }),
    }
}

/// The name of an instance's program where `wanted` is an instance, `application/component/number`. No name
/// has a slash.
fn instance_name(wanted: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = wanted.split('/').collect();
    match parts.as_slice() {
        [application, component, number] if number.parse::<u32>().is_ok() => {
            format!("{application}-{component}-{number}").into()
        }
        _ => wanted.into(),
    }
}

/// `name (id's first digits)`, which is what can be typed back.
fn label(view: &ProgramView) -> String {
    format!("{} ({})", view.status.name, view.status.program.short())
}

/// An empty prefix is no prefix: it would match whatever is alone.
fn prefixed<'a, T>(all: &'a [T], wanted: &str, matches: impl Fn(&T) -> bool) -> Vec<&'a T> {
    all.iter()
        .filter(|one| !wanted.is_empty() && matches(one))
        .collect()
}

fn names(engines: &[EngineView]) -> Vec<String> {
    let name = |engine: &EngineId, online| {
        if online {
            engine.to_string()
        } else {
            format!("{engine} (offline)")
        }
    };
    engines
        .iter()
        .map(|view| name(&view.engine, view.online))
        .collect()
}

fn there_are(wanted: &str, there: &[String], none: &str) -> String {
    if there.is_empty() {
        return none.to_owned();
    }
    let there_are = format!("there are: {}", list(there));
    match meant(wanted, there) {
        Some(meant) => format!("did you mean '{meant}'? {there_are}"),
        None => there_are,
    }
}

/// The one that is most like what was typed, if it is much like it, and no other is as much.
fn meant<'a>(wanted: &str, there: &'a [String]) -> Option<&'a str> {
    let name = |label: &'a String| label.split(' ').next().unwrap_or(label);
    let alike = there
        .iter()
        .map(name)
        .map(|name| (strsim::jaro_winkler(wanted, name), name));
    let mut alike: Vec<_> = alike.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    alike.dedup_by_key(|(_, name)| *name);
    match alike.as_slice() {
        [one] => Some(one.1),
        [first, second, ..] if first.0 > second.0 => Some(first.1),
        _ => None,
    }
}

fn list(items: &[String]) -> String {
    let shown = items
        .iter()
        .take(CANDIDATES_SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match items.len().saturating_sub(CANDIDATES_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::{BootId, Digest, Generation, ProgramId};
    use wayfare_protocol::status::{ProgramState, ProgramStatus};

    use super::*;
    use crate::fleet::Presence;

    fn engines(names: &[&str]) -> Vec<EngineView> {
        let view = |name: &&str| EngineView {
            engine: name.parse().unwrap(),
            online: true,
            heard: crate::fleet::Heard::Live,
            rival: None,
            stopped: false,
            leaving: None,
            mark: None,
            messages: 1,
            offline_for_ms: None,
            about: None,
            identity: None,
            boot: None,
            load: None,
            programs: 0,
        };
        names.iter().map(view).collect()
    }

    fn programs(list: &[(&str, u8, ProgramState)]) -> Vec<ProgramView> {
        let view = |(name, number, state): &(&str, u8, ProgramState)| ProgramView {
            presence: Presence::Known,
            status: ProgramStatus {
                program: ProgramId::from_random([*number; 16]),
                name: (*name).into(),
                engine: "a".parse().unwrap(),
                boot: BootId::from_random([0; 16]),
                generation: Generation::FIRST,
                sequence: 0,
                state: state.clone(),
                module: Digest([0; 32]),
                memory_bytes: 0,
                ports: Default::default(),
                place: None,
                health: None,
                hold: None,
            },
        };
        list.iter().map(view).collect()
    }

    #[test]
    fn engines_are_found_by_name_and_by_unique_prefix() {
        let fleet = engines(&["pi", "pi-1", "pi-2", "hub"]);
        for (wanted, found) in [
            ("pi-1", Ok("pi-1")),
            ("pi", Ok("pi")),
            ("h", Ok("hub")),
            ("pi-", Err("'pi-' could be any of these engines: pi-1, pi-2")),
            ("pi-9", Err("no engine 'pi-9'; there are: pi, pi-1, pi-2, hub")),
            (
                "huub",
                Err("no engine 'huub'; did you mean 'hub'? there are: pi, pi-1, pi-2, hub"),
            ),
            ("", Err("no engine ''; there are: pi, pi-1, pi-2, hub")),
        ] {
            let got = engine(&fleet, wanted).map(|view| view.engine.to_string());
            assert_eq!(
                got.map_err(|e| e.to_string()),
                found.map(String::from).map_err(String::from)
            );
        }
        let none = engine(&[], "x").unwrap_err().to_string();
        assert_eq!(
            none,
            "no engine 'x'; there are no engines: start one with `wayfare engine start`"
        );
    }

    #[test]
    fn programs_are_found_by_name_id_and_unique_prefix_and_live_ones_first() {
        let fleet = programs(&[
            ("primes", 0x11, ProgramState::Exited { code: 0 }),
            ("primes", 0x12, ProgramState::Running),
            ("fib", 0x21, ProgramState::Running),
            ("fib", 0x22, ProgramState::Paused),
            ("sort", 0x31, ProgramState::Exited { code: 1 }),
            ("shop-web-0", 0x41, ProgramState::Running),
        ]);
        for (wanted, found) in [
            ("primes", Some(0x12)),
            ("pri", Some(0x12)),
            ("1111", Some(0x11)),
            ("sort", Some(0x31)),
            ("fib", None),
            ("2", None),
            ("22", Some(0x22)),
            ("nosuch", None),
            ("shop/web/0", Some(0x41)),
            ("shop/web/1", None),
            ("shop/web", None),
        ] {
            let got = program(&fleet, wanted).ok().map(|view| view.status.program);
            assert_eq!(
                got,
                found.map(|n: u8| ProgramId::from_random([n; 16])),
                "{wanted}"
            );
        }
        assert_eq!(
            program(&fleet, "fib").unwrap_err().to_string(),
            "'fib' could be any of these programs: fib (21212121), fib (22222222); give more of the id"
        );
    }

    #[test]
    fn what_cannot_be_taken_back_needs_the_whole_name() {
        let fleet = engines(&["pi-11", "hub"]);
        assert_eq!(whole_engine(&fleet, "hub").unwrap().engine.as_str(), "hub");
        assert_eq!(
            whole_engine(&fleet, "pi-1").unwrap_err().to_string(),
            "'pi-1' is only the beginning of engine 'pi-11': give the whole name for this"
        );
        let fleet = programs(&[("a-b-0", 0x21, ProgramState::Running)]);
        assert_eq!(whole_program(&fleet, "a/b/0").unwrap().status.name, "a-b-0");
        let fleet = programs(&[("primes", 0x11, ProgramState::Running)]);
        for wanted in ["primes", "1111"] {
            assert_eq!(whole_program(&fleet, wanted).unwrap().status.name, "primes");
        }
        assert_eq!(
            whole_program(&fleet, "prim").unwrap_err().to_string(),
            "'prim' is only the beginning of program primes (11111111): give the whole name for this"
        );
        let missing = whole_program(&fleet, "pirmes").unwrap_err().to_string();
        assert!(
            missing.starts_with("no program 'pirmes'; did you mean 'primes'?"),
            "{missing}"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (0..100).map(|n| format!("e{n}")).collect();
        let fleet = engines(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            engine(&fleet, "x")
                .unwrap_err()
                .to_string()
                .ends_with("e11 and 88 more")
        );
    }
}
