//! The way of an ordinary request.

use http::{Method, StatusCode};

use crate::support::{Authority, Dial, Endpoint, TestGateway, TokenIssuer, configure, folder, pki};

/// One TLS listener, one issuer, one pool on one endpoint.
fn start(endpoint: &Endpoint) -> (TestGateway, Authority, TokenIssuer) {
    let folder = folder();
    let authority = Authority::new("edge");
    authority
        .leaf(&["api.example.com"], None)
        .write(folder.path(), "server");
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
    let address = endpoint.address;
    configure(
        folder.path(),
        &format!(
            r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public: {{ listen: "127.0.0.1:0", tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }} }}
issuers:
  idp: {{ issuer: "https://login.example.com", jwks: {{ file: jwks.json }}, audiences: [api] }}
pools:
  orders: {{ endpoints: [{{ address: "{address}" }}] }}
routes:
  - name: orders
    match: {{ path: "/orders/**" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [{{ scope: orders }}]
    pool: orders
"#
        ),
    );
    (TestGateway::start(folder), authority, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_the_scope_reaches_the_endpoint_on_h1_and_h2() {
    let endpoint = Endpoint::start("one").await;
    let (gateway, authority, issuer) = start(&endpoint);
    let bearer = format!(
        "Bearer {}",
        issuer.token("alice", serde_json::json!({ "scope": "orders" }))
    );
    let address = gateway.address("public");
    let roots = authority.roots();
    for dial in [
        Dial::tls(address, "api.example.com", roots.clone(), None),
        Dial::h2(address, "api.example.com", roots.clone(), None),
    ] {
        let answer = dial.get("/orders/7?x=1", &[("authorization", &bearer)]).await;

        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body, "one");
        let received = endpoint.last();
        assert_eq!(received.target, "/orders/7?x=1");
        assert!(
            !received.headers.contains_key("authorization"),
            "the proof is not passed on"
        );
        assert_eq!(gateway.access_line(&answer.request_id())["status"], 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_reaches_the_endpoint() {
    let endpoint = Endpoint::start("one").await;
    let (gateway, authority, issuer) = start(&endpoint);
    let dial = Dial::tls(
        gateway.address("public"),
        "api.example.com",
        authority.roots(),
        None,
    );

    let missing = dial.get("/orders/7", &[]).await;
    let wrong = format!(
        "Bearer {}",
        issuer.token("alice", serde_json::json!({ "scope": "other" }))
    );
    let denied = dial
        .send(Method::POST, "/orders/7", &[("authorization", &wrong)], b"{}")
        .await;

    assert_eq!(
        (missing.status, missing.code().as_str()),
        (StatusCode::UNAUTHORIZED, "credentials-missing")
    );
    assert_eq!(
        (denied.status, denied.code().as_str()),
        (StatusCode::FORBIDDEN, "scope-missing")
    );
    assert_eq!(endpoint.requests(), 0);
}
