//! Samples that work together, each of which is moved at random while they do, and some of which are killed:
//! what they print is what they print where nothing happens to them.
//!
//! `WAYFARE_TOGETHER_SEED` asks for the same again.

use std::collections::BTreeMap;

use futures::future::join_all;
use wayfare_client::Run;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::stream::order;
use wayfare_tests::watched::Watched;

use crate::calls::moves_unless_ended;
use crate::fleet;

const ENGINES: [&str; 3] = ["a", "b", "c"];
const WORKERS: usize = 10;

/// xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("WAYFARE_TOGETHER_SEED").ok();
        let given = given.map(|text| text.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("WAYFARE_TOGETHER_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("64 bits") % bound
    }
}

/// Granted all of it: none does more than its arguments say.
fn sample(sample: &str, name: &str, args: &[&str], on: &str) -> Run {
    Run {
        name: name.into(),
        grants: Grants {
            call: vec!["#".into()],
            serve: vec!["+".into()],
            ..Grants::default()
        },
        ..order(sample, args, on, &[], &[])
    }
}

/// Moves one of them to another engine, unless it has ended.
async fn moves_one(fleet: &Fleet, places: &mut BTreeMap<ProgramId, usize>, random: &mut Random) -> bool {
    let at = random.below(places.len());
    let (program, place) = places.iter_mut().nth(at).expect("below their number");
    let to = (*place + 1 + random.below(ENGINES.len() - 1)) % ENGINES.len();
    let is_moved = moves_unless_ended(fleet, *program, ENGINES[to]).await;
    if is_moved {
        *place = to;
    }
    is_moved
}

/// Moves them until all have ended; answers with what each has printed.
async fn moved_to_their_ends(fleet: &Fleet, all: Vec<Watched>, random: &mut Random) -> Vec<Vec<u8>> {
    let mut places = all
        .iter()
        .enumerate()
        .map(|(at, one)| (one.program, at % ENGINES.len()))
        .collect();
    let ends = join_all(all.into_iter().map(Watched::finish));
    tokio::pin!(ends);
    let mut moves = 0;
    let collected = loop {
        tokio::select! {
            biased;
            collected = &mut ends => break collected,
            moved = moves_one(fleet, &mut places, random) => moves += usize::from(moved),
        }
    };
    assert!(moves > 0, "nothing was moved");
    eprintln!("{moves} moves");
    fleet.spy.check_history();
    let printed = collected.into_iter().map(|one| {
        assert_eq!(
            one.state,
            Some(ProgramState::Exited { code: 0 }),
            "{}",
            String::from_utf8_lossy(&one.stderr)
        );
        assert_eq!(one.missing, 0);
        one.stdout
    });
    printed.collect()
}

/// Runs each on the engine that [`moved_to_their_ends`] expects it on.
async fn run_all(
    fleet: &Fleet,
    orders: impl IntoIterator<Item = (String, Vec<String>)>,
    of: &str,
) -> Vec<Watched> {
    let mut all = Vec::new();
    for (at, (name, args)) in orders.into_iter().enumerate() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        all.push(
            fleet
                .runs(sample(of, &name, &args, ENGINES[at % ENGINES.len()]))
                .await,
        );
    }
    all
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// What the kitchen is sent in any order comes one at a time of each table, in the order in which that sent
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_a_table_are_served_one_at_a_time_and_in_order_while_all_move() {
    const EACH: usize = 20;
    const TABLES: [&str; 3] = ["window", "door", "bar"];
    let fleet = fleet(Kind::Mosquitto).engines(&ENGINES).start().await;
    let kitchen = (
        "kitchen".to_owned(),
        texts(&["cook", &(EACH * TABLES.len()).to_string(), "200"]),
    );
    let tables = TABLES.map(|name| (name.to_owned(), texts(&["table", name, &EACH.to_string()])));
    let all = run_all(&fleet, std::iter::once(kitchen).chain(tables), "orders").await;
    let printed = moved_to_their_ends(&fleet, all, &mut Random::new()).await;
    let kitchen = String::from_utf8_lossy(&printed[0]);
    assert_eq!(kitchen.lines().count(), 1 + EACH * TABLES.len(), "{kitchen}");
    for table in TABLES {
        let its: Vec<&str> = kitchen
            .lines()
            .filter_map(|line| line.strip_prefix(table))
            .collect();
        let expected: Vec<String> = (1..=EACH).map(|number| format!(": dish {number}")).collect();
        assert_eq!(its, expected, "{table}");
    }
    let taken: String = (1..=EACH)
        .map(|number| format!("dish {number} is on its way\n"))
        .collect();
    for table in &printed[1..] {
        assert_eq!(String::from_utf8_lossy(table), taken);
    }
}

/// A group is told something at once, and who calls is answered when all have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dealer_and_a_group_of_players_print_the_same_while_all_move() {
    let fleet = fleet(Kind::Embedded).engines(&ENGINES).start().await;
    let play = async |pause_ms: &str| {
        let dealer = texts(&[
            "deal",
            "app/table/player",
            "30",
            pause_ms,
            "north",
            "east",
            "south",
        ]);
        let players = ["north", "east", "south"].into_iter().enumerate();
        let players = players.map(|(at, seat)| (format!("table-player-{at}"), texts(&["play", seat])));
        let dealer = ("dealer".to_owned(), dealer);
        run_all(&fleet, std::iter::once(dealer).chain(players), "cards").await
    };
    let unmoved = join_all(play("0").await.into_iter().map(Watched::finish)).await;
    let printed = moved_to_their_ends(&fleet, play("200").await, &mut Random::new()).await;
    for (unmoved, printed) in unmoved.iter().zip(&printed) {
        assert_eq!(unmoved.stdout.iter().filter(|byte| **byte == b'\n').count(), 30);
        assert_eq!(
            String::from_utf8_lossy(&unmoved.stdout),
            String::from_utf8_lossy(printed)
        );
    }
}

/// What `jobs give` prints of so many.
fn results(jobs: u64) -> String {
    let next = |number: &u64| match *number {
        1 => None,
        number if number.is_multiple_of(2) => Some(number / 2),
        number => Some(3 * number + 1),
    };
    let steps = |number: u64| std::iter::successors(Some(number), next).count() as u64 - 1;
    let mut sum = 0;
    let lines = (1..=jobs).map(|job| {
        sum += (200 * (job - 1) + 1..=200 * job).map(steps).sum::<u64>();
        format!("job {job}: {sum}\n")
    });
    lines.collect()
}

/// Ten workers, one of which is killed now and then, and another comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_done_once_each_by_workers_that_come_and_go() {
    const JOBS: u64 = 600;
    let fleet = fleet(Kind::Mosquitto).engines(&ENGINES).start().await;
    let mut random = Random::new();
    let works = |at: usize| {
        sample(
            "jobs",
            &format!("worker-{at}"),
            &["work", "steps"],
            ENGINES[at % ENGINES.len()],
        )
    };
    fleet
        .loads_for(&ENGINES, |on| sample("jobs", "loads", &["work", "loads"], on))
        .await;
    let mut workers = Vec::new();
    for at in 0..WORKERS {
        workers.push(fleet.runs(works(at)).await);
    }
    join_all(workers.iter().map(|one| one.printed(1))).await;
    let gives = fleet
        .runs(sample(
            "jobs",
            "gives",
            &["give", "service/steps", &JOBS.to_string()],
            "a",
        ))
        .await;
    let places = workers.iter().chain([&gives]).enumerate();
    let mut places: BTreeMap<ProgramId, usize> = places
        .map(|(at, one)| (one.program, if at == WORKERS { 0 } else { at % ENGINES.len() }))
        .collect();
    let expected = results(JOBS);
    let end = gives.must_print(expected.as_bytes());
    tokio::pin!(end);
    let (mut moves, mut left) = (0, 0);
    loop {
        let something = async {
            if random.below(3) > 0 {
                return moves += usize::from(moves_one(&fleet, &mut places, &mut random).await);
            }
            let at = random.below(workers.len());
            let comes = fleet.runs(works(WORKERS + left)).await;
            places.insert(comes.program, (WORKERS + left) % ENGINES.len());
            let leaves = std::mem::replace(&mut workers[at], comes);
            places.remove(&leaves.program);
            fleet.kills(leaves).await;
            left += 1;
        };
        tokio::select! {
            biased;
            () = &mut end => break,
            () = something => {}
        }
    }
    assert!(moves > 0 && left > 0, "{moves} moves, and {left} workers left");
    eprintln!("{moves} moves, and {left} workers left");
}
