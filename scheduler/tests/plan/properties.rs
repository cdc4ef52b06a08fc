//! What holds of every plan, whatever the fleet, the applications and the policy.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wayfare_scheduler::fleet::{Presence, Running};
use wayfare_scheduler::plan;
use wayfare_scheduler::plan::{Action, MoveReason, Options, Plan};
use wayfare_scheduler::policy::Policy;
use wayfare_scheduler::state::State;

use crate::cases::{Case, any_case, fresh_case};
use crate::world::World;

const SEED: u64 = 0x5eed;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A small cost, so that there is something to rebalance.
fn any_options() -> impl Strategy<Value = Options> {
    (prop::sample::select(&Policy::ALL[..]), 0..4_u64).prop_map(|(policy, cost)| {
        let unit = match policy {
            Policy::MostFreeMemory => 32 << 20,
            Policy::LeastCpu => 100,
            _ => 1,
        };
        Options {
            policy,
            move_cost: cost * unit,
        }
    })
}

fn plan_of(case: &Case, options: Options) -> Plan {
    plan(&case.fleet, &case.applications, options)
}

fn moves(plan: &Plan) -> usize {
    let moves = plan.actions.iter();
    moves
        .filter(|action| matches!(action, Action::Move { .. }))
        .count()
}

/// What a state cannot know before it is told.
fn without_seen(mut plan: Plan) -> Plan {
    for action in &mut plan.actions {
        match action {
            Action::Run { .. } => {}
            Action::Restart { seen, .. } | Action::Move { seen, .. } | Action::Kill { seen, .. } => {
                *seen = None
            }
        }
    }
    plan
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_constraint_is_broken_and_nothing_placed_twice(case in any_case(), options in any_options()) {
        let plan = plan_of(&case, options);
        let mut world = World::new(&case.fleet, &case.applications);
        world.carry_out(&plan);
        world.check_wanted(&plan);
        world.check_constraints(&plan);
    }

    #[test]
    fn what_is_placed_from_nothing_is_spread(case in fresh_case(), options in any_options()) {
        let plan = plan_of(&case, options);
        let mut world = World::new(&case.fleet, &case.applications);
        world.carry_out(&plan);
        world.check_constraints(&plan);
        world.check_spread();
        prop_assert_eq!(moves(&plan), 0);
    }

    #[test]
    fn a_plan_carried_out_and_planned_again_is_empty(case in any_case(), options in any_options()) {
        let first = plan_of(&case, options);
        let mut world = World::new(&case.fleet, &case.applications);
        world.carry_out(&first);
        let again = plan(&world.fleet, &case.applications, options);
        prop_assert_eq!(&again.actions, &[]);
        prop_assert_eq!(again.unplaced, first.unplaced);
    }

    #[test]
    fn the_order_of_what_is_given_does_not_matter(case in any_case(), options in any_options()) {
        let mut reversed = case.clone();
        reversed.fleet.running.reverse();
        prop_assert_eq!(plan_of(&reversed, options), plan_of(&case, options));
    }

    #[test]
    fn least_moves_moves_no_more_than_any_other(case in any_case(), options in any_options()) {
        let least = plan_of(&case, Options::new(Policy::LeastMoves));
        for action in &least.actions {
            let for_balance = matches!(action, Action::Move { why: MoveReason::Rebalance { .. }, .. });
            prop_assert!(!for_balance);
        }
        // Where one finds room for more than the other, they do not do the same thing.
        let other = plan_of(&case, options);
        if least.unplaced.is_empty() && other.unplaced.is_empty() {
            prop_assert!(moves(&least) <= moves(&other));
        }
    }

    #[test]
    fn a_move_for_balance_gains_more_than_it_costs(case in any_case(), options in any_options()) {
        for action in plan_of(&case, options).actions {
            if let Action::Move { why: MoveReason::Rebalance { gain }, .. } = action {
                prop_assert!(gain > options.move_cost);
            }
        }
    }

    #[test]
    fn a_state_plans_what_a_new_one_would(
        case in any_case(),
        options in any_options(),
        engine in any::<prop::sample::Index>(),
        presence in prop::sample::select(&[Presence::Lost, Presence::Draining, Presence::Cordoned][..]),
    ) {
        prop_assume!(!case.fleet.engines.is_empty());
        let name = engine.get(&case.fleet.engines.keys().collect::<Vec<_>>()).to_owned().clone();
        let was = case.fleet.engines[&name].presence;
        prop_assume!(was != Presence::Lost);
        // Of several copies only the one that is kept is known to a state.
        let mut case = case;
        let engines = &case.fleet.engines;
        let reached = |one: &Running| engines.get(&one.engine).is_some_and(|engine| engine.presence != Presence::Lost);
        case.fleet.running.retain(reached);
        let mut state = State::new(&case.fleet, &case.applications, options);
        let mut world = World::new(&case.fleet, &case.applications);
        world.carry_out(&state.plan());
        state.set_presence(&name, presence).unwrap();
        world.fleet.engines.get_mut(&name).unwrap().presence = presence;
        let fresh = plan(&world.fleet, &case.applications, options);
        prop_assert_eq!(without_seen(state.plan()), without_seen(fresh));
    }
}
