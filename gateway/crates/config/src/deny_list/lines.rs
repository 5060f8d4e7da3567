//! The plain form of a deny list, in which programs write long ones, read line by line.
//!
//! ```yaml
//! - sub: alice
//!   reason: left the company
//! ```
//!
//! A million entries are read ten times faster so than by a whole YAML reader, which is what keeps a revocation in a
//! long list within its two seconds. Only what has one reading is read here; with the first line that is anything
//! else, or anything wrong, the whole file is the YAML reader's, whose problems have words and places. A property
//! test holds the two against each other.

use std::sync::Arc;

use portcullis_identity::deny::{DenyEntry, DenyKind, DenyName, DenySource};

use super::{MAX_DENY_ENTRIES, Shared};
use crate::file::denials::{Moment, Remark};
use crate::file::section::Scalar as _;

/// Where the keys of an entry stand.
const COLUMN: u32 = 3;

/// An entry while its lines are read.
struct Item<'a> {
    line: u32,
    name: Option<(DenyKind, &'a str)>,
    issuer: Option<&'a str>,
    trust: Option<&'a str>,
    until: Option<Moment>,
    reason: Option<Remark>,
}

/// Every entry, when the text has the plain form and nothing in it is wrong.
pub(super) fn read(text: &str, file: &Arc<str>) -> Option<Vec<DenyEntry>> {
    let mut shared = Shared::default();
    let mut entries = Vec::new();
    let mut item: Option<Item<'_>> = None;
    for (line, number) in text.split('\n').zip(1_u32..) {
        if line.is_empty() || line.trim_start_matches(' ').starts_with('#') {
            continue;
        }
        let pair = if let Some(first) = line.strip_prefix("- ") {
            if let Some(done) = item.replace(Item::at(number)) {
                entries.push(done.finish(file, &mut shared)?);
            }
            first
        } else {
            line.strip_prefix("  ")?
        };
        let (key, value) = pair.split_once(": ")?;
        item.as_mut()?.take(key, scalar(value)?)?;
    }
    entries.push(item?.finish(file, &mut shared)?);
    (entries.len() <= MAX_DENY_ENTRIES).then_some(entries)
}

impl<'a> Item<'a> {
    const fn at(line: u32) -> Self {
        Self {
            line,
            name: None,
            issuer: None,
            trust: None,
            until: None,
            reason: None,
        }
    }

    /// Takes a key that was not there yet; `None` for every other one.
    fn take(&mut self, key: &str, value: &'a str) -> Option<()> {
        match key {
            "issuer" => first(&mut self.issuer, value),
            "trust" => first(&mut self.trust, value),
            "until" => first(&mut self.until, Moment::parse(value, true).ok()?),
            "reason" => first(&mut self.reason, Remark::parse(value, true).ok()?),
            _ => {
                let kind = DenyKind::ALL.into_iter().find(|kind| kind.as_str() == key)?;
                first(&mut self.name, (kind, value))
            }
        }
    }

    fn finish(self, file: &Arc<str>, shared: &mut Shared) -> Option<DenyEntry> {
        let (kind, value) = self.name?;
        let within = match (kind, self.issuer, self.trust) {
            (_, None, None) => None,
            (DenyKind::Jti | DenyKind::Sub | DenyKind::Sid, Some(within), None)
            | (DenyKind::Serial, None, Some(within)) => Some(shared.text(within)),
            _ => return None,
        };
        Some(DenyEntry {
            name: DenyName::parse(kind, value, within).ok()?,
            until: self.until.map(|until| until.0),
            reason: self.reason.map(|reason| shared.text(&reason.0)),
            source: DenySource::File {
                file: Arc::clone(file),
                line: self.line,
                column: COLUMN,
            },
        })
    }
}

fn first<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// The text of a scalar on one line, when it has no other reading.
fn scalar(written: &str) -> Option<&str> {
    let quote = written.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    if let Some(quote) = quote {
        let inner = written.get(1..)?.strip_suffix(quote)?;
        let is_simple = |c: char| c != quote && c != '\\' && is_plain(c);
        return (!inner.is_empty() && inner.chars().all(is_simple)).then_some(inner);
    }
    let is_word = written
        .chars()
        .next()
        .is_some_and(|first| first.is_alphanumeric() || first == '/');
    let has_one_reading = written.chars().all(is_plain)
        && !written.contains(": ")
        && !written.contains(" #")
        && !written.ends_with([':', ' '])
        && written != "null";
    (is_word && has_one_reading).then_some(written)
}

/// Characters that mean themselves wherever they stand within a scalar.
fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric()
}
