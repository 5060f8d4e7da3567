//! What the benches measure on: the sample API among a thousand other routes, its issuer's key, and a token.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;

/// Routes beside the measured one.
const OTHER_ROUTES: usize = 1000;

/// The issuer's key set.
pub(crate) fn jwks(key: &KeyPair) -> String {
    let point = key.der_bytes();
    let coordinate = |range| URL_SAFE_NO_PAD.encode(point.get(range).unwrap());
    json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
        "x": coordinate(1..33), "y": coordinate(33..65) }] })
    .to_string()
}

/// A token of that issuer; another one for every `jti`.
pub(crate) fn token(key: &KeyPair, jti: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "iss": "https://login.example.com", "sub": "alice", "aud": "api", "jti": jti.to_string(),
        "iat": now, "exp": now + 36_000, "scope": "appointments:read appointments:write", "roles": ["editor"],
        "tenant": "acme", "region": "EU" });
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("k1".to_owned());
    let pem = key.serialize_pem();
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// The configuration: `policies` is a whole section or nothing, `authorize` the rule of the measured route.
pub(crate) fn configuration(policies: &str, authorize: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).display().to_string();
    let mut text = format!(
        r#"
version: 1
gateway: {{ region: eu-west }}
listeners: {{ plain: {{ listen: "127.0.0.1:0" }} }}
jurisdictions: {{ EU: [eu-west, eu-central], US: [us-east] }}
regions: {{ eu-west: {{ failover: [eu-central, us-east] }}, eu-central: {{}}, us-east: {{}} }}
issuers:
  idp:
    issuer: "https://login.example.com"
    jwks: {{ file: jwks.json }}
    audiences: [api]
    claims: {{ tenant: tenant, roles: roles, region: region }}
contracts: {{ appointments: {{ openapi: "{root}/schemas/openapi/appointments.yaml" }} }}
{policies}
rate_limits: {{ per_tenant: {{ key: [principal.tenant, route], limit: 1000000000/s, burst: 1000000000 }} }}
pools:
  appointments:
    sites:
      eu-west: {{ endpoints: [{{ address: "127.0.0.1:3001" }}] }}
      eu-central: {{ endpoints: [{{ address: "127.0.0.1:3002" }}] }}
      us-east: {{ endpoints: [{{ address: "127.0.0.1:3003" }}] }}
routes:
  - name: appointments
    match: {{ path: "/api/v1/appointments/**" }}
    authenticate: [{{ jwt: idp }}]
    rate_limits: [per_tenant]
    contract: appointments
    authorize: [{authorize}]
    pool: appointments
    residency: {{ from: claim.region, default: [EU] }}
"#
    );
    for index in 0..OTHER_ROUTES {
        text.push_str(&format!(
            "  - {{ name: r{index}, match: {{ path: \"/api/v1/other{index}/{{id}}\" }}, public: true, pool: appointments }}\n"
        ));
    }
    text
}
