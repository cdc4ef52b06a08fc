//! What happened when: a line each, for people or as JSON.

use std::time::Instant;

use serde_json::{Value, json};

use crate::fail::Result;
use crate::output::{Output, say, say_json};

pub(crate) struct Timeline {
    output: Output,
    began: Instant,
}

impl Timeline {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            began: Instant::now(),
        }
    }

    pub(crate) fn step(&mut self, step: &str, text: &str, mut details: Value) -> Result {
        let elapsed = self.began.elapsed();
        match self.output {
            Output::Human => say(format!("{:7.3} s  {step:8} {text}", elapsed.as_secs_f64())),
            Output::Json => {
                details["step"] = step.into();
                details["at_ms"] = json!(elapsed.as_millis() as u64);
                say_json(&details)
            }
        }
    }

    pub(crate) fn note(&mut self, step: &str, text: &str) -> Result {
        self.step(step, text, json!({ "text": text }))
    }
}
