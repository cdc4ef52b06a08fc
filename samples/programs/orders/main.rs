//! Orders of several tables to one kitchen, which has one order of a table in hand at a time: it is handed the next when that is
//! done, and those of other tables pass.
//!
//! `orders cook [orders=30] [ms=200]` provides `kitchen`, takes so long for each order, and ends after so many. `orders table <name>
//! [orders=10]` sends that table's. What the kitchen prints of one table does not depend on where either was meanwhile.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wayfare_guest::messages::{self, Receipt, Send};
use wayfare_guest::{self as wayfare, Error, Message, calls};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of orders that the kitchen has not taken yet.
const OPEN_MAX: usize = 8;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Some(default), |text| text.parse().ok());
    let done = match args.as_slice() {
        ["cook", ..] if args.len() <= 3 => match (number(1, 30), number(2, 200)) {
            (Some(orders), Some(ms)) => cook(orders, Duration::from_millis(ms)),
            _ => return usage(),
        },
        ["table", name, ..] if args.len() <= 3 => match number(2, 10) {
            Some(orders) => table(name, orders),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: orders cook [orders=30] [ms=200]");
    eprintln!("       orders table <name> [orders=10]");
    ExitCode::from(2)
}

/// What is in hand, and when it is done.
struct Dish {
    order: Message,
    done_at: Instant,
}

fn cook(orders: u64, takes: Duration) -> Result<(), Error> {
    messages::attend_to_order()?;
    calls::serve("kitchen")?;
    println!("the kitchen is open");
    let mut in_hand: VecDeque<Dish> = VecDeque::new();
    let mut served = 0;
    while served < orders {
        // Each takes as long as any other, so the first is done first.
        let left = in_hand
            .front()
            .map(|dish| dish.done_at.saturating_duration_since(Instant::now()));
        let received = match left {
            Some(left) => wayfare::receive_timeout(left),
            None => wayfare::receive(),
        };
        match received {
            Ok(order) => {
                if let Some(table) = &order.order
                    && in_hand
                        .iter()
                        .any(|dish| dish.order.order.as_ref() == Some(table))
                {
                    println!("{table}: two orders at once");
                }
                let done_at = Instant::now() + takes;
                in_hand.push_back(Dish { order, done_at });
            }
            Err(Error::TimedOut) => {
                if let Some(Dish { order, .. }) = in_hand.pop_front() {
                    served += 1;
                    let table = order.order.as_deref().unwrap_or("nobody");
                    println!("{table}: {}", order.text().unwrap_or_default());
                    if order.order.is_some() {
                        messages::handled(&order)?;
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn table(name: &str, orders: u64) -> Result<(), Error> {
    let mut open: VecDeque<(u64, Receipt)> = VecDeque::new();
    for number in 1..=orders {
        if open.len() >= OPEN_MAX {
            print_first(&mut open)?;
        }
        let dish = format!("dish {number}");
        let send = Send::new("service/kitchen", dish)
            .kind("order")
            .order(name)
            .timeout(PATIENCE);
        open.push_back((number, send.send_with_receipt()?));
    }
    while !open.is_empty() {
        print_first(&mut open)?;
    }
    Ok(())
}

fn print_first(open: &mut VecDeque<(u64, Receipt)>) -> Result<(), Error> {
    if let Some((number, receipt)) = open.pop_front() {
        match receipt.wait(None)? {
            Ok(()) => println!("dish {number} is on its way"),
            Err(failure) => println!("dish {number}: {failure}"),
        }
    }
    Ok(())
}
