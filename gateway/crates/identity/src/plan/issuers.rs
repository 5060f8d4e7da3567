//! Token issuers: whose tokens are believed, by which keys, and what a token must say.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{IssuerId, Origin, TrustDomain};
use serde_json::Value;

/// A token issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerPlan {
    /// Its name.
    pub id: IssuerId,
    /// Where it is written.
    pub origin: Origin,
    /// How its tokens name it.
    pub kind: IssuerKind,
    /// Where its keys come from.
    pub keys: KeySource,
    /// When its keys are fetched, and for how long they are used.
    pub key_times: KeyTimes,
    /// A token must name at least one of these in `aud`; never empty.
    pub audiences: Vec<Arc<str>>,
    /// The only algorithms accepted; never inferred from the token.
    pub algorithms: Vec<Algorithm>,
    /// The only types accepted (RFC 8725 section 3.11).
    pub token_types: TokenTypes,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// A token that is valid for longer is refused.
    pub max_lifetime: Duration,
    /// What else a token must say.
    pub required: Vec<RequiredClaim>,
    /// Where principal fields are read from.
    pub claims: ClaimPaths,
}

/// How the tokens of an issuer name it, and what they prove.
#[derive(Clone, Debug, PartialEq)]
pub enum IssuerKind {
    /// By exactly this `iss` claim; a token proves a user or client.
    Url(Arc<str>),
    /// JWT-SVIDs: by the trust domain of `sub`; a token proves a workload. They name no issuer.
    Spiffe(TrustDomain),
}

impl IssuerKind {
    /// The `iss` claim, or the trust domain as a SPIFFE ID.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Url(issuer) => Arc::clone(issuer),
            Self::Spiffe(domain) => Arc::from(domain.id_string()),
        }
    }
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A JWKS that was read from a file.
    Document(Arc<str>),
    /// A JWKS to fetch.
    Url(Arc<str>),
    /// `<issuer>/.well-known/openid-configuration`, then its `jwks_uri`.
    Discovery,
    /// The JWT authorities that a SPIFFE Workload API delivers for a trust domain.
    WorkloadApi(TrustDomain),
}

/// When the keys of an issuer are fetched, and for how long they are used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyTimes {
    /// Age at which they are fetched again.
    pub refresh: Duration,
    /// Age at which they may no longer be used; not below `refresh`.
    pub stale: Duration,
    /// Least time between fetches that requests ask for: unknown key ids are free to invent.
    pub cooldown: Duration,
}

impl Default for KeyTimes {
    /// A withdrawn key stops within minutes, an issuer may be down for an hour, and a flood of invented keys costs
    /// it a fetch every ten seconds.
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5 * 60),
            stale: Duration::from_secs(60 * 60),
            cooldown: Duration::from_secs(10),
        }
    }
}

/// A signature algorithm that an issuer may be allowed to use (RFC 7518, RFC 8037); no symmetric one exists here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// What an issuer accepts when the operator names none.
    pub const DEFAULT: &'static [Self] = &[Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];
    /// What a JWT-SVID may be signed with (JWT-SVID section 2.1), as far as we know it.
    pub const JWT_SVID: &'static [Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
    ];
    /// Every algorithm there is.
    pub const ALL: &'static [Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// The types that a token may say it is of, in `typ`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenTypes {
    /// Whether a token may say nothing.
    pub absent: bool,
    /// In lower case and without `application/`, as [`TokenTypes::canonical`] gives them.
    pub named: Vec<Arc<str>>,
}

impl TokenTypes {
    /// What an issuer's tokens may be when the operator says nothing: access tokens (RFC 9068), and what most
    /// issuers still call them. An ID token, a logout token or a proof of possession with a type of its own is none.
    #[must_use]
    pub fn access_tokens() -> Self {
        Self {
            absent: true,
            named: vec![Arc::from("jwt"), Arc::from("at+jwt")],
        }
    }

    /// What a JWT-SVID may be (JWT-SVID section 2.3).
    #[must_use]
    pub fn jwt_svids() -> Self {
        Self {
            absent: true,
            named: vec![Arc::from("jwt"), Arc::from("jose")],
        }
    }

    /// A media type as it is compared: case does not count, and `application/` may be left out where no other slash
    /// follows (RFC 7515 section 4.1.9).
    #[must_use]
    pub fn canonical(written: &str) -> String {
        let lower = written.to_ascii_lowercase();
        match lower.strip_prefix("application/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            Some(_) | None => lower,
        }
    }

    /// Whether a token may say this.
    #[must_use]
    pub fn accepts(&self, written: Option<&str>) -> bool {
        match written {
            None => self.absent,
            Some(written) => {
                let canonical = Self::canonical(written);
                self.named.iter().any(|named| **named == *canonical)
            }
        }
    }
}

/// Something that a token must say.
#[derive(Clone, Debug, PartialEq)]
pub struct RequiredClaim {
    /// Where.
    pub path: ClaimPath,
    /// What.
    pub wanted: Wanted,
}

/// What a required claim must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Anything but nothing and `null`.
    Present,
    /// One of these texts, numbers or truth values, or a list that holds one of them; never empty.
    OneOf(Vec<Value>),
}

/// A path of object keys into the claims, as in `realm_access.roles`.
pub type ClaimPath = Vec<Arc<str>>;

/// Where principal fields are read from; `None` leaves the field empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClaimPaths {
    /// The tenant; a string.
    pub tenant: Option<ClaimPath>,
    /// The roles; a string or an array of strings.
    pub roles: Option<ClaimPath>,
    /// The region or jurisdiction; a string.
    pub region: Option<ClaimPath>,
    /// The scopes; a space-separated string or an array. `None`: `scope`, then `scp`.
    pub scopes: Option<ClaimPath>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515 section 4.1.9, RFC 9068 section 4, RFC 8725 section 3.11.
    #[test]
    fn a_type_is_compared_without_case_and_without_application() {
        let types = TokenTypes::access_tokens();

        for typ in [
            "JWT",
            "jwt",
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/JWT",
        ] {
            assert!(types.accepts(Some(typ)), "{typ}");
        }
        assert!(types.accepts(None));
        for typ in [
            "",
            "none",
            "JOSE",
            "logout+jwt",
            "dpop+jwt",
            "secevent+jwt",
            "application/application/jwt",
            "text/at+jwt",
            "at+jwt ",
            "application/",
        ] {
            assert!(!types.accepts(Some(typ)), "{typ}");
        }
    }

    #[test]
    fn an_issuer_that_asks_for_a_type_takes_no_token_without_one() {
        let types = TokenTypes {
            absent: false,
            named: vec!["at+jwt".into()],
        };

        assert!(types.accepts(Some("application/at+jwt")));
        assert!(!types.accepts(None));
        assert!(!types.accepts(Some("JWT")));
    }
}
