//! ledger FILE [lines] [period_ms]: appends lines to a file of the fleet's, below /fleet, together with whoever else does.
//!
//! Each line says whose it is and which, so that a file of several writers shows whether any was lost, doubled or torn. Nothing but
//! Rust's own library.

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::thread;
use std::time::Duration;

const USAGE: &str = "usage: ledger FILE [lines=100] [period_ms=0]";

fn main() -> Result<()> {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let Some(path) = arguments.next() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let mut numbers = arguments.filter_map(|text| text.parse::<u64>().ok());
    let lines = numbers.next().unwrap_or(100);
    let period = Duration::from_millis(numbers.next().unwrap_or(0));
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    for line in 1..=lines {
        // One call writes all of it: a line is never torn.
        file.write_all(format!("{name} {line}\n").as_bytes())?;
        if line % 10 == 0 {
            println!("written {line}");
        }
        thread::sleep(period);
    }
    println!("done: {lines} written");
    Ok(())
}
