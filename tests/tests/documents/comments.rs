//! Comments are as wide as code is.

use crate::{files, read, root};

/// `max_width` of rustfmt, which leaves comments alone.
const COLUMNS_MAX: usize = 110;
/// Their modules are committed as built, with the digest of every line.
const LEFT_OUT: [&str; 3] = ["guest", "languages", "samples"];

#[test]
fn no_comment_is_wider_than_code_may_be() {
    let mut wide = Vec::new();
    let mut comments = 0;
    let left_out = LEFT_OUT.map(|name| root().join(name));
    let all = files(&root(), "rs").into_iter();
    let all = all.filter(|path| !left_out.iter().any(|folder| path.starts_with(folder)));
    // What is made of schemas is as long as they are.
    for path in all.filter(|path| !path.components().any(|part| part.as_os_str() == "made")) {
        let text = read(&path);
        let mut is_figure = false;
        for (line, number) in text.lines().zip(1..) {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                is_figure = false;
                continue;
            };
            comments += 1;
            if comment.trim_start_matches(['/', '!', ' ']).starts_with("```") {
                is_figure = !is_figure;
            }
            if !is_figure && line.chars().count() > COLUMNS_MAX {
                wide.push(format!("{}:{number}", path.display()));
            }
        }
    }
    assert!(comments > 5_000, "only {comments} lines were read");
    assert!(wide.is_empty(), "wider than {COLUMNS_MAX} columns: {wide:#?}");
}
