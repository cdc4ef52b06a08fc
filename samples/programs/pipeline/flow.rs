//! How a stage runs: it waits until those after it are there, and then takes messages until the stream's end.
//!
//! Whether a stage is there is asked of it with a request. It replies only when all after it have: so the source begins when the whole
//! pipeline listens, in whatever order the programs were started.

use std::collections::BTreeMap;
use std::time::Duration;

use wayfare_guest as wayfare;

const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The stream's last message; counts follow it.
const END: &str = "end";

/// A stage's place in the pipeline.
pub struct Place {
    pub name: &'static str,
    pub inputs: &'static [&'static str],
    pub output: &'static str,
    pub next: &'static [&'static str],
}

/// What the final report says of the stream, by name.
pub type Counts = BTreeMap<String, u64>;

pub trait Stage {
    /// One message, from an input of this name; what it makes of it. `None`: it cannot be read.
    fn take(&mut self, input: &str, text: &str, out: &mut Vec<String>) -> Option<()>;

    /// All inputs have ended.
    fn end(&mut self, _out: &mut Vec<String>, _counts: &mut Counts) {}
}

pub fn run(place: &Place, city: &str, stage: &mut dyn Stage) -> Result<(), wayfare::Error> {
    for input in place.inputs {
        wayfare::subscribe(&format!("{city}/{input}"))?;
    }
    wayfare::subscribe(&ready_topic(city, place.name))?;
    await_next(place, city)?;
    let output = format!("{city}/{}", place.output);
    let (mut counts, mut ends, mut taken, mut given) = (Counts::new(), 0, 0u64, 0u64);
    let mut out = Vec::new();
    while ends < place.inputs.len() {
        let message = wayfare::receive()?;
        say_if_moved(place);
        if let Some(request) = &message.request {
            wayfare::reply(request, "yes")?;
            continue;
        }
        let input = message.topic.rsplit('/').next().unwrap_or_default();
        match message.text() {
            Some(text) if text == END || text.starts_with("end;") => {
                ends += 1;
                read_counts(text, &mut counts);
            }
            text => {
                taken += 1;
                if text.and_then(|text| stage.take(input, text, &mut out)).is_none() {
                    *counts.entry(format!("unreadable to {}", place.name)).or_default() += 1;
                }
            }
        }
        if ends == place.inputs.len() {
            stage.end(&mut out, &mut counts);
        }
        for text in out.drain(..) {
            given += 1;
            wayfare::publish(&output, text)?;
        }
    }
    if !place.output.is_empty() {
        wayfare::publish(&output, end_message(&counts))?;
        println!("{}: {taken} in, {given} out", place.name);
    }
    Ok(())
}

/// Waits until all after it are there.
pub fn await_next(place: &Place, city: &str) -> Result<(), wayfare::Error> {
    for next in place.next {
        let topic = ready_topic(city, next);
        loop {
            match wayfare::request(&topic, "there?", ASK_AGAIN) {
                Ok(_) => break,
                Err(wayfare::Error::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

pub fn say_if_moved(place: &Place) {
    if wayfare::was_moved() {
        eprintln!("{}: now on {}", place.name, wayfare::engine_id());
    }
}

pub fn end_message(counts: &Counts) -> String {
    let mut text = END.to_owned();
    for (name, count) in counts {
        text += &format!(";{name}={count}");
    }
    text
}

fn read_counts(text: &str, into: &mut Counts) {
    for part in text.split(';').skip(1) {
        if let Some((name, count)) = part.split_once('=')
            && let Ok(count) = count.parse()
        {
            into.insert(name.to_owned(), count);
        }
    }
}

fn ready_topic(city: &str, stage: &str) -> String {
    format!("{city}/ready/{stage}")
}
