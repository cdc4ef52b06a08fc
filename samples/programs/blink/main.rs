//! Blinks an LED, wherever it runs: on and off, each for as long as it is told.
//!
//! `blink [period_ms=500] [times=0] [alias=led]`. `times` is how often the LED changes; 0: for ever. Prints each change with its number, so
//! that one can see that a move loses none of them.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use wayfare_guest::{self as wayfare, device};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |text| text.parse());
    let (Ok(period_ms), Ok(times)) = (number(0, 500), number(1, 0)) else {
        eprintln!("usage: blink [period_ms=500] [times=0] [alias=led]");
        return ExitCode::from(2);
    };
    let alias = args.get(2).map_or("led", String::as_str);
    match blink(alias, Duration::from_millis(period_ms), times) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blink: {error}");
            ExitCode::FAILURE
        }
    }
}

fn blink(alias: &str, period: Duration, times: u64) -> Result<(), wayfare::Error> {
    let mut change = 0;
    while times == 0 || change < times {
        change += 1;
        let lit = change % 2 == 1;
        device::gpio_write(alias, lit)?;
        println!("{change} {}", if lit { "on" } else { "off" });
        sleep(period);
    }
    Ok(())
}
