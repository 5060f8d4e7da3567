//! What an entry names, and what a token has that can be named.

use std::fmt;
use std::sync::Arc;

use portcullis_model::{IssuerId, SpiffeId, TrustDomain};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Longest value of an entry: the longest SPIFFE ID there is.
const MAX_VALUE: usize = 2048;
/// Longest serial number: RFC 5280 section 4.1.2.2 allows 20 octets, and issuers that count wrong get some more.
const MAX_SERIAL: usize = 64;

/// What kind of name an entry holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DenyKind {
    /// One token, by its `jti` claim.
    Jti,
    /// Every token of a subject, by the `sub` claim.
    Sub,
    /// Every token of a session, by the `sid` claim.
    Sid,
    /// A certificate, by its serial number.
    Serial,
    /// A workload, or several, by SPIFFE ID.
    Spiffe,
}

impl DenyKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [Self::Jti, Self::Sub, Self::Sid, Self::Serial, Self::Spiffe];

    /// The word used in files, at the admin port, in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Sub => "sub",
            Self::Sid => "sid",
            Self::Serial => "serial",
            Self::Spiffe => "spiffe",
        }
    }
}

/// Why a text is not a name of its kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DenyNameFault {
    /// Nothing is named.
    #[error("is empty")]
    Empty,
    /// No credential could carry it.
    #[error("is longer than {MAX_VALUE} bytes")]
    TooLong,
    /// It holds a control character, which no log or terminal should be given.
    #[error("holds a control character")]
    Control,
    /// A serial number has other characters than hex digits and colons.
    #[error("is not a serial number in hex")]
    Serial,
    /// It is no SPIFFE ID.
    #[error("is not a SPIFFE ID")]
    NotSpiffe,
    /// A trust domain alone is no workload's ID.
    #[error("names a trust domain and no workload in it")]
    DomainAlone,
    /// A wildcard stands somewhere else than in the place of the last segment.
    #[error("has a wildcard that is not its whole last segment")]
    Wildcard,
    /// A SPIFFE ID says itself where it is from.
    #[error("is a SPIFFE ID, which holds everywhere")]
    Within,
}

/// What one entry names; the value is in its canonical spelling, so that equal names are equal texts.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DenyName {
    kind: DenyKind,
    value: Arc<str>,
    within: Option<Arc<str>>,
}

/// A canonical SPIFFE name taken apart for the index.
pub(super) struct SpiffeParts<'a> {
    /// The trust domain's name.
    pub(super) domain: &'a str,
    /// The path before a wildcard, or all of it; starts with a slash unless it is empty.
    pub(super) path: &'a str,
    /// What stands for workloads below the path.
    pub(super) wildcard: Wildcard,
}

/// What the last segment of a SPIFFE name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wildcard {
    /// Itself.
    None,
    /// `*`: one segment, whatever it is.
    One,
    /// `**`: one segment or more.
    Rest,
}

impl DenyName {
    /// Reads a name; `within` is the issuer (of a `jti`, `sub` or `sid`) or the trust (of a `serial`) by whose
    /// credentials alone it is meant.
    ///
    /// # Errors
    /// Says why the text names nothing of this kind.
    pub fn parse(kind: DenyKind, text: &str, within: Option<Arc<str>>) -> Result<Self, DenyNameFault> {
        if text.is_empty() {
            return Err(DenyNameFault::Empty);
        }
        if text.len() > MAX_VALUE {
            return Err(DenyNameFault::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(DenyNameFault::Control);
        }
        let value = match kind {
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid => Arc::from(text),
            DenyKind::Serial => Arc::from(canonical_serial(text)?),
            DenyKind::Spiffe if within.is_some() => return Err(DenyNameFault::Within),
            DenyKind::Spiffe => {
                check_spiffe(text)?;
                Arc::from(text)
            }
        };
        Ok(Self { kind, value, within })
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> DenyKind {
        self.kind
    }

    /// The value in its canonical spelling.
    #[must_use]
    pub const fn value(&self) -> &Arc<str> {
        &self.value
    }

    /// The issuer or trust it is meant within; `None`: all of them.
    #[must_use]
    pub const fn within(&self) -> Option<&Arc<str>> {
        self.within.as_ref()
    }

    /// A short id that follows from the name alone, so that naming the same thing twice is one entry.
    #[must_use]
    pub fn id(&self) -> String {
        let mut digest = Sha256::new();
        for part in [
            self.kind.as_str(),
            &self.value,
            self.within.as_deref().unwrap_or(""),
        ] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let digest = digest.finalize();
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A `spiffe` name taken apart; `None` for the other kinds.
    pub(super) fn spiffe_parts(&self) -> Option<SpiffeParts<'_>> {
        match self.kind {
            DenyKind::Spiffe => split_spiffe(&self.value),
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid | DenyKind::Serial => None,
        }
    }
}

/// `sub "alice" of corp`.
impl fmt::Display for DenyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind.as_str(), &*self.value)?;
        match &self.within {
            Some(within) => write!(f, " of {within}"),
            None => Ok(()),
        }
    }
}

/// What a verified token says of itself that an entry may name; kept with a remembered token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenNames {
    /// By which issuer, as the configuration calls it.
    pub issuer: IssuerId,
    /// The `jti` claim.
    pub jti: Option<Arc<str>>,
    /// The `sub` claim.
    pub sub: Option<Arc<str>>,
    /// The `sid` claim.
    pub sid: Option<Arc<str>>,
    /// The workload, when the token is a JWT-SVID.
    pub spiffe: Option<SpiffeId>,
}

impl TokenNames {
    /// The names in a token's claims. A number is taken by its digits: what an operator reads in a token and writes
    /// into the list must match, also where an issuer does not keep to RFC 7519 section 4.1.7.
    #[must_use]
    pub fn of(issuer: &IssuerId, claims: &Map<String, Value>) -> Self {
        let name = |claim: &str| match claims.get(claim) {
            Some(Value::String(text)) => Some(Arc::from(text.as_str())),
            Some(Value::Number(number)) => Some(Arc::from(number.to_string())),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        Self {
            issuer: issuer.clone(),
            jti: name("jti"),
            sub: name("sub"),
            sid: name("sid"),
            spiffe: None,
        }
    }
}

/// Lower-case hex without colons and leading zeros, as certificates are read.
fn canonical_serial(text: &str) -> Result<String, DenyNameFault> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let hex: String = digits
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if hex.is_empty() || hex.len() > MAX_SERIAL || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(DenyNameFault::Serial);
    }
    let trimmed = hex.trim_start_matches('0');
    Ok(if trimmed.is_empty() { "0" } else { trimmed }.to_owned())
}

fn split_spiffe(text: &str) -> Option<SpiffeParts<'_>> {
    let rest = text.strip_prefix("spiffe://")?;
    let (whole, wildcard) = if let Some(before) = rest.strip_suffix("/**") {
        (before, Wildcard::Rest)
    } else if let Some(before) = rest.strip_suffix("/*") {
        (before, Wildcard::One)
    } else {
        (rest, Wildcard::None)
    };
    let (domain, path) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
    Some(SpiffeParts {
        domain,
        path,
        wildcard,
    })
}

/// Only the spelling that a certificate's ID has after it was read can ever match, so nothing else is accepted.
fn check_spiffe(text: &str) -> Result<(), DenyNameFault> {
    let SpiffeParts {
        domain,
        path,
        wildcard,
    } = split_spiffe(text).ok_or(DenyNameFault::NotSpiffe)?;
    if domain.contains('*') || path.contains('*') {
        return Err(DenyNameFault::Wildcard);
    }
    let is_domain = TrustDomain::new(domain).is_ok_and(|parsed| parsed.as_str() == domain);
    if !is_domain {
        return Err(DenyNameFault::NotSpiffe);
    }
    if path.is_empty() {
        return match wildcard {
            Wildcard::None => Err(DenyNameFault::DomainAlone),
            Wildcard::One | Wildcard::Rest => Ok(()),
        };
    }
    let before = format!("spiffe://{domain}{path}");
    match SpiffeId::new(&before) {
        Ok(id) if id.to_string() == before => Ok(()),
        Ok(_) | Err(_) => Err(DenyNameFault::NotSpiffe),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(kind: DenyKind, text: &str) -> Result<String, DenyNameFault> {
        DenyName::parse(kind, text, None).map(|name| name.value().to_string())
    }

    #[test]
    fn a_serial_number_has_one_spelling() {
        for text in ["0a:1B:2c", "A1B2C", "0x0a1b2c", "00000a1b2c"] {
            assert_eq!(name(DenyKind::Serial, text).unwrap(), "a1b2c", "{text}");
        }
        assert_eq!(name(DenyKind::Serial, "00").unwrap(), "0");
        for text in ["xyz", ":", "0x", "-1", "12 34", &"f".repeat(65)] {
            assert_eq!(name(DenyKind::Serial, text), Err(DenyNameFault::Serial), "{text}");
        }
    }

    #[test]
    fn a_spiffe_name_is_an_id_or_ends_with_a_wildcard() {
        for text in [
            "spiffe://corp.example/api",
            "spiffe://corp.example/ns/*",
            "spiffe://corp.example/ns/**",
            "spiffe://corp.example/*",
            "spiffe://corp.example/**",
        ] {
            assert_eq!(name(DenyKind::Spiffe, text).unwrap(), text);
        }
        for (text, fault) in [
            ("https://corp.example/api", DenyNameFault::NotSpiffe),
            ("spiffe://Corp.example/api", DenyNameFault::NotSpiffe),
            ("SPIFFE://corp.example/api", DenyNameFault::NotSpiffe),
            ("spiffe://corp.example/a//b", DenyNameFault::NotSpiffe),
            ("spiffe://corp.example/../b", DenyNameFault::NotSpiffe),
            ("spiffe://corp.example/b/", DenyNameFault::NotSpiffe),
            ("spiffe:///api", DenyNameFault::NotSpiffe),
            ("spiffe://corp.example", DenyNameFault::DomainAlone),
            ("spiffe://*/api", DenyNameFault::Wildcard),
            ("spiffe://corp.example/*/api", DenyNameFault::Wildcard),
            ("spiffe://corp.example/api*", DenyNameFault::Wildcard),
            ("spiffe://corp.example/**/*", DenyNameFault::Wildcard),
        ] {
            assert_eq!(name(DenyKind::Spiffe, text), Err(fault), "{text}");
        }
    }

    #[test]
    fn what_no_credential_carries_is_no_name() {
        assert_eq!(name(DenyKind::Jti, ""), Err(DenyNameFault::Empty));
        assert_eq!(name(DenyKind::Sub, "a\nb"), Err(DenyNameFault::Control));
        assert_eq!(
            name(DenyKind::Sid, &"x".repeat(2049)),
            Err(DenyNameFault::TooLong)
        );
        assert!(name(DenyKind::Sid, &"x".repeat(2048)).is_ok());
        let within = Some(Arc::from("corp"));
        assert_eq!(
            DenyName::parse(DenyKind::Spiffe, "spiffe://corp.example/api", within),
            Err(DenyNameFault::Within)
        );
    }

    #[test]
    fn an_id_follows_from_the_whole_name() {
        let id = |kind, value, within: Option<&str>| {
            DenyName::parse(kind, value, within.map(Arc::from)).unwrap().id()
        };

        assert_eq!(id(DenyKind::Sub, "alice", None), id(DenyKind::Sub, "alice", None));
        assert_eq!(id(DenyKind::Serial, "0A", None), id(DenyKind::Serial, "a", None));
        assert_ne!(id(DenyKind::Sub, "alice", None), id(DenyKind::Sid, "alice", None));
        assert_ne!(
            id(DenyKind::Sub, "alice", None),
            id(DenyKind::Sub, "alice", Some("corp"))
        );
    }

    #[test]
    fn names_are_read_from_texts_and_numbers_alone() {
        let claims = json!({ "jti": 4711, "sub": "alice", "sid": ["s"] });

        let names = TokenNames::of(&IssuerId::new("corp"), claims.as_object().unwrap());

        assert_eq!(names.jti.as_deref(), Some("4711"));
        assert_eq!(names.sub.as_deref(), Some("alice"));
        assert_eq!(names.sid, None);
    }
}
