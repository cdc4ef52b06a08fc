//! Wayfare's sample programs, built.
//!
//! Ordinary WASI preview 1 commands in plain blocking style, with nothing of Wayfare in them but the calls of those that talk
//! ([`TALKERS`]): what a newcomer runs
//! first, and what the tests move about. Their sources are in `programs/`, in C and Rust; `build` makes the files
//! of `wasm/` from them. Those are committed, so that nobody needs a WebAssembly toolchain to try Wayfare, and a
//! test holds them to the sources they were built from.
#![forbid(unsafe_code)]

/// A sample program.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub name: &'static str,
    pub wasm: &'static [u8],
    /// What it does, in one line.
    pub about: &'static str,
    /// Arguments, without the program's own name, with which it is done within about 50 ms as native code.
    pub quick_args: &'static [&'static str],
    /// What `quick_args` expect on standard input; `None` where the program does not read it.
    pub stdin: Option<&'static [u8]>,
    /// All that it prints to standard output with `quick_args` and `stdin`, checked against computations in
    /// another language.
    pub quick_stdout: &'static str,
}

macro_rules! sample {
    ($name:literal, $quick_args:expr, $stdin:expr, $about:literal) => {
        Sample {
            name: $name,
            wasm: include_bytes!(concat!("../wasm/", $name, ".wasm")),
            about: $about,
            quick_args: &$quick_args,
            stdin: $stdin,
            quick_stdout: include_str!(concat!("../expected/", $name, ".txt")),
        }
    };
}

/// All samples, by name.
pub const ALL: &[Sample] = &[
    sample!(
        "counter",
        ["20", "1", "64"],
        None,
        "counts, sleeping between steps, with a heap full of state"
    ),
    sample!(
        "factorial",
        ["8000"],
        None,
        "n! as a big number, saying every 500 ms how far it is"
    ),
    sample!(
        "fib",
        ["27", "10000"],
        None,
        "recursion, wide and then 10,000 calls deep (C)"
    ),
    sample!(
        "primes",
        ["300000"],
        None,
        "counts primes in nested loops that never yield"
    ),
    sample!(
        "sort",
        ["256", "4"],
        None,
        "recursive quicksort over pseudo-random numbers, and checksums (C)"
    ),
    sample!(
        "wordfreq",
        ["20"],
        Some(BOOK),
        "counts the words of the text on standard input"
    ),
];

/// A sample that works on more than its memory and standard streams: it talks to others or uses a device, for which it needs
/// grants, or keeps files.
#[derive(Debug, Clone, Copy)]
pub struct Talker {
    pub name: &'static str,
    pub wasm: &'static [u8],
    /// What it does, in one line.
    pub about: &'static str,
}

macro_rules! talker {
    ($name:literal, $about:literal) => {
        Talker {
            name: $name,
            wasm: include_bytes!(concat!("../wasm/", $name, ".wasm")),
            about: $about,
        }
    };
}

/// All samples that talk, by name.
pub const TALKERS: &[Talker] = &[
    talker!("blink", "blinks an LED, wherever it runs"),
    talker!(
        "calc",
        "doubles numbers for whoever calls it, and has them doubled"
    ),
    talker!(
        "cards",
        "deals cards to a group of players, who show them at once"
    ),
    talker!("chat", "asks and answers"),
    talker!("jobs", "gives jobs to workers that come and go, and does them"),
    talker!(
        "ledger",
        "appends lines to a file of the fleet's, with whoever else does"
    ),
    talker!(
        "lines",
        "passes messages on through the files of /wayfare alone (C)"
    ),
    talker!("once", "passes messages on without repeats, and plain (C)"),
    talker!(
        "orders",
        "orders of several tables to one kitchen, one of each at a time"
    ),
    talker!(
        "pipeline",
        "stages that clean and sum up what a city's sensors say"
    ),
    talker!("relay", "passes numbers on, with their count and sum"),
    talker!("scribe", "keeps a diary in /tmp or in /fleet, and reads it back"),
    talker!(
        "tally",
        "counts under a key of the fleet's, with whoever else does"
    ),
    talker!(
        "thermostat",
        "switches a heating by the mean of several sensors, which may be devices"
    ),
    talker!("web", "answers HTTP with a page that is where its program is"),
];

/// What `scribe 200` prints, as a native program does.
pub const SCRIBE_STDOUT: &str = include_str!("../expected/scribe.txt");

pub fn find_talker(name: &str) -> Option<&'static Talker> {
    TALKERS.iter().find(|talker| talker.name == name)
}

/// Checks of what POSIX programs expect of files, below the folder that its argument names: it prints
/// `ok NAME` or `WRONG NAME: ...` for each, and at last `done`. A second argument is a pause between two checks, in
/// milliseconds. With the argument `line` it prints a line and computes for ever; with `held` it waits for
/// `/fleet/go` with files open that were removed, renamed or put in a stream's place, and uses them then. For tests,
/// not for newcomers (C).
pub const POSIX: &[u8] = include_bytes!("../wasm/posix.wasm");

/// Does with the files of `/wayfare` what its arguments say, one after the other. For tests, not for
/// newcomers (C).
pub const TALK: &[u8] = include_bytes!("../wasm/talk.wasm");

/// The stages of the sample `pipeline` as an application, and what its source reads.
pub const PIPELINE_APP: &str = include_str!("../pipeline/app.toml");
pub const PIPELINE_CSV: &[u8] = include_bytes!("../pipeline/city.csv");
/// All that its sink prints, as `pipeline/reference.py` computed it.
pub const PIPELINE_TABLE: &str = include_str!("../expected/pipeline.txt");

/// Lewis Carroll, Alice's Adventures in Wonderland (1865), whole, in ASCII. In the public domain.
pub const BOOK: &[u8] = include_bytes!("../data/alice.txt");

pub fn find(name: &str) -> Option<&'static Sample> {
    ALL.iter().find(|sample| sample.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_only_so() {
        for sample in ALL {
            assert_eq!(find(sample.name).map(|found| found.wasm), Some(sample.wasm));
        }
        assert!(find("nosuch").is_none());
        for talker in TALKERS {
            assert_eq!(
                find_talker(talker.name).map(|found| found.wasm),
                Some(talker.wasm)
            );
            assert!(find(talker.name).is_none());
        }
        assert!(TALKERS.is_sorted_by(|a, b| a.name < b.name));
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name));
    }
}
