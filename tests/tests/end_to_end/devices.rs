//! Programs that use devices, moved between engines that have them elsewhere, otherwise or not at all. All
//! devices are simulated.

use std::time::Duration;

use tempfile::NamedTempFile;
use wayfare_client::{CommandOptions, Order, Run};
use wayfare_protocol::device::{DeviceAsk, Reading, Setting};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::EngineId;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done, failed};

use crate::fleet;

const LIMIT: Duration = Duration::from_secs(30);

/// A configuration, kept as long as the engine may read it.
fn devices(toml: &str) -> (NamedTempFile, String) {
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), toml).expect("it can be written");
    let path = file.path().display().to_string();
    (file, path)
}

fn order(name: &str, args: &[&str], on: &str, devices: &[&str]) -> Run {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let sample = wayfare_samples::find_talker(name).expect("a sample");
    Run {
        name: name.into(),
        module: sample.wasm.to_vec(),
        args: owned(args),
        on: Some(on.into()),
        grants: Grants {
            publish: owned(&["home/heating"]),
            subscribe: owned(&["home/#"]),
            devices: devices
                .iter()
                .map(|text| text.parse().expect("an alias"))
                .collect(),
            ..Grants::default()
        },
        ..Run::default()
    }
}

async fn asks(fleet: &Fleet, engine: &str, ask: DeviceAsk) -> Reading {
    let engine: EngineId = engine.parse().expect("a name");
    fleet
        .client
        .device(&engine, &ask, LIMIT)
        .await
        .expect("an answer")
}

/// What a program has made of an output: the levels between two releases.
async fn driven(fleet: &Fleet, engine: &str) -> Vec<Vec<bool>> {
    let alias = "led".parse().expect("an alias");
    let Reading::Output { changes, last, .. } = asks(fleet, engine, DeviceAsk::Get { alias }).await else {
        panic!("it is an output");
    };
    assert_eq!(changes, last.len() as u64, "more than is kept");
    let spells = last.split(Option::is_none);
    spells
        .map(|spell| spell.iter().copied().flatten().collect())
        .filter(|spell: &Vec<bool>| !spell.is_empty())
        .collect()
}

const LINE_21: &str = "
    [devices.led]
    kind = 'gpio-out'
    backend = 'simulated'
    chip = '/dev/gpiochip1'
    line = 21
";
const LINE_4: &str = "
    [devices.led]
    kind = 'gpio-out'
    backend = 'simulated'
    chip = '/dev/gpiochip0'
    line = 4
    active-low = true
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blink_goes_on_with_the_led_of_each_engine_where_the_other_one_ended() {
    let (_line_21, here) = devices(LINE_21);
    let (_line_4, there) = devices(LINE_4);
    let setup = fleet(Kind::Mosquitto).engine("a", &["--config", &here]);
    let fleet = setup.engine("b", &["--config", &there]).start().await;
    let watched = fleet.runs(order("blink", &["100"], "a", &["led"])).await;
    watched.printed(4).await;
    fleet.moves(watched.program, "b").await;
    watched.goes_on().await;
    watched.goes_on().await;
    let paused = fleet.apply(Order::pause(&watched.id())).await;
    done(paused).await;
    assert_eq!(driven(&fleet, "b").await.len(), 1);
    let resumed = fleet
        .client
        .apply(
            Order::resume(&watched.id(), wayfare_client::ResumeMode::Normal),
            &CommandOptions::default(),
        )
        .await;
    done(resumed).await;
    watched.goes_on().await;
    fleet.moves(watched.program, "a").await;
    watched.goes_on().await;
    let printed = String::from_utf8_lossy(&watched.stdout()).into_owned();
    fleet.kills(watched).await;

    let (on_a, on_b) = (driven(&fleet, "a").await, driven(&fleet, "b").await);
    let ([first, last], [second, third]) = (on_a.as_slice(), on_b.as_slice()) else {
        panic!("one spell for each time it ran: {on_a:?} {on_b:?}");
    };
    assert!(first[0], "it begins lit");
    let mut changes = 0;
    let mut before = None;
    for spell in [first, second, third, last] {
        assert!(
            before.is_none_or(|before| before == spell[0]),
            "{on_a:?} {on_b:?}"
        );
        assert!(spell.is_sorted_by(|one, next| one != next), "{spell:?}");
        changes += spell.len() - usize::from(before.is_some());
        before = spell.last().copied();
    }
    for (number, line) in (1..).zip(printed.lines()) {
        let word = if number % 2 == 1 { "on" } else { "off" };
        assert_eq!(line, format!("{number} {word}"));
    }
    assert!(
        changes >= printed.lines().count(),
        "{changes} changes, and printed:\n{printed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_where_the_device_is_not_is_refused_and_the_program_stays() {
    let (_line_21, here) = devices(LINE_21);
    let (_serial, otherwise) = devices("[devices.led]\nkind = 'serial'\nbackend = 'simulated'");
    let (_status, own) = devices(&format!("{LINE_4}\n[status-led]\nalias = 'led'"));
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &["--config", &here])
        .engine("bare", &[])
        .engine("otherwise", &["--config", &otherwise])
        .engine("own", &["--config", &own]);
    let fleet = setup.start().await;
    let watched = fleet.runs(order("blink", &["100"], "a", &["led"])).await;
    watched.printed(1).await;
    for (target, reason) in [
        ("bare", "engine bare has no device 'led'"),
        (
            "otherwise",
            "device 'led' of engine otherwise is of kind serial, not gpio-out",
        ),
        ("own", "engine own has no device 'led'"),
    ] {
        let refused = failed(fleet.start_move(watched.program, target).await).await;
        assert!(refused.to_string().contains(reason), "{refused}");
        watched.goes_on().await;
        assert_eq!(fleet.settled(watched.program).await.0, "a");
    }
    let second = order("blink", &["100"], "a", &["led"]);
    let refused = failed(fleet.apply(Order::run(second)).await).await;
    let reason = format!(
        "device 'led' of engine a belongs to program {}",
        watched.program.short()
    );
    assert!(refused.to_string().contains(&reason), "{refused}");
    fleet.kills(watched).await;
    assert_eq!(
        driven(&fleet, "a").await.len(),
        1,
        "never released before its end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thermostat_reads_the_sensor_of_the_engine_that_it_is_on() {
    let sensor = |degrees: u32| {
        let thousandths = degrees * 1000;
        devices(&format!(
            "[devices.room]\nkind = 'adc'\nbackend = 'simulated'\nsamples = [{thousandths}]"
        ))
    };
    let (_cold, here) = sensor(18);
    let (_warm, there) = sensor(23);
    let setup = fleet(Kind::Mosquitto).engine("a", &["--config", &here]);
    let fleet = setup.engine("b", &["--config", &there]).start().await;
    let watched = fleet
        .runs(order("thermostat", &["home", "20", "1", "room"], "a", &["room"]))
        .await;
    watched.printed(2).await;
    fleet.moves(watched.program, "b").await;
    watched.printed(4).await;
    let alias = "room".parse().expect("an alias");
    let setting = Setting::Sample { scaled: 17_500.0 };
    asks(&fleet, "b", DeviceAsk::Set { alias, setting }).await;
    watched.printed(5).await;
    let printed = String::from_utf8_lossy(&watched.stdout()).into_owned();
    let mut lines: Vec<&str> = printed.lines().collect();
    // It may have been captured after it had asked whether it was moved, and before it read its sensor.
    lines[2..4].sort_unstable();
    let expected = [
        "keeps home at 20.0 degrees",
        "heating on at 18.00 degrees",
        "heating off at 23.00 degrees",
        "now on b",
        "heating on at 17.50 degrees",
    ];
    assert_eq!(lines, expected);
    fleet.kills(watched).await;
}
