//! Tokens over sockets: hostile ones, key sets under attack and outage, and JWT-SVIDs.

mod hostile;
mod key_sets;
mod svids;

use serde_json::{Value, json};

use crate::support::pki::{base64url, seconds, write};
use crate::support::{Dial, Seen, TestGateway, TokenIssuer, configure, folder};

/// The routes of these tests; `ISSUERS` stands for issuers, `SCHEMES` for the schemes of `/api`.
const TEXT: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } }
listeners: { plain: { listen: "127.0.0.1:0" } }
issuers:
ISSUERS
pools: { orders: { endpoints: [{ address: "ENDPOINT" }] } }
routes:
  - { name: api, match: { path: /api }, authenticate: [SCHEMES], authorize: [authenticated], pool: orders }
  - { name: open, match: { path: /open }, public: true, respond: { status: 200, body: open } }
"#;

/// A configuration with one issuer `idp` and no endpoint that matters.
fn text_of(issuer: &str) -> String {
    TEXT.replace("ISSUERS", issuer)
        .replace("SCHEMES", "{ jwt: idp }")
        .replace("pool: orders", "respond: { status: 200, body: ok }")
        .replace(
            "pools: { orders: { endpoints: [{ address: \"ENDPOINT\" }] } }\n",
            "",
        )
}

/// A running gateway that was not waited for: its issuers may never answer.
fn gateway_of(text: &str, jwks: Option<&str>) -> TestGateway {
    let folder = folder();
    if let Some(jwks) = jwks {
        write(&folder.path().join("jwks.json"), jwks);
    }
    configure(folder.path(), text);
    TestGateway::spawn(folder, &[])
}

fn plain(gateway: &TestGateway) -> Dial {
    Dial::plain(gateway.address("plain"))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The status and the code of a request with a token; no code for an answer that is no problem.
async fn ask(gateway: &TestGateway, token: &str) -> (u16, String) {
    let answer = plain(gateway)
        .get("/api", &[("authorization", &bearer(token))])
        .await;
    let code = match answer.status.as_u16() {
        200 => String::new(),
        _ => answer.code(),
    };
    (answer.status.as_u16(), code)
}

/// An honest token's claims.
fn claims(issuer: &TokenIssuer) -> Value {
    let now = seconds(std::time::SystemTime::now());
    json!({ "iss": issuer.url, "sub": "alice", "aud": "api", "iat": now, "exp": now + 600 })
}

/// What the admin port says of the issuer `idp`.
async fn issuer_status(gateway: &TestGateway) -> Value {
    let issuers = Seen::of(gateway).json("/issuers").await;
    issuers["issuers"][0].clone()
}

/// A token of any two texts and a signature of any bytes.
fn raw(header: &str, claims: &str, signature: &[u8]) -> String {
    format!(
        "{}.{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes()),
        base64url(signature)
    )
}
