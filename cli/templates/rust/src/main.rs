//! Counts, once a second. Move it while it runs: it goes on counting where it was.

use std::time::Duration;

fn main() {
    let limit: Option<u32> = std::env::args().nth(1).and_then(|text| text.parse().ok());
    for count in 1..=limit.unwrap_or(u32::MAX) {
        println!("hello {count}, from {}", wayfare_guest::engine_id());
        std::thread::sleep(Duration::from_secs(1));
    }
}
