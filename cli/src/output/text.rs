//! Text for people, made of lines that are escaped where they are made.
//!
//! Always: what is put in as one line comes out as one, whatever it holds. So no name, reason or file name can forge a
//! line or steer a terminal, and no verb has to think of it.

use std::fmt;

use comfy_table::{ContentArrangement, Table};

use super::escape;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<String>);

impl Text {
    /// Text without lines.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With one more line.
    pub(crate) fn line(mut self, line: impl AsRef<str>) -> Self {
        self.0.push(escape::line(line.as_ref()));
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
        Self(table.lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// Names and what they stand for, below each other.
    pub(crate) fn page(lines: &[(&str, String)]) -> Self {
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
        let line = |(name, value): &(&str, String)| format!("{name:width$}{value}");
        lines.iter().map(line).collect()
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
        f.write_str(&self.0.join("\n"))
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
