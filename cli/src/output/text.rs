//! Text for people, made of lines that are escaped where they are made.
//!
//! Always: what is put in as one line comes out as one, whatever it holds. So no name, reason or file name
//! can forge a line or steer a terminal, and no verb has to think of it.
//!
//! A row of a table that is wider than the terminal is cut there, because a wrapped table cannot be read;
//! `--no-trunc`, pipes and files get it whole. What stands in a column `STATE` has the colour of good, of bad
//! or of neither on a terminal.

use std::borrow::Cow;
use std::fmt;

use comfy_table::{ContentArrangement, Table};

use super::escape;

/// Between columns.
const GAP: u16 = 2;
/// In the place of what did not fit.
const CUT: &str = "…";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Whole(String),
    /// Of a table: may be cut.
    Row {
        line: String,
        state: Option<State>,
    },
}

/// What in a row is the state of something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// In bytes.
    begin: usize,
    end: usize,
    colour: u8,
}

/// How text is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Columns that are seen; `None`: as many as there are.
    pub(super) width: Option<usize>,
    pub(super) is_coloured: bool,
}

impl Text {
    /// Text without lines.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With one more line.
    pub(crate) fn line(mut self, line: impl AsRef<str>) -> Self {
        self.0.push(Line::Whole(escape::line(line.as_ref())));
        self
    }

    /// With these lines behind.
    pub(crate) fn then(mut self, more: impl Into<Text>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    /// Plain columns, as `ps` prints them: one row a line.
    pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head.iter().copied());
        let state_at = head.iter().position(|name| *name == "STATE");
        // The head's has none.
        let mut states = vec![None];
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| escape::line(cell)).collect();
            states.push(state_at.and_then(|at| cells.get(at).cloned()));
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        let widths = table.column_max_content_widths();
        let before = |at: usize| widths.iter().take(at).map(|width| usize::from(width + GAP)).sum();
        let column = state_at.map_or(0, before);
        let row = |(line, state): (String, Option<String>)| Line::Row {
            state: state.and_then(|state| State::of(&state, &line, column)),
            line: line.trim_end().to_owned(),
        };
        let states = states.into_iter().chain(std::iter::repeat(None));
        Self(table.lines().zip(states).map(row).collect())
    }

    /// A table with these remarks below its rows, from the first on, each whole and on lines of its own.
    pub(crate) fn below(self, remarks: impl IntoIterator<Item = Option<String>>) -> Self {
        let mut remarks = remarks.into_iter();
        let mut all = Self::new();
        for (at, line) in self.0.into_iter().enumerate() {
            all.0.push(line);
            if at > 0
                && let Some(remark) = remarks.next().flatten()
            {
                all = all.line(format!("  {remark}"));
            }
        }
        all
    }

    pub(super) fn shown(&self, look: Look) -> String {
        let lines: Vec<Cow<'_, str>> = self.0.iter().map(|line| line.shown(look)).collect();
        lines.join("\n")
    }

    /// Names and what they stand for, below each other.
    pub(crate) fn page(lines: &[(&str, String)]) -> Self {
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
        let line = |(name, value): &(&str, String)| format!("{name:width$}{value}");
        lines.iter().map(line).collect()
    }
}

impl Line {
    fn shown(&self, look: Look) -> Cow<'_, str> {
        let (line, state) = match self {
            Self::Whole(line) => return line.into(),
            Self::Row { line, state } => (line, state.as_ref().filter(|_| look.is_coloured)),
        };
        let shown = match look.width {
            Some(width) => console::truncate_str(line, width, CUT),
            None => line.into(),
        };
        match state {
            Some(state) => state.coloured(&shown).into(),
            None => shown,
        }
    }
}

impl State {
    /// `None`: it is neither good nor bad, or there is nothing.
    fn of(state: &str, line: &str, column: usize) -> Option<Self> {
        let colour = colour(state)?;
        let mut width = 0;
        let begin = line.char_indices().find_map(|(at, character)| {
            let is_there = width >= column;
            width += console::measure_text_width(character.encode_utf8(&mut [0; 4]));
            is_there.then_some(at)
        })?;
        Some(Self {
            begin,
            end: begin + state.len(),
            colour,
        })
    }

    /// The line may have been cut.
    fn coloured(&self, line: &str) -> String {
        let end = line.ceil_char_boundary(self.end.min(line.len()));
        match line.get(self.begin..end) {
            Some(state) if !state.is_empty() => {
                let (before, after) = (&line[..self.begin], &line[end..]);
                format!("{before}\u{1b}[{}m{state}\u{1b}[0m{after}", self.colour)
            }
            _ => line.to_owned(),
        }
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

/// The words of programs, engines, instances and operations.
fn colour(state: &str) -> Option<u8> {
    let first = state.split([',', ':', ' ']).next().unwrap_or(state);
    let is_qualified = ["cordoned", "draining", "leaving", "unhealthy", "holds"];
    match first {
        "failed" | "lost" | "offline" | "silent" | "engine" | "in" | "unhealthy" => Some(RED),
        _ if is_qualified.iter().any(|word| state.contains(word)) => Some(YELLOW),
        "running" | "online" | "done" | "approved" => Some(GREEN),
        "paused" | "starting" | "moving" | "waiting" | "cancelled" | "superseded" | "expired" | "late" => {
            Some(YELLOW)
        }
        _ => None,
    }
}

impl From<String> for Text {
    fn from(line: String) -> Self {
        Self::new().line(line)
    }
}

impl From<&str> for Text {
    fn from(line: &str) -> Self {
        Self::new().line(line)
    }
}

impl<L: AsRef<str>> FromIterator<L> for Text {
    fn from_iter<T: IntoIterator<Item = L>>(lines: T) -> Self {
        lines.into_iter().fold(Self::new(), Self::line)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(Look::default()))
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
            Text::table(&["NAME", "STATE"], rows).to_string(),
            "NAME       STATE\na          running\nlong-name"
        );
    }

    #[test]
    fn rows_are_cut_to_the_width_and_nothing_else_is() {
        let rows = [
            vec!["überall".into(), "running".into()],
            vec!["b".into(), "x".into()],
        ];
        let text = Text::table(&["NAME", "STATE"], rows).line("a line that is longer than that");
        let shown = "NAME     ST…\nüberall  ru…\nb        x\na line that is longer than that";
        let narrow = Look {
            width: Some(12),
            is_coloured: false,
        };
        assert_eq!(text.shown(narrow), shown);
        assert_eq!(text.shown(Look::default()), text.to_string());
    }

    #[test]
    fn states_have_colours_on_a_terminal_whatever_stands_before_them_and_wherever_they_are_cut() {
        let rows = [
            vec!["über".to_owned(), "running".to_owned(), "a".to_owned()],
            vec!["b".to_owned(), "failed, 5s ago".to_owned(), "running".to_owned()],
            vec!["c".to_owned(), "exited".to_owned(), "b".to_owned()],
        ];
        let text = Text::table(&["NAME", "STATE", "ENGINE"], rows);
        let coloured = |width| {
            text.shown(Look {
                width,
                is_coloured: true,
            })
        };
        assert_eq!(
            coloured(None),
            "NAME  STATE           ENGINE\n\
             über  \u{1b}[32mrunning\u{1b}[0m         a\n\
             b     \u{1b}[31mfailed, 5s ago\u{1b}[0m  running\n\
             c     exited          b"
        );
        assert_eq!(
            coloured(Some(9)),
            "NAME  ST…\nüber  \u{1b}[32mru…\u{1b}[0m\nb     \u{1b}[31mfa…\u{1b}[0m\nc     ex…"
        );
        assert_eq!(coloured(Some(4)), "NAM…\nübe…\nb  …\nc  …");
        for state in ["online, cordoned", "running, holds: x", "paused"] {
            assert_eq!(colour(state), Some(YELLOW), "{state}");
        }
        assert_eq!(colour("in doubt"), Some(RED));
    }

    #[test]
    fn remarks_stand_below_their_rows_and_are_not_cut() {
        let rows = [vec!["a".to_owned()], vec!["b".to_owned()], vec!["c".to_owned()]];
        let text = Text::table(&["NAME"], rows).below([None, Some("why\nit failed".to_owned())]);
        let narrow = Look {
            width: Some(4),
            is_coloured: false,
        };
        assert_eq!(text.shown(narrow), "NAME\na\nb\n  why\\nit failed\nc");
    }

    #[test]
    fn nothing_foreign_leaves_its_line_or_cell() {
        let evil = "a\u{1b}[31m\nfake  running";
        let shown = "a\\u{1b}[31m\\nfake  running";
        assert_eq!(Text::from(evil).to_string(), shown);
        assert_eq!(
            Text::from_iter([evil, evil]).to_string(),
            format!("{shown}\n{shown}")
        );
        let table = Text::table(&["NAME"], [vec![evil.to_owned()]]);
        assert_eq!(table.to_string(), format!("NAME\n{shown}"));
        let page = Text::page(&[("name", evil.to_owned())]);
        assert_eq!(page.to_string(), format!("name  {shown}"));
    }
}
