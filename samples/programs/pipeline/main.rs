//! A pipeline over what a city's sensors say, in the manner of RIoTBench's ETL and STATS: each stage is a program of its own, and
//! can be moved while the stream runs.
//!
//! ```text
//!   source -> parse -> range -> bloom -> interpolate -+-> average -------------+-> sink
//!   (CSV)     (SenML)                                 +-> kalman -> regression +
//!                                                     +-> distinct ------------+
//! ```
//! `pipeline <stage> <city>`. All topics are below `<city>`; `app.toml` grants each stage those that it needs and no more. The sink
//! prints a table that depends on the source's standard input alone, because each stage has one publisher before it, and the sink
//! puts what comes from three in order.

mod average;
mod bloom;
mod distinct;
mod flow;
mod hash;
mod interpolate;
mod kalman;
mod parse;
mod range;
mod regression;
mod row;
mod sink;
mod source;

use std::process::ExitCode;

use flow::{Place, Stage};

/// What each stage reads and writes, and who must be there before it begins.
const PLACES: &[Place] = &[
    Place { name: "source", inputs: &[], output: "rows", next: &["parse"] },
    Place { name: "parse", inputs: &["rows"], output: "readings", next: &["range"] },
    Place { name: "range", inputs: &["readings"], output: "ranged", next: &["bloom"] },
    Place { name: "bloom", inputs: &["ranged"], output: "known", next: &["interpolate"] },
    Place { name: "interpolate", inputs: &["known"], output: "whole", next: &["average", "kalman", "distinct"] },
    Place { name: "average", inputs: &["whole"], output: "averages", next: &["sink"] },
    Place { name: "kalman", inputs: &["whole"], output: "smooth", next: &["regression"] },
    Place { name: "regression", inputs: &["smooth"], output: "trends", next: &["sink"] },
    Place { name: "distinct", inputs: &["whole"], output: "distinct", next: &["sink"] },
    Place { name: "sink", inputs: &["averages", "trends", "distinct"], output: "", next: &[] },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [stage, city, rest @ ..] = args.as_slice() else {
        return usage();
    };
    let Some(place) = PLACES.iter().find(|place| place.name == *stage) else {
        return usage();
    };
    let done = match (*stage, rest) {
        ("source", []) => source::run(place, city, source::Pace::EveryUs(1000)),
        ("source", ["go"]) => source::run(place, city, source::Pace::Go),
        ("source", [us]) => match us.parse() {
            Ok(us) => source::run(place, city, source::Pace::EveryUs(us)),
            Err(_) => return usage(),
        },
        ("bloom", [_, ..]) => flow::run(place, city, &mut bloom::Bloom::knowing(rest)),
        (_, []) => match stage_of(stage) {
            Some(mut stage) => flow::run(place, city, stage.as_mut()),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{stage}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stage_of(name: &str) -> Option<Box<dyn Stage>> {
    Some(match name {
        "parse" => Box::new(parse::Parse),
        "range" => Box::<range::Range>::default(),
        "interpolate" => Box::<interpolate::Interpolate>::default(),
        "average" => Box::<average::Average>::default(),
        "kalman" => Box::<kalman::Kalman>::default(),
        "regression" => Box::<regression::Regression>::default(),
        "distinct" => Box::<distinct::Distinct>::default(),
        "sink" => Box::<sink::Sink>::default(),
        _ => return None,
    })
}

fn usage() -> ExitCode {
    eprintln!("usage: pipeline source <city> [microseconds=1000|go] < CSV");
    eprintln!("       pipeline bloom <city> <known sensor>...");
    eprintln!("       pipeline parse|range|interpolate|average|kalman|regression|distinct|sink <city>");
    ExitCode::from(2)
}
