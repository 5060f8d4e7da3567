//! A token laid open for its operator: every check, what it wanted, what it found and what would pass.
//!
//! The same functions judge traffic and examinations; only who listens differs. Traffic stops at the first refusal
//! and writes nothing down.

use portcullis_model::{IssuerId, Origin, Principal, Reason};

/// What became of a token by the rules of one issuer, check by check in the order of traffic.
///
/// Nothing in it lets anybody use the token: neither its signature nor its text is kept. Values of single claims
/// are, so it is shown to whoever brought the token and never written to a log.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenExamination {
    /// The issuer by whose rules it was judged: the one that accepts it, or that it came furthest with. `None`
    /// when the token could be of no issuer that was asked.
    pub issuer: Option<IssuerId>,
    /// Where the scheme that names the issuer stands.
    pub by: Option<Origin>,
    /// Every check in order.
    pub checks: Vec<TokenCheck>,
    /// What traffic would have got: the principal, or the reason of the first check that failed.
    pub verdict: Result<Principal, Reason>,
}

impl TokenExamination {
    /// False when nothing speaks against the token and something that decides is not known here: a gateway that has
    /// it may accept the token.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.verdict.is_ok()
            || self
                .checks
                .iter()
                .any(|check| check.outcome == CheckOutcome::Failed)
    }
}

/// One check and what it saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenCheck {
    /// Which one.
    pub name: CheckName,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// What would pass, from the configuration.
    pub expected: String,
    /// What stood there, as far as it is no secret; empty where nothing was looked at.
    pub found: String,
    /// What to do about a failure.
    pub advice: Option<&'static str>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckOutcome {
    /// What was found would pass.
    Passed,
    /// It would not.
    Failed,
    /// It could not be asked, because of an earlier failure or because nothing asks for it.
    Skipped,
    /// What decides it was neither delivered nor asked for here; a running gateway may have it.
    NotKnown,
}

impl CheckOutcome {
    /// `passed`, `failed`, `skipped` or `not known here`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotKnown => "not known here",
        }
    }
}

/// The checks of a token, in the order in which they are asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CheckName {
    /// Size, three parts, base64url, strict JSON, no critical extension.
    Form,
    /// Whether an issuer of the route speaks for it: `iss`, or the trust domain of `sub`.
    Issuer,
    /// The `typ` of the header.
    Type,
    /// The `alg` of the header.
    Algorithm,
    /// Whether the issuer's keys are there and fresh enough.
    Keys,
    /// The `kid` of the header.
    Key,
    /// The signature.
    Signature,
    /// `sub`.
    Subject,
    /// `aud`.
    Audience,
    /// `exp`.
    Expiry,
    /// `nbf` and `iat`.
    Start,
    /// How long it is valid in all.
    Lifetime,
    /// A claim that the configuration requires.
    RequiredClaim,
    /// `jti` and `sid`, by which the deny list names tokens.
    Names,
    /// The claims that tenant, roles, region and scopes are read from.
    Attributes,
    /// The deny list.
    DenyList,
}

impl CheckName {
    /// The word that people and machines read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Issuer => "issuer",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::Keys => "keys",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Subject => "subject",
            Self::Audience => "audience",
            Self::Expiry => "expiry",
            Self::Start => "start",
            Self::Lifetime => "lifetime",
            Self::RequiredClaim => "required-claim",
            Self::Names => "names",
            Self::Attributes => "attributes",
            Self::DenyList => "deny-list",
        }
    }

    /// What to do when it fails.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Form => {
                "send the token as the issuer gave it: three base64url parts, no padding, no line break"
            }
            Self::Issuer => {
                "name the issuer as its tokens do, also a slash at its end, and use its scheme on the route"
            }
            Self::Type => "ask the issuer for an access token, or add the type to the issuer's `token_types`",
            Self::Algorithm => "let the issuer sign with one of these, or add the algorithm to `algorithms`",
            Self::Keys => {
                "look at `last_fault` of the issuer at the admin port: its key set cannot be fetched"
            }
            Self::Key => {
                "look whether the issuer publishes this key; a key it has withdrawn verifies nothing"
            }
            Self::Signature => "get a new token: this one was changed, or another key signed it",
            Self::Subject => "let the issuer write a subject of this form",
            Self::Audience => {
                "ask the issuer for a token for this audience, or add the token's to `audiences`"
            }
            Self::Expiry => "get a new token, and compare the clocks",
            Self::Start => "compare the clocks; `clock_skew` allows for a small difference",
            Self::Lifetime => "let the issuer give tokens for a shorter time, or raise `max_lifetime`",
            Self::RequiredClaim => "let the issuer write the claim, or change `require_claims`",
            Self::Names => "let the issuer write `jti` and `sid` as texts (RFC 7519 section 4.1.7)",
            Self::Attributes => "point `claims` at claims of these types",
            Self::DenyList => "take the entry off the deny list, if it is there by mistake",
        }
    }
}
