//! What an engine says of itself stays small, whatever its programs are and however they ended.

use wayfare_client::fleet::Presence;
use wayfare_client::{CommandOptions, Order, ProgramView, Run};
use wayfare_link::{LinkOptions, Message};
use wayfare_protocol::event::Event;
use wayfare_protocol::limits::{LISTED_BYTES_MAX, REASON_BYTES_MAX};
use wayfare_protocol::status::{EngineState, ProgramState};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

/// Their reasons alone take more than an engine's status may list.
const PROGRAMS: usize = LISTED_BYTES_MAX / REASON_BYTES_MAX + 2;

/// Traps eight calls deep, in functions whose names have 20,000 bytes each.
fn trap() -> Run {
    let names: Vec<String> = ('a'..='h')
        .map(|letter| letter.to_string().repeat(20_000))
        .collect();
    let mut text = "(module (memory (export \"memory\") 1)".to_owned();
    for (at, name) in names.iter().enumerate() {
        let body = match names.get(at + 1) {
            Some(next) => format!("call ${next}"),
            None => "unreachable".into(),
        };
        text += &format!("(func ${name} {body})");
    }
    text += &format!("(func (export \"_start\") call ${}))", names[0]);
    Run {
        name: "trap".into(),
        module: wat::parse_str(text).expect("it is well-formed"),
        on: Some("a".into()),
        ..Run::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_programs_died_with_long_backtraces_is_online_after_a_restart() {
    let mut fleet = fleet(Kind::Mosquitto).engine("a", &[]).start().await;
    let options = CommandOptions::default();
    for _ in 0..PROGRAMS {
        done(fleet.client.apply(Order::run(trap()), &options).await).await;
    }
    let failed = |all: &[Heard]| {
        let reasons = all.iter().filter_map(|heard| match heard {
            Heard::Program(status) => match &status.state {
                ProgramState::Failed { reason } => Some((status.program, reason.len())),
                _ => None,
            },
            _ => None,
        });
        reasons.collect::<std::collections::BTreeMap<_, _>>()
    };
    let all_failed = |all: &[Heard]| failed(all).len() == PROGRAMS;
    fleet.spy.sees("all to have failed", all_failed).await;
    let lengths = fleet.spy.with(failed);
    assert!(
        lengths.values().all(|bytes| *bytes <= REASON_BYTES_MAX),
        "{lengths:?}"
    );

    fleet.start_again(&["a"]).await;
    let programs = fleet.client.programs().await.expect("open");
    let words: Vec<&str> = programs.iter().map(ProgramView::word).collect();
    assert_eq!(words, ["failed"; PROGRAMS]);
    let lists_nothing = |heard: &Heard| {
        matches!(heard, Heard::Engine(status) if status.state == EngineState::Online
            && status.live_programs == Some(0) && status.programs.is_empty())
    };
    assert!(fleet.spy.with(|all| all.iter().any(lists_nothing)));
    let watched = fleet.run(&Job::sample("primes", &["1000"]), "a").await;
    assert_eq!(
        watched.finish().await.state,
        Some(ProgramState::Exited { code: 0 })
    );
}

/// A broker that was set back brings back what it retained before: here somebody publishes it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_comes_back_is_of_a_program_that_is_lost_once_its_engine_is_connected_again() {
    let mut fleet = fleet(Kind::MosquittoWithFolder).engine("a", &[]).start().await;
    let watched = fleet.run(&Job::endless(64), "a").await;
    let program = watched.program;
    let running = |heard: &Heard| match heard {
        Heard::Program(status) if status.program == program && status.state == ProgramState::Running => {
            Some(status.clone())
        }
        _ => None,
    };
    let status = fleet.spy.hears("its status", 0, running).await;
    fleet.kills(watched).await;
    let (link, _events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "set-back")).expect("sound");
    let topic = Topics::default().topic(&Topic::ProgramStatus(program));
    let back = Message::new(topic, wire::encode(&status)).retained();
    within("a publish", link.publish_acknowledged(back))
        .await
        .expect("open");
    let shown_as = async |fleet: &Fleet, presence: Presence| {
        let mut seen = 0;
        let shown = async {
            while fleet
                .client
                .program(&program.to_string())
                .await
                .ok()
                .is_none_or(|view| view.presence != presence)
            {
                fleet.client.changed(&mut seen).await.expect("it is open");
            }
        };
        within(&format!("the program to be shown as {presence:?}"), shown).await;
    };
    shown_as(&fleet, Presence::Known).await;
    assert!(fleet.broker.stop().await);
    fleet.broker.start_again().await;
    shown_as(&fleet, Presence::Lost).await;
}

/// Being asked whether it is there, again and again, is no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_engine_answers_polls_and_tells_nobody_else_of_them() {
    let fleet = fleet(Kind::Mosquitto).engine("a", &[]).start().await;
    let events = fleet.client.messages("wayfare/v1/engine/+/event", WAIT_MAX).await;
    let mut events = events.unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        let report = fleet.client.request_status_reports(WAIT_MAX).await.expect("open");
        assert_eq!(report.answered.len(), 1);
    }
    let watched = fleet.run(&Job::endless(64), "a").await;
    let first = within("an event", events.next())
        .await
        .expect("the broker is there");
    let payload = first.payload.expect("it is small");
    let event: Event = wire::decode(&payload).expect("engines speak the protocol");
    assert_eq!(event.verb, "run", "{event:?}");
    events.close().await;
    fleet.kills(watched).await;
}
