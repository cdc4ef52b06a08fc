//! Text for people, made of lines that are escaped where they are made.
//!
//! Always: what is put in as one line comes out as one, whatever it holds. So no name, reason or file name can forge a
//! line or steer a terminal, and no verb has to think of it.
//!
//! A row of a table that is wider than the terminal is cut there, because a wrapped table cannot be read; `--no-trunc`, pipes
//! and files get it whole.

use std::borrow::Cow;
use std::fmt;

use comfy_table::{ContentArrangement, Table};

use super::escape;

/// In the place of what did not fit.
const CUT: &str = "…";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Whole(String),
    /// Of a table: may be cut.
    Row(String),
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
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| escape::line(cell)).collect();
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let row = |line: String| Line::Row(line.trim_end().to_owned());
        Self(table.lines().map(row).collect())
    }

    /// As it is shown where `width` columns are seen; `None`: as many as there are.
    pub(super) fn shown(&self, width: Option<usize>) -> String {
        let lines: Vec<Cow<'_, str>> = self.0.iter().map(|line| line.shown(width)).collect();
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
    fn shown(&self, width: Option<usize>) -> Cow<'_, str> {
        match (self, width) {
            (Self::Row(line), Some(width)) => console::truncate_str(line, width, CUT),
            (Self::Row(line) | Self::Whole(line), _) => line.into(),
        }
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
        f.write_str(&self.shown(None))
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
        assert_eq!(text.shown(Some(12)), shown);
        assert_eq!(text.shown(None), text.to_string());
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
