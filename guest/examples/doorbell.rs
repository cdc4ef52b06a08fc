//! Rings at most once a minute, however often somebody presses, and counts every press where it outlives the
//! program.
//!
//! ```text
//! cargo build -p wayfare-guest --example doorbell --target wasm32-wasip1
//! wayfare run target/wasm32-wasip1/debug/examples/doorbell.wasm --allow-sub door/button --allow-pub door/bell
//! mosquitto_pub -t door/button -m pressed
//! ```

use std::time::{Duration, Instant};

use wayfare_guest as wayfare;

const QUIET: Duration = Duration::from_secs(60);

fn main() -> Result<(), wayfare::Error> {
    wayfare::subscribe("door/button")?;
    let mut rung: Option<Instant> = None;
    loop {
        wayfare::receive()?;
        let presses = count()?;
        println!("pressed for the {presses}. time");
        // The clock stands still while the program is on its way to another engine.
        if rung.is_none_or(|at| at.elapsed() >= QUIET) {
            wayfare::publish("door/bell", "ring")?;
            rung = Some(Instant::now());
        }
    }
}

/// The program's own key: nobody has to grant it.
fn count() -> Result<u64, wayfare::Error> {
    let before = wayfare::state::get("presses")?;
    let before = before.and_then(|value| value.text()?.parse::<u64>().ok());
    let presses = before.unwrap_or(0) + 1;
    wayfare::state::set("presses", presses.to_string())?;
    Ok(presses)
}
