use proptest::prelude::*;

use super::*;

/// Of a test's rows: as they are, to be filtered naively.
#[derive(Debug, Clone)]
struct Row {
    /// That no other has.
    key: usize,
    name: &'static str,
    memory: Option<u64>,
    restarts: Option<u64>,
}

const FIELDS: [Field<Row>; 3] = [
    Field {
        name: "name",
        kind: Kind::Text,
        get: |row| Some(Value::Text(row.name.to_owned())),
        is_measured: false,
    },
    Field {
        name: "memory",
        kind: Kind::Size,
        get: |row| row.memory.map(Value::Number),
        is_measured: false,
    },
    Field {
        name: "restarts",
        kind: Kind::Number,
        get: |row| row.restarts.map(Value::Number),
        is_measured: false,
    },
];

/// An expression as it is typed, and what it means in Rust.
#[derive(Debug, Clone)]
enum Asked {
    Name(&'static str, &'static str),
    Memory(&'static str, u64),
    Restarts(&'static str, u64),
    Not(Box<Asked>),
    And(Box<Asked>, Box<Asked>),
    Or(Box<Asked>, Box<Asked>),
}

impl Asked {
    fn text(&self) -> String {
        match self {
            Self::Name(op, name) => format!("name {op} '{name}'"),
            Self::Memory(op, mebibytes) => format!("memory{op}{mebibytes}M"),
            Self::Restarts(op, number) => format!("restarts {op} {number}"),
            Self::Not(one) => format!("not ({})", one.text()),
            Self::And(a, b) => format!("({}) and ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) or ({})", a.text(), b.text()),
        }
    }

    fn naive(&self, row: &Row) -> bool {
        let number = |found: Option<u64>, op: &str, wanted: u64| match (found, op) {
            (None, op) => op == "!=",
            (Some(found), "=") => found == wanted,
            (Some(found), "!=") => found != wanted,
            (Some(found), "<") => found < wanted,
            (Some(found), "<=") => found <= wanted,
            (Some(found), ">") => found > wanted,
            (Some(found), _) => found >= wanted,
        };
        match self {
            Self::Name("=", name) => row.name == *name,
            Self::Name("!=", name) => row.name != *name,
            Self::Name("~", name) => row.name.contains(name),
            Self::Name("<", name) => row.name < *name,
            Self::Name(_, name) => row.name >= *name,
            Self::Memory(op, mebibytes) => number(row.memory, op, mebibytes << 20),
            Self::Restarts(op, wanted) => number(row.restarts, op, *wanted),
            Self::Not(one) => !one.naive(row),
            Self::And(a, b) => a.naive(row) && b.naive(row),
            Self::Or(a, b) => a.naive(row) || b.naive(row),
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let names = prop::sample::select(vec!["a", "ab", "b/c", "and", "or not"]);
    let op = || prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let test = prop_oneof![
        (prop::sample::select(vec!["=", "!=", "~", "<", ">="]), names)
            .prop_map(|(op, name)| Asked::Name(op, name)),
        (op(), 1..4_u64).prop_map(|(op, size)| Asked::Memory(op, size)),
        (op(), 0..4_u64).prop_map(|(op, number)| Asked::Restarts(op, number)),
    ];
    test.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Asked::Not(Box::new(one))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Asked::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Asked::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn row() -> impl Strategy<Value = Row> {
    let name = prop::sample::select(vec!["a", "ab", "b/c", "and", "or not", "z"]);
    let memory = prop::option::of((0..4_u64).prop_map(|mebibytes| mebibytes << 20));
    (name, memory, prop::option::of(0..4_u64)).prop_map(|(name, memory, restarts)| Row {
        key: 0,
        name,
        memory,
        restarts,
    })
}

fn keyed((key, row): (usize, Row)) -> Row {
    Row { key, ..row }
}

fn over_the_wire(place: Place<usize>) -> Place<usize> {
    serde_json::from_value(serde_json::to_value(place).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn a_filter_takes_what_a_naive_one_takes(asked in asked(), rows in prop::collection::vec(row(), 0..20)) {
        let filter = Filter::parse(&asked.text(), &FIELDS).unwrap();
        for row in rows {
            prop_assert_eq!(filter.takes(&row, &FIELDS), asked.naive(&row), "{}: {:?}", asked.text(), row);
        }
    }

    #[test]
    fn rows_are_sorted_and_what_is_not_known_comes_last(rows in prop::collection::vec(row(), 0..20), is_reversed: bool) {
        let mut sorted = rows.clone();
        let by = if is_reversed { "-memory" } else { "memory" };
        Order::parse(by, &FIELDS).unwrap().sort(&mut sorted, &FIELDS);
        let found: Vec<Option<u64>> = sorted.iter().map(|row| row.memory).collect();
        let mut known: Vec<u64> = rows.iter().filter_map(|row| row.memory).collect();
        known.sort_unstable();
        if is_reversed {
            known.reverse();
        }
        let unknown = vec![None; rows.len() - known.len()];
        let expected: Vec<Option<u64>> = known.into_iter().map(Some).chain(unknown).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn parts_in_a_row_are_the_whole_list(
        rows in prop::collection::vec(row(), 0..30),
        asked in prop::option::of(asked()),
        sort in prop::option::of(prop::sample::select(vec!["name", "-name", "memory", "-memory", "restarts"])),
        rows_max in 1..8_usize,
    ) {
        let filter = asked.map(|asked| asked.text());
        let query = Query::new(filter.as_deref(), sort, None, &FIELDS).unwrap();
        let expected = query.of(rows.iter().cloned().enumerate().map(keyed).collect());
        let (mut found, mut after) = (Vec::new(), None::<Place<usize>>);
        loop {
            let mut paging = Paging::new(&query, after.take().map(over_the_wire), rows_max);
            let begin = paging.begins_after().map_or(0, |key| key + 1);
            for (key, row) in rows.iter().enumerate().skip(begin) {
                paging.offer(key, keyed((key, row.clone())));
                if paging.is_complete() {
                    break;
                }
            }
            let page = paging.page();
            prop_assert!(page.rows.len() <= rows_max);
            prop_assert!(!page.more || page.rows.len() == rows_max);
            after = page.rows.last().map(|(place, _)| place.clone()).filter(|_| page.more);
            found.extend(page.rows.into_iter().map(|(_, row)| row.key));
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<usize> = expected.iter().map(|row| row.key).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whatever_is_typed_is_a_filter_or_an_error(text in "[a-z()=!<>~'\" 0-9-]{0,60}") {
        let _ = Filter::parse(&text, &FIELDS);
    }
}

#[test]
fn and_binds_closer_than_or_and_errors_say_where() {
    let row = Row {
        key: 0,
        name: "a",
        memory: None,
        restarts: Some(1),
    };
    for (text, takes) in [
        ("name = a or name = b and restarts = 9", true),
        ("(name = a or name = b) and restarts = 9", false),
        ("not name = b and restarts=1", true),
        ("memory < 1G", false),
        ("memory != 1M", true),
    ] {
        assert_eq!(
            Filter::parse(text, &FIELDS).unwrap().takes(&row, &FIELDS),
            takes,
            "{text}"
        );
    }
    for (text, error) in [
        ("", "at character 1: a field, 'not' or '(' is expected"),
        (
            "nam = a",
            "at character 1: no field 'nam'; there are: name, memory, restarts",
        ),
        ("name a", "at character 6: one of = != < <= > >= ~ is expected"),
        ("name =", "at character 7: a value is expected"),
        (
            "name = a b",
            "at character 10: 'and', 'or' or the end is expected",
        ),
        ("(name = a", "at character 10: ')' is expected"),
        ("name = 'a", "at character 8: the quote has no end"),
        (
            "memory ~ 1M",
            "at character 8: 'memory' is not text, which ~ is for",
        ),
        (
            "memory > 1T",
            "at character 10: 'T' is not a unit of size: use K, M or G",
        ),
        (
            "restarts > few",
            "at character 12: a number is expected, not 'few'",
        ),
        ("name ; a", "at character 6: ';' is not expected"),
    ] {
        assert_eq!(
            Filter::parse(text, &FIELDS).unwrap_err().to_string(),
            error,
            "{text}"
        );
    }
    let deep = format!("{}name = a{}", "(".repeat(40), ")".repeat(40));
    assert!(
        Filter::parse(&deep, &FIELDS)
            .unwrap_err()
            .to_string()
            .contains("deeper than 32")
    );
    assert!(Filter::parse(&"x".repeat(5_000), &FIELDS).is_err());
    assert!(Order::parse("-nam", &FIELDS).is_err());
}
