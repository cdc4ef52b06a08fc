//! A queue of work, and workers that come and go: each job is given to one of those who are there, and to another where that one does not
//! end it.
//!
//! `jobs give <address> [jobs=100] [at_once=10]` has jobs done by whoever is at the address, and prints the results in the order of the jobs:
//! of each number, how many steps the numbers up to it take to come to 1 as L. Collatz has it. `jobs work <service>` does jobs.
//! What `give` prints does not depend on who worked, and where.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use wayfare_guest as wayfare;
use wayfare_guest::calls::{self, CallError, CallNumber, FailureKind, With};

/// A worker that has not done a job within this does not do it.
const DEADLINE: Duration = Duration::from_secs(60);
/// That one job is given to workers who do not end it.
const ATTEMPTS_MAX: u32 = 100;
/// Of open calls, by the host.
const AT_ONCE_MAX: usize = 100;
/// A job's number times this is the number up to which it counts.
const SIZE: u64 = 200;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["give", address, rest @ ..] if rest.len() <= 2 => {
            let jobs = rest.first().map_or(Ok(100), |text| text.parse());
            let at_once = rest.get(1).map_or(Ok(10), |text| text.parse());
            match (jobs, at_once) {
                (Ok(jobs), Ok(at_once @ 1..=AT_ONCE_MAX)) => give(address, jobs, at_once),
                _ => return usage(),
            }
        }
        ["work", service] => work(service),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: jobs give <address> [jobs=100] [at_once=10]");
    eprintln!("       jobs work <service>");
    ExitCode::from(2)
}

/// A job that somebody has.
struct Given {
    job: u64,
    call: CallNumber,
}

fn give(address: &str, jobs: u64, at_once: usize) -> Result<(), CallError> {
    let mut given = VecDeque::new();
    for job in 1..=jobs {
        if given.len() >= at_once {
            print_first(address, &mut given)?;
        }
        let call = begin(address, job)?;
        given.push_back(Given { job, call });
    }
    while !given.is_empty() {
        print_first(address, &mut given)?;
    }
    Ok(())
}

/// It may be done twice: a worker that has forgotten it is asked again.
fn begin(address: &str, job: u64) -> Result<CallNumber, CallError> {
    let with = With::new(address, "steps", job.to_string(), DEADLINE).idempotent();
    Ok(with.begin()?)
}

fn print_first(address: &str, given: &mut VecDeque<Given>) -> Result<(), CallError> {
    let Some(Given { job, mut call }) = given.pop_front() else {
        return Ok(());
    };
    for _ in 0..ATTEMPTS_MAX {
        match calls::next_reply(Some(call), None)?.result {
            Ok(steps) => {
                println!("job {job}: {}", String::from_utf8_lossy(&steps));
                return Ok(());
            }
            // The worker has left.
            Err(failure)
                if matches!(
                    failure.kind,
                    FailureKind::Unavailable | FailureKind::DeadlineExceeded
                ) =>
            {
                call = begin(address, job)?;
            }
            Err(failure) => {
                println!("job {job}: {failure}");
                return Ok(());
            }
        }
    }
    println!("job {job}: nobody has ended it");
    Ok(())
}

fn work(service: &str) -> Result<(), CallError> {
    calls::serve(service)?;
    println!("works");
    loop {
        let message = wayfare::receive()?;
        let Some(call) = &message.call else { continue };
        match message.text().and_then(|text| text.parse::<u64>().ok()) {
            Some(job @ ..=1_000) if call.function == "steps" => {
                calls::answer(call, steps_up_to(job * SIZE).to_string())?
            }
            _ => calls::fail(
                call,
                FailureKind::Refused,
                "'steps' with a number up to 1000 is expected",
            )?,
        }
    }
}

fn steps_up_to(last: u64) -> u64 {
    (1..=last).map(steps).sum()
}

fn steps(mut number: u64) -> u64 {
    let mut steps = 0;
    while number > 1 {
        number = if number % 2 == 0 {
            number / 2
        } else {
            3 * number + 1
        };
        steps += 1;
    }
    steps
}
