//! Passes messages on, each with how many there were and their sum: a stream that shows whether any was lost, doubled or
//! out of order, and state that must be right whatever happens to the engine.
//!
//! `relay <from> <to>`. A message is a whole number; one that says "end" is passed on too, and ends the program.

use std::process::ExitCode;

use wayfare_guest as wayfare;

fn main() -> ExitCode {
    let topics: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = topics.as_slice() else {
        eprintln!("usage: relay <from> <to>");
        return ExitCode::from(2);
    };
    match relay(from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn relay(from: &str, to: &str) -> Result<(), wayfare::Error> {
    wayfare::subscribe(from)?;
    println!("from {from} to {to}");
    let (mut count, mut sum) = (0u64, 0u64);
    let mut engines: Vec<String> = vec![wayfare::engine_id()];
    loop {
        let message = wayfare::receive()?;
        if wayfare::was_moved() {
            engines.push(wayfare::engine_id());
        }
        let Some(number) = message.text().and_then(|text| text.parse::<u64>().ok()) else {
            wayfare::publish(to, format!("end {count} {sum}"))?;
            println!("{count} messages, sum {sum}");
            eprintln!("was on {}", engines.join(" "));
            return Ok(());
        };
        count += 1;
        sum = sum.wrapping_mul(31).wrapping_add(number);
        wayfare::publish(to, format!("{number} {count} {sum}"))?;
    }
}
