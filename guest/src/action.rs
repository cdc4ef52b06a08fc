//! Actions that came later than the imports: the import `call` carries them, as lines of `/wayfare` have them.

use std::fmt::Write as _;

use crate::error::Error;
use crate::imports;

pub(crate) struct Action(String);

impl Action {
    pub(crate) fn new(name: &str) -> Self {
        Self(format!("{{\"do\":\"{name}\""))
    }

    pub(crate) fn text(mut self, name: &str, text: &str) -> Self {
        let _ = write!(self.0, ",\"{name}\":\"");
        for c in text.chars() {
            let _ = match c {
                '"' | '\\' => write!(self.0, "\\{c}"),
                c if (c as u32) < 0x20 => write!(self.0, "\\u{:04x}", c as u32),
                c => write!(self.0, "{c}"),
            };
        }
        self.0.push('"');
        self
    }

    pub(crate) fn maybe_text(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(crate) fn number(mut self, name: &str, number: u64) -> Self {
        let _ = write!(self.0, ",\"{name}\":{number}");
        self
    }

    pub(crate) fn flag(mut self, name: &str, flag: bool) -> Self {
        if flag {
            let _ = write!(self.0, ",\"{name}\":true");
        }
        self
    }

    /// The number of what was begun, or 0.
    pub(crate) fn perform(mut self, payload: &[u8]) -> Result<u64, Error> {
        self.0.push('}');
        imports::call(&self.0, "", payload, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_json_whatever_their_texts_are() {
        let action = Action::new("send")
            .text("address", "a\"\\\n\u{e9}")
            .maybe_text("type", None)
            .number("expires_ms", u64::MAX)
            .flag("receipt", true)
            .flag("other", false);
        let expected = "{\"do\":\"send\",\"address\":\"a\\\"\\\\\\u000a\u{e9}\",\"expires_ms\":18446744073709551615,\"receipt\":true";
        assert_eq!(action.0, expected);
    }
}
