//! A service of types: `kitchen serve` takes orders, `kitchen order <dish> <table>` gives one and lists what waits.
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1 --example kitchen --features services
//! wayfare run kitchen.wasm --name hall --allow-serve kitchen -- serve
//! wayfare inspect service/kitchen
//! wayfare run kitchen.wasm --name ann --allow-call service/kitchen --follow -- order soup 4
//! ```

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wayfare_guest::calls::{Failure, FailureKind};
use wayfare_guest::services::{self, service};

const ORDERS_MAX: usize = 100;

/// What somebody wants.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Order {
    dish: String,
    table: u8,
}

/// Takes orders.
#[service("kitchen")]
trait Kitchen {
    /// Takes an order, and gives its number.
    fn order(&mut self, order: Order) -> Result<usize, Failure>;
    /// Lists what waits.
    fn waiting(&self) -> Vec<Order>;
}

#[derive(Default)]
struct Hall(Vec<Order>);

impl Kitchen for Hall {
    fn order(&mut self, order: Order) -> Result<usize, Failure> {
        if self.0.len() >= ORDERS_MAX {
            return Err(Failure::new(FailureKind::Refused, "the kitchen is full"));
        }
        self.0.push(order);
        Ok(self.0.len())
    }
    fn waiting(&self) -> Vec<Order> {
        self.0.clone()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve"] => match services::run(&mut KitchenProvider(Hall::default()))? {},
        ["order", dish, table] => {
            let kitchen = KitchenClient::new(Duration::from_secs(10));
            let order = Order {
                dish: (*dish).to_owned(),
                table: table.parse()?,
            };
            println!("order {}", kitchen.order(order)?);
            for order in kitchen.waiting()? {
                println!("{} for table {}", order.dish, order.table);
            }
            Ok(())
        }
        _ => Err("usage: kitchen serve, or kitchen order <dish> <table>".into()),
    }
}
