//! A trait is a provider, a client and a schema.
#![forbid(unsafe_code)]

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wayfare_guest::calls::{CallError, Failure, FailureKind};
use wayfare_guest::services::{self, Error, Provider, service};

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Order {
    dish: String,
    /// Of which table.
    table: Option<u8>,
}

/// Takes orders.
///
/// One after the other.
#[service("kitchen")]
trait Kitchen {
    /// Takes an order, and gives its number.
    fn order(&mut self, order: Order, r#type: String) -> Result<u32, Failure>;
    fn waiting(&self) -> Vec<Order>;
    fn close(&mut self);
}

#[derive(Debug, Default)]
struct Hall(Vec<Order>);

impl Kitchen for Hall {
    fn order(&mut self, order: Order, r#type: String) -> Result<u32, Failure> {
        if r#type != "hot" {
            return Err(Failure::new(FailureKind::Refused, "everything is hot here"));
        }
        self.0.push(order);
        Ok(u32::try_from(self.0.len()).expect("a few"))
    }
    fn waiting(&self) -> Vec<Order> {
        self.0.clone()
    }
    fn close(&mut self) {
        self.0.clear();
    }
}

#[test]
fn a_provider_is_called_with_json_and_answers_with_it() {
    let mut hall = KitchenProvider(Hall::default());
    let mut call = |function: &str, payload: &str| {
        let result = hall.call(function, payload.as_bytes());
        result.map(|bytes| serde_json::from_slice::<Value>(&bytes).expect("JSON"))
    };
    let soup = r#"{"order":{"dish":"soup","table":4},"type":"hot"}"#;
    assert_eq!(call("order", soup), Ok(json!(1)));
    assert_eq!(
        call("waiting", "null"),
        Ok(json!([{ "dish": "soup", "table": 4 }]))
    );
    assert_eq!(
        call("waiting", "anything"),
        Ok(json!([{ "dish": "soup", "table": 4 }])),
        "it has no arguments"
    );
    assert_eq!(call("close", "null"), Ok(json!(null)));
    let failed = |result: Result<Value, Failure>| {
        result
            .map_err(|failure| (failure.kind, failure.text))
            .expect_err("a failure")
    };
    assert_eq!(
        failed(call("order", r#"{"order":{"dish":"soup"},"type":"cold"}"#)),
        (FailureKind::Refused, "everything is hot here".into())
    );
    assert_eq!(
        failed(call("dance", "null")),
        (FailureKind::NotFound, "there are order, waiting, close".into())
    );
    for bad in [
        "",
        "null",
        r#"{"order":{"dish":7},"type":"hot"}"#,
        r#"{"order":{"dish":"soup"}}"#,
    ] {
        assert_eq!(failed(call("order", bad)).0, FailureKind::Refused, "{bad}");
    }
}

#[test]
fn its_schema_has_its_types_and_comments() {
    let schema: Value = serde_json::from_str(&KitchenProvider::<Hall>::schema()).expect("JSON");
    let expected = json!({
        "description": "Takes orders.\n\nOne after the other.",
        "functions": {
            "order": {
                "description": "Takes an order, and gives its number.",
                "arguments": {
                    "type": "object",
                    "properties": { "order": { "$ref": "#/$defs/Order" }, "type": { "type": "string" } },
                    "required": ["order", "type"],
                },
                "result": { "type": "integer", "format": "uint32", "minimum": 0 },
            },
            "waiting": { "result": { "type": "array", "items": { "$ref": "#/$defs/Order" } } },
            "close": { "result": { "type": "null" } },
        },
        "$defs": {
            "Order": {
                "description": "What somebody wants.",
                "type": "object",
                "properties": {
                    "dish": { "type": "string" },
                    "table": { "description": "Of which table.", "type": ["integer", "null"], "format": "uint8", "minimum": 0, "maximum": 255 },
                },
                "required": ["dish"],
            },
        },
    });
    assert_eq!(schema, expected);
}

/// What it sends is what its provider is called with: both are of one type, and no engine is here.
#[test]
fn a_client_has_the_same_functions() {
    let client = KitchenClient::at("program/hall", Duration::from_secs(1));
    let nobody = Error::Call(CallError::NotMade(wayfare_guest::Error::Unavailable));
    let order = Order {
        dish: "soup".into(),
        table: None,
    };
    assert_eq!(client.order(order, "hot".into()), Err(nobody.clone()));
    assert_eq!(
        KitchenClient::new(Duration::from_secs(1)).waiting(),
        Err(nobody.clone())
    );
    assert_eq!(client.close(), Err(nobody));
    assert_eq!(
        services::serve::<KitchenProvider<Hall>>(),
        Err(wayfare_guest::Error::Unavailable)
    );
}
