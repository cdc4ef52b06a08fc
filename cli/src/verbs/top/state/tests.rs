use std::time::Duration;

use serde_json::{Value, json};
use wayfare_client::app::programs::ProgramAbout;
use wayfare_client::numbers::{EngineLoad, ProgramLoad};
use wayfare_client::{EngineView, Heard, Presence, ProgramView};
use wayfare_protocol::ids::{BootId, Digest};

use super::*;
use crate::args::fleet::FleetArgs;

fn of<T: serde::de::DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).unwrap()
}

pub(in crate::verbs::top) fn top() -> Top {
    Top::new(&TopArgs {
        once: false,
        every: Duration::from_secs(2),
        filter: None,
        sort: "-cpu".into(),
        fleet: FleetArgs::default(),
    })
    .unwrap()
}

fn id(number: u8) -> ProgramId {
    ProgramId::from_random([number; 16])
}

fn program(number: u8, name: &str, instance: Option<&str>, millicores: u64) -> Listed {
    let status = json!({
        "program": id(number), "name": name, "engine": "a", "boot": BootId::from_random([2; 16]),
        "generation": 1, "sequence": 1, "memory_bytes": 0, "state": "running", "module": Digest::of(b"m"),
    });
    let numbers: ProgramLoad = of(json!({
        "engine": "a", "measured_ago_ms": 1, "cpu_millicores": millicores, "received_per_minute": 60,
        "program": id(number), "generation": 1, "uptime_us": 1, "memory_bytes": 1 << 20, "waiting_messages": 3,
    }));
    Listed {
        view: ProgramView {
            status: of(status),
            presence: Presence::Known,
        },
        about: Some(ProgramAbout {
            instance: instance.map(str::to_owned),
            since_ms: Some(1_000),
            ..ProgramAbout::default()
        }),
        numbers: Some(numbers),
    }
}

/// An application of two, and a program of somebody's who would like to clear the screen.
pub(in crate::verbs::top) fn fleet() -> Seen {
    let view = EngineView {
        engine: "a".parse().unwrap(),
        online: true,
        stopped: false,
        mark: None,
        leaving: None,
        messages: 1,
        offline_for_ms: None,
        load: None,
        identity: None,
        boot: None,
        about: None,
        programs: 3,
        heard: Heard::Live,
        rival: None,
    };
    let numbers: EngineLoad =
        of(json!({ "engine": "a", "measured_ago_ms": 1, "cpu_millicores": 750, "uptime_us": 1 }));
    Seen {
        programs: vec![
            program(1, "evil\u{1b}[2J", None, 50),
            program(2, "shop-web-1", Some("shop/web/1"), 200),
            program(3, "shop-web-0", Some("shop/web/0"), 500),
        ],
        engines: vec![ListedEngine {
            view,
            numbers: Some(numbers),
        }],
        is_measured: true,
    }
}

fn type_in(top: &mut Top, text: &str) {
    for character in text.chars() {
        assert!(matches!(top.key(Key::Char(character)), Wanted::Nothing));
    }
}

fn names(top: &Top) -> Vec<&str> {
    top.programs().map(name_of).collect()
}

#[test]
fn what_is_selected_stays_so_while_rows_change_places() {
    let mut top = top();
    top.take_in(fleet());
    assert_eq!(names(&top)[..2], ["shop/web/0", "shop/web/1"]);
    top.key(Key::Down);
    assert_eq!(top.selected_program().unwrap().0, id(2));
    let mut seen = fleet();
    seen.programs[1].numbers.as_mut().unwrap().cpu_millicores = Some(900);
    top.take_in(seen);
    assert_eq!(
        (top.selected_place(), top.selected_program().unwrap().0),
        (Some(0), id(2))
    );
    // It is gone: what took its place is selected.
    let mut seen = fleet();
    seen.programs.remove(1);
    top.take_in(seen);
    assert_eq!(top.selected_program().unwrap().0, id(3));
    top.key(Key::End);
    assert_eq!(top.selected_place(), Some(1));
    top.key(Key::Home);
    assert_eq!(top.selected_place(), Some(0));
}

#[test]
fn kill_asks_and_move_asks_where_to() {
    let mut top = top();
    top.take_in(fleet());
    top.key(Key::Char('k'));
    assert!(matches!(top.key(Key::Char('n')), Wanted::Nothing));
    assert_eq!(top.prompt, None);
    top.key(Key::Char('k'));
    // Rows that change meanwhile change nothing of the question.
    top.take_in(fleet());
    top.key(Key::Other);
    match top.key(Key::Char('y')) {
        Wanted::Order(name, Order::Kill { program }) => {
            assert_eq!((name.as_str(), program), ("shop/web/0", id(3).to_string()));
        }
        other => panic!("{other:?}"),
    }
    top.key(Key::Char('m'));
    assert!(
        matches!(top.key(Key::Enter), Wanted::Nothing),
        "where to is not said"
    );
    type_in(&mut top, "bb");
    top.key(Key::Backspace);
    match top.key(Key::Enter) {
        Wanted::Order(_, Order::Move { program, to }) => {
            assert_eq!((program, to.as_str()), (id(3).to_string(), "b"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_are_sorted_filtered_and_folded() {
    let mut top = top();
    top.take_in(fleet());
    top.key(Key::Char('r'));
    assert_eq!((top.sort(), names(&top)[2]), ("cpu", "shop/web/0"));
    top.key(Key::Char('>'));
    assert_eq!(top.sort(), "memory");
    top.key(Key::Char('<'));
    top.key(Key::Char('r'));
    top.key(Key::Char('/'));
    type_in(&mut top, "cpu >");
    top.key(Key::Enter);
    assert!(top.told.is_some(), "it is wrong, and can be mended");
    type_in(&mut top, " 6%");
    top.key(Key::Enter);
    assert_eq!((top.prompt.as_ref(), top.filter()), (None, "cpu > 6%"));
    top.take_in(fleet());
    assert_eq!(names(&top), ["shop/web/0", "shop/web/1"]);
    top.key(Key::Char('f'));
    assert_eq!(top.rows(), [Row::Folded("shop".into(), vec![0, 1])]);
    top.key(Key::Char('k'));
    assert_eq!(top.prompt, None, "a folded application is no program");
    top.key(Key::Char('f'));
    assert_eq!(top.rows().len(), 2);
    for end in [Key::Char('q'), Key::Escape, Key::Interrupt] {
        assert!(matches!(top.key(end), Wanted::End));
    }
}
