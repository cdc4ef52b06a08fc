//! What a program printed, or a file holds, on its way to a terminal: text and colours pass, and whatever
//! else would steer the terminal is shown instead. Pieces may be cut anywhere.

use std::borrow::Cow;

use super::escape;

/// Longest sequence that is taken for a colour: `ESC [ 38;2;255;255;255;48;2;255;255;255 m` has 38 bytes.
const COLOUR_BYTES_MAX: usize = 64;
const RESET: &[u8] = b"\x1b[0m";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything passes.
    Off,
    On,
}

#[derive(Debug)]
pub(crate) struct TerminalFilter {
    mode: Mode,
    /// The beginning of a character or of a colour whose end has not come.
    pending: Vec<u8>,
    is_coloured: bool,
}

impl TerminalFilter {
    /// For a terminal.
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::On,
            pending: Vec::new(),
            is_coloured: false,
        }
    }

    /// For pipes and files.
    pub(crate) fn off() -> Self {
        Self {
            mode: Mode::Off,
            ..Self::new()
        }
    }

    /// What to write for the next bytes.
    pub(crate) fn filtered<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.mode == Mode::Off {
            return Cow::Borrowed(bytes);
        }
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let mut out = String::with_capacity(input.len());
        let mut rest = input.as_slice();
        while let Some(taken) = self.step(rest, &mut out) {
            rest = &rest[taken..];
        }
        self.pending = rest.to_vec();
        Cow::Owned(out.into_bytes())
    }

    /// What to write at the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let cut = std::mem::take(&mut self.pending);
        let mut out: Vec<u8> = cut.escape_ascii().collect();
        if std::mem::take(&mut self.is_coloured) {
            out.extend_from_slice(RESET);
        }
        out
    }

    /// Takes one character, colour or bad byte, and says how long it was; `None` if there is not enough to
    /// tell.
    fn step(&mut self, rest: &[u8], out: &mut String) -> Option<usize> {
        match rest {
            [] => None,
            [0x1b, ..] => match colour(rest) {
                Sequence::Cut => None,
                Sequence::Colour(length) => {
                    let sequence = &rest[..length];
                    self.is_coloured = !matches!(sequence, b"\x1b[m" | b"\x1b[0m");
                    out.extend(sequence.iter().map(|byte| char::from(*byte)));
                    Some(length)
                }
                Sequence::Other => {
                    escape::push_escaped('\x1b', out);
                    Some(1)
                }
            },
            // Harmless before a newline, and otherwise it writes over what is there.
            [b'\r'] => None,
            [b'\r', b'\n', ..] => {
                out.push_str("\r\n");
                Some(2)
            }
            [byte @ (b'\n' | b'\t'), ..] => {
                out.push(char::from(*byte));
                Some(1)
            }
            _ => self.character(rest, out),
        }
    }

    fn character(&self, rest: &[u8], out: &mut String) -> Option<usize> {
        let first = &rest[..rest.len().min(4)];
        let valid = match std::str::from_utf8(first) {
            Ok(text) => text,
            Err(error) if error.valid_up_to() > 0 => {
                std::str::from_utf8(&first[..error.valid_up_to()]).expect("it is valid up to there")
            }
            Err(error) => {
                // `None`: the character is not complete.
                let length = error.error_len()?;
                for byte in &first[..length] {
                    out.push_str(&byte.escape_ascii().to_string());
                }
                return Some(length);
            }
        };
        let character = valid.chars().next()?;
        if escape::is_unsafe(character) {
            escape::push_escaped(character, out);
        } else {
            out.push(character);
        }
        Some(character.len_utf8())
    }
}

enum Sequence {
    /// A colour or another rendition (ECMA-48 SGR), of so many bytes.
    Colour(usize),
    /// It may become one.
    Cut,
    Other,
}

fn colour(sequence: &[u8]) -> Sequence {
    for (at, byte) in sequence.iter().take(COLOUR_BYTES_MAX).enumerate() {
        match (at, byte) {
            (0, _) | (1, b'[') => {}
            (2.., b'0'..=b'9' | b';' | b':') => {}
            (2.., b'm') => return Sequence::Colour(at + 1),
            _ => return Sequence::Other,
        }
    }
    if sequence.len() < COLOUR_BYTES_MAX {
        Sequence::Cut
    } else {
        Sequence::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut filter = TerminalFilter::new();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&filter.filtered(piece));
        }
        out.extend(filter.rest());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_and_colours_pass_and_nothing_else_steers() {
        for (text, out) in [
            (&b"plain\ttext\r\n"[..], "plain\ttext\r\n"),
            (b"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
            (b"\x1b[38;2;1;2;3mon\n", "\x1b[38;2;1;2;3mon\n\x1b[0m"),
            (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            (b"\x1b[2J\x1b[H\x1bc", "\\u{1b}[2J\\u{1b}[H\\u{1b}c"),
            (b"\x1b[?25l", "\\u{1b}[?25l"),
            (b"50 %\r100 %\n", "50 %\\r100 %\n"),
            ("é\u{9b}2J\u{202e}".as_bytes(), "é\\u{9b}2J\\u{202e}"),
            (b"\x9b31m\xff", "\\x9b31m\\xff"),
            (b"end\x1b[3", "end\\x1b[3"),
        ] {
            assert_eq!(shown(&[text]), out);
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(shown(&bytes), out, "the same in pieces");
        }
    }

    #[test]
    fn what_is_no_terminal_gets_every_byte() {
        let bytes = b"\x1b[2J\xff\r\x1b";
        let mut filter = TerminalFilter::off();
        assert_eq!(filter.filtered(bytes), &bytes[..]);
        assert!(filter.rest().is_empty());
    }
}
