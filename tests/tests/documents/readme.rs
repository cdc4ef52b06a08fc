//! README is the first page that a newcomer reads: short, and with two commands that work.

use crate::{read, root};

const BYTES_MAX: usize = 6 * 1024;

#[test]
fn readme_is_short_and_has_the_two_commands() {
    let text = read(&root().join("README.md"));
    assert!(
        text.len() <= BYTES_MAX,
        "README.md has {} bytes, the limit is {BYTES_MAX}: details belong into book/",
        text.len()
    );
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(text.contains(command), "README.md lacks the command '{command}'");
    }
}
