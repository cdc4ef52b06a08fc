//! A dealer and a group of players: each is dealt two cards, all are told at once to show them, and who shows is answered when
//! everybody has.
//!
//! `cards deal <group> <rounds> <pause_ms> <seat>...` provides `cards`, deals to `service/<seat>`, and tells `group`, an address of all players
//! such as `app/table/player`. `cards play <seat>` provides that seat. What each prints does not depend on where any was meanwhile.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use wayfare_guest::calls::{self, CallError, FailureKind};
use wayfare_guest::messages::{self, Send};
use wayfare_guest::{self as wayfare, Call, Error};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of two of each value, from 1 to 13.
const DECK: u64 = 26;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["deal", group, rounds, pause_ms, seats @ ..]
            if !seats.is_empty() && seats.len() as u64 <= DECK / 2 =>
        {
            match (rounds.parse(), pause_ms.parse()) {
                (Ok(rounds), Ok(pause_ms)) => deal(group, rounds, Duration::from_millis(pause_ms), seats),
                _ => return usage(),
            }
        }
        ["play", seat] => play(seat),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cards: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cards deal <group> <rounds> <pause_ms> <seat>...");
    eprintln!("       cards play <seat>");
    ExitCode::from(2)
}

fn deal(group: &str, rounds: u64, pause: Duration, seats: &[&str]) -> Result<(), CallError> {
    calls::serve("cards")?;
    for round in 1..=rounds {
        let deck = shuffled(round);
        // A seat that is known has said before that it belongs to the group.
        for (seat, cards) in seats.iter().zip(deck.chunks_exact(2)) {
            let hand = format!("{} {}", cards[0], cards[1]);
            Send::new(&format!("service/{seat}"), hand)
                .kind("hand")
                .timeout(PATIENCE)
                .send()?;
        }
        tell(group, "show", &round.to_string())?;
        let shown = all_shown(seats)?;
        // Of equals the one whose seat comes first.
        let best = seats
            .iter()
            .rev()
            .max_by_key(|seat| shown.get(**seat).map(|(sum, _)| *sum));
        let winner = best.copied().unwrap_or_default();
        println!("round {round}: {winner} wins");
        for (_, call) in shown.values() {
            calls::answer(call, winner)?;
        }
        std::thread::sleep(pause);
    }
    tell(group, "end", "")
}

fn tell(group: &str, kind: &str, what: &str) -> Result<(), CallError> {
    let send = Send::new(group, what).kind(kind).timeout(PATIENCE);
    if let Err(failure) = send.send_with_receipt()?.wait(None)? {
        println!("{kind}: {failure}");
    }
    Ok(())
}

/// By seat, what each has shown and the call that is to be answered.
fn all_shown(seats: &[&str]) -> Result<BTreeMap<String, (u64, Call)>, CallError> {
    let mut shown = BTreeMap::new();
    while shown.len() < seats.len() {
        let message = wayfare::receive()?;
        let Some(call) = &message.call else { continue };
        let hand = message.text().and_then(|text| {
            let (seat, sum) = text.split_once(' ')?;
            Some((seat, sum.parse::<u64>().ok()?))
        });
        match hand {
            Some((seat, sum)) if call.function == "show" && seats.contains(&seat) => {
                shown.insert(seat.to_owned(), (sum, call.clone()));
            }
            _ => calls::fail(
                call,
                FailureKind::Refused,
                "'show' with a seat and a sum is expected",
            )?,
        }
    }
    Ok(shown)
}

/// The same for the same round. Numbers by D. Lehmer's generator with the constants of S. Park and K. Miller, "Random number generators: good
/// ones are hard to find" (1988); shuffled as by R. Durstenfeld (1964).
fn shuffled(round: u64) -> Vec<u64> {
    let mut deck: Vec<u64> = (0..DECK).map(|card| card / 2 + 1).collect();
    let mut drawn = round % 2_147_483_646 + 1;
    for last in (1..deck.len()).rev() {
        drawn = drawn * 16_807 % 2_147_483_647;
        deck.swap(last, (drawn % (last as u64 + 1)) as usize);
    }
    deck
}

fn play(seat: &str) -> Result<(), CallError> {
    // Whoever attends to something is told the kinds of messages.
    messages::attend_to_order()?;
    calls::serve(seat)?;
    let mut hand = (0, 0);
    loop {
        let message = wayfare::receive()?;
        let text = message.text().unwrap_or_default();
        match message.kind.as_deref() {
            Some("hand") => {
                let cards = text
                    .split_once(' ')
                    .and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
                hand = cards.ok_or(Error::Malformed)?;
            }
            Some("show") => {
                let (one, other): (u64, u64) = hand;
                let shows = format!("{seat} {}", one + other);
                let winner = calls::call("service/cards", "show", shows, PATIENCE)?;
                let winner = String::from_utf8_lossy(&winner);
                println!("round {text}: {one} and {other}, {winner} wins");
            }
            Some("end") => return Ok(()),
            _ => {}
        }
    }
}
