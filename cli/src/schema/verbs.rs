//! Each verb, and what it prints.

mod fleet;
mod kept;
mod machine;

use serde_json::Value;

use super::{Amount, Printed, any_of, list, text};

const ITS_LOG: &str = "it goes on until it is ended, and tells what happens in its log";
const OF_OTHERS: &str = "each verb that is typed there prints what it prints";

/// Verbs that print no documents of their own, and why.
pub(crate) const NOT_JSON: [(&str, &str); 3] = [
    ("engine start", ITS_LOG),
    ("dispatcher", ITS_LOG),
    ("shell", OF_OTHERS),
];

/// All others.
pub(crate) fn verbs() -> Vec<Printed> {
    let mut all = fleet::orders();
    all.extend(fleet::looking());
    all.extend(fleet::applications());
    all.extend(fleet::engines());
    all.extend(kept::values_and_messages());
    all.extend(kept::files());
    all.extend(machine::of_this_machine());
    all.extend(machine::operators());
    all
}

fn one(verb: &'static str, schema: Value) -> Printed {
    Printed {
        verb,
        amount: Amount::One,
        schema,
    }
}

fn lines(verb: &'static str, schema: Value) -> Printed {
    Printed {
        verb,
        amount: Amount::Lines,
        schema,
    }
}

/// A list, or with `-q` the names in it.
fn rows(of: Value) -> Value {
    any_of(&[list(of), list(text())])
}
