//! Requests and replies between programs: one answers, others ask, and each conversation goes on wherever the two are.
//!
//! `chat answer <topic>` counts and answers what it is asked; `chat ask <topic> <name> [questions=10] [pause_ms=1000]` asks, waits for
//! the answer, and prints it. What the asker prints does not depend on where either was meanwhile.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use wayfare_guest as wayfare;

const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["answer", topic] => answer(topic),
        ["ask", topic, name, rest @ ..] => {
            let number = |at: usize, default: u64| rest.get(at).map_or(Some(default), |text| text.parse().ok());
            match (number(0, 10), number(1, 1000)) {
                (Some(questions), Some(pause)) => ask(topic, name, questions, Duration::from_millis(pause)),
                _ => return usage(),
            }
        }
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: chat answer <topic>");
    eprintln!("       chat ask <topic> <name> [questions=10] [pause_ms=1000]");
    ExitCode::from(2)
}

fn answer(topic: &str) -> Result<(), wayfare::Error> {
    wayfare::subscribe(topic)?;
    println!("answers on {topic}");
    let mut asked: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let message = wayfare::receive()?;
        let Some(request) = &message.request else {
            println!("somebody says: {}", message.text().unwrap_or("(no text)"));
            continue;
        };
        let name = message.text().unwrap_or("").to_owned();
        let times = asked.entry(name.clone()).or_default();
        *times += 1;
        wayfare::reply(request, format!("hello {name}, you asked {times} times"))?;
    }
}

fn ask(topic: &str, name: &str, questions: u64, pause: Duration) -> Result<(), wayfare::Error> {
    for number in 1..=questions {
        let reply = wayfare::request(topic, name, PATIENCE)?;
        println!("{number}: {}", reply.text().unwrap_or("(no text)"));
        std::thread::sleep(pause);
    }
    Ok(())
}
