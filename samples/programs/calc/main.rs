//! A service and its callers: one program doubles numbers, others have it do so, and each goes on wherever it is.
//!
//! `calc serve <service>` provides `double`, `count`, `slow`, `pass` and `stop`; `calc call <address> [numbers=10] [pause_ms=1000] [choice]`
//! has the numbers from 1 on doubled, up to eight calls open at once, and prints what comes in their order. What the caller prints does not
//! depend on where either was meanwhile. `calc say <address> <text>` sends a message and says what became of it. `calc pick <service>` picks
//! providers for others' calls: one on the board that is coolest. `calc time <address> [calls=1000]` makes calls one after the other, and prints
//! how long they took.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wayfare_guest::calls::{self, CallError, FailureKind, With};
use wayfare_guest::messages::Send;
use wayfare_guest::{self as wayfare, Call, Message};

const DEADLINE: Duration = Duration::from_secs(60);
const OPEN_MAX: usize = 8;
/// Of a call of `slow`.
const STEP: Duration = Duration::from_millis(50);
/// What its functions take and give; `pass`, whose arguments are no JSON, is not among them.
const SCHEMA: &str = r#"{
  "description": "Doubles numbers.",
  "functions": {
    "double": { "description": "Doubles a whole number.", "arguments": { "type": "integer" }, "result": { "type": "integer" } },
    "count": { "description": "How many it has doubled.", "result": { "type": "integer", "minimum": 0 } },
    "slow": {
      "description": "Takes so many steps, one call at a time.",
      "arguments": { "type": "integer", "minimum": 1 },
      "result": { "type": "integer" },
      "progress": { "type": "string" }
    },
    "stop": { "description": "Ends it.", "result": { "type": "string" } }
  }
}"#;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["serve", service] => serve(service),
        ["call", address, rest @ ..] => {
            let number =
                |at: usize, default: u64| rest.get(at).map_or(Some(default), |text| text.parse().ok());
            match (number(0, 10), number(1, 1000)) {
                (Some(numbers), Some(pause)) => {
                    let pause = Duration::from_millis(pause);
                    call(address, numbers, (pause, rest.get(2).copied()))
                }
                _ => return usage(),
            }
        }
        ["say", address, text] => say(address, text),
        ["pick", service] => pick(service),
        ["time", address, rest @ ..] => match rest.first().map_or(Ok(1000), |text| text.parse()) {
            Ok(calls) => time(address, calls),
            Err(_) => return usage(),
        },
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
    eprintln!("       calc call <address> [numbers=10] [pause_ms=1000] [choice]");
    eprintln!("       calc say <address> <text>");
    eprintln!("       calc pick <service>");
    eprintln!("       calc time <address> [calls=1000]");
    ExitCode::from(2)
}

/// A provider, and the one call that it does step by step, with the steps that are left.
struct Provider {
    count: u64,
    slow: Option<(Call, u64, u64)>,
}

fn serve(service: &str) -> Result<(), CallError> {
    calls::attend_to_cancels()?;
    // Engines of earlier releases know of no schemas.
    match calls::serve_with(service, SCHEMA) {
        Err(wayfare::Error::Malformed) => calls::serve(service)?,
        served => served?,
    }
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

fn pick(service: &str) -> Result<(), CallError> {
    calls::serve(service)?;
    println!("picks as {service}");
    loop {
        let message = wayfare::receive()?;
        let Some(call) = &message.call else { continue };
        match coolest(message.text().unwrap_or_default()) {
            Some(program) => calls::answer(call, program)?,
            None => calls::fail(call, FailureKind::Refused, "candidates are expected")?,
        }
    }
}

/// Of candidates, each of which is an object without others in it; of equals the last.
fn coolest(asked: &str) -> Option<&str> {
    let (_, candidates) = asked.split_once("\"candidates\":[")?;
    let all = candidates.split('{').filter_map(|one| {
        let program = field(one, "program")?.trim_matches('"');
        let temperature = field(one, "temperature_millidegrees").and_then(|text| text.parse::<i64>().ok());
        Some((temperature.unwrap_or(i64::MAX), program))
    });
    let coolest = all.reduce(|best, one| if one.0 <= best.0 { one } else { best });
    coolest.map(|(_, program)| program)
}

fn field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = object.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()
}

fn call(address: &str, numbers: u64, (pause, choice): (Duration, Option<&str>)) -> Result<(), CallError> {
    let mut open = VecDeque::new();
    for number in 1..=numbers {
        if open.len() >= OPEN_MAX {
            print_first(&mut open)?;
        }
        let with = With::new(address, "double", number.to_string(), DEADLINE).idempotent();
        let with = match choice {
            Some(choice) => with.choose(choice),
            None => with,
        };
        open.push_back((number, with.begin()?));
        std::thread::sleep(pause);
    }
    while !open.is_empty() {
        print_first(&mut open)?;
    }
    if choice.is_some() {
        return Ok(()); // Others have their part of it.
    }
    let count = calls::call(address, "count", "", DEADLINE)?;
    println!("{} were doubled", String::from_utf8_lossy(&count));
    Ok(())
}

/// In microseconds: the median, what 99 of 100 take at most, and the mean.
fn time(address: &str, calls: u32) -> Result<(), CallError> {
    let mut took = Vec::new();
    for number in 0..=calls {
        let begun = Instant::now();
        calls::call(address, "double", number.to_string(), DEADLINE)?;
        // The first waits for the provider to be known.
        if number > 0 {
            took.push(begun.elapsed().as_micros());
        }
    }
    took.sort_unstable();
    let part = |hundredths: usize| took.get(took.len().saturating_sub(1) * hundredths / 100);
    let mean = took.iter().sum::<u128>() / u128::from(calls.max(1));
    if let (Some(median), Some(most)) = (part(50), part(99)) {
        println!("{median} {most} {mean}");
    }
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
