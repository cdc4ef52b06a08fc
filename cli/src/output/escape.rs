//! Which characters of foreign text a terminal would obey or hide, and how they are shown instead.

/// Whether `character` steers a terminal, changes the order in which text is shown, or cannot be seen.
pub(super) fn is_unsafe(character: char) -> bool {
    match character {
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
        '\u{ad}' | '\u{61c}' | '\u{180e}' => true,
        // Zero-width space, and the marks of direction; what joins letters and emoji stays.
        '\u{200b}' | '\u{200e}' | '\u{200f}' => true,
        // Line and paragraph separators, embedding and overriding of direction.
        '\u{2028}'..='\u{202e}' => true,
        // Word joiner, invisible operators, isolates.
        '\u{2060}'..='\u{206f}' => true,
        // Byte order mark, interlinear annotation, tags.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

/// Adds `character` as Rust writes it: `\n`, `\u{1b}`.
pub(super) fn push_escaped(character: char, to: &mut String) {
    match character {
        '\t' | '\n' | '\r' => to.extend(character.escape_default()),
        _ => to.extend(character.escape_unicode()),
    }
}

/// `text` as one line in which everything can be seen and nothing is obeyed.
pub(super) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            push_escaped(character, &mut line);
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_obey_is_shown_and_other_text_is_left_alone() {
        for (text, shown) in [
            (
                "x\u{1b}]0;pwned\u{7}y\u{1b}[2J",
                "x\\u{1b}]0;pwned\\u{7}y\\u{1b}[2J",
            ),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("file\u{202e}gpj.exe\u{2066}", "file\\u{202e}gpj.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}\u{2028}", "a\\u{200b}b\\u{feff}\\u{2028}"),
            ("naïve – 東京 \\n 👩\u{200d}🚀", "naïve – 東京 \\n 👩\u{200d}🚀"),
        ] {
            assert_eq!(line(text), shown);
        }
    }
}
