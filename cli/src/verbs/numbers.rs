//! What is measured, in people's words.

use wayfare_client::numbers::{EngineLoad, Point};

use super::fleet::Listed;
use crate::output::{age, bytes, micros, percent};

const HOUR_MS: u64 = 3_600_000;
/// From nothing to everything.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a picture.
const WIDTH: usize = 60;

/// Lines about a program; none where nothing was measured.
pub(super) fn of_program(one: &Listed, now_ms: u64) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(about) = &one.about {
        lines.extend(about.instance.clone().map(|instance| ("instance", instance)));
        let since = about
            .since_ms
            .map(|since_ms| age(now_ms.saturating_sub(since_ms)));
        lines.extend(since.map(|since| ("age", since)));
        lines.extend(about.restarts.map(|restarts| ("restarts", restarts.to_string())));
        lines.extend(about.moves.map(|moves| ("moves", moves.to_string())));
    }
    let Some(load) = &one.numbers else {
        return lines;
    };
    let (numbers, traffic) = (&load.numbers, &load.numbers.traffic);
    lines.push(("on its engine for", age(numbers.uptime_us / 1_000)));
    if let (Some(cpu_us), Some(millicores)) = (numbers.cpu_us, load.cpu_millicores) {
        let cpu = format!(
            "{} of a processor, {} in all",
            percent(millicores),
            micros(cpu_us)
        );
        lines.push(("cpu", cpu));
    }
    let messages = |messages: u64, payload: u64, per_minute: u64| {
        format!(
            "{messages} messages, {}, {} a second",
            bytes(payload),
            per_second(per_minute)
        )
    };
    let received = messages(
        traffic.received_messages,
        traffic.received_bytes,
        load.received_per_minute,
    );
    let sent = messages(traffic.sent_messages, traffic.sent_bytes, load.sent_per_minute);
    lines.extend([
        ("received", received),
        ("waiting for it", format!("{} messages", numbers.waiting_messages)),
        ("sent", sent),
        ("printed", format!("{} lines", numbers.log_lines)),
    ]);
    let stored = numbers.checkpoint_age_ms.map(|ms| format!("{} ago", age(ms)));
    lines.push((
        "checkpoint",
        stored.unwrap_or_else(|| "none since it came here".into()),
    ));
    let code = match numbers.baseline {
        true => "baseline, until optimised code is there",
        false => "optimised",
    };
    lines.push(("code", code.into()));
    lines
}

/// Lines about an engine.
pub(super) fn of_engine(load: &EngineLoad) -> Vec<(&'static str, String)> {
    let numbers = &load.numbers;
    let known = [
        ("up for", Some(age(numbers.uptime_us / 1_000))),
        (
            "cpu",
            load.cpu_millicores
                .map(|millicores| format!("{} of a processor, with its programs", percent(millicores))),
        ),
        (
            "the machine's load",
            numbers
                .machine_load_millicores
                .map(|millicores| format!("{} of a processor in the last minute", percent(millicores))),
        ),
        ("memory in use", numbers.memory_bytes.map(bytes)),
        ("memory free", numbers.machine_memory_available_bytes.map(bytes)),
        (
            "disk free",
            numbers.disk_free_bytes.map(|free| match numbers.disk_bytes {
                Some(all) => format!("{} of {}", bytes(free), bytes(all)),
                None => bytes(free),
            }),
        ),
        ("temperature", numbers.temperature_millidegrees.map(degrees)),
        ("broker's round trip", numbers.round_trip_us.map(micros)),
        ("clock ahead by", load.clock_ahead_ms.map(|ms| format!("{ms} ms"))),
    ];
    let known = known.into_iter();
    known.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Pictures of the last hour and of the days before, as far as somebody watched; none of less than two
/// points.
pub(super) fn over_time(history: &[Point]) -> Vec<(&'static str, String)> {
    // Finely for the last hour, and hour by hour before that.
    let last_ms = history.last().map_or(0, |last| last.at_ms);
    let recent = history.partition_point(|point| last_ms.saturating_sub(point.at_ms) > HOUR_MS);
    let (days, hour) = history.split_at(recent);
    let over_hour = used_over(["cpu over time", "memory over time"], hour);
    let over_days = used_over(["cpu over days", "memory over days"], days);
    over_hour.into_iter().chain(over_days).collect()
}

fn used_over([cpu_name, memory_name]: [&'static str; 2], history: &[Point]) -> Vec<(&'static str, String)> {
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        return Vec::new();
    };
    if history.len() < 2 {
        return Vec::new();
    }
    let span = age(last.at_ms.saturating_sub(first.at_ms));
    let cpu: Vec<u64> = history.iter().filter_map(|point| point.cpu_millicores).collect();
    let memory: Vec<u64> = history.iter().map(|point| point.memory_bytes).collect();
    let top = |values: &[u64]| values.iter().max().copied().unwrap_or(0);
    vec![
        (
            cpu_name,
            format!("{} at most {}, {span}", bars(&cpu), percent(top(&cpu))),
        ),
        (
            memory_name,
            format!("{} at most {}, {span}", bars(&memory), bytes(top(&memory))),
        ),
    ]
}

/// The latest values, each as a share of the largest.
fn bars(values: &[u64]) -> String {
    let values = &values[values.len().saturating_sub(WIDTH)..];
    let top = values.iter().max().copied().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let share = u128::from(*value) * (BARS.len() as u128 - 1) / u128::from(top);
        BARS[usize::try_from(share).unwrap_or(0)]
    };
    values.iter().map(bar).collect()
}

pub(super) fn degrees(millidegrees: i64) -> String {
    format!("{:.1} °C", millidegrees as f64 / 1e3)
}

/// With a decimal where it tells something.
pub(super) fn per_second(per_minute: u64) -> String {
    match per_minute {
        0 => "0".into(),
        1..6_000 => format!("{:.1}", per_minute as f64 / 60.0),
        _ => (per_minute / 60).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_is_a_picture() {
        let point = |at_s: u64, millicores: u64| Point {
            at_ms: at_s * 1_000,
            cpu_millicores: Some(millicores),
            memory_bytes: 1 << 20,
        };
        assert_eq!(over_time(&[point(1, 1)]), vec![]);
        let lines = over_time(&[point(0, 0), point(30, 500), point(60, 1_000)]);
        assert_eq!(lines[0].1, "▁▄█ at most 100.0%, 60s");
        assert_eq!(lines[1].1, "███ at most 1.0 MiB, 60s");
        assert_eq!(bars(&[]), "");
        assert_eq!(bars(&[0; 100]).chars().count(), WIDTH);
    }

    #[test]
    fn few_messages_a_second_have_a_decimal() {
        for (per_minute, text) in [(0, "0"), (6, "0.1"), (90, "1.5"), (6_000, "100")] {
            assert_eq!(per_second(per_minute), text);
        }
    }
}
