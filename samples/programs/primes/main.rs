//! primes [limit]: counts the primes up to `limit` by trial division.
//!
//! Two nested loops that never sleep, wait or yield, and print a line every 10,000 numbers.

const USAGE: &str = "usage: primes [limit=5000000]";

fn main() {
    let limit = argument(1, 5_000_000u64);
    let mut count = 0u64;
    let mut sum = 0u64;
    let mut checksum = 0u64;
    for candidate in 1..=limit {
        let mut divisor = 2;
        while divisor * divisor <= candidate && candidate % divisor != 0 {
            divisor += 1;
        }
        if candidate > 1 && divisor * divisor > candidate {
            count += 1;
            sum += candidate;
            checksum = checksum.rotate_left(5).wrapping_mul(31) ^ candidate;
        }
        if candidate % 10_000 == 0 {
            println!("up to {candidate}: {count} primes");
        }
    }
    println!("{count} primes up to {limit}, sum {sum}, checksum {checksum:016x}");
}

fn argument(index: usize, default: u64) -> u64 {
    let Some(text) = std::env::args().nth(index) else {
        return default;
    };
    text.parse().unwrap_or_else(|error| {
        eprintln!("primes: {text}: {error}\n{USAGE}");
        std::process::exit(2)
    })
}
