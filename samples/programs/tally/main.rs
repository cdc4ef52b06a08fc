//! tally KEY [times] [period_ms]: counts under a key of the fleet's state, together with whoever else counts there.
//!
//! Each step reads the value and replaces it by the next number if nobody was quicker. However many count at the same time, and wherever
//! they are moved meanwhile, the last number is the sum of all that they counted.

use std::thread;
use std::time::Duration;

use wayfare_guest::{Error, state};

const USAGE: &str = "usage: tally KEY [times=100] [period_ms=0]";

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let Some(key) = arguments.next() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let mut numbers = arguments.filter_map(|text| text.parse::<u64>().ok());
    let times = numbers.next().unwrap_or(100);
    let period = Duration::from_millis(numbers.next().unwrap_or(0));
    let mut last = 0;
    for step in 1..=times {
        last = count(&key)?;
        if step % 10 == 0 {
            println!("counted {step}");
        }
        thread::sleep(period);
    }
    println!("done: {times} counted, {last} by all");
    Ok(())
}

fn count(key: &str) -> Result<u64, Error> {
    loop {
        let (version, number) = match state::get(key)? {
            Some(value) => (
                value.version,
                value.text().and_then(|text| text.parse().ok()).unwrap_or(0),
            ),
            None => (state::ABSENT, 0),
        };
        let next: u64 = number + 1;
        match state::compare_and_set(key, version, next.to_string()) {
            Ok(_) => return Ok(next),
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
}
