//! For people: tables and sentences. For programs: JSON, one document a line.

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Human,
    Json,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Human }
    }

    /// Prints `document`, or what `human` makes of it.
    pub(crate) fn print<T: Serialize>(self, document: &T, human: impl FnOnce(&T) -> String) {
        match self {
            Self::Json => say(&serde_json::to_string(document).expect("plain data serialises")),
            Self::Human => say(&human(document)),
        }
    }

    /// A remark for people, beside the result.
    pub(crate) fn remark(self, text: &str) {
        if self == Self::Human {
            eprintln!("{text}");
        }
    }
}

/// A line on standard output. A reader that has gone away (`| head`) ends the command quietly.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Plain columns, as `ps` prints them.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A size as people read it.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time as people read it.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain_columns() {
        let rows = [
            vec!["a".into(), "running".into()],
            vec!["long-name".into(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "STATE"], rows),
            "NAME       STATE\na          running\nlong-name"
        );
    }

    #[test]
    fn quantities_are_short() {
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        for (amount, text) in [(999, "999 µs"), (1_500, "1.5 ms"), (2_340_000, "2.34 s")] {
            assert_eq!(micros(amount), text);
        }
    }
}
