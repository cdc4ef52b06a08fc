//! Move after move of the same programs, and in each a random victim is killed after a random message. What
//! the named steps of `faults` cannot find: faults on top of what earlier faults left behind.
//!
//! `WAYFARE_CHAOS_ROUNDS` and `WAYFARE_CHAOS_SEED` ask for more, or for the same again.

use wayfare_protocol::ids::OperationId;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::watched::{Watched, must_begin_like};
use wayfare_tests::within;

use crate::fleet;

const ENGINES: [&str; 3] = ["a", "b", "c"];
const ROUNDS: u64 = 6;
/// Clients wait longer each time that a broker closes their connections, and a follower that is away for more
/// than seconds misses lines, of which engines keep only the last.
const BROKER_KILLS_MAX: u32 = 3;
/// A move has about this many messages between its engines.
const MESSAGES: u64 = 22;

/// xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003).
pub(crate) struct Random {
    state: u64,
    broker_kills: u32,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            broker_kills: 0,
        }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }
}

pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn messages(all: &[Heard], operation: OperationId) -> u64 {
    let of_it =
        |heard: &&Heard| matches!(heard, Heard::Peer { envelope, .. } if envelope.operation == operation);
    all.iter().filter(of_it).count() as u64
}

fn is_answered(all: &[Heard], operation: OperationId) -> bool {
    all.iter().any(
        |heard| matches!(heard, Heard::Reply { event, .. } if event.operation == operation && event.body.is_final()),
    )
}

/// One move with one fault in it.
async fn round(fleet: &mut Fleet, watched: &Watched, random: &mut Random) {
    let (on, _) = fleet.settled(watched.program).await;
    let others: Vec<&str> = ENGINES.into_iter().filter(|name| *name != on).collect();
    let to = others[random.below(2) as usize];
    let operation = fleet
        .start_move(watched.program, to)
        .await
        .expect("both are there");
    let (id, after) = (operation.id(), random.below(MESSAGES));
    let is_time = |all: &[Heard]| messages(all, id) > after || is_answered(all, id);
    fleet.spy.sees("the moment to strike", is_time).await;
    let victim = match random.below(5) {
        0 if random.broker_kills < BROKER_KILLS_MAX => {
            random.broker_kills += 1;
            fleet.broker.kill().await;
            fleet.broker.start_again().await;
            fleet.all_online().await;
            "the broker".to_owned()
        }
        0..=2 => {
            fleet.start_again(&[&on]).await;
            format!("source {on}")
        }
        _ => {
            fleet.start_again(&[to]).await;
            format!("target {to}")
        }
    };
    let answer = within("the move's final answer", operation.wait()).await;
    let (is_on, state) = fleet.settled(watched.program).await;
    eprintln!("{victim} killed after {after} messages: {on} -> {to}, now on {is_on}: {answer:?}");
    assert_eq!(state, ProgramState::Running);
    assert_eq!(
        is_on,
        if answer.is_ok() { to } else { &on },
        "the answer was not true"
    );
}

async fn chaos(broker: Kind) {
    let seed = setting("WAYFARE_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = setting("WAYFARE_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    eprintln!("WAYFARE_CHAOS_SEED={seed}");
    let mut random = Random::new(seed + broker as u64);
    let setup = ENGINES.iter().fold(fleet(broker), |setup, name| {
        setup.engine(name, &["--checkpoint", "1"])
    });
    let mut fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let all = [fleet.run(&job, "a").await, fleet.run(&job, "b").await];
    for number in 0..rounds {
        let watched = &all[(number % 2) as usize];
        round(&mut fleet, watched, &mut random).await;
        for watched in &all {
            watched.goes_on().await;
            fleet.settled(watched.program).await;
            must_begin_like(&watched.stdout(), &expected);
        }
        fleet.spy.check_history();
    }
    for watched in all {
        fleet.kills(watched).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_survive_a_row_of_random_faults() {
    chaos(Kind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_survive_a_row_of_random_faults_on_the_embedded_broker() {
    chaos(Kind::Embedded).await;
}
