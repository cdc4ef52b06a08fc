//! Words of a manifest: rules, times and sizes.

use std::time::Duration;

use wayfare_scheduler::application::ComponentId;
use wayfare_scheduler::constraint::{Apart, Domain, LabelRule, LabelTest};

use crate::typed;

/// `component`, or `component by host`; one of another application is `application/component`.
pub(super) fn apart(application: &str, rule: &str) -> Apart {
    let (of, by) = rule.split_once(" by ").unwrap_or((rule, "engine"));
    let (application, component) = of.trim().split_once('/').unwrap_or((application, of.trim()));
    Apart {
        from: ComponentId::new(application, component),
        by: domain(by),
    }
}

/// `engine`, `host`, or a label.
pub(super) fn domain(text: &str) -> Domain {
    match text.trim() {
        "engine" => Domain::Engine,
        "host" => Domain::Host,
        label => Domain::Label(label.strip_prefix("label ").unwrap_or(label).trim().to_owned()),
    }
}

/// `key=value`, `key!=value`, `key in (a, b)`, or `key`: it has the label.
pub(super) fn label_rule(text: &str) -> Result<LabelRule, String> {
    let part = |text: &str| text.trim().to_owned();
    let (key, test) = if let Some((key, value)) = text.split_once("!=") {
        (part(key), LabelTest::Differs(part(value)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        let values = values.trim().strip_prefix('(').and_then(|v| v.strip_suffix(')'));
        let values = values.ok_or_else(|| format!("label rule '{text}': 'key in (a, b)' is expected"))?;
        (part(key), LabelTest::In(values.split(',').map(part).collect()))
    } else if let Some((key, value)) = text.split_once('=') {
        (part(key), LabelTest::Equals(part(value)))
    } else {
        (part(text), LabelTest::Exists)
    };
    if key.is_empty() {
        return Err(format!("label rule '{text}' names no label"));
    }
    Ok(LabelRule { key, test })
}

/// `500ms`, `30s`, `5m` or `1h`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    millis(text, typed::parse_duration(text))
}

/// The same, and days: of what may take longer than a day.
pub(super) fn long_ms(text: &str) -> Result<u64, String> {
    millis(text, typed::parse_age(text))
}

fn millis(text: &str, read: Result<Duration, String>) -> Result<u64, String> {
    let time = read.map_err(|why| format!("'{text}': {why}"))?;
    u64::try_from(time.as_millis()).map_err(|_| format!("'{text}': that is too long"))
}

/// `65536`, `512K`, `16M` or `1G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    typed::parse_size(text).map_err(|why| format!("'{text}': {why}"))
}
