//! factorial [n]: n! as a big number, by school multiplication.
//!
//! Its standard output depends on `n` alone. Every 500 ms it says on standard error how far it is.

use std::time::{Duration, Instant};

const USAGE: &str = "usage: factorial [n=100000]";
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// A digit of the big number holds nine decimal ones, least significant first.
const BASE: u64 = 1_000_000_000;

fn main() {
    let n = argument(1, 100_000u32);
    let product = factorial(n);
    let digits = decimal(&product);

    let zeros = digits.bytes().rev().take_while(|&digit| digit == b'0').count();
    let significant = &digits[..digits.len() - zeros];
    let first = &significant[..significant.len().min(20)];
    let last = &significant[significant.len().saturating_sub(20)..];
    println!("{n}! has {} digits, the last {zeros} of them zeros", digits.len());
    println!("it begins {first} and ends {last} before the zeros");
    println!(
        "sum of digits {}, checksum {:016x}",
        digit_sum(&digits),
        checksum(&digits)
    );
}

fn factorial(n: u32) -> Vec<u32> {
    let mut product = vec![1u32];
    let mut reported = Instant::now();
    for factor in 2..=n {
        multiply(&mut product, factor);
        if reported.elapsed() >= PROGRESS_EVERY {
            eprintln!("progress: {factor} of {n}, {} digits", product.len() * 9);
            reported = Instant::now();
        }
    }
    product
}

fn multiply(number: &mut Vec<u32>, factor: u32) {
    let mut carry = 0u64;
    for digit in number.iter_mut() {
        let product = u64::from(*digit) * u64::from(factor) + carry;
        *digit = (product % BASE) as u32;
        carry = product / BASE;
    }
    while carry > 0 {
        number.push((carry % BASE) as u32);
        carry /= BASE;
    }
}

fn decimal(number: &[u32]) -> String {
    let mut text = String::with_capacity(number.len() * 9);
    for (index, digit) in number.iter().rev().enumerate() {
        text += &if index == 0 {
            format!("{digit}")
        } else {
            format!("{digit:09}")
        };
    }
    text
}

fn digit_sum(digits: &str) -> u64 {
    digits.bytes().map(|digit| u64::from(digit - b'0')).sum()
}

/// FNV-1a, 64 bits wide, of the decimal digits as ASCII.
fn checksum(digits: &str) -> u64 {
    digits.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn argument(index: usize, default: u32) -> u32 {
    let Some(text) = std::env::args().nth(index) else {
        return default;
    };
    text.parse().unwrap_or_else(|error| {
        eprintln!("factorial: {text}: {error}\n{USAGE}");
        std::process::exit(2)
    })
}
