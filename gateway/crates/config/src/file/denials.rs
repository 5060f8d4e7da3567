//! The deny list: a file of its own, a list of entries.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::timestamp::parse_rfc3339;
use serde_json::{Value, json};

use super::scalars::FilePath;
use super::section::{Flaw, Scalar, section};

/// Longest reason: a sentence for a log line and a table.
const MAX_REASON: usize = 200;

section! {
    /// What takes back what was given: beyond the revocation lists of a `trust`.
    struct Revocation {
        /// A file that lists tokens, subjects, sessions, certificates and workloads to refuse. It is watched on its own: an entry holds within two seconds, whatever state the configuration is in.
        optional deny_list: FilePath,
    }
}

section! {
    /// An entry of the deny list: exactly one of `jti`, `sub`, `sid`, `serial` and `spiffe`.
    struct Denial {
        /// One token, by its `jti` claim.
        optional jti: AnyName,
        /// Every token of a subject, by the `sub` claim.
        optional sub: AnyName,
        /// Every token of a session, by the `sid` claim.
        optional sid: AnyName,
        /// A certificate by its serial number, in hex; colons, case and leading zeros do not matter.
        optional serial: AnyName,
        /// A workload by its SPIFFE ID; a last segment `*` stands for any one segment, `**` for one or more.
        optional spiffe: AnyName,
        /// With `jti`, `sub` or `sid`: only tokens of this issuer, by its name under `issuers`. Otherwise of every issuer.
        optional issuer: AnyName,
        /// With `serial`: only certificates under this trust, by its name under `trust`. Otherwise under every trust.
        optional trust: AnyName,
        /// When the entry ends, as in `2026-12-31T00:00:00Z`. Otherwise it never does.
        optional until: Moment,
        /// Why, in up to 200 characters; for operators, no client is told.
        optional reason: Remark,
    }
}

/// A name as somebody else chose it: any text but none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AnyName(pub(crate) String);

impl Scalar for AnyName {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if text.is_empty() {
            return Err(Flaw::new("bad-value", "the text is empty"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        String::schema()
    }
}

/// An instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment(pub(crate) SystemTime);

impl Scalar for Moment {
    const EXPECTED: &'static str = "a moment like 2026-12-31T00:00:00Z";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        parse_rfc3339(text).map(Self).ok_or_else(|| {
            Flaw::new("bad-value", format!("{text:?} is not a moment"))
                .with_hint("write one like 2026-12-31T00:00:00Z, with its zone")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "format": "date-time" })
    }
}

/// A sentence for people who operate the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Remark(pub(crate) Arc<str>);

impl Scalar for Remark {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let length = text.chars().count();
        if length > MAX_REASON {
            return Err(Flaw::new(
                "out-of-range",
                format!("the reason has {length} characters, and {MAX_REASON} are the most"),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(Flaw::new(
                "bad-value",
                "the reason holds a line break or another control character",
            ));
        }
        Ok(Self(Arc::from(text)))
    }

    fn schema() -> Value {
        json!({ "type": "string", "maxLength": MAX_REASON })
    }
}
