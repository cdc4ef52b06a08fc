//! What boards live through: power cuts without a network, full disks, and a service manager that wants to
//! hear from them.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use wayfare_client::{CommandOptions, Order};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::failed;
use wayfare_tests::job::Job;
use wayfare_tests::small_disk::SmallDisk;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

/// Between two looks at what gives no sign of its own.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// Where Debian's package `faketime` has it.
const WRONG_CLOCKS: &str = "/usr/lib/*/faketime/libfaketime.so.1";

/// The words before a command whose clock says what stands in the file, anew whenever it looks. `None`,
/// loudly: there is no such thing here.
fn under_the_clock_of(file: &Path) -> Option<Vec<String>> {
    let listed = std::process::Command::new("sh")
        .args(["-c", &format!("ls {WRONG_CLOCKS}")])
        .output()
        .expect("a shell");
    let library = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    if library.is_empty() {
        eprintln!("SKIPPED: no {WRONG_CLOCKS} here");
        return None;
    }
    // Only the clock that people set is wrong; the other one counts on.
    let file = file.display();
    let words = [
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={file}"),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    Some(words.to_vec())
}

/// The words of a command that runs this package's engine.
fn engine_command(before: &[String]) -> Vec<String> {
    let mut words = before.to_vec();
    words.push(env!("CARGO_BIN_EXE_wayfare-test-engine").to_owned());
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_programs_run_to_their_end_before_there_is_a_broker() {
    let mut fleet = fleet(Kind::Mosquitto).behind_cable("a").start().await;
    let job = Job::counter(200, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(3).await;
    fleet.cable("a").pull();
    fleet.engine("a").kill();
    fleet.engine("a").start_again();
    let program = watched.program;
    for is_there in [true, false] {
        let what = format!("the program to have {}", if is_there { "begun" } else { "ended" });
        let look = async {
            while (fleet.engine("a").threads_of(program) > 0) != is_there {
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        within(&what, look).await;
    }
    assert!(watched.lines() < 200, "the cable was pulled");
    fleet.cable("a").mend();
    watched.must_print(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_work_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(12) else { return };
    let data = disk.path().join("data").display().to_string();
    let command = engine_command(&disk.enter());
    let arguments = ["--checkpoint", "1", "--cache-max", "0", "--data", &data];
    let setup = fleet(Kind::Mosquitto).engines(&["roomy"]);
    let mut fleet = setup.other_engine("full", &command, &arguments).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "roomy").await;
    let watched = fleet.run(&job, "full").await;
    let elsewhere = fleet.run(&job, "roomy").await;
    watched.printed(3).await;
    elsewhere.printed(3).await;
    disk.fill();
    let options = CommandOptions::default();
    let refused = failed(fleet.client.apply(Order::run(job.order("full")), &options).await).await;
    assert!(
        refused.to_string().contains("full could not store it"),
        "{refused}"
    );
    let refused = failed(fleet.start_move(elsewhere.program, "full").await).await;
    assert!(refused.to_string().contains("full"), "{refused}");
    assert_eq!(fleet.runs_once(&elsewhere, &expected).await, "roomy");
    // What is there runs on, also after a power cut.
    watched.goes_on().await;
    fleet.start_again(&["full"]).await;
    watched.goes_on().await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "full");
    // It can leave: there is room kept for that.
    fleet.moves(watched.program, "roomy").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "roomy");
    disk.empty();
    fleet.moves(elsewhere.program, "full").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "roomy");
    assert_eq!(fleet.runs_once(&elsewhere, &expected).await, "full");
    for watched in [watched, elsewhere] {
        fleet.kills(watched).await;
    }
}

/// A board has no battery for its clock: it begins in 1970, and jumps to today once the network has told it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_and_jumps_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = folder.path().join("clock");
    let says = |time: &str| std::fs::write(&clock, time).expect("a file");
    says("@1970-01-02 00:00:00");
    let Some(before) = under_the_clock_of(&clock) else {
        return;
    };
    let setup = fleet(Kind::Mosquitto).engines(&["right"]);
    let setup = setup.other_engine("wrong", &engine_command(&before), &["--checkpoint", "1"]);
    let mut fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "right").await;
    let watched = fleet.run(&job, "right").await;
    watched.printed(3).await;
    fleet.moves(watched.program, "wrong").await;
    watched.goes_on().await;
    let epoch = fleet.engine("wrong").log();
    assert!(epoch.contains("1970-01-02T"), "its clock is not wrong: {epoch}");
    says("+0");
    watched.goes_on().await;
    says("@2060-01-01 00:00:00");
    watched.goes_on().await;
    // And back, over a power cut.
    says("@1970-01-02 00:00:00");
    fleet.start_again(&["wrong"]).await;
    watched.goes_on().await;
    fleet.moves(watched.program, "right").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "right");
    fleet.kills(watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_hears_that_it_begins_lives_and_stops() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(WAIT_MAX)).expect("a time");
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let command = engine_command(&["env".to_owned(), variable]);
    let setup = fleet(Kind::Mosquitto).other_engine("a", &command, &[]);
    let mut fleet = setup.start().await;
    let hear = || {
        let mut text = [0; 64];
        let bytes = socket.recv(&mut text).expect("a word within the time");
        String::from_utf8_lossy(&text[..bytes]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    // Twice: its loop goes round.
    assert_eq!([hear(), hear()], ["WATCHDOG=1", "WATCHDOG=1"]);
    fleet.engine("a").stop().await;
    let last = std::iter::repeat_with(hear).find(|word| word != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}
