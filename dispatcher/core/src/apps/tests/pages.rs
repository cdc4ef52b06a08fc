//! Answers of large fleets, each held against what a message holds.

use std::collections::BTreeSet;

use serde_json::Value;
use wayfare_fleet::app::ask::{Ask, HistoryPage, Mark, MarksPage, StatusPage};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

use super::world::{World, app, component};

fn fits(answer: &Value) {
    let bytes = answer.to_string().len();
    assert!(bytes + 1024 < PAYLOAD_BYTES_MAX, "{bytes}");
}

#[test]
fn the_status_of_many_instances_comes_in_pages_that_fit_a_message() {
    let mut world = World::new(&["a"]);
    world.apply(app(&[
        ("idle", component(1, "one")),
        ("web", component(900, "two")),
    ]));
    let whole = world.ask(Ask::Status { application: None }).unwrap();
    assert!(whole.to_string().len() > PAYLOAD_BYTES_MAX);
    let (mut found, mut count, mut from, mut pages) = (BTreeSet::new(), 0, None, 0);
    loop {
        let (application, begin) = (Some("shop".to_owned()), from);
        let answer = world
            .ask(Ask::StatusPage {
                application,
                from: begin,
            })
            .unwrap();
        fits(&answer);
        let page: StatusPage = serde_json::from_value(answer).unwrap();
        pages += 1;
        for instance in page.applications.into_iter().flat_map(|app| app.instances) {
            count += 1;
            found.insert(instance.instance);
        }
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert!(pages > 2);
    assert_eq!((count, found.len()), (901, 901));
}

#[test]
fn many_applications_without_instances_come_in_pages_too() {
    let mut world = World::new(&["a"]);
    for number in 0..600 {
        let mut spec = app(&[("web", component(0, "one"))]);
        spec.name = format!("application-{number}");
        world.apply(spec);
    }
    let (mut found, mut from) = (BTreeSet::new(), None);
    loop {
        let answer = world
            .ask(Ask::StatusPage {
                application: None,
                from,
            })
            .unwrap();
        fits(&answer);
        let page: StatusPage = serde_json::from_value(answer).unwrap();
        found.extend(page.applications.into_iter().map(|app| app.application));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!(found.len(), 600);
}

#[test]
fn versions_plans_and_what_is_left_fit_a_message() {
    let mut world = World::new(&["a"]);
    let many = |module: &str| {
        let name = |number| format!("component-{number:014}");
        let names: Vec<String> = (0..64).map(name).collect();
        let all: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), component(100, module)))
            .collect();
        app(&all)
    };
    for version in 0..50 {
        world.apply(many(&format!("version-{version}")));
    }
    let (mut versions, mut from) = (Vec::new(), 0);
    loop {
        let application = "shop".to_owned();
        let answer = world.ask(Ask::HistoryPage { application, from }).unwrap();
        fits(&answer);
        let page: HistoryPage = serde_json::from_value(answer).unwrap();
        versions.extend(page.versions.iter().map(|version| version.version));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(versions, (1..=50).collect::<Vec<_>>());
    fits(&world.ask(Ask::Plan { spec: many("next") }).unwrap());
    world.pass(1_000);
    let engine = "a".parse().unwrap();
    fits(&world.ask(Ask::Left { engine }).unwrap());
    for decision in &world.told {
        assert!(format!("{decision:?}").len() < 8 * 1024);
    }
}

#[test]
fn engines_that_get_nothing_new_are_listed_in_pages() {
    let names: Vec<String> = (0..701).map(|number| format!("engine-{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    for name in &names[1..] {
        let engine = name.parse().unwrap();
        world.ask(Ask::Cordon { engine }).unwrap();
    }
    let engine = names[700].parse().unwrap();
    world.ask(Ask::Drain { engine }).unwrap();
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let answer = world.ask(Ask::Marks { from }).unwrap();
        fits(&answer);
        let page: MarksPage = serde_json::from_value(answer).unwrap();
        found.extend(page.marks);
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let listed: Vec<&str> = found.iter().map(|(engine, _)| engine.as_str()).collect();
    assert_eq!(listed, names[1..]);
    assert_eq!((found[0].1, found[699].1), (Mark::Cordoned, Mark::Draining));
}
