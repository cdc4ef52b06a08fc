//! Client of service/calc, made by `wayfare service stub calc --lang rust`: make it anew when the schema has changed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wayfare_guest::services::{self, Error};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddArguments {
    pub a: i64,
    pub b: i64,
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub colour: OrderColour,
    pub lines: Vec<OrderLinesItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(rename = "price per piece", default, skip_serializing_if = "Option::is_none")]
    pub price_per_piece: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<std::collections::BTreeMap<String, String>>,
    /// Of which sort.
    #[serde(rename = "type")]
    pub type2: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderColour {
    #[serde(rename = "red")]
    Red,
    #[serde(rename = "dark blue")]
    DarkBlue,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderLinesItem {
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub number: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlaceOrderResult {
    Accepted(Accepted),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    pub children: Vec<Tree>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Box<Tree>>,
}

/// Counts, and keeps orders.
#[derive(Debug, Clone)]
pub struct Calc {
    address: String,
    deadline: Duration,
}

impl Calc {
    /// Calls whoever provides the service; each call takes at most so long.
    pub fn new(deadline: Duration) -> Self {
        Self::at("service/calc", deadline)
    }

    /// Calls whoever is at an address.
    pub fn at(address: &str, deadline: Duration) -> Self {
        let address = address.to_owned();
        Self { address, deadline }
    }

    /// Adds two numbers.
    pub fn add(&self, payload: &AddArguments) -> Result<i64, Error> {
        services::call(&self.address, "add", payload, self.deadline)
    }

    pub fn place_order(&self, payload: &Order) -> Result<Option<PlaceOrderResult>, Error> {
        services::call(&self.address, "place-order", payload, self.deadline)
    }

    /// Takes its time.
    /// As long as it is told.
    pub fn slow(&self, payload: &u64) -> Result<(), Error> {
        services::call(&self.address, "slow", payload, self.deadline)
    }

    pub fn tree(&self) -> Result<Tree, Error> {
        services::call(&self.address, "tree", &(), self.deadline)
    }

    pub fn true2(&self) -> Result<serde_json::Value, Error> {
        services::call(&self.address, "true", &(), self.deadline)
    }
}
