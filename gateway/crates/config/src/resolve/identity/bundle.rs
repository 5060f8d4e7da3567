//! A SPIFFE bundle in a file: the authorities of one trust domain, for X.509-SVIDs and for JWT-SVIDs apart
//! (SPIFFE Trust Domain and Bundle, section 4).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

/// The authorities of one trust domain.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bundle {
    /// Those of X.509-SVIDs.
    pub(super) anchors: Vec<CertificateDer<'static>>,
    /// Those of JWT-SVIDs as a key set; `None` when there are none.
    pub(super) key_set: Option<Arc<str>>,
}

/// The key types of JWKs that exist; an element of another one is ignored, as the standard asks.
const KEY_TYPES: [&str; 3] = ["EC", "RSA", "OKP"];

impl Bundle {
    /// Reads a bundle. Elements of an unknown type or use are ignored; one that is broken breaks the bundle.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("it has no list `keys`, so it is no SPIFFE bundle")?;
        let mut bundle = Self::default();
        let mut jwt = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let member = |name: &str| key.get(name).and_then(Value::as_str);
            if !member("kty").is_some_and(|kty| KEY_TYPES.contains(&kty)) {
                continue;
            }
            match member("use") {
                Some("x509-svid") => bundle.anchors.push(certificate(key, index)?),
                Some("jwt-svid") if member("kid").is_some() => jwt.push(key),
                Some("jwt-svid") => {
                    return Err(format!("key {} is for JWT-SVIDs and has no `kid`", index + 1));
                }
                Some(_) | None => {}
            }
        }
        if !jwt.is_empty() {
            bundle.key_set = Some(Arc::from(json!({ "keys": jwt }).to_string()));
        }
        Ok(bundle)
    }
}

/// The one certificate of an X.509 authority (X509-SVID section 6.2.2).
fn certificate(key: &Value, index: usize) -> Result<CertificateDer<'static>, String> {
    let flaw = |what: &str| format!("key {} is for X.509-SVIDs, and {what}", index + 1);
    let chain = key.get("x5c").and_then(Value::as_array);
    let [Value::String(encoded)] = chain.map_or(&[][..], Vec::as_slice) else {
        return Err(flaw("its `x5c` is not exactly one certificate"));
    };
    STANDARD
        .decode(encoded)
        .map(CertificateDer::from)
        .map_err(|_| flaw("its `x5c` is not in Base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x509(der: &[u8]) -> Value {
        json!({ "kty": "EC", "use": "x509-svid", "crv": "P-256", "x": "x", "y": "y", "x5c": [STANDARD.encode(der)] })
    }

    fn jwt(kid: &str) -> Value {
        json!({ "kty": "EC", "use": "jwt-svid", "kid": kid, "crv": "P-256", "x": "x", "y": "y" })
    }

    fn parse(keys: &[Value]) -> Result<Bundle, String> {
        Bundle::parse(&json!({ "spiffe_sequence": 3, "spiffe_refresh_hint": 60, "keys": keys }).to_string())
    }

    #[test]
    fn authorities_are_told_apart_by_their_use() {
        let bundle = parse(&[x509(b"one"), jwt("a"), x509(b"two")]).unwrap();

        assert_eq!(
            bundle.anchors,
            [
                CertificateDer::from(b"one".to_vec()),
                CertificateDer::from(b"two".to_vec())
            ]
        );
        let set: Value = serde_json::from_str(&bundle.key_set.unwrap()).unwrap();
        assert_eq!(set, json!({ "keys": [jwt("a")] }));
    }

    #[test]
    fn elements_of_another_type_or_use_are_ignored() {
        let mut other_use = x509(b"one");
        other_use["use"] = json!("wit-svid");
        let mut upper_case = x509(b"two");
        upper_case["use"] = json!("X509-SVID");
        let mut other_type = x509(b"three");
        other_type["kty"] = json!("future");
        let mut no_use = jwt("a");
        no_use.as_object_mut().unwrap().remove("use");

        assert_eq!(
            parse(&[other_use, upper_case, other_type, no_use]),
            Ok(Bundle::default())
        );
    }

    #[test]
    fn an_authority_that_is_broken_breaks_the_bundle() {
        let mut two = x509(b"one");
        two["x5c"] = json!([STANDARD.encode(b"one"), STANDARD.encode(b"two")]);
        let mut none = x509(b"one");
        none["x5c"] = json!([]);
        let mut no_base64 = x509(b"one");
        no_base64["x5c"] = json!(["???"]);
        let mut no_kid = jwt("a");
        no_kid.as_object_mut().unwrap().remove("kid");

        for broken in [two, none, no_base64, no_kid] {
            assert!(parse(&[x509(b"good"), broken.clone()]).is_err(), "{broken}");
        }
        for text in ["", "[]", "{}", "{\"keys\":{}}", "-----BEGIN CERTIFICATE-----"] {
            assert!(Bundle::parse(text).is_err(), "{text}");
        }
    }
}
