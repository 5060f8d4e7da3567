//! What holds for any bytes. The fuzz targets include this file and call the same functions.

use portcullis_identity::PeerIdentity;
use portcullis_model::{Identity, Principal, SpiffeId};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::house;

/// Largest token that may pass.
const MAX_TOKEN: usize = 16 * 1024;
/// Most keys of a set.
const MAX_KEYS: usize = 256;

/// What a client may present: a header, a line break and claims, which are signed by the issuer's key; without a line
/// break a whole token, which nobody has signed. Gives the principal of a signed one that passes.
pub(crate) fn token(bytes: &[u8]) -> Option<Principal> {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        if let Some(verdict) = house::ask(house::authenticator(), bytes) {
            assert!(verdict.is_err(), "nobody signed this token");
        }
        return None;
    };
    let (header, claims) = (&bytes[..at], &bytes[at + 1..]);
    let token = house::sign(header, claims);
    let first = house::ask(house::authenticator(), &token)?;
    let again = house::ask(house::authenticator(), &token)?;
    assert_eq!(
        first.as_ref().map_err(|rejection| rejection.reason),
        again.as_ref().map_err(|rejection| rejection.reason),
        "a remembered verdict is the same verdict"
    );
    let principal = first.ok()?;
    assert!(token.len() <= MAX_TOKEN);
    assert_header(header);
    assert_claims(claims, &principal);
    Some(principal)
}

/// Another reader finds the algorithm of the key, and nothing that would ask for more than we know.
fn assert_header(header: &[u8]) {
    let header: Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none());
    assert!(header.get("kid").is_none_or(|kid| kid == "ed"), "{header}");
}

/// Another reader finds the same principal, and a token of this issuer for this audience and time.
fn assert_claims(claims: &[u8], principal: &Principal) {
    let claims: Value = serde_json::from_slice(claims).expect("accepted claims are JSON");
    let Identity::User(subject) = &principal.identity else {
        panic!("a token's principal is a user: {principal:?}")
    };
    assert_eq!(claims["sub"], *subject.subject);
    assert_eq!(claims["iss"], house::ISSUER);
    let is_ours = |audience: &Value| audience == "api";
    assert!(
        is_ours(&claims["aud"])
            || claims["aud"]
                .as_array()
                .is_some_and(|all| all.iter().any(is_ours))
    );
    let (now, skew) = (house::NOW as f64, house::SKEW as f64);
    let expires = claims["exp"].as_f64().expect("exp is a number");
    assert!(expires + skew > now, "exp is {expires}");
    for name in ["nbf", "iat"] {
        let starts = claims.get(name).map(|value| value.as_f64().expect("a number"));
        assert!(
            starts.is_none_or(|starts| starts - skew <= now),
            "{name} is {starts:?}"
        );
    }
    assert_eq!(principal.attributes.claims, claims);
}

/// A key set from an issuer: what is usable in it is a public key of ours, and no set lets an unsigned token in. Gives
/// the number of usable keys of a set that is one.
pub(crate) fn key_set(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).ok()?;
    let Ok((runtime, _)) = house::runtime(text) else {
        return None;
    };
    let status = runtime.issuers_status().remove(0);
    let set: Value = serde_json::from_str(text).expect("an accepted key set is JSON");
    let entries = set["keys"].as_array().expect("an accepted key set has keys");
    assert_eq!(status.keys + status.skipped, entries.len());
    assert!(entries.len() <= MAX_KEYS);
    let usable = entries.iter().filter(|key| may_be_usable(key)).count();
    assert!(status.keys <= usable, "{} of {usable} keys are used", status.keys);
    let authenticator = house::authenticator_of(&runtime);
    for token in UNSIGNED {
        let verdict = house::ask(&authenticator, token.as_bytes()).expect("a field");
        assert!(verdict.is_err(), "{token} passes");
    }
    Some(status.keys)
}

/// A public key of a family that signs tokens, and not one for something else.
fn may_be_usable(key: &Value) -> bool {
    let is_public = key.get("d").is_none() && key.get("k").is_none();
    let signs = key.get("use").is_none_or(|purpose| purpose == "sig");
    is_public && signs && ["RSA", "EC", "OKP"].iter().any(|kind| key["kty"] == *kind)
}

/// `none`, `HS256` and `EdDSA` over good claims, without a signature, with one of an empty secret, and with zeros.
const UNSIGNED: [&str; 3] = [
    "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJhcGkiLCJleHAiOjE4MDAwMDA2MDB9.",
    "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJhcGkiLCJleHAiOjE4MDAwMDA2MDB9.yaZuxLAcphSuLInNm1_6qwgC4fA_i8TBVtL38tlViEE",
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJhcGkiLCJleHAiOjE4MDAwMDA2MDB9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

/// A revocation list from a file or an address: one that is used has an end, and another reader finds as many revoked
/// certificates on it. Gives their number.
pub(crate) fn revocation_list(bytes: &[u8]) -> Option<usize> {
    let lists = house::revocation_lists(bytes)?;
    assert!(!lists.is_empty(), "a list was taken and none is there");
    for list in &lists {
        assert!(
            list.this_update.is_some() && list.next_update.is_some(),
            "{list:?}"
        );
    }
    let revoked = lists.iter().map(|list| list.revoked).sum();
    if bytes.first() == Some(&0x30) {
        let (rest, other) =
            CertificateRevocationList::from_der(bytes).expect("another reader reads the list");
        assert!(rest.is_empty());
        assert_eq!(other.iter_revoked_certificates().count(), revoked);
    }
    Some(revoked)
}

/// What a peer presents: a certificate, or several behind their lengths in two octets each. Gives the workload.
pub(crate) fn chain(bytes: &[u8]) -> Option<SpiffeId> {
    let chain = split(bytes);
    let peer = PeerIdentity::from_chain(&chain);
    assert_eq!(peer.chain.len(), chain.len());
    assert!(peer.valid_until() <= peer.not_after);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = SpiffeId::new(text)
    {
        assert_reads_back(&id);
    }
    let id = peer.spiffe_id.ok()?;
    assert_reads_back(&id);
    assert!(!id.path().is_empty(), "{id}");
    // The name stands in the certificate as it is written, and once.
    let text = id.to_string();
    let found = occurrences(chain[0].as_ref(), text.as_bytes());
    assert!(found >= 1, "{text} is not what the certificate says");
    Some(id)
}

fn split(bytes: &[u8]) -> Vec<CertificateDer<'_>> {
    if bytes.first() == Some(&0x30) {
        return vec![CertificateDer::from(bytes)];
    }
    let (mut chain, mut rest) = (Vec::new(), bytes);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (certificate, behind) = behind.split_at(behind.len().min(u16::from_be_bytes(*length).into()));
        chain.push(CertificateDer::from(certificate));
        rest = behind;
    }
    chain
}

fn occurrences(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).filter(|window| *window == what).count()
}

fn assert_reads_back(id: &SpiffeId) {
    let text = id.to_string();
    assert!(text.starts_with("spiffe://"));
    assert!(!text.contains(['%', '?', '#', '\0', ' ']), "{text}");
    assert_eq!(SpiffeId::new(&text).as_ref(), Ok(id));
}
