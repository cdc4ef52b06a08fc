//! Wayfare end to end: engines as processes, a real broker, and everything that can be expected to go wrong.
//!
//! One test binary, so that the fleets of all tests share one limit on how many run at a time.

use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Setup;

mod moving;
mod restarts;
mod snapshots;

mod clients;
mod commands;

mod applications;
mod bad_input;
mod board_life;
mod boards;
mod calls;
mod chaos;
mod devices;
mod every_end;
mod faults;
mod fleet_files;
mod histories;
mod http;
mod identity;
mod in_doubt;
mod limits;
mod lists;
mod lives;
mod losses;
mod messages;
mod numbers;
mod orders;
mod overload;
mod pipeline;
mod presence;
mod requirements;
mod room;
mod runs_and_spawns;
mod stolen_login;
mod streams;
mod tiers;
mod together;
mod updates;
mod values;

/// A fleet to be set up on a broker of this kind.
fn fleet(broker: Kind) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_wayfare-test-engine"), broker)
}
