//! A list as it was asked for: a table, JSON, names, or comma-separated values (RFC 4180, but for control
//! characters, which are escaped).

use serde_json::Value as Json;

use super::{Field, Kind, Query, Value};
use crate::args::query::Form;
use crate::fail::Result;
use crate::output::{Output, Text, say, show_whole_rows};

impl<R> Query<R> {
    /// Prints rows that were asked for; `name` is what a row is told by, `document` its JSON.
    pub(crate) fn print(
        &self,
        rows: &[R],
        output: Output,
        name: impl Fn(&R) -> String,
        document: impl Fn(&R) -> Json,
        table: impl FnOnce(&[R]) -> Text,
    ) -> Result {
        match self.form {
            // Whoever counts lines counts none.
            Some(Form::Name) if rows.is_empty() && output == Output::Human => Ok(()),
            Some(Form::Name) => {
                let names: Vec<String> = rows.iter().map(name).collect();
                output.print(&names, |names| names.iter().collect::<Text>())
            }
            Some(Form::Csv) => say(csv(rows, self.fields)),
            form => {
                if form == Some(Form::Wide) {
                    show_whole_rows();
                }
                let output = if form == Some(Form::Json) {
                    Output::Json
                } else {
                    output
                };
                let documents: Vec<Json> = rows.iter().map(document).collect();
                output.print(&documents, |_| table(rows))
            }
        }
    }
}

fn csv<R>(rows: &[R], fields: &[Field<R>]) -> Text {
    let head: Vec<String> = fields
        .iter()
        .map(|field| format!("{}{}", field.name, unit(field.kind)))
        .collect();
    let row = |row: &R| {
        let cells: Vec<String> = fields
            .iter()
            .map(|field| cell((field.get)(row), field.kind))
            .collect();
        cells.join(",")
    };
    let head = std::iter::once(head.join(","));
    head.chain(rows.iter().map(row)).collect()
}

fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Number => "",
        Kind::Size => "_bytes",
        Kind::Age => "_ms",
        Kind::Percent => "_percent",
    }
}

/// What is not known is empty.
fn cell(value: Option<Value>, kind: Kind) -> String {
    match (value, kind) {
        (None, _) => String::new(),
        (Some(Value::Number(tenths)), Kind::Percent) => format!("{}.{}", tenths / 10, tenths % 10),
        (Some(Value::Number(number)), _) => number.to_string(),
        (Some(Value::Text(text)), _) if text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        (Some(Value::Text(text)), _) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_by_commas_whatever_they_hold() {
        struct Row(&'static str, Option<u64>);
        let fields: [Field<Row>; 2] = [
            Field {
                name: "name",
                kind: Kind::Text,
                get: |row| Some(Value::Text(row.0.into())),
                is_measured: false,
            },
            Field {
                name: "cpu",
                kind: Kind::Percent,
                get: |row| row.1.map(Value::Number),
                is_measured: false,
            },
        ];
        let rows = [
            Row("a", Some(125)),
            Row("b, \"c\"", None),
            Row("x\u{1b}\ny", Some(0)),
        ];
        let text = csv(&rows, &fields).to_string();
        assert_eq!(
            text,
            "name,cpu_percent\na,12.5\n\"b, \"\"c\"\"\",\n\"x\\u{1b}\\ny\",0.0"
        );
    }
}
