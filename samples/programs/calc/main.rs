//! A service and its callers: one program doubles numbers, others have it do so, and each goes on wherever it is.
//!
//! `calc serve <service>` provides `double`, `count` and `stop`; `calc call <address> [numbers=10] [pause_ms=1000]` has the numbers
//! from 1 on doubled, up to eight calls open at once, and prints what comes in their order. What the caller prints does not depend on
//! where either was meanwhile.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use wayfare_guest::calls::{self, CallError, FailureKind};
use wayfare_guest::{self as wayfare};

const DEADLINE: Duration = Duration::from_secs(60);
const OPEN_MAX: usize = 8;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["serve", service] => serve(service),
        ["call", address, rest @ ..] => {
            let number =
                |at: usize, default: u64| rest.get(at).map_or(Some(default), |text| text.parse().ok());
            match (number(0, 10), number(1, 1000)) {
                (Some(numbers), Some(pause)) => call(address, numbers, Duration::from_millis(pause)),
                _ => return usage(),
            }
        }
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: calc serve <service>");
    eprintln!("       calc call <address> [numbers=10] [pause_ms=1000]");
    ExitCode::from(2)
}

fn serve(service: &str) -> Result<(), CallError> {
    calls::serve(service)?;
    println!("serves {service}");
    let mut count: u64 = 0;
    loop {
        let message = wayfare::receive()?;
        let text = message.text().unwrap_or_default();
        let Some(call) = &message.call else {
            println!("somebody says: {text}");
            continue;
        };
        match (call.function.as_str(), text.parse::<i64>()) {
            ("double", Ok(number)) if number.checked_mul(2).is_some() => {
                count += 1;
                calls::answer(call, (2 * number).to_string())?;
            }
            ("double", _) => calls::fail(
                call,
                FailureKind::Refused,
                "a whole number is expected, and not a huge one",
            )?,
            ("count", _) => calls::answer(call, count.to_string())?,
            ("stop", _) => {
                calls::answer(call, format!("\"stops after {count}\""))?;
                return Ok(());
            }
            _ => calls::fail(call, FailureKind::NotFound, "there are double, count and stop")?,
        }
    }
}

fn call(address: &str, numbers: u64, pause: Duration) -> Result<(), CallError> {
    let mut open = VecDeque::new();
    for number in 1..=numbers {
        if open.len() >= OPEN_MAX {
            print_first(&mut open)?;
        }
        open.push_back((
            number,
            calls::begin(address, "double", number.to_string(), DEADLINE)?,
        ));
        std::thread::sleep(pause);
    }
    while !open.is_empty() {
        print_first(&mut open)?;
    }
    let count = calls::call(address, "count", "", DEADLINE)?;
    println!("{} were doubled", String::from_utf8_lossy(&count));
    Ok(())
}

fn print_first(open: &mut VecDeque<(u64, calls::CallNumber)>) -> Result<(), CallError> {
    if let Some((number, call)) = open.pop_front() {
        match calls::next_reply(Some(call), None)?.result {
            Ok(result) => println!("twice {number} is {}", String::from_utf8_lossy(&result)),
            Err(failure) => println!("twice {number}: {failure}"),
        }
    }
    Ok(())
}
