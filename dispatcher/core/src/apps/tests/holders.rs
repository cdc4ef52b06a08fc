//! Applications that are there while somebody holds them.

use serde_json::Value;
use wayfare_fleet::app::ask::{Ask, HOLDERS_MAX, Holding, Lasts, LetGo};
use wayfare_protocol::error::Failure;

use super::super::{Effect, Input};
use super::world::{World, app, component};

fn acquire(world: &mut World, holder: &str, lasts: Lasts) -> Result<Holding, Failure> {
    let spec = app(&[("main", component(1, "main"))]);
    let holder = holder.to_owned();
    let answer = world.ask(Ask::Acquire { spec, holder, lasts });
    answer.map(|answer| serde_json::from_value(answer).unwrap())
}

fn renew(world: &mut World, holder: &str) -> Result<Holding, Failure> {
    let ask = Ask::Renew {
        application: "shop".into(),
        holder: holder.into(),
    };
    let answer = world.ask(ask);
    answer.map(|answer| serde_json::from_value(answer).unwrap())
}

/// The kind of a failure that is no other's.
fn kind<T: std::fmt::Debug>(refused: Result<T, Failure>) -> String {
    match refused.unwrap_err() {
        Failure::Unknown { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn let_go(world: &mut World, holder: &str) -> LetGo {
    let ask = Ask::LetGo {
        application: "shop".into(),
        holder: holder.into(),
    };
    serde_json::from_value(world.ask(ask).unwrap()).unwrap()
}

fn holders(world: &World) -> Option<u32> {
    let ask = Ask::Programs { from: None };
    let now = world.now();
    let (answer, _) = world.core().clone().ask(ask, None, now);
    let programs: Value = answer.expect("it is answered");
    let all = programs["programs"].as_object().unwrap().values();
    let held = all.filter_map(|one| one["holders"].as_u64()).next();
    held.map(|count| u32::try_from(count).unwrap())
}

/// As many seconds as a lease lasts, in which these are heard of.
fn pass_a_lease(world: &mut World, heard: &[&str]) {
    for _ in 0..4 {
        world.pass(9_000);
        for holder in heard {
            acquire(world, holder, Lasts::Lease).unwrap();
        }
    }
}

#[test]
fn what_is_acquired_runs_once_and_ends_with_the_last_who_holds_it() {
    let mut world = World::new(&["a", "b"]);
    let first = acquire(&mut world, "ann", Lasts::Lease).unwrap();
    assert_eq!((first.begun, first.holders), (true, vec!["ann".to_owned()]));
    world.pass(1_000);
    let second = acquire(&mut world, "bob", Lasts::UntilLetGo).unwrap();
    assert_eq!((second.begun, second.holders.len()), (false, 2));
    assert_eq!(
        acquire(&mut world, "bob", Lasts::UntilLetGo)
            .unwrap()
            .holders
            .len(),
        2,
        "again"
    );
    world.pass(1_000);
    assert_eq!((world.alive().len(), holders(&world)), (1, Some(2)));
    let still = let_go(&mut world, "ann");
    assert_eq!((still.changed, still.ends), (true, false));
    assert!(!let_go(&mut world, "ann").changed, "again");
    world.pass(60_000);
    assert_eq!(world.alive().len(), 1, "who holds until it lets go has no lease");
    assert!(let_go(&mut world, "bob").ends);
    world.pass(1_000);
    assert!(world.alive().is_empty() && world.records.is_empty());
    assert_eq!((world.was_told("acquired"), world.was_told("let-go")), (2, 2));
    assert!(let_go(&mut world, "bob").ends, "it is gone");
}

#[test]
fn a_lease_that_is_not_renewed_ends_and_begins_anew_with_who_acts_and_after_a_hold() {
    let mut world = World::new(&["a"]);
    for holder in ["ann", "bob"] {
        acquire(&mut world, holder, Lasts::Lease).unwrap();
    }
    pass_a_lease(&mut world, &["bob"]);
    assert_eq!((world.alive().len(), holders(&world)), (1, Some(1)));
    world.pass(20_000);
    world.succeed();
    world.pass(20_000);
    assert_eq!(holders(&world), Some(1), "its lease began anew");
    world
        .ask(Ask::Hold {
            for_ms: Some(60_000),
            reason: None,
        })
        .unwrap();
    assert!(acquire(&mut world, "bob", Lasts::Lease).is_err());
    world.pass(80_000);
    assert_eq!(holders(&world), Some(1), "and with the end of the hold");
    world.pass(20_000);
    assert!(world.alive().is_empty() && world.records.is_empty());
}

/// Whoever reads the clock before its messages takes nobody's silence for more than it is.
#[test]
fn no_lease_ends_because_the_dispatcher_was_behind_or_cut_off() {
    let mut world = World::new(&["a"]);
    for holder in ["ann", "bob"] {
        acquire(&mut world, holder, Lasts::Lease).unwrap();
    }
    world.pass(1_000);
    // It stood still, and looks at its clock first.
    world.now_ms += 40_000;
    world.feed(Input::Tick);
    for holder in ["ann", "bob"] {
        renew(&mut world, holder).unwrap();
    }
    world.pass(1_000);
    assert_eq!(holders(&world), Some(2));
    // It was cut off, and what they sent meanwhile is lost: they are heard of again in their own time.
    for _ in 0..100 {
        world.now_ms += 500;
        world.feed(Input::Tick);
    }
    let sent_ms = world.now_ms;
    world.feed(Input::Read { sent_ms });
    world.pass(10_000);
    assert_eq!(holders(&world), Some(2));
    for _ in 0..4 {
        renew(&mut world, "ann").unwrap();
        world.pass(10_000);
    }
    assert_eq!(
        holders(&world),
        Some(2),
        "as long as it was cut off is no silence"
    );
    for _ in 0..4 {
        renew(&mut world, "ann").unwrap();
        world.pass(10_000);
    }
    assert_eq!(
        holders(&world),
        Some(1),
        "and who is silent from then on does not hold it"
    );
}

#[test]
fn a_renewal_decides_nothing_and_begins_nothing() {
    let mut world = World::new(&["a"]);
    assert_eq!(kind(renew(&mut world, "ann")), "not-held");
    acquire(&mut world, "ann", Lasts::Lease).unwrap();
    world.pass(1_000);
    for _ in 0..6 {
        let ask = Ask::Renew {
            application: "shop".into(),
            holder: "ann".into(),
        };
        assert!(!ask.is_change(), "it is not planned for");
        let now = world.now();
        let (answer, effects) = world.core.ask(ask, None, now);
        assert!(!serde_json::from_value::<Holding>(answer.unwrap()).unwrap().begun);
        // That it holds it is stored, and not until when.
        assert!(effects.is_empty(), "{effects:?}");
        world.pass(10_000);
    }
    assert_eq!((world.alive().len(), holders(&world)), (1, Some(1)));
    assert_eq!(kind(renew(&mut world, "bob")), "not-held");
    // What people remove stays removed, whoever holds it.
    world
        .ask(Ask::Remove {
            application: "shop".into(),
        })
        .unwrap();
    world.pass(5_000);
    assert_eq!(kind(renew(&mut world, "ann")), "not-held");
    world.pass(5_000);
    assert!(world.alive().is_empty() && world.records.is_empty());
}

#[test]
fn one_that_is_being_removed_is_told_from_one_that_cannot_be_held() {
    let mut world = World::new(&["a"]);
    acquire(&mut world, "ann", Lasts::Lease).unwrap();
    world.pass(1_000);
    assert!(let_go(&mut world, "ann").ends);
    assert_eq!(kind(acquire(&mut world, "bob", Lasts::Lease)), "being-removed");
    world.pass(1_000);
    assert!(acquire(&mut world, "bob", Lasts::Lease).unwrap().begun);
}

/// Half of that would be an application that ends with nobody.
#[test]
fn an_application_is_stored_with_its_first_holder_in_one_record() {
    let mut world = World::new(&["a"]);
    let spec = app(&[("main", component(1, "main"))]);
    let now = world.now();
    let ask = Ask::Acquire {
        spec,
        holder: "ann".into(),
        lasts: Lasts::Lease,
    };
    let (answer, effects) = world.core.ask(ask, None, now);
    answer.unwrap();
    let records: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Store { key, json } if key == "app:shop" => json.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(
        records[0].contains("ann") && records[0].contains("ends_with_holders"),
        "{records:?}"
    );
}

#[test]
fn what_was_restarted_is_made_as_it_was() {
    let mut world = World::new(&["a"]);
    acquire(&mut world, "ann", Lasts::Lease).unwrap();
    world.pass(1_000);
    world
        .ask(Ask::Restart {
            application: "shop".into(),
            component: None,
        })
        .unwrap();
    world.pass(5_000);
    assert_eq!(acquire(&mut world, "bob", Lasts::Lease).unwrap().holders.len(), 2);
}

#[test]
fn how_long_a_holder_holds_is_what_it_said_last() {
    let mut world = World::new(&["a"]);
    acquire(&mut world, "ann", Lasts::Lease).unwrap();
    acquire(&mut world, "ann", Lasts::UntilLetGo).unwrap();
    world.succeed();
    world.pass(60_000);
    assert_eq!(holders(&world), Some(1));
}

#[test]
fn another_spec_is_refused_and_what_people_apply_ends_with_no_holder() {
    let mut world = World::new(&["a"]);
    acquire(&mut world, "ann", Lasts::Lease).unwrap();
    let mut other = component(1, "main");
    other.args = vec!["x".into()];
    let spec = app(&[("main", other)]);
    let refused = world.ask(Ask::Acquire {
        spec: spec.clone(),
        holder: "bob".into(),
        lasts: Lasts::Lease,
    });
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("made in another way") && refused.contains("arguments changed"),
        "{refused}"
    );
    assert_eq!(holders(&world), None, "nothing runs yet");
    world.apply(spec);
    world.pass(10_000);
    assert_eq!(holders(&world), Some(1));
    assert!(!let_go(&mut world, "ann").ends);
    world.pass(60_000);
    assert_eq!(world.alive().len(), 1);
}

#[test]
fn holders_are_bounded_and_have_names() {
    let mut world = World::new(&["a"]);
    for bad in ["", "a b", "a\"", &"x".repeat(129)] {
        assert!(acquire(&mut world, bad, Lasts::Lease).is_err(), "{bad}");
    }
    for number in 0..HOLDERS_MAX {
        acquire(&mut world, &format!("h{number}"), Lasts::Lease).unwrap();
    }
    assert!(acquire(&mut world, "more", Lasts::Lease).is_err());
    assert!(acquire(&mut world, "h0", Lasts::Lease).is_ok(), "again");
}
