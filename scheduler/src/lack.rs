//! Why an engine does not fit, and the sentence for a whole fleet of them.
//!
//! Each engine is counted once, under the first thing that it lacks: first what it is and has, then whether
//! it takes anything, then room, then company.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::application::ComponentId;
use crate::constraint::{Domain, LabelRule};
use crate::fleet::NoCode;

/// What keeps one engine from taking an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "lack")]
pub enum Lack {
    /// It is none of the engines named.
    EngineName,
    /// Its host is none of those named.
    HostName,
    Label {
        rule: LabelRule,
    },
    Device {
        device: String,
    },
    /// It does not compile, and gets no code from others.
    Code {
        why: NoCode,
    },
    Cordoned,
    Draining,
    Lost,
    /// So many bytes are not free, or more than one program may have.
    Memory {
        bytes: u64,
    },
    /// So many thousandths of a processor are not free.
    Processor {
        millicores: u64,
    },
    /// It has as many programs as it takes.
    Places,
    /// It has as many instances of the component as the component allows.
    PerEngineMax {
        max: u32,
    },
    /// A component runs there that this one keeps apart from.
    Apart {
        from: ComponentId,
        by: Domain,
    },
    /// One more there would be too many compared with elsewhere.
    Spread {
        by: Domain,
    },
}

/// Why no engine fits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoneFits {
    pub engines: u32,
    /// How many engines lack what, the commonest first; the counts add up to `engines`.
    pub lacks: Vec<(u32, Lack)>,
}

impl NoneFits {
    pub(crate) fn count(lacks: impl Iterator<Item = Lack>) -> Self {
        let mut counts = BTreeMap::<Lack, u32>::new();
        for lack in lacks {
            *counts.entry(lack).or_default() += 1;
        }
        let engines = counts.values().sum();
        let mut lacks: Vec<_> = counts.into_iter().map(|(lack, count)| (count, lack)).collect();
        lacks.sort_by(|(a, _), (b, _)| b.cmp(a));
        Self { engines, lacks }
    }
}

impl fmt::Display for NoneFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.engines == 0 {
            return f.write_str("there are no engines");
        }
        let engines = if self.engines == 1 {
            "engine fits"
        } else {
            "engines fit"
        };
        write!(f, "0 of {} {engines}", self.engines)?;
        for (at, (count, lack)) in self.lacks.iter().enumerate() {
            f.write_str(if at == 0 { ": " } else { ", " })?;
            write!(f, "{count} ")?;
            lack.predicate(f, *count == 1)?;
        }
        Ok(())
    }
}

impl Lack {
    pub(crate) fn predicate(&self, f: &mut fmt::Formatter<'_>, one: bool) -> fmt::Result {
        let be = if one { "is" } else { "are" };
        let lack = if one { "lacks" } else { "lack" };
        let have = if one { "has" } else { "have" };
        match self {
            Self::EngineName => write!(f, "{be} not among the engines named"),
            Self::HostName => write!(f, "{be} not on a host named"),
            Self::Label { rule } => write!(f, "{lack} label '{rule}'"),
            Self::Device { device } => write!(f, "{lack} device '{device}'"),
            Self::Code { why } => {
                let do_not = if one { "does not" } else { "do not" };
                let need = if one { "needs" } else { "need" };
                match why {
                    NoCode::NotServed => {
                        write!(f, "{lack} a compiler, and no dispatcher compiles for others")
                    }
                    NoCode::NotTrusted => {
                        write!(
                            f,
                            "{do_not} trust the fleet's key ('wayfare key show' prints it, --trust takes it)"
                        )
                    }
                    NoCode::NotMade => {
                        write!(
                            f,
                            "{need} code that the dispatcher has no compiler for ('wayfare dispatcher --compiler' takes one)"
                        )
                    }
                }
            }
            Self::Cordoned => write!(f, "{be} cordoned"),
            Self::Draining => write!(f, "{be} draining"),
            Self::Lost => write!(f, "{be} lost"),
            Self::Memory { bytes } => write!(f, "{lack} {}", Bytes(*bytes)),
            Self::Processor { millicores } => write!(f, "{lack} {millicores} millicores"),
            Self::Places => write!(f, "{lack} a free place"),
            Self::PerEngineMax { max } => write!(f, "{have} {max} of it already"),
            Self::Apart { from, by } => write!(f, "{have} '{from}' on the same {by}"),
            Self::Spread { by } => write!(f, "{have} too many of it by {by}"),
        }
    }
}

/// Exact, in the largest binary unit that needs no fraction.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let (unit, shift) = match bytes.trailing_zeros() {
            _ if bytes == 0 => ("B", 0),
            30.. => ("GiB", 30),
            20.. => ("MiB", 20),
            10.. => ("KiB", 10),
            _ => ("B", 0),
        };
        write!(f, "{} {unit}", bytes >> shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_engine_by_engine_counted() {
        let memory = Lack::Memory { bytes: 64 << 20 };
        let device = Lack::Device { device: "led".into() };
        type Case = (Vec<Lack>, &'static str);
        let untrusting = Lack::Code {
            why: NoCode::NotTrusted,
        };
        let cases: [Case; 6] = [
            (
                vec![untrusting],
                "0 of 1 engine fits: 1 does not trust the fleet's key ('wayfare key show' prints it, --trust takes it)",
            ),
            (vec![], "there are no engines"),
            (vec![Lack::Lost], "0 of 1 engine fits: 1 is lost"),
            (
                vec![device.clone(), memory.clone(), memory.clone()],
                "0 of 3 engines fit: 2 lack 64 MiB, 1 lacks device 'led'",
            ),
            (
                vec![Lack::Places, Lack::Cordoned, Lack::Places],
                "0 of 3 engines fit: 2 lack a free place, 1 is cordoned",
            ),
            (
                vec![Lack::Memory { bytes: 1 << 30 }, Lack::Memory { bytes: 1000 }],
                "0 of 2 engines fit: 1 lacks 1000 B, 1 lacks 1 GiB",
            ),
        ];
        for (lacks, says) in cases {
            assert_eq!(NoneFits::count(lacks.into_iter()).to_string(), says);
        }
    }
}
