//! Orders as they stand in a file: lines as they are typed, JSON lines, or TOML. Each becomes the words of a
//! command line, so that orders are whatever the command has verbs for, and are checked by the same
//! definitions.

use std::fmt;

use serde_json::{Map, Value};

use crate::fail::{Fail, Result};

/// One order's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Counted from 1.
    pub(super) order: usize,
    pub(super) words: Vec<String>,
}

impl Words {
    /// The same as a dry run.
    pub(super) fn dry(&self) -> Self {
        let mut words = self.words.clone();
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        words.insert(end, "--dry-run".to_owned());
        Self {
            order: self.order,
            words,
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

pub(super) fn of_lines(text: &str) -> Result<Vec<Words>> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut all = Vec::new();
    for (at, line) in lines {
        let words = of_line(line).map_err(|why| Fail::usage(format!("line {}: {why}", at + 1)))?;
        let order = all.len() + 1;
        all.push(Words { order, words });
    }
    Ok(all)
}

/// The words of one line.
pub(in crate::verbs) fn of_line(line: &str) -> std::result::Result<Vec<String>, String> {
    match line.chars().next() {
        Some('{') => {
            let order =
                serde_json::from_str::<Map<String, Value>>(line).map_err(|error| error.to_string())?;
            of_object(&order)
        }
        Some('[') => serde_json::from_str(line).map_err(|error| error.to_string()),
        _ => shlex::split(line).ok_or_else(|| "a quote is not closed".to_owned()),
    }
}

pub(super) fn of_toml(text: &str) -> Result<Vec<Words>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Orders {
        #[serde(default)]
        order: Vec<Map<String, Value>>,
    }
    let orders: Orders = toml::from_str(text).map_err(|error| Fail::usage(error.to_string()))?;
    let words = orders.order.iter().enumerate().map(|(at, order)| {
        let order_number = at + 1;
        let words = of_object(order).map_err(|why| Fail::usage(format!("order {order_number}: {why}")))?;
        Ok(Words {
            order: order_number,
            words,
        })
    });
    words.collect()
}

/// `do`, then options, then `args`.
fn of_object(order: &Map<String, Value>) -> std::result::Result<Vec<String>, String> {
    let Some(Value::String(verb)) = order.get("do") else {
        return Err("'do' is missing, which is the verb".to_owned());
    };
    let mut words: Vec<String> = verb.split_whitespace().map(str::to_owned).collect();
    for (name, value) in order {
        if name == "do" || name == "args" {
            continue;
        }
        let option = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Bool(true) => words.push(option),
            Value::Bool(false) => {}
            Value::Array(values) => {
                for value in values {
                    words.push(format!("{option}={}", word(name, value)?));
                }
            }
            value => words.push(format!("{option}={}", word(name, value)?)),
        }
    }
    match order.get("args") {
        None => {}
        Some(Value::Array(values)) => {
            for value in values {
                words.push(word("args", value)?);
            }
        }
        Some(value) => words.push(word("args", value)?),
    }
    Ok(words)
}

fn word(name: &str, value: &Value) -> std::result::Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(format!(
            "'{name}' is to be a text, a number, true, or a list of these"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        of_lines(text).unwrap().iter().map(Words::to_string).collect()
    }

    #[test]
    fn an_order_is_typed_or_json_or_toml_and_means_the_same() {
        let text = r#"
            # three ways to say it
            move p --to=b --no-wait
            {"do": "move", "args": ["p"], "to": "b", "no_wait": true, "dry_run": false}
            ["move", "p", "--to=b", "--no-wait"]
        "#;
        let found = lines(text);
        assert_eq!(found[0], "move p --to=b --no-wait");
        assert_eq!(found[2], found[0]);
        let mut words: Vec<&str> = found[1].split(' ').collect();
        words.sort_unstable();
        assert_eq!(words, ["--no-wait", "--to=b", "move", "p"]);
        let toml = of_toml("[[order]]\ndo = \"engine drain\"\nargs = \"a\"\ndeadline = \"1m\"\n").unwrap();
        assert_eq!(toml[0].to_string(), "engine drain --deadline=1m a");
        let toml = of_toml("[[order]]\ndo = \"run\"\nargs = [\"m\", \"--\", 5]\nenv = [\"A=1\", \"B=2\"]\n")
            .unwrap();
        assert_eq!(toml[0].to_string(), "run --env=A=1 --env=B=2 m -- 5");
        assert_eq!(
            toml[0].dry().to_string(),
            "run --env=A=1 --env=B=2 m --dry-run -- 5"
        );
    }

    #[test]
    fn what_is_no_order_is_refused_with_its_place() {
        for (text, why) in [
            ("ps\nmove 'p", "line 2: a quote is not closed"),
            ("{\"args\": []}", "line 1: 'do' is missing"),
            ("{\"do\": \"run\", \"env\": {}}", "line 1: 'env' is to be"),
            ("{", "line 1: EOF"),
            ("[1]", "line 1: invalid type"),
        ] {
            let fail = of_lines(text).unwrap_err().in_a_line();
            assert!(fail.starts_with(why), "{fail}");
        }
        for text in ["order = 1", "[[orders]]\ndo = \"ps\"", "[[order]]\nargs = []"] {
            assert!(of_toml(text).is_err(), "{text}");
        }
        assert_eq!(of_toml("").unwrap(), vec![]);
    }
}
