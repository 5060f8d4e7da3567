//! Every refusal that a client can meet: its status and code, the log's line, nothing at the endpoint, and the next
//! request on the same connection.

use std::time::SystemTime;

use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::house::{CONTRACT, HOST, LISTENERS, order_of};
use crate::support::pki::{base64url, seconds, write};
use crate::support::{Answer, Endpoint, House, RawConnection, TokenIssuer};

const POLICY: &str = r#"
package door

decision := {"allow": true} if input.principal.subject == "alice"

decision := {"allow": false, "reason": "closed on sundays"} if input.principal.subject == "bob"

decision := {"allow": false, "status": 451, "reason": "not in your country"} if input.principal.subject == "carol"
"#;

const ROUTES: &str = r#"
policies: { hours: { rego: policies, decision: data.door.decision } }
rate_limits: { tight: { key: client.address, limit: 2/h, burst: 2 } }
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
  - { name: methods, match: { path: /methods, methods: [GET, PUT] }, public: true, pool: main }
  - { name: token, match: { path: "/token/**" }, authenticate: [{ jwt: idp }], authorize: [authenticated], pool: main }
  - { name: scope, match: { path: "/scope/**" }, authenticate: [{ jwt: idp }], authorize: [{ scope: orders }], pool: main }
  - { name: role, match: { path: "/role/**" }, authenticate: [{ jwt: idp }], authorize: [{ role: clerk }], pool: main }
  - { name: policy, match: { path: "/policy/**" }, authenticate: [{ jwt: idp }], authorize: [hours], pool: main }
  - { name: limited, match: { path: /limited }, public: true, rate_limits: [tight], pool: main }
  - { name: api, match: { path: "/api/**" }, public: true, contract: orders, pool: main, body: { max: 1KiB } }
"#;

/// One gateway and one endpoint that must never see a refused request.
pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) endpoint: Endpoint,
}

/// Whether the connection must serve another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    Stays,
    Closes,
    AsTold,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let endpoint = Endpoint::start("one").await;
        let pool = format!(
            "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
            endpoint.address
        );
        let house = House::open_with(&format!("{LISTENERS}{CONTRACT}{pool}{ROUTES}"), |folder, _| {
            std::fs::create_dir(folder.join("policies")).unwrap();
            write(&folder.join("policies/door.rego"), POLICY);
        });
        Self { house, endpoint }
    }

    /// Sends a request that must be refused so, then another one on the same connection where it stays open.
    pub(crate) async fn refuse(&self, request: &[u8], status: u16, code: &str, after: After) -> Answer {
        let seen = self.endpoint.requests();
        let mut connection = RawConnection::open(&self.house.plain()).await;

        let answer = connection.ask(request).await;

        self.house.assert_refused(&answer, status, code);
        assert_eq!(
            self.endpoint.requests(),
            seen,
            "{code}: something reached the endpoint"
        );
        let closes = answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close");
        match after {
            After::Stays => assert!(!closes, "{code}: {answer:?}"),
            After::Closes => assert!(closes, "{code}: {answer:?}"),
            After::AsTold => {}
        }
        if closes {
            // Perhaps it is read, never is it served.
            connection.write(&get("/open/smuggled", "")).await;
            assert_eq!(
                connection.rest().await.as_deref(),
                Some(&[][..]),
                "{code}: nothing after the answer"
            );
            assert_eq!(self.endpoint.requests(), seen, "{code}: what followed was served");
        } else {
            let next = connection.ask(&get("/open/next", "")).await;
            assert_eq!(
                (next.status.as_u16(), &next.body[..]),
                (200, &b"one"[..]),
                "{code}: the next request"
            );
            assert_eq!(self.endpoint.last().target, "/open/next", "{code}");
        }
        answer
    }

    async fn refuse_token(&self, authorization: &str, code: &str) {
        let request = get("/token/x", &format!("authorization: {authorization}\r\n"));
        let answer = self.refuse(&request, 401, code, After::Stays).await;
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        let told = String::from_utf8_lossy(&answer.body);
        assert!(
            authorization.len() < 40 || !told.contains(&authorization[7..]),
            "{told}"
        );
    }
}

pub(crate) fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n").into_bytes()
}

pub(crate) fn post(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_refused() {
    let scene = Scene::set().await;

    scene
        .refuse(&get("/nowhere", ""), 404, "route-not-found", After::Stays)
        .await;
    let method = format!("DELETE /methods HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let answer = scene
        .refuse(method.as_bytes(), 405, "method-not-allowed", After::Stays)
        .await;

    let mut allowed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    scene
        .refuse(
            &get("/open/x", upgrade),
            400,
            "upgrade-not-allowed",
            After::AsTold,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_missing_or_malformed_is_refused() {
    let scene = Scene::set().await;
    let good = scene.house.bearer("alice", json!({}));

    let missing = scene
        .refuse(&get("/token/x", ""), 401, "credentials-missing", After::Stays)
        .await;
    assert_eq!(missing.headers["www-authenticate"], "Bearer realm=\"portcullis\"");
    for malformed in [
        "Bearer ",
        "Bearer abc",
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Bearer ..",
    ] {
        scene.refuse_token(malformed, "token-malformed").await;
    }
    let twice = format!("authorization: {good}\r\nauthorization: {good}\r\n");
    scene
        .refuse(&get("/token/x", &twice), 400, "field-invalid", After::Stays)
        .await;

    let accepted = scene
        .house
        .plain()
        .get("/token/x", &[("authorization", &good)])
        .await;
    assert_eq!(accepted.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_chooses_its_own_algorithm_is_refused() {
    let scene = Scene::set().await;
    let now = seconds(SystemTime::now());
    let claims =
        json!({ "iss": scene.house.issuer.url, "sub": "alice", "aud": "api", "iat": now, "exp": now + 60 });

    for none in ["none", "None", "NONE"] {
        let header = base64url(json!({ "alg": none, "typ": "JWT" }).to_string().as_bytes());
        let body = base64url(claims.to_string().as_bytes());
        scene
            .refuse_token(&format!("Bearer {header}.{body}."), "token-algorithm")
            .await;
    }
    let public_keys = [
        scene.house.issuer.public_pem(),
        scene.house.issuer.public_pem().trim_end().to_owned(),
        scene.house.issuer.jwk().to_string(),
        scene.house.issuer.jwks(),
    ];
    for public in public_keys {
        for key_id in [Some("k1".to_owned()), None] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = key_id;
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes()));
            scene
                .refuse_token(&format!("Bearer {}", forged.unwrap()), "token-algorithm")
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_somebody_else_or_another_time_is_refused() {
    let scene = Scene::set().await;
    let url = scene.house.issuer.url.clone();
    let now = seconds(SystemTime::now());
    let issuer = &scene.house.issuer;
    let bearer = |token: String| format!("Bearer {token}");

    scene
        .refuse_token(
            &bearer(issuer.token("a", json!({ "exp": now - 3600 }))),
            "token-expired",
        )
        .await;
    scene
        .refuse_token(
            &bearer(issuer.token("a", json!({ "nbf": now + 3600 }))),
            "token-not-yet-valid",
        )
        .await;
    scene
        .refuse_token(
            &bearer(issuer.token("a", json!({ "aud": "other" }))),
            "token-audience",
        )
        .await;
    scene
        .refuse_token(
            &bearer(issuer.token("a", json!({ "aud": Value::Null }))),
            "token-claims",
        )
        .await;
    scene
        .refuse_token(
            &bearer(issuer.token("a", json!({ "exp": "9999999999" }))),
            "token-claims",
        )
        .await;
    let elsewhere = json!({ "iss": "https://evil.example.com" });
    scene
        .refuse_token(&bearer(issuer.token("a", elsewhere)), "token-issuer-unknown")
        .await;
    let other_key = TokenIssuer::new(&url, "k2");
    scene
        .refuse_token(&bearer(other_key.token("a", json!({}))), "token-key-unknown")
        .await;
    let impostor = TokenIssuer::new(&url, "k1");
    scene
        .refuse_token(&bearer(impostor.token("a", json!({}))), "token-signature")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_without_the_right_is_refused_with_the_policys_reason() {
    let scene = Scene::set().await;
    let authorization =
        |subject: &str, claims: Value| format!("authorization: {}\r\n", scene.house.bearer(subject, claims));

    let scoped = authorization("alice", json!({ "scope": "invoices orders:read" }));
    scene
        .refuse(&get("/scope/x", &scoped), 403, "scope-missing", After::Stays)
        .await;
    let guest = authorization("alice", json!({ "roles": ["guest"] }));
    scene
        .refuse(&get("/role/x", &guest), 403, "role-missing", After::Stays)
        .await;
    let bob = authorization("bob", json!({}));
    let denied = scene
        .refuse(&get("/policy/x", &bob), 403, "policy-denied", After::Stays)
        .await;
    assert_eq!(denied.json()["detail"], "closed on sundays");
    let carol = authorization("carol", json!({}));
    let denied = scene
        .refuse(&get("/policy/x", &carol), 451, "policy-denied", After::Stays)
        .await;
    assert_eq!(denied.json()["detail"], "not in your country");
    let dave = authorization("dave", json!({}));
    scene
        .refuse(&get("/policy/x", &dave), 403, "policy-undefined", After::Stays)
        .await;

    for (path, claims) in [
        ("/scope/x", json!({ "scope": "invoices orders" })),
        ("/role/x", json!({ "roles": ["clerk"] })),
        ("/policy/x", json!({})),
    ] {
        let bearer = scene.house.bearer("alice", claims);
        let allowed = scene.house.plain().get(path, &[("authorization", &bearer)]).await;
        assert_eq!(allowed.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_limit_is_refused_with_its_fields() {
    let scene = Scene::set().await;
    let dial = scene.house.plain();

    let first = dial.get("/limited", &[]).await;
    let second = dial.get("/limited", &[]).await;
    let refused = scene
        .refuse(&get("/limited", ""), 429, "rate-limited-early", After::Stays)
        .await;

    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    let policy = refused.headers["ratelimit-policy"].to_str().unwrap();
    assert!(policy.starts_with("\"tight\";q=2;w=3600"), "{policy}");
    let left = refused.headers["ratelimit"].to_str().unwrap();
    assert!(left.starts_with("\"tight\";r=0;t="), "{left}");
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1700..=1980).contains(&after), "{after}");
    assert!(
        first.headers["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"tight\";r=1;")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_fit_the_contract_is_refused() {
    let scene = Scene::set().await;

    let query = scene
        .refuse(
            &get("/api/orders?limit=1000", ""),
            400,
            "parameters-invalid",
            After::Stays,
        )
        .await;
    let error = &query.json()["errors"][0];
    assert_eq!(
        (&error["in"], &error["pointer"], &error["keyword"]),
        (&json!("query"), &json!("/limit"), &json!("maximum"))
    );
    assert!(
        !String::from_utf8_lossy(&query.body).contains("1000"),
        "the value is not given back"
    );
    scene
        .refuse(
            &get("/api/orders/seven", ""),
            400,
            "parameters-invalid",
            After::Stays,
        )
        .await;
    scene
        .refuse(
            &get("/api/orders", "x-shop: S3CRET\r\n"),
            400,
            "parameters-invalid",
            After::Stays,
        )
        .await;
    scene
        .refuse(&get("/api/other", ""), 404, "operation-unknown", After::Stays)
        .await;
    let method = format!("DELETE /api/orders HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let answer = scene
        .refuse(method.as_bytes(), 405, "operation-method", After::Stays)
        .await;
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
    let text = format!(
        "POST /api/orders HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    scene
        .refuse(text.as_bytes(), 415, "media-type", After::AsTold)
        .await;
    let large = post("/api/orders", &order_of(1025));
    scene
        .refuse(&large, 413, "body-too-large-declared", After::AsTold)
        .await;

    let fits = scene
        .house
        .plain()
        .get("/api/orders?limit=100", &[("x-shop", "abc")])
        .await;
    assert_eq!(fits.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_fit_the_contract_is_refused_and_never_given_back() {
    let scene = Scene::set().await;
    let deep = format!(
        r#"{{"item":"a","count":1,"note":{}{}}}"#,
        "[".repeat(80),
        "]".repeat(80)
    );
    let cases = [
        (r#"{"item":"S3CRET","count":99}"#, 422, "body-invalid"),
        (
            r#"{"item":"S3CRET","item":"b","count":1}"#,
            400,
            "body-duplicate-key",
        ),
        (r#"{"item":"S3CRET","count":1,"#, 400, "body-malformed"),
        (deep.as_str(), 400, "body-too-deep"),
    ];

    for (body, status, code) in cases {
        let answer = scene
            .refuse(&post("/api/orders", body), status, code, After::AsTold)
            .await;
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("S3CRET"),
            "{code}"
        );
    }
    let empty = format!(
        "POST /api/orders HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n"
    );
    scene
        .refuse(empty.as_bytes(), 400, "body-missing", After::AsTold)
        .await;
    let chunk = order_of(1100);
    let chunked = format!(
        "POST /api/orders HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    scene
        .refuse(chunked.as_bytes(), 413, "body-too-large", After::AsTold)
        .await;

    let fits = scene
        .house
        .plain()
        .send(Method::POST, "/api/orders", JSON, order_of(1024).as_bytes())
        .await;
    assert_eq!(fits.status, 200);
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test(flavor = "multi_thread")]
async fn every_violation_has_its_pointer() {
    let scene = Scene::set().await;
    let body = r#"{"item":"","count":99,"n/a":"S3CRET"}"#;

    let answer = scene
        .refuse(&post("/api/orders", body), 422, "body-invalid", After::AsTold)
        .await;

    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let told: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error["pointer"].as_str().unwrap(),
                error["keyword"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(told.contains(&("/item", "minLength")), "{told:?}");
    assert!(told.contains(&("/count", "maximum")), "{told:?}");
    assert!(
        told.iter().any(|(_, keyword)| *keyword == "additionalProperties"),
        "{told:?}"
    );
    assert!(
        errors
            .iter()
            .all(|error| error["in"] == "body" && error["expected"].is_string()),
        "{errors:?}"
    );
    assert!(!String::from_utf8_lossy(&answer.body).contains("S3CRET"));
}

/// Method, target, fields and body; status and code.
type RefusedRequest<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn http2_gets_the_same_refusals_on_a_connection_that_goes_on() {
    let scene = Scene::set().await;
    let bob = scene.house.bearer("bob", json!({}));
    let big = order_of(2000);
    let mut client = scene.house.h2().connect().await.unwrap();
    let cases: [RefusedRequest<'_>; 8] = [
        (Method::GET, "/nowhere", &[], "", 404, "route-not-found"),
        (Method::DELETE, "/methods", &[], "", 405, "method-not-allowed"),
        (Method::GET, "/token/x", &[], "", 401, "credentials-missing"),
        (
            Method::GET,
            "/policy/x",
            &[("authorization", &bob)],
            "",
            403,
            "policy-denied",
        ),
        (
            Method::GET,
            "/open/%2e%2e/token/x",
            &[],
            "",
            400,
            "path-dot-segment",
        ),
        (
            Method::GET,
            "/api/orders?limit=x",
            &[],
            "",
            400,
            "parameters-invalid",
        ),
        (
            Method::POST,
            "/api/orders",
            JSON,
            &big,
            413,
            "body-too-large-declared",
        ),
        (Method::POST, "/api/orders", JSON, "{}", 422, "body-invalid"),
    ];

    for (method, target, fields, body, status, code) in cases {
        let answer = client
            .send(method, target, fields, body.as_bytes())
            .await
            .unwrap();
        scene.house.assert_refused(&answer, status, code);
        assert_eq!(scene.endpoint.requests(), 0, "{code}");
    }
    let accepted = client.send(Method::GET, "/open/x", &[], b"").await.unwrap();

    assert_eq!(accepted.status, 200);
    assert_eq!(scene.endpoint.requests(), 1);
}
