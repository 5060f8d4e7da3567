//! A compact token taken apart: the only parser of token bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::{Reason, SpiffeId};
use serde_json::{Map, Value};

use super::strict_json;
use crate::mtls::parse_workload;

/// Largest token: twice what common servers accept as one field.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
/// Longest key id that is compared.
const MAX_KEY_ID: usize = 256;

/// Why a token proves nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TokenRefusal {
    /// What the client is told.
    pub(crate) reason: Reason,
    /// Which check failed, for the operator; never a value from the token.
    pub(crate) check: Cow<'static, str>,
}

impl TokenRefusal {
    pub(crate) fn new(reason: Reason, check: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            check: check.into(),
        }
    }

    /// Adds what would have passed.
    pub(crate) fn with_expected(&self, expected: &str) -> Self {
        Self::new(self.reason, format!("{}; what passes: {expected}", self.check))
    }

    /// What is answered should a check give neither an answer nor a refusal.
    pub(crate) fn unproven() -> Self {
        Self::new(Reason::TokenMalformed, "not every check gave an answer")
    }
}

/// A parsed token; nothing in it is proven.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// The `alg` member as it stands there.
    pub(crate) algorithm: String,
    /// The `kid` member.
    pub(crate) key_id: Option<String>,
    /// The `typ` member.
    pub(crate) typ: Option<String>,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
    /// What was signed.
    pub(crate) message: &'a str,
    /// The signature over it.
    pub(crate) signature: Vec<u8>,
}

/// A compact JWS taken apart, whatever it signs; nothing in it is proven.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    algorithm: String,
    key_id: Option<String>,
    typ: Option<String>,
    payload: Vec<u8>,
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes it apart.
    ///
    /// Of the header only `alg`, `kid`, `typ` and `crit` are read: `jwk`, `jku`, `x5c` and `x5u` let the sender choose the
    /// key and are never looked at (RFC 8725 section 3.10).
    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenRefusal> {
        if text.len() > MAX_TOKEN {
            return Err(malformed("the token is too large"));
        }
        let (message, signature) = text
            .rsplit_once('.')
            .ok_or_else(|| malformed("not three parts"))?;
        let (header, payload) = message
            .split_once('.')
            .ok_or_else(|| malformed("not three parts"))?;
        if payload.contains('.') {
            return Err(malformed("not three parts"));
        }
        let decode =
            |part: &str, name: &'static str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(name));
        let mut header = strict_json::parse_object(&decode(header, "the header is not base64url")?)
            .map_err(|_| malformed("the header is not strict JSON"))?;
        let payload = decode(payload, "the claims are not base64url")?;
        let signature = decode(signature, "the signature is not base64url")?;

        if header.contains_key("crit") {
            return Err(malformed(
                "the header has critical extensions, of which we know none",
            ));
        }
        let Some(Value::String(algorithm)) = header.remove("alg") else {
            return Err(malformed("the header has no alg"));
        };
        let key_id = match header.remove("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id),
            Some(_) => return Err(malformed("kid is not a short string")),
        };
        let typ = match header.remove("typ") {
            None => None,
            Some(Value::String(typ)) => Some(typ),
            Some(_) => return Err(malformed("typ is not a string")),
        };
        Ok(Self {
            algorithm,
            key_id,
            typ,
            payload,
            message,
            signature,
        })
    }

    /// The token that it is when it signs these claims.
    pub(crate) fn with_claims(self, claims: Map<String, Value>) -> Token<'a> {
        Token {
            algorithm: self.algorithm,
            key_id: self.key_id,
            typ: self.typ,
            claims,
            message: self.message,
            signature: self.signature,
        }
    }
}

impl<'a> Token<'a> {
    /// Takes a compact JWS apart that signs claims.
    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenRefusal> {
        let signed = Jws::parse(text)?;
        let claims = strict_json::parse_object(&signed.payload)
            .map_err(|_| malformed("the claims are not strict JSON"))?;
        Ok(signed.with_claims(claims))
    }

    /// The unverified issuer: good for choosing whom to ask, for nothing else.
    pub(crate) fn unverified_issuer(&self) -> Result<&str, TokenRefusal> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenRefusal::new(Reason::TokenClaims, "iss is not a string")),
            None => Err(TokenRefusal::new(Reason::TokenClaims, "iss is missing")),
        }
    }

    /// The unverified workload that a JWT-SVID speaks of: good for the same, and for nothing else.
    pub(crate) fn unverified_workload(&self) -> Option<SpiffeId> {
        parse_workload(self.claims.get("sub")?.as_str()?).ok()
    }
}

fn malformed(check: &'static str) -> TokenRefusal {
    TokenRefusal::new(Reason::TokenMalformed, check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    fn refusal(text: &str) -> TokenRefusal {
        Token::parse(text).unwrap_err()
    }

    #[test]
    fn a_compact_token_is_taken_apart() {
        let text = token(r#"{"alg":"RS256","kid":"a"}"#, r#"{"iss":"x"}"#);

        let parsed = Token::parse(&text).unwrap();

        assert_eq!(parsed.algorithm, "RS256");
        assert_eq!(parsed.key_id.as_deref(), Some("a"));
        assert_eq!(parsed.unverified_issuer().unwrap(), "x");
        assert_eq!(parsed.signature, b"sig");
        assert_eq!(format!("{}.c2ln", parsed.message), text);
    }

    #[test]
    fn members_that_choose_a_key_are_not_read() {
        let text = token(
            r#"{"alg":"RS256","jku":"https://evil","jwk":{"kty":"oct"},"x5u":3}"#,
            "{}",
        );

        assert!(Token::parse(&text).is_ok());
    }

    #[test]
    fn another_number_of_parts_is_refused() {
        for text in [
            "",
            "a",
            "a.b",
            "e30.e30",
            "e30.e30.e30.e30",
            "e30.e30.e30.e30.e30",
            "..",
            "....",
        ] {
            assert_eq!(refusal(text).reason, Reason::TokenMalformed, "{text}");
        }
    }

    #[test]
    fn padding_and_the_other_alphabet_are_refused() {
        assert_eq!(refusal("e30=.e30.c2ln").reason, Reason::TokenMalformed);
        assert_eq!(refusal("e30.e30.c2l+").reason, Reason::TokenMalformed);
        assert_eq!(refusal("e30.e30.c2lu\n").reason, Reason::TokenMalformed);
    }

    #[test]
    fn a_critical_extension_is_refused() {
        let text = token(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, "{}");

        assert!(refusal(&text).check.contains("critical"));
        assert!(
            refusal(&token(r#"{"alg":"RS256","crit":[]}"#, "{}"))
                .check
                .contains("critical")
        );
    }

    #[test]
    fn duplicate_members_are_refused_in_header_and_claims() {
        assert!(Token::parse(&token(r#"{"alg":"RS256","alg":"none"}"#, "{}")).is_err());
        assert!(Token::parse(&token(r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#)).is_err());
    }

    #[test]
    fn a_header_without_a_usable_alg_or_kid_is_refused() {
        for header in [
            "{}",
            r#"{"alg":1}"#,
            r#"{"alg":null}"#,
            r#"{"alg":"RS256","kid":7}"#,
        ] {
            assert_eq!(
                refusal(&token(header, "{}")).reason,
                Reason::TokenMalformed,
                "{header}"
            );
        }
    }

    #[test]
    fn a_token_over_the_bound_is_refused() {
        let text = token(
            r#"{"alg":"RS256"}"#,
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN)),
        );

        assert!(refusal(&text).check.contains("large"));
    }

    #[test]
    fn an_issuer_of_another_type_is_refused() {
        let text = token(r#"{"alg":"RS256"}"#, r#"{"iss":["x"]}"#);

        assert_eq!(
            Token::parse(&text)
                .unwrap()
                .unverified_issuer()
                .unwrap_err()
                .reason,
            Reason::TokenClaims
        );
    }
}
