//! A service and its callers: one program doubles numbers, others have it do so, and each goes on wherever it is.
//!
//! `calc serve <service>` provides `double`, `count`, `slow`, `pass` and `stop`; `calc call <address> [numbers=10] [pause_ms=1000]` has the
//! numbers from 1 on doubled, up to eight calls open at once, and prints what comes in their order. What the caller prints does not depend
//! on where either was meanwhile. `calc say <address> <text>` sends a message and says what became of it.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use wayfare_guest::calls::{self, CallError, FailureKind, With};
use wayfare_guest::messages::Send;
use wayfare_guest::{self as wayfare, Call, Message};

const DEADLINE: Duration = Duration::from_secs(60);
const OPEN_MAX: usize = 8;
/// Of a call of `slow`.
const STEP: Duration = Duration::from_millis(50);

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
        ["say", address, text] => say(address, text),
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
    eprintln!("       calc say <address> <text>");
    ExitCode::from(2)
}

/// A provider, and the one call that it does step by step, with the steps that are left.
struct Provider {
    count: u64,
    slow: Option<(Call, u64, u64)>,
}

fn serve(service: &str) -> Result<(), CallError> {
    calls::attend_to_cancels()?;
    calls::serve(service)?;
    println!("serves {service}");
    let mut provider = Provider { count: 0, slow: None };
    loop {
        let received = match provider.slow {
            Some(_) => wayfare::receive_timeout(STEP),
            None => wayfare::receive(),
        };
        match received {
            Ok(message) if !provider.handle(&message)? => return Ok(()),
            Ok(_) => {}
            Err(wayfare::Error::TimedOut) => provider.step()?,
            Err(error) => return Err(error.into()),
        }
    }
}

impl Provider {
    /// Whether it goes on.
    fn handle(&mut self, message: &Message) -> Result<bool, CallError> {
        let text = message.text().unwrap_or_default();
        if let Some(cancelled) = &message.cancelled {
            println!("cancelled");
            self.slow.take_if(|(call, ..)| call.request() == cancelled);
            return Ok(true);
        }
        let Some(call) = &message.call else {
            println!("somebody says: {text}");
            return Ok(true);
        };
        match (call.function.as_str(), text.parse::<i64>()) {
            ("double", Ok(number)) if number.checked_mul(2).is_some() => {
                self.count += 1;
                calls::answer(call, (2 * number).to_string())?;
            }
            ("double", _) => calls::fail(
                call,
                FailureKind::Refused,
                "a whole number is expected, and not a huge one",
            )?,
            ("count", _) => calls::answer(call, self.count.to_string())?,
            ("slow", Ok(steps @ 1..)) if self.slow.is_none() => {
                self.slow = Some((call.clone(), 0, steps.cast_unsigned()));
            }
            ("slow", _) => calls::fail(
                call,
                FailureKind::Refused,
                "a number of steps is expected, and one call at a time",
            )?,
            // Another address has it doubled.
            ("pass", _) => match text.split_once(' ') {
                Some((address, number)) => {
                    if let Err(error) = calls::hand_on(call, address, "double", number, DEADLINE) {
                        calls::fail(call, FailureKind::Failed, &format!("not handed on: {error}"))?;
                    }
                }
                None => calls::fail(call, FailureKind::Refused, "an address and a number are expected")?,
            },
            ("stop", _) => {
                calls::answer(call, format!("\"stops after {}\"", self.count))?;
                return Ok(false);
            }
            _ => calls::fail(
                call,
                FailureKind::NotFound,
                "there are double, count, slow, pass and stop",
            )?,
        }
        Ok(true)
    }

    fn step(&mut self) -> Result<(), CallError> {
        let Some((call, done, all)) = &mut self.slow else {
            return Ok(());
        };
        *done += 1;
        calls::progress(call, format!("\"{done} of {all}\""))?;
        if done == all {
            calls::answer(call, all.to_string())?;
            self.slow = None;
        }
        Ok(())
    }
}

fn say(address: &str, text: &str) -> Result<(), CallError> {
    let receipt = Send::new(address, text)
        .expires(DEADLINE)
        .timeout(DEADLINE)
        .send_with_receipt()?;
    match receipt.wait(None)? {
        Ok(()) => println!("delivered"),
        Err(failure) => println!("{failure}"),
    }
    Ok(())
}

fn call(address: &str, numbers: u64, pause: Duration) -> Result<(), CallError> {
    let mut open = VecDeque::new();
    for number in 1..=numbers {
        if open.len() >= OPEN_MAX {
            print_first(&mut open)?;
        }
        open.push_back((
            number,
            With::new(address, "double", number.to_string(), DEADLINE)
                .idempotent()
                .begin()?,
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
