//! Says what the sensors said: reads CSV from standard input and publishes each row as SenML (RFC 8428), as a sensor would.

use std::io::{BufRead, stdin};
use std::time::Duration;

use wayfare_guest as wayfare;

use crate::flow::{Counts, Place, await_next, end_message, say_if_moved};
use crate::row::OBSERVED;

pub enum Pace {
    /// A row every so many microseconds.
    EveryUs(u64),
    /// As many rows as somebody says on the topic `<city>/go`: to look at the pipeline step by step.
    Go,
}

pub fn run(place: &Place, city: &str, pace: Pace) -> Result<(), wayfare::Error> {
    if let Pace::Go = pace {
        wayfare::subscribe(&format!("{city}/go"))?;
    }
    await_next(place, city)?;
    println!("all stages are there");
    let output = format!("{city}/{}", place.output);
    let (mut rows, mut free) = (0u64, 0u64);
    for line in stdin().lock().lines().skip(1) {
        let Ok(line) = line else { break };
        match pace {
            Pace::EveryUs(0) => {}
            Pace::EveryUs(us) => std::thread::sleep(Duration::from_micros(us)),
            Pace::Go => {
                while free == 0 {
                    let said = wayfare::receive()?;
                    free = said.text().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
                }
                free -= 1;
            }
        }
        say_if_moved(place);
        wayfare::publish(&output, senml(&line))?;
        rows += 1;
    }
    let counts = Counts::from([("rows".to_owned(), rows)]);
    wayfare::publish(&output, end_message(&counts))?;
    println!("source: {rows} out");
    Ok(())
}

/// `time,sensor,values`: a pack with a record for each value that is there. Numbers stay as they are written.
fn senml(line: &str) -> String {
    let mut parts = line.split(',');
    let time = parts.next().unwrap_or_default();
    let sensor = parts.next().unwrap_or_default();
    let mut records = vec![format!(r#"{{"bn":"urn:dev:city:{sensor}:","bt":{time}}}"#)];
    for ((name, unit), value) in OBSERVED.iter().zip(parts) {
        if !value.is_empty() {
            records.push(format!(r#"{{"n":"{name}","u":"{unit}","v":{value}}}"#));
        }
    }
    format!("[{}]", records.join(","))
}
