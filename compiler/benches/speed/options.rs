//! What of the benchmark to run.

use crate::machine::{Target, Way};
use crate::programs::{self, Program};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Pace,
    Size,
    Moved,
    Freeze,
}

pub(crate) struct Options {
    only: Vec<String>,
    parts: Vec<Part>,
    pub(crate) targets: Vec<Target>,
    pub(crate) rounds: usize,
    pub(crate) requests: usize,
    work: Option<u32>,
    /// Leaves out what takes long to compile.
    small: bool,
    pub(crate) once: Option<Way>,
}

/// Of Wasm.
const SMALL_BYTES: usize = 100_000;

const HELP: &str = "\
options, after `--`:
  --only NAME[,NAME]   these programs
  --native, --pulley   this target only
  --part PART[,PART]   of: pace, size, moved, freeze
  --rounds N           interleaved repeats (7)
  --requests N         captures for latencies (250)
  --work N             per mille of the full work (1000, on Pulley 100)
  --once WAY           run each program once, for profilers: raw, epochs, fuel, ours";

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: Vec::new(),
            parts: vec![Part::Pace, Part::Size, Part::Moved, Part::Freeze],
            targets: vec![Target::Native, Target::Pulley],
            rounds: 1,
            requests: 5,
            work: Some(10),
            small: true,
            once: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{arg} lacks its value\n{HELP}"))
            };
            match arg.as_str() {
                // Said by `cargo bench`, not by `cargo test`.
                "--bench" => {
                    (options.rounds, options.requests, options.work) = (7, 250, None);
                    options.small = false;
                }
                "--only" => options.only = value()?.split(',').map(String::from).collect(),
                "--native" => options.targets = vec![Target::Native],
                "--pulley" => options.targets = vec![Target::Pulley],
                "--part" => options.parts = value()?.split(',').map(part).collect::<Result<_, _>>()?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--requests" => options.requests = number(&value()?)?,
                "--work" => options.work = Some(number(&value()?)?),
                "--once" => {
                    let name = value()?;
                    let way = Way::ALL.into_iter().find(|way| way.name() == name);
                    options.once = Some(way.ok_or_else(|| format!("no way '{name}'\n{HELP}"))?);
                }
                _ => return Err(HELP.to_owned()),
            }
        }
        for name in &options.only {
            if !programs::ALL.iter().any(|program| program.name == name) {
                return Err(format!("no program '{name}'"));
            }
        }
        Ok(options)
    }

    pub(crate) fn programs(&self) -> Vec<&'static Program> {
        programs::ALL
            .iter()
            .filter(|program| match self.only.is_empty() {
                true => !self.small || program.wasm.len() < SMALL_BYTES,
                false => self.only.iter().any(|name| name == program.name),
            })
            .collect()
    }

    pub(crate) fn does(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// The interpreter is some ten times slower.
    pub(crate) fn per_mille(&self, target: Target) -> u32 {
        self.work.unwrap_or(match target {
            Target::Native => 1000,
            Target::Pulley => 100,
        })
    }
}

fn part(name: &str) -> Result<Part, String> {
    match name {
        "pace" => Ok(Part::Pace),
        "size" => Ok(Part::Size),
        "moved" => Ok(Part::Moved),
        "freeze" => Ok(Part::Freeze),
        _ => Err(format!("no part '{name}'\n{HELP}")),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number\n{HELP}"))
}
