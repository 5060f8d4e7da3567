//! JWT-SVIDs: a token that proves a workload, for policies, rules, limits, the record and `explain`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{bearer, plain};
use crate::support::pki::{seconds, write};
use crate::support::{Endpoint, TestGateway, TokenIssuer, configure, folder};

const BILLING: &str = "spiffe://corp.example/ns/billing";
const TEXT: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } }
listeners: { plain: { listen: "127.0.0.1:0" } }
issuers:
  idp: { issuer: "https://login.example.com", jwks: { file: idp.json }, audiences: [gateway] }
  mesh: { spiffe: corp.example, jwks: { file: mesh.json }, audiences: [gateway] }
policies: { workloads: { rego: workloads.rego, decision: data.workloads.decision } }
rate_limits: { each: { key: principal, limit: 2/h, burst: 2 } }
pools: { orders: { endpoints: [{ address: "ENDPOINT" }] } }
routes:
  - { name: both, match: { path: /both }, authenticate: [{ jwt: idp }, { jwt: mesh }], authorize: [authenticated], pool: orders }
  - { name: spiffe, match: { path: /spiffe }, authenticate: [{ jwt: mesh }], authorize: [{ spiffe: ["spiffe://corp.example/ns/*"] }], pool: orders }
  - { name: policy, match: { path: /policy }, authenticate: [{ jwt: mesh }], authorize: [workloads], pool: orders }
  - { name: limited, match: { path: /limited }, authenticate: [{ jwt: mesh }], authorize: [authenticated], rate_limits: [each], pool: orders }
"#;
const POLICY: &str = r#"package workloads
import rego.v1
default decision := {"allow": false}
decision := {"allow": true} if {
  input.principal.kind == "workload"
  input.principal.scheme == "jwt"
  input.principal.spiffe_id == "spiffe://corp.example/ns/billing"
  input.principal.trust_domain == "corp.example"
  input.principal.claims.aud[_] == "gateway"
}
"#;

struct Scene {
    gateway: TestGateway,
    endpoint: Endpoint,
    idp: TokenIssuer,
    mesh: TokenIssuer,
}

impl Scene {
    async fn set() -> Self {
        let endpoint = Endpoint::start("orders").await;
        let (idp, mesh) = (
            TokenIssuer::new("https://login.example.com", "k1"),
            TokenIssuer::new("unused", "k1"),
        );
        let folder = folder();
        let mut authority = mesh.jwk();
        authority["use"] = json!("jwt-svid");
        write(
            &folder.path().join("mesh.json"),
            &json!({ "keys": [authority] }).to_string(),
        );
        write(&folder.path().join("idp.json"), &idp.jwks());
        write(&folder.path().join("workloads.rego"), POLICY);
        configure(
            folder.path(),
            &TEXT.replace("ENDPOINT", &endpoint.address.to_string()),
        );
        Self {
            gateway: TestGateway::start(folder),
            endpoint,
            idp,
            mesh,
        }
    }

    /// The status and the code of a request.
    async fn ask(&self, path: &str, token: &str) -> (u16, String, String) {
        let answer = plain(&self.gateway)
            .get(path, &[("authorization", &bearer(token))])
            .await;
        let id = answer.request_id();
        match answer.status.as_u16() {
            200 => (200, String::new(), id),
            status => (status, answer.code(), id),
        }
    }

    fn svid(&self, sub: &str) -> String {
        self.mesh.sign(&svid(sub))
    }
}

fn svid(sub: &str) -> Value {
    let now = seconds(SystemTime::now());
    json!({ "sub": sub, "aud": ["gateway"], "iat": now, "exp": now + 300 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_proves_a_workload_to_rules_policies_limits_and_the_record() {
    let scene = Scene::set().await;
    let token = scene.svid(BILLING);

    for path in ["/both", "/spiffe", "/policy"] {
        let (status, code, id) = scene.ask(path, &token).await;
        assert_eq!((status, &*code), (200, ""), "{path}");
        let line = scene.gateway.access_line(&id);
        assert_eq!(line["principal"], BILLING, "{line}");
        assert!(!scene.endpoint.last().headers.contains_key("authorization"));
    }
    let elsewhere = scene.svid("spiffe://corp.example/elsewhere");
    assert_eq!(scene.ask("/spiffe", &elsewhere).await.1, "spiffe-not-allowed");
    assert_eq!(scene.ask("/policy", &elsewhere).await.1, "policy-denied");
    // Each workload has its own bucket.
    for expected in [200, 200, 429] {
        assert_eq!(scene.ask("/limited", &token).await.0, expected);
    }
    assert_eq!(scene.ask("/limited", &elsewhere).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_of_another_domain_key_audience_or_form_proves_nobody() {
    let scene = Scene::set().await;
    let spoilt = |name: &str, value: Value| {
        let mut claims = svid(BILLING);
        claims[name] = value;
        scene.mesh.sign(&claims)
    };

    for (code, token) in [
        (
            "token-issuer-unknown",
            scene.svid("spiffe://other.example/ns/billing"),
        ),
        ("token-issuer-unknown", scene.svid("spiffe://corp.example")),
        (
            "token-issuer-unknown",
            scene.svid("spiffe://corp.example/ns/../billing"),
        ),
        ("token-audience", spoilt("aud", json!(["other"]))),
        ("token-claims", spoilt("exp", Value::Null)),
        ("token-expired", spoilt("exp", json!(1))),
        ("token-signature", scene.idp.sign(&svid(BILLING))),
    ] {
        assert_eq!(scene.ask("/spiffe", &token).await.1, code);
    }
    // A person whose issuer lets them choose their subject is a person still.
    let mut person = svid(BILLING);
    person["iss"] = json!(scene.idp.url);
    let person = scene.idp.sign(&person);
    assert_eq!(scene.ask("/spiffe", &person).await.1, "token-signature");
    let (status, _, id) = scene.ask("/both", &person).await;
    assert_eq!(status, 200);
    let line = scene.gateway.access_line(&id);
    assert_eq!(line["principal"], format!("idp:{BILLING}"), "{line}");
    assert_eq!(scene.endpoint.requests(), 1);
}
