//! The demo's token issuer: a key that lives for one run, its JWKS as a file, and tokens for a few people.

use std::path::Path;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde::Serialize;

use super::files::{write_public, write_secret};
use super::{AUDIENCE, DemoFault, ISSUER};

const KEY_ID: &str = "demo-1";

/// As long as the certificates.
const VALIDITY: Duration = Duration::from_secs(7 * 86_400);

/// Somebody with a token.
pub(super) struct Person {
    /// Name of the token's file, and the subject.
    pub(super) name: &'static str,
    tenant: &'static str,
    roles: &'static [&'static str],
    scope: &'static str,
    region: Option<&'static str>,
}

/// Everybody in the tour. Tenants, roles and scopes are those of `policies/data.json`.
pub(super) const PEOPLE: &[Person] = &[
    Person {
        name: "alice",
        tenant: "acme",
        roles: &["editor"],
        scope: ALL,
        region: Some("EU"),
    },
    Person {
        name: "bob",
        tenant: "acme",
        roles: &["viewer"],
        scope: READ,
        region: Some("EU"),
    },
    Person {
        name: "carol",
        tenant: "globex",
        roles: &["editor"],
        scope: ALL,
        region: None,
    },
    Person {
        name: "dave",
        tenant: "globex",
        roles: &["editor"],
        scope: ALL,
        region: Some("US"),
    },
];

const READ: &str = "appointments:read programs:read resources:read";
const ALL: &str = "appointments:read appointments:write programs:read resources:read";

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    tenant: &'a str,
    roles: &'a [&'a str],
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

/// Writes `jwks.json`, a token for everybody, and one whose signature is another key's.
pub(super) fn write(folder: &Path) -> Result<(), DemoFault> {
    let key = signing_key()?;
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
    let set = serde_json::to_string_pretty(&JwkSet { keys: vec![jwk] })?;
    write_public(&folder.join("jwks.json"), &set)?;
    for person in PEOPLE {
        write_secret(
            &folder.join(format!("{}.jwt", person.name)),
            &token(person, &key)?,
        )?;
        write_public(
            &folder.join(format!("{}.claims.json", person.name)),
            &claims_text(person)?,
        )?;
    }
    let forged = PEOPLE
        .first()
        .map(|alice| token(alice, &signing_key()?))
        .transpose()?;
    write_secret(&folder.join("forged.jwt"), &forged.unwrap_or_default())
}

fn signing_key() -> Result<EncodingKey, DemoFault> {
    Ok(EncodingKey::from_ec_pem(
        KeyPair::generate()?.serialize_pem().as_bytes(),
    )?)
}

fn token(person: &Person, key: &EncodingKey) -> Result<String, DemoFault> {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(KEY_ID.to_owned());
    Ok(jsonwebtoken::encode(&header, &claims(person), key)?)
}

fn claims(person: &Person) -> Claims<'_> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    Claims {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: person.name,
        iat: now,
        exp: now + VALIDITY.as_secs(),
        tenant: person.tenant,
        roles: person.roles,
        scope: person.scope,
        region: person.region,
    }
}

fn claims_text(person: &Person) -> Result<String, DemoFault> {
    Ok(serde_json::to_string_pretty(&claims(person))?)
}
