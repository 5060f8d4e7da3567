//! One JSON object on one line, written straight into bytes: a serialiser would cost more than the request's guards.

use std::fmt;

use smallvec::SmallVec;

/// A line under way: an ordinary one is on the stack as a whole.
pub(crate) struct JsonLine {
    bytes: SmallVec<[u8; 1024]>,
    /// Nothing stands yet at this place: what comes next needs no comma.
    is_first: bool,
}

impl JsonLine {
    /// An object without members.
    pub(crate) fn new() -> Self {
        let mut bytes = SmallVec::new();
        bytes.push(b'{');
        Self {
            bytes,
            is_first: true,
        }
    }

    /// The next member's name. Names are ours and need no escaping.
    fn name(&mut self, name: &'static str) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.raw(name);
        self.raw("\":");
    }

    /// A text, escaped.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.quoted(text);
    }

    /// A text or null.
    pub(crate) fn optional_text(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => {
                self.name(name);
                self.raw("null");
            }
        }
    }

    /// What something displays, escaped.
    pub(crate) fn shown(&mut self, name: &'static str, shown: &impl fmt::Display) {
        self.name(name);
        self.bytes.push(b'"');
        // Writing to memory does not fail.
        let _ = fmt::write(&mut Escaping(self), format_args!("{shown}"));
        self.bytes.push(b'"');
    }

    /// A number or null.
    pub(crate) fn number(&mut self, name: &'static str, number: Option<u64>) {
        self.name(name);
        match number {
            Some(number) => self.digits(number),
            None => self.raw("null"),
        }
    }

    /// Milliseconds with three decimals, or null: more is noise that costs bytes.
    pub(crate) fn milliseconds(&mut self, name: &'static str, duration: Option<std::time::Duration>) {
        self.name(name);
        let Some(duration) = duration else {
            self.raw("null");
            return;
        };
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.digits(micros / 1_000);
        let rest = micros % 1_000;
        self.bytes.push(b'.');
        for digit in [rest / 100, rest / 10 % 10, rest % 10] {
            self.bytes.push(b'0' + digit as u8);
        }
    }

    /// An array of objects; nothing at all when there are none.
    pub(crate) fn objects<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T),
    ) {
        if items.is_empty() {
            return;
        }
        self.name(name);
        self.bytes.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.bytes.push(b',');
            }
            self.bytes.push(b'{');
            self.is_first = true;
            write(self, item);
            self.is_first = false;
            self.bytes.push(b'}');
        }
        self.bytes.push(b']');
    }

    /// Ends the object and the line.
    pub(crate) fn finish(mut self) -> SmallVec<[u8; 1024]> {
        self.raw("}\n");
        self.bytes
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn digits(&mut self, number: u64) {
        let mut digits = [b'0'; 20];
        let mut rest = number;
        let mut len = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            len += 1;
            if rest == 0 {
                break;
            }
        }
        self.bytes
            .extend_from_slice(digits.get(20 - len..).unwrap_or_default());
    }

    fn quoted(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.escaped(text);
        self.bytes.push(b'"');
    }

    /// Control bytes, quotes and backslashes escaped (RFC 8259 section 7), and DEL, which terminals obey too.
    fn escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest
            .iter()
            .position(|byte| byte.is_ascii_control() || matches!(byte, b'"' | b'\\'))
        {
            let (plain, from) = rest.split_at(at);
            self.bytes.extend_from_slice(plain);
            let Some((byte, after)) = from.split_first() else {
                return;
            };
            match byte {
                b'"' | b'\\' => self.bytes.extend_from_slice(&[b'\\', *byte]),
                byte => {
                    let digit = |value: u8| {
                        if value < 10 {
                            b'0' + value
                        } else {
                            b'a' + value - 10
                        }
                    };
                    self.raw("\\u00");
                    self.bytes
                        .extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                }
            }
            rest = after;
        }
        self.bytes.extend_from_slice(rest);
    }
}

/// Escapes what is formatted into it.
struct Escaping<'a>(&'a mut JsonLine);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escaped(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parsed(line: JsonLine) -> serde_json::Value {
        serde_json::from_slice(&line.finish()).unwrap()
    }

    #[test]
    fn any_text_comes_back_as_it_was() {
        let texts = [
            "",
            "plain",
            "a\"b\\c",
            "\u{0}\n\r\t\u{1b}\u{7f}",
            "é日\u{2028}",
            "\"",
            "\\",
        ];
        for text in texts {
            let mut line = JsonLine::new();
            line.text("a", text);
            line.shown("b", &text);
            line.text("c", "end");

            assert_eq!(
                parsed(line),
                serde_json::json!({ "a": text, "b": text, "c": "end" }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn no_control_byte_is_left_and_the_line_ends_once() {
        let every: String = (0..=127_u8).map(char::from).collect();
        let mut line = JsonLine::new();
        line.text("a", &every);

        let bytes = line.finish();

        let (end, line) = bytes.split_last().unwrap();
        assert_eq!(*end, b'\n');
        assert!(line.iter().all(|byte| !byte.is_ascii_control()));
    }

    #[test]
    fn numbers_nulls_and_nested_objects_are_json() {
        let mut line = JsonLine::new();
        line.number("none", None);
        line.number("most", Some(u64::MAX));
        line.number("least", Some(0));
        line.milliseconds("short", Some(Duration::from_micros(7)));
        line.milliseconds("long", Some(Duration::from_micros(12_500)));
        line.milliseconds("never", None);
        line.optional_text("text", None);
        line.objects("none_of_them", &[] as &[u8], |_, _| ());
        line.objects("two", &["x", "y"], |line, item| {
            line.text("is", item);
            line.number("at", Some(1));
        });
        line.text("last", "1");

        assert_eq!(
            parsed(line),
            serde_json::json!({
                "none": null, "most": u64::MAX, "least": 0, "short": 0.007, "long": 12.5, "never": null, "text": null,
                "two": [{ "is": "x", "at": 1 }, { "is": "y", "at": 1 }], "last": "1",
            })
        );
    }
}
