//! OIDC discovery: from an issuer to the address of its key set.

use std::net::IpAddr;

use http::Uri;
use serde_json::Value;

use super::strict_json;

/// Why a discovery document gives no key set.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DiscoveryFault {
    #[error("the discovery document is not JSON without duplicate members")]
    NotJson,
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
    #[error("the discovery document has no usable jwks_uri")]
    NoKeySet,
}

/// Where an issuer's discovery document is (OpenID Connect Discovery section 4).
pub(crate) fn document_url(issuer: &str) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    )
}

/// The key set's address, from a document that must name exactly this issuer.
pub(crate) fn key_set_url(issuer: &str, document: &[u8]) -> Result<String, DiscoveryFault> {
    let members = strict_json::parse_object(document).map_err(|_| DiscoveryFault::NotJson)?;
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(DiscoveryFault::OtherIssuer);
    }
    let url = members
        .get("jwks_uri")
        .and_then(Value::as_str)
        .ok_or(DiscoveryFault::NoKeySet)?;
    if is_protected(url) {
        Ok(url.to_owned())
    } else {
        Err(DiscoveryFault::NoKeySet)
    }
}

/// HTTPS, or plain HTTP that cannot leave this machine.
fn is_protected(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some("localhost")) => true,
        (Some("http"), Some(host)) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.example.com/";

    fn found(document: &str) -> Result<String, DiscoveryFault> {
        key_set_url(ISSUER, document.as_bytes())
    }

    #[test]
    fn the_document_of_the_issuer_names_the_key_set() {
        let document =
            r#"{"issuer":"https://login.example.com/","jwks_uri":"https://keys.example.com/jwks"}"#;

        assert_eq!(
            document_url(ISSUER),
            "https://login.example.com/.well-known/openid-configuration"
        );
        assert_eq!(found(document).unwrap(), "https://keys.example.com/jwks");
    }

    #[test]
    fn the_document_of_another_issuer_is_refused() {
        let document = r#"{"issuer":"https://login.example.com","jwks_uri":"https://keys.example.com/jwks"}"#;

        assert_eq!(found(document), Err(DiscoveryFault::OtherIssuer));
        assert_eq!(
            found(r#"{"jwks_uri":"https://x/"}"#),
            Err(DiscoveryFault::OtherIssuer)
        );
        assert_eq!(found("[]"), Err(DiscoveryFault::NotJson));
    }

    #[test]
    fn a_key_set_in_plaintext_is_accepted_on_loopback_only() {
        let at = |url: &str| found(&format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{url}"}}"#));

        assert!(at("http://127.0.0.1:9/jwks").is_ok());
        assert!(at("http://[::1]:9/jwks").is_ok());
        for url in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "file:///etc/passwd",
            "",
            "//x",
        ] {
            assert_eq!(at(url), Err(DiscoveryFault::NoKeySet), "{url}");
        }
    }
}
