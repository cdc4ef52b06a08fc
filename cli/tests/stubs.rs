//! Clients that `wayfare service stub` makes: the one in Rust compiles in here, the one in Python runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a client is a module of its own and has more than is used here"
)]
#[path = "../src/stubs/made/calc.rs"]
mod calc;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};
use wayfare_guest::calls::CallError;
use wayfare_guest::services::Error;

use calc::{AddArguments, Calc, Order, OrderColour, PlaceOrderResult, Tree};

#[test]
fn types_in_rust_are_what_the_schema_says() {
    let order = json!({
        "colour": "dark blue", "type": "large", "lines": [{ "count": 2 }], "tags": { "a": "b" }, "price per piece": 1.5,
    });
    let read: Order = serde_json::from_value(order.clone()).unwrap();
    assert_eq!(
        (read.colour.clone(), read.note.clone()),
        (OrderColour::DarkBlue, None)
    );
    assert_eq!(serde_json::to_value(&read).unwrap(), order);
    for lacking in ["colour", "type", "lines"] {
        let mut order = order.clone();
        order.as_object_mut().unwrap().remove(lacking);
        serde_json::from_value::<Order>(order).unwrap_err();
    }
    let placed = |of: Json| serde_json::from_value::<Option<PlaceOrderResult>>(of).unwrap();
    assert!(
        matches!(placed(json!({ "number": 7 })), Some(PlaceOrderResult::Accepted(accepted)) if accepted.number == 7)
    );
    assert_eq!(
        placed(json!("later")),
        Some(PlaceOrderResult::Text("later".into()))
    );
    assert_eq!(placed(json!(null)), None);
    let tree: Tree = serde_json::from_value(json!({ "children": [], "left": { "children": [] } })).unwrap();
    assert!(tree.left.is_some());

    let client = Calc::new(Duration::from_secs(1));
    let not_made = Error::Call(CallError::NotMade(wayfare_guest::Error::Unavailable));
    assert_eq!(
        client.add(&AddArguments { a: 1, b: 2 }),
        Err(not_made),
        "no engine is here"
    );
}

/// In the place of the module: it says what it was called with.
const WAYFARE: &str = r#"
def call(address, function, payload="", **options):
    if function == "slow":
        options.pop("on_progress")(b"[1, 0.5]")
        return b""
    return f'"{address} {function} {payload} {sorted(options)}"'.replace('{"', "{'").replace('":', "':").replace(', "', ", '").encode()
"#;

const USES: &str = r#"
import calc, typing

client = calc.Calc(timeout=5)
print(client.add({"a": 1, "b": 2}))
print(calc.Calc("program/p").tree(idempotent=True))
seen = []
print(client.slow(3, on_progress=seen.append), seen)
print(client.true2() if hasattr(client, "true2") else client.true())
print(typing.get_type_hints(calc.Tree)["children"], sorted(calc.Order.__required_keys__))
"#;

#[test]
fn a_client_in_python_calls() {
    let folder = tempfile::tempdir().unwrap();
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stubs/made/calc.py");
    std::fs::copy(made, folder.path().join("calc.py")).unwrap();
    std::fs::write(folder.path().join("wayfare.py"), WAYFARE).unwrap();
    std::fs::write(folder.path().join("uses.py"), USES).unwrap();
    let is_new = "import sys; sys.exit(sys.version_info < (3, 11))";
    match Command::new("python3").args(["-c", is_new]).status() {
        Ok(status) if status.success() => {}
        _ => return eprintln!("*** SKIPPED: there is no Python 3.11 ***"),
    }
    let ran = Command::new("python3")
        .arg("uses.py")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let expected = "service/calc add {'a': 1, 'b': 2} ['timeout']
program/p tree null ['idempotent']
None [[1, 0.5]]
service/calc true null ['timeout']
list[calc.Tree] ['colour', 'lines', 'type']
";
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        expected,
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
