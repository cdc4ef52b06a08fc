//! All that the command prints. Nothing else in it writes to standard output or standard error.
//!
//! For people: [`Text`], in which nothing foreign can leave its place. For programs: JSON, one document a
//! line. What cannot be written to standard output is the command's failure. What cannot be written to
//! standard error is given up: nobody is left who could be told.

#![allow(clippy::disallowed_methods, reason = "this is the one place that prints")]

mod closed;
mod escape;
mod terminal;
mod text;
mod width;

use std::io::{self, IsTerminal, Write};

use clap::builder::StyledStr;
use serde::Serialize;
use wayfare_protocol::log::{LogLine, Stream};

use crate::fail::{Fail, Result};
use terminal::TerminalFilter;
use text::Look;
pub(crate) use text::Text;
pub(crate) use wayfare_client::documents::{moment, now_ms};
pub(crate) use width::show_whole_rows;

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
    pub(crate) fn print<T, H>(self, document: &T, human: impl FnOnce(&T) -> H) -> Result
    where
        T: Serialize,
        H: Into<Text>,
    {
        match self {
            Self::Json => say_json(document),
            Self::Human => say(human(document)),
        }
    }

    /// A remark for people, beside the result.
    pub(crate) fn remark(self, text: impl Into<Text>) {
        if self == Self::Human {
            tell(text);
        }
    }
}

/// Lines on standard output.
pub(crate) fn say(text: impl Into<Text>) -> Result {
    let look = Look {
        width: width::of_standard_output(),
        is_coloured: io::stdout().is_terminal() && wants_colours(),
    };
    write_out(format!("{}\n", text.into().shown(look)).as_bytes())
}

/// A document on standard output, in one line.
pub(crate) fn say_json(document: &impl Serialize) -> Result {
    write_out(format!("{}\n", json_line(document)).as_bytes())
}

/// The same with more of it, where the document is an object.
pub(crate) fn say_json_with(document: &impl Serialize, more: &[(&str, &str)]) -> Result {
    let mut document = serde_json::to_value(document).expect("plain data serialises");
    if let serde_json::Value::Object(object) = &mut document {
        object.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).into())),
        );
    }
    say_json(&document)
}

/// What stands before a line that is typed.
pub(crate) fn prompt() -> Result {
    write_out(b"wayfare> ")
}

/// Lines on standard error.
pub(crate) fn tell(text: impl Into<Text>) {
    write_error(format!("{}\n", text.into()).as_bytes());
}

/// A document on standard error, in one line.
pub(crate) fn tell_json(document: &impl Serialize) {
    write_error(format!("{}\n", json_line(document)).as_bytes());
}

/// Bytes on standard output, as they are.
pub(crate) fn write_out(bytes: &[u8]) -> Result {
    try_write_out(bytes).map_err(|error| Fail::standard_output(&error))
}

/// The same for who passes the error on.
pub(crate) fn try_write_out(bytes: &[u8]) -> io::Result<()> {
    if closed::standard_output() {
        return Err(io::Error::other("it is closed"));
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Help, or what is wrong with the arguments, which may be foreign text: a file's name, a script's variable.
/// With its colours on a terminal.
pub(crate) fn write_usage(text: &StyledStr, is_bad: bool) -> Result {
    let is_terminal = match is_bad {
        true => io::stderr().is_terminal(),
        false => io::stdout().is_terminal(),
    };
    let mut bytes = Vec::new();
    if is_terminal && wants_colours() {
        let mut filter = TerminalFilter::new();
        bytes.extend_from_slice(&filter.filtered(text.ansi().to_string().as_bytes()));
        bytes.extend(filter.rest());
    } else {
        let lines: Text = text.to_string().trim_end().lines().collect();
        bytes.extend(format!("{lines}\n").into_bytes());
    }
    match is_bad {
        true => {
            write_error(&bytes);
            Ok(())
        }
        false => write_out(&bytes),
    }
}

/// As <https://no-color.org> has it.
fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether somebody sees standard error at a terminal.
pub(crate) fn error_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether logs on standard error are coloured.
pub(crate) fn log_has_colours() -> bool {
    error_is_terminal() && wants_colours()
}

/// Clears the terminal, if standard output is one.
pub(crate) fn clear_screen() -> Result {
    match io::stdout().is_terminal() {
        // Home, and clear what is below.
        true => write_out(b"\x1b[H\x1b[2J"),
        false => Ok(()),
    }
}

/// Bytes on standard error, as they are.
fn write_error(bytes: &[u8]) {
    // Whoever should read it has gone away.
    let _ = io::stderr().lock().write_all(bytes);
}

/// Where what a program or a file contains is shown: byte for byte to pipes and files, and to a terminal
/// without what would steer it.
pub(crate) struct Foreign {
    out: TerminalFilter,
    error: TerminalFilter,
}

impl Foreign {
    pub(crate) fn new() -> Self {
        let filter = |is_terminal: bool| match is_terminal {
            true => TerminalFilter::new(),
            false => TerminalFilter::off(),
        };
        Self {
            out: filter(io::stdout().is_terminal()),
            error: filter(io::stderr().is_terminal()),
        }
    }

    /// A line of a program's log, with this in front; then it is a line of its own in any case.
    pub(crate) fn line(&mut self, prefix: &str, line: &LogLine, place: Stream) -> Result {
        let mut bytes = escape::line(prefix).into_bytes();
        line.write_to(&mut bytes);
        if line.open && !prefix.is_empty() {
            bytes.push(b'\n');
        }
        match place {
            Stream::Stdout => write_out(&self.out.filtered(&bytes)),
            Stream::Stderr => {
                write_error(&self.error.filtered(&bytes));
                Ok(())
            }
        }
    }

    /// A piece of a content, on standard output.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        try_write_out(&self.out.filtered(bytes))
    }

    /// The end: what was cut off, and the terminal's own colours again.
    pub(crate) fn finish(mut self) -> Result {
        write_error(&self.error.rest());
        write_out(&self.out.rest())
    }
}

/// JSON leaves some characters alone that terminals obey, or hide: escaped they mean the same.
fn json_line(document: &impl Serialize) -> String {
    let json = serde_json::to_string(document).expect("plain data serialises");
    if !json.chars().any(escape::is_unsafe) {
        return json;
    }
    let mut line = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if escape::is_unsafe(character) {
            for unit in character.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(character);
        }
    }
    line
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

/// Foreign text as one line of a screen that is drawn, with control characters escaped.
pub(crate) fn one_line(text: &str) -> String {
    escape::line(text)
}

/// Whether standard output is a terminal.
pub(crate) fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A share of one processor, from thousandths of it.
pub(crate) fn percent(millicores: u64) -> String {
    format!("{}.{}%", millicores / 10, millicores % 10)
}

/// How long something has been so, in its largest unit.
pub(crate) fn age(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
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

    #[test]
    fn ages_are_in_their_largest_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(seconds * 1_000 + 999), text);
        }
    }

    #[test]
    fn json_says_the_same_without_what_terminals_obey() {
        let text = "a\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{e0041}é\n";
        let line = json_line(&text);
        assert!(
            line.is_ascii() || line.chars().all(|c| !escape::is_unsafe(c)),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
