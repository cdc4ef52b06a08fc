//! wordfreq [top] [line_ms]: counts the words of the text on standard input, and prints the most frequent.
//!
//! A word is a run of letters, with apostrophes inside it, in lower case; bytes beyond ASCII count as letters.
//! `line_ms` is a pause after each line, for those who want to watch it read.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::thread;
use std::time::Duration;

const USAGE: &str = "usage: wordfreq [top=20] [line_ms=0] < text";

#[derive(Default)]
struct Tally {
    lines: u64,
    bytes: u64,
    words: u64,
    counts: HashMap<Vec<u8>, u64>,
}

impl Tally {
    fn add_line(&mut self, line: &[u8]) {
        self.lines += 1;
        self.bytes += line.len() as u64;
        for run in line.split(|&byte| !(is_letter(byte) || byte == b'\'')) {
            let word = trim_apostrophes(run);
            if !word.is_empty() {
                self.words += 1;
                *self.counts.entry(word.to_ascii_lowercase()).or_default() += 1;
            }
        }
    }

    /// The most frequent first, words of equal frequency by alphabet.
    fn ranked(&self) -> Vec<(&[u8], u64)> {
        let mut ranked: Vec<_> = self
            .counts
            .iter()
            .map(|(word, &count)| (word.as_slice(), count))
            .collect();
        ranked.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
        ranked
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || !byte.is_ascii()
}

fn trim_apostrophes(mut word: &[u8]) -> &[u8] {
    while let [b'\'', rest @ ..] = word {
        word = rest;
    }
    while let [rest @ .., b'\''] = word {
        word = rest;
    }
    word
}

fn main() -> io::Result<()> {
    let top = argument(1, 20);
    let pause = Duration::from_millis(argument(2, 0));
    let mut tally = Tally::default();
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        tally.add_line(&line);
        line.clear();
        if tally.lines % 1000 == 0 {
            println!("{} lines, {} words", tally.lines, tally.words);
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }

    let ranked = tally.ranked();
    for (word, count) in ranked.iter().take(top as usize) {
        println!("{count:7} {}", String::from_utf8_lossy(word));
    }
    let Tally {
        lines, bytes, words, ..
    } = tally;
    println!(
        "{lines} lines, {words} words, {} of them different, {bytes} bytes",
        ranked.len()
    );
    Ok(())
}

fn argument(index: usize, default: u64) -> u64 {
    let Some(text) = std::env::args().nth(index) else {
        return default;
    };
    text.parse().unwrap_or_else(|error| {
        eprintln!("wordfreq: {text}: {error}\n{USAGE}");
        std::process::exit(2)
    })
}
