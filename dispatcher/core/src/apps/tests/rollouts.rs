//! What updates are judged by: what they started, and nothing else.

use wayfare_fleet::app::ComponentSpec;
use wayfare_fleet::app::ask::Ask;
use wayfare_protocol::status::ProgramState;

use super::module;
use super::world::{World, app, component};

/// At most one on an engine.
fn apart(count: u32, name: &str) -> ComponentSpec {
    let mut component = component(count, name);
    component.constraints.per_engine_max = Some(1);
    component
}

/// Nothing is such an engine.
fn nowhere(count: u32, name: &str) -> ComponentSpec {
    let mut component = component(count, name);
    component
        .constraints
        .requirements
        .engines
        .insert("nowhere".parse().unwrap());
    component
}

fn alive_of(world: &World, name: &str) -> usize {
    world
        .alive()
        .iter()
        .filter(|(.., copy)| copy.module == module(name))
        .count()
}

#[test]
fn an_instance_that_fits_nowhere_holds_up_no_update_and_undoes_none() {
    for (at_a_time, within_ms) in [(1, 5_000), (2, 5_000), (3, 60_000)] {
        let mut world = World::new(&["a", "b", "c"]);
        let web = |name| {
            let mut web = apart(3, name);
            (web.update.at_a_time, web.update.within_ms) = (at_a_time, within_ms);
            web
        };
        world.apply(app(&[("web", web("one"))]));
        world.pass(10_000);
        world.host("c").online = false;
        world.pass(5_000);
        assert_eq!(world.alive().len(), 2);
        let why = world.status().unplaced.join("\n");
        assert!(
            why.contains("shop/web/") && why.contains("0 of 3 engines fit"),
            "{why}"
        );

        world.apply(app(&[("web", web("two"))]));
        world.pass(60_000);
        assert_eq!(alive_of(&world, "two"), 2, "{:?}", world.told);
        assert_eq!((world.was_told("rolled-back"), world.was_told("updated")), (0, 1));
        let status = world.status();
        assert_eq!((status.version, status.state.as_str()), (2, "running"));
        assert_eq!(status.unplaced.len(), 1, "{status:?}");
        // Back, it gets the third.
        world.heal("c", super::world::Hears::Never);
        world.pass(20_000);
        assert_eq!(alive_of(&world, "two"), 3, "{:?}", world.told);
    }
}

#[test]
fn a_component_that_fits_nowhere_holds_up_no_update_of_another() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "one")), ("db", nowhere(2, "db"))]));
    world.pass(10_000);
    assert_eq!(world.alive().len(), 2);
    world.apply(app(&[("web", component(2, "two")), ("db", nowhere(2, "db"))]));
    world.pass(120_000);
    assert_eq!(
        (alive_of(&world, "two"), world.was_told("rolled-back")),
        (2, 0),
        "{:?}",
        world.told
    );
    assert_eq!(world.was_told("updated"), 1);
    // What makes it fit can be applied, and so can what mends the other.
    world.apply(app(&[("web", component(2, "three")), ("db", component(2, "db"))]));
    world.pass(60_000);
    assert_eq!(
        (alive_of(&world, "three"), alive_of(&world, "db")),
        (2, 2),
        "{:?}",
        world.told
    );
    assert!(world.status().unplaced.is_empty());
}

/// Not only when the update was begun before: a version none of which fits can always be followed by another.
#[test]
fn an_update_that_fits_nowhere_ends_nothing_and_can_be_mended() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(3, "one"))]));
    world.pass(10_000);
    world.apply(app(&[("web", nowhere(3, "two"))]));
    world.pass(150_000);
    assert_eq!(alive_of(&world, "one"), 3, "{:?}", world.told);
    assert_eq!((world.was_told("rolled-back"), world.was_told("update")), (0, 0));
    let status = world.status();
    assert_eq!((status.version, status.state.as_str()), (2, "updating"));
    let why = status.unplaced.join("\n");
    assert!(
        why.contains("to be replaced: 0 of 2 engines fit: 2 are not among the engines named"),
        "{why}"
    );
    world.apply(app(&[("web", component(3, "three"))]));
    world.pass(60_000);
    assert_eq!((alive_of(&world, "three"), world.was_told("rolled-out")), (3, 1));
    assert!(world.status().unplaced.is_empty());
}

#[test]
fn nothing_is_ended_for_an_update_while_no_engine_takes_anything() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(4, "one"))]));
    world.pass(10_000);
    for engine in ["a", "b"] {
        let engine = engine.parse().unwrap();
        world.ask(Ask::Cordon { engine }).unwrap();
    }
    world.apply(app(&[("web", component(4, "two"))]));
    world.pass(100_000);
    assert_eq!(
        (alive_of(&world, "one"), world.was_told("rolled-back")),
        (4, 0),
        "{:?}",
        world.told
    );
    let engine = "b".parse().unwrap();
    world.ask(Ask::Uncordon { engine }).unwrap();
    world.pass(100_000);
    assert_eq!(
        (alive_of(&world, "two"), world.was_told("rolled-out")),
        (4, 1),
        "{:?}",
        world.told
    );
}

#[test]
fn an_update_waits_for_an_engine_that_cannot_be_asked_and_is_not_undone_by_it() {
    let mut world = World::new(&["a", "b", "c"]);
    let web = |name| {
        let mut web = apart(3, name);
        web.update.within_ms = 5_000;
        web
    };
    world.apply(app(&[("web", web("one"))]));
    world.pass(10_000);
    world.host("c").answers = false;
    world.pass(20_000);
    assert_eq!(world.was_told("engine-late"), 1);
    // It is online, does not answer, and is not lost yet.
    world.apply(app(&[("web", web("two"))]));
    world.pass(8_000);
    assert_eq!(world.was_told("rolled-back"), 0, "{:?}", world.told);
    world.host("c").answers = true;
    world.pass(30_000);
    assert_eq!(
        (alive_of(&world, "two"), world.was_told("rolled-out")),
        (3, 1),
        "{:?}",
        world.told
    );
}

#[test]
fn an_update_is_undone_by_what_it_started_and_by_nothing_else() {
    // (what traps, rolled back): one of the new version, one of a component that stays as it was, one that is
    // added.
    let cases = [("two", true), ("db", false), ("more", true)];
    for (trapping, is_undone) in cases {
        let mut world = World::new(&["a", "b", "c"]);
        world.apply(app(&[
            ("web", component(2, "one")),
            ("db", component(1, "db")),
            ("far", nowhere(1, "far")),
        ]));
        world.pass(10_000);
        world.traps.insert(module(trapping));
        for host in world.hosts.values_mut() {
            for copy in host
                .programs
                .values_mut()
                .filter(|copy| copy.module == module(trapping))
            {
                copy.state = ProgramState::Failed {
                    reason: "trapped".into(),
                };
            }
        }
        let mut after = vec![
            ("web", component(2, "two")),
            ("db", component(1, "db")),
            ("far", nowhere(1, "far")),
        ];
        if trapping == "more" {
            after.push(("more", component(1, "more")));
        }
        world.apply(app(&after));
        world.pass(150_000);
        assert_eq!(
            world.was_told("rolled-back"),
            usize::from(is_undone),
            "{trapping}: {:?}",
            world.told
        );
        let version = if is_undone { ("one", 1) } else { ("two", 2) };
        assert_eq!(
            (alive_of(&world, version.0), world.status().version),
            (2, version.1),
            "{trapping}"
        );
    }
}

#[test]
fn an_update_that_traps_is_undone_and_people_can_see_why() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(3, "one"))]));
    world.pass(10_000);
    world.traps.insert(module("bad"));
    world.apply(app(&[("web", component(3, "bad"))]));
    world.pass(150_000);
    assert_eq!(world.was_told("rolled-back"), 1, "{:?}", world.told);
    assert_eq!((alive_of(&world, "one"), world.alive().len()), (3, 3));
    assert_eq!(world.status().version, 1);
    // And people can look at what it was, and go back to it on purpose.
    let application = "shop".to_owned();
    let history = world.ask(Ask::History { application }).unwrap();
    assert!(
        history[1]["note"].as_str().unwrap().starts_with("rolled back"),
        "{history}"
    );
}

#[test]
fn an_update_that_does_not_become_healthy_in_time_is_undone() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(3, "one"))]));
    world.pass(10_000);
    let mut slow = component(3, "slow");
    (slow.update.healthy_after_ms, slow.update.within_ms) = (10_000, 5_000);
    world.apply(app(&[("web", slow)]));
    world.pass(60_000);
    assert_eq!(
        (world.was_told("rolled-back"), alive_of(&world, "one")),
        (1, 3),
        "{:?}",
        world.told
    );
}

#[test]
fn counts_beyond_what_fits_are_no_failed_update() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("web", apart(2, "one"))]));
    world.pass(10_000);
    // (count, alive, unplaced)
    for (count, alive, unplaced) in [(5, 3, 1), (3, 3, 0), (1, 1, 0), (4, 3, 1)] {
        world.apply(app(&[("web", apart(count, "one"))]));
        world.pass(100_000);
        assert_eq!(
            (world.alive().len(), world.status().unplaced.len()),
            (alive, unplaced),
            "{count}"
        );
        assert_eq!(world.status().state, "running", "{count}: {:?}", world.told);
    }
    // With another making at once.
    world.apply(app(&[("web", apart(5, "two"))]));
    world.pass(100_000);
    assert_eq!(
        (alive_of(&world, "two"), world.was_told("rolled-back")),
        (3, 0),
        "{:?}",
        world.told
    );
}
