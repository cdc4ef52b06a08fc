//! Reads SenML (RFC 8428), as JSON: base name and base time hold for the records after them.

use serde_json::Value;

use crate::flow::Stage;
use crate::row::{OBSERVED, Row, VALUES};

pub struct Parse;

impl Stage for Parse {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        out.push(parse(text)?.text());
        Some(())
    }
}

fn parse(text: &str) -> Option<Row> {
    let pack: Value = serde_json::from_str(text).ok()?;
    let (mut base, mut time) = (String::new(), 0);
    let mut values = [None; VALUES];
    for record in pack.as_array()? {
        if let Some(name) = record.get("bn") {
            base = name.as_str()?.to_owned();
        }
        if let Some(base_time) = record.get("bt") {
            time = base_time.as_u64()?;
        }
        let Some(name) = record.get("n") else { continue };
        let name = name.as_str()?;
        // What else a sensor says is not for this pipeline.
        if let Some(at) = OBSERVED.iter().position(|(observed, _)| *observed == name) {
            values[at] = Some(record.get("v")?.as_f64()?);
        }
    }
    let sensor = base.trim_end_matches(':').rsplit(':').next()?;
    let is_name = !sensor.is_empty() && sensor.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_name.then(|| Row { time, sensor: sensor.to_owned(), values })
}
