//! Streams through programs that are moved and killed, and cut off from their broker: nothing lost, doubled
//! or out of order.
//!
//! In CI each goes on for a few seconds. The whole, half a minute of 5,000 messages a second, with figures:
//! `cargo test --workspace --test end_to_end -- --ignored --nocapture --test-threads 1 whole_stream`.

use std::time::Duration;

use tokio::time::Instant;
use wayfare_client::{CommandOptions, Order, ResumeMode};
use wayfare_protocol::ids::ProgramId;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::done;
use wayfare_tests::stream::{
    Heard, Output, Source, must_be_exact, must_be_exact_but_for_repeats, order, printed, relay,
};
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

/// How much of a stream there is, and how often it is disturbed.
#[derive(Clone, Copy)]
struct Extent {
    /// Messages a second.
    rate: u64,
    seconds: u64,
    disturbances: u64,
}

impl Extent {
    const MOVES: Self = Self::new(1_000, 4, 8);
    const KILLS: Self = Self::new(500, 4, 3);
    const RESTARTS: Self = Self::new(500, 4, 2);
    const WHOLE_MOVES: Self = Self::new(5_000, 30, 50);
    const WHOLE_KILLS: Self = Self::new(5_000, 30, 10);

    const fn new(rate: u64, seconds: u64, disturbances: u64) -> Self {
        Self {
            rate,
            seconds,
            disturbances,
        }
    }

    fn source(self, sender: Option<ProgramId>) -> Source {
        Source {
            sender,
            count: self.count(),
            rate: self.rate,
        }
    }

    fn count(self) -> u64 {
        self.rate * self.seconds
    }

    /// After how many messages each disturbance comes.
    fn moments(self) -> impl Iterator<Item = (usize, u64)> {
        let count = self.count();
        (1..=self.disturbances).map(move |number| (number as usize, count * number / (self.disturbances + 1)))
    }
}

/// The longest time without anything new.
fn longest_silence<'a>(told: impl Iterator<Item = &'a Heard>) -> Duration {
    let times: Vec<_> = told.map(|heard| heard.at).collect();
    let silences = times.windows(2).map(|two| two[1] - two[0]);
    silences.max().unwrap_or_default()
}

/// A stream of plain messages, without any id, through a program that is moved all the time.
async fn streams_while_moved(broker: Kind, extent: Extent) {
    let (count, rate) = (extent.count(), extent.rate);
    let fleet = fleet(broker).engines(&RING).start().await;
    fleet.loads_for(&RING, relay).await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url(), "out").await;
    let begun = Instant::now();
    let source = extent.source(None);
    let publishing = source.publish(fleet.broker.url(), &output);
    for (number, moment) in extent.moments() {
        output.came(moment).await;
        fleet.moves(watched.program, RING[number % 3]).await;
    }
    let published = within("the source", publishing).await.expect("no panic");
    source.publish_end(fleet.broker.url()).await;
    let all = output.all().await;
    must_be_exact(all.iter().map(|heard| heard.text.as_str()), count);
    watched.must_print(printed(count).as_bytes()).await;
    fleet.spy.check_history();
    let behind = all
        .last()
        .map(|last| last.at.saturating_duration_since(published));
    println!(
        "{count} messages, {rate} a second, {} moves, {broker:?}: 0 lost, 0 doubled, in order; published in {:?}, longest silence {:?}, \
         done {:?} after the last was published",
        extent.disturbances,
        published - begun,
        longest_silence(all.iter()),
        behind.unwrap_or_default(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_a_moving_program_is_whole_on_mosquitto() {
    streams_while_moved(Kind::Mosquitto, Extent::MOVES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_a_moving_program_is_whole_on_the_embedded_broker() {
    streams_while_moved(Kind::EmbeddedApart, Extent::MOVES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute on a machine of its own"]
async fn a_whole_stream_is_whole_through_fifty_moves_on_mosquitto() {
    streams_while_moved(Kind::Mosquitto, Extent::WHOLE_MOVES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute on a machine of its own"]
async fn a_whole_stream_is_whole_through_fifty_moves_on_the_embedded_broker() {
    streams_while_moved(Kind::EmbeddedApart, Extent::WHOLE_MOVES).await;
}

/// After each crash the program goes on from its last stored snapshot, with what it was sent since, and
/// publishes again what it had published since, under the same ids: `once`, which is moved meanwhile, is
/// handed each a single time.
async fn streams_while_killed(broker: Kind, extent: Extent) {
    let (count, rate) = (extent.count(), extent.rate);
    let mut fleet = fleet(broker)
        .engine("a", &["--checkpoint", "1"])
        .engines(&["b", "c"])
        .start()
        .await;
    let once = |on: &str| order("once", &["out", "told"], on, &["told"], &["out"]);
    fleet.loads_for(&["c"], once).await;
    let once = fleet.runs(once("b")).await;
    once.printed(1).await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url(), "out").await;
    let told = Output::collect(fleet.broker.url(), "told").await;
    let begun = Instant::now();
    let sender = Some(ProgramId::random());
    let source = extent.source(sender);
    let publishing = source.publish(fleet.broker.url(), &told);
    for (number, moment) in extent.moments() {
        told.came(moment).await;
        fleet.start_again(&["a"]).await;
        fleet.moves(once.program, ["b", "c"][number % 2]).await;
    }
    let published = within("the source", publishing).await.expect("no panic");
    source.publish_end(fleet.broker.url()).await;
    let told = told.all().await;
    assert!(told.iter().all(|heard| heard.stamp.is_none()), "they are plain");
    must_be_exact(told.iter().map(|heard| heard.text.as_str()), count);
    let all = output.all().await;
    let first = must_be_exact_but_for_repeats(&all, count).len();
    watched.must_print(printed(count).as_bytes()).await;
    let passed_on = format!("from out to told, once\n{} messages\n", count + 1);
    once.must_print(passed_on.as_bytes()).await;
    fleet.spy.check_history();
    let behind = told
        .last()
        .map(|last| last.at.saturating_duration_since(published));
    println!(
        "{count} messages, {rate} a second, {} kills, {broker:?}: state right; {} repeats on output, by their ids 0 lost, 0 doubled, in \
         order; published in {:?}, longest silence {:?}, done {:?} after the last was published",
        extent.disturbances,
        all.len() - first,
        published - begun,
        longest_silence(told.iter()),
        behind.unwrap_or_default(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_killed_in_the_stream_leaves_the_state_right_and_repeats_that_can_be_told_on_mosquitto() {
    streams_while_killed(Kind::Mosquitto, Extent::KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_killed_in_the_stream_leaves_the_state_right_and_repeats_that_can_be_told_on_the_embedded_broker()
 {
    streams_while_killed(Kind::EmbeddedApart, Extent::KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute on a machine of its own"]
async fn a_whole_stream_is_right_through_ten_kills_on_mosquitto() {
    streams_while_killed(Kind::Mosquitto, Extent::WHOLE_KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute on a machine of its own"]
async fn a_whole_stream_is_right_through_ten_kills_on_the_embedded_broker() {
    streams_while_killed(Kind::EmbeddedApart, Extent::WHOLE_KILLS).await;
}

/// Everything that the broker has acknowledged is on its disk when it ends; the rest is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_restarted_in_the_stream_loses_nothing() {
    let extent = Extent::RESTARTS;
    let count = extent.count();
    let mut fleet = fleet(Kind::MosquittoWithFolder).engines(&["a"]).start().await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url(), "out").await;
    let source = extent.source(Some(ProgramId::random()));
    let publishing = source.publish(fleet.broker.url(), &output);
    for (_, moment) in extent.moments() {
        output.came(moment).await;
        if !fleet.broker.stop().await {
            return println!("skipped: this needs Mosquitto");
        }
        fleet.broker.start_again().await;
    }
    within("the source", publishing).await.expect("no panic");
    source.publish_end(fleet.broker.url()).await;
    let all = output.all().await;
    let repeats = all.len() - must_be_exact_but_for_repeats(&all, count).len();
    println!("{repeats} repeats of {count} messages, in 2 restarts of the broker");
}

/// What Mosquitto had stored when it was killed is all there: messages that the program had not been sent,
/// its subscription, and those that wait for its reader. (What it had acknowledged and not stored is lost
/// with it: see its `autosave_interval`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_in_the_stream_loses_nothing_of_what_it_had_stored() {
    let (count, rate) = (2_000, 2_000);
    let mut fleet = fleet(Kind::MosquittoWithFolder).engines(&["a"]).start().await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url(), "out").await;
    let broker = fleet.broker.url();
    let sender = Some(ProgramId::random());
    let source = Source { sender, count, rate };
    let part = |numbers| source.publish_some(broker.clone(), numbers);
    part(0..600).await;
    output.came(300).await;
    let options = CommandOptions::default();
    done(fleet.client.apply(Order::pause(&watched.id()), &options).await).await;
    // These wait at the broker: nobody takes them now.
    part(600..1_300).await;
    if !fleet.broker.store().await {
        return println!("skipped: this needs Mosquitto");
    }
    fleet.broker.kill().await;
    fleet.broker.start_again().await;
    fleet.all_online().await;
    done(
        fleet
            .client
            .apply(Order::resume(&watched.id(), ResumeMode::Normal), &options)
            .await,
    )
    .await;
    part(1_300..count + 1).await;
    let all = output.all().await;
    let repeats = all.len() - must_be_exact_but_for_repeats(&all, count).len();
    println!("{repeats} repeats of {count} messages, in a crash of the broker");
}
