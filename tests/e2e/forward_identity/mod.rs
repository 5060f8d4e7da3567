//! Toward the endpoint: who asks is said by the gateway, can be verified by anybody with its keys, and by nobody else
//! can it be said.

mod keys;
mod spoofing;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::operations::commands::portcullis;
use crate::support::house::HOST;
use crate::support::pki::{seconds, write};
use crate::support::{Authority, Dial, Endpoint, House, Seen};

/// The field with the assertion.
pub(super) const IDENTITY: &str = "x-portcullis-identity";
/// The field with the certificate.
const CERTIFICATE: &str = "x-forwarded-client-cert";
/// A client of the tests.
const WEB: &str = "spiffe://corp.example/web";

/// A gateway before one endpoint that is told everything, under `/told`, and nothing, under `/untold`.
pub(super) struct Scene {
    pub(super) house: House,
    pub(super) endpoint: Endpoint,
    mesh: Authority,
}

/// Everything but `identity.assertion`.
pub(super) fn configuration(endpoint: &Endpoint, assertion: &str) -> String {
    let address = endpoint.address;
    format!(
        r#"
listeners:
  plain: {{ listen: "127.0.0.1:0" }}
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: request, trust: [mesh] }}
trust: {{ mesh: {{ spiffe: corp.example, pem: mesh.pem }} }}
identity:
  svid: {{ chain: svid.pem, key: svid.key }}
  assertion: {assertion}
pools:
  told:
    endpoints: [{{ address: "{address}" }}]
    forward_identity: {{ assertion: {{ audience: orders }}, client_certificate: true }}
  untold: {{ endpoints: [{{ address: "{address}" }}] }}
routes:
  - {{ name: told, match: {{ path: "/told/**" }}, authenticate: [{{ jwt: idp }}, {{ mtls: mesh }}], authorize: [authenticated], pool: told }}
  - {{ name: first, match: {{ path: "/first/**" }}, listeners: [public], authenticate: [{{ mtls: mesh }}, {{ jwt: idp }}], authorize: [authenticated], pool: told }}
  - {{ name: mesh, match: {{ path: "/mesh/**" }}, listeners: [public], authenticate: [{{ mtls: mesh }}], authorize: [authenticated], pool: told }}
  - {{ name: untold, match: {{ path: "/untold/**" }}, authenticate: [{{ jwt: idp }}], authorize: [authenticated], pool: untold }}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: told }}
  - {{ name: bare, match: {{ path: "/bare/**" }}, public: true, pool: untold }}
  - {{ name: keys, match: {{ path: /keys }}, public: true, respond: {{ jwks: true }} }}
"#
    )
}

impl Scene {
    async fn set() -> Self {
        Self::with("{ issuer: \"https://gw.example\", generate: true }", &[]).await
    }

    /// The same with other keys, which are files of the folder.
    pub(super) async fn with(assertion: &str, files: &[(&str, &str)]) -> Self {
        let endpoint = Endpoint::start("one").await;
        let mesh = Authority::new("mesh");
        let house = House::open_with(&configuration(&endpoint, assertion), |folder, _| {
            write(&folder.join("mesh.pem"), &mesh.pem);
            mesh.leaf(&[], Some("spiffe://corp.example/gateway"))
                .write(folder, "svid");
            for (name, text) in files {
                write(&folder.join(name), text);
            }
        });
        Self {
            house,
            endpoint,
            mesh,
        }
    }

    /// Clients with a certificate of the mesh, over both protocols.
    fn workloads(&self) -> [Dial; 2] {
        let leaf = self.mesh.leaf(&[], Some(WEB));
        let (address, roots) = (self.house.gateway.address("public"), self.house.edge.roots());
        [
            Dial::tls(address, HOST, roots.clone(), Some(&leaf)),
            Dial::h2(address, HOST, roots, Some(&leaf)),
        ]
    }

    /// The fields with which the endpoint got a request.
    async fn fields(&self, dial: &Dial, target: &str, fields: &[(&str, &str)]) -> HeaderMap {
        let answer = dial.send(Method::GET, target, fields, b"").await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        self.endpoint.last().headers
    }

    /// The key set as an application gets it.
    pub(super) async fn keys(&self) -> Value {
        self.house.plain().get("/keys", &[]).await.json()
    }
}

/// What an application does, with nothing of ours: the key by its name, then a library.
pub(super) fn verify(token: &str, keys: &Value, audience: &str) -> Result<Value, String> {
    let header = decode_header(token).map_err(|error| error.to_string())?;
    if header.typ.as_deref() != Some("portcullis-identity+jwt") {
        return Err(format!("typ {:?}", header.typ));
    }
    let set: JwkSet = serde_json::from_value(keys.clone()).unwrap();
    let kid = header.kid.ok_or("no kid")?;
    let key = set.find(&kid).ok_or("unknown kid")?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://gw.example"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = 1;
    let key = DecodingKey::from_jwk(key).unwrap();
    decode::<Value>(token, &key, &validation)
        .map(|verified| verified.claims)
        .map_err(|error| error.to_string())
}

/// The one assertion among some fields, and nothing else under a name like it.
pub(super) fn the_assertion(headers: &HeaderMap) -> &str {
    let values: Vec<_> = headers.get_all(IDENTITY).iter().collect();
    assert_eq!(values.len(), 1, "{headers:?}");
    values[0].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_verifies_who_asks_by_the_published_keys() {
    let scene = Scene::set().await;
    let claims = json!({ "tenant": "acme", "roles": ["buyer", "admin"], "scope": "read write" });
    let bearer = scene.house.bearer("alice", claims);
    let keys = scene.keys().await;

    for dial in [scene.house.plain(), scene.house.h1(), scene.house.h2()] {
        let headers = scene
            .fields(&dial, "/told/x", &[("authorization", &bearer)])
            .await;

        let claims = verify(the_assertion(&headers), &keys, "orders").unwrap();
        assert_eq!(claims["sub"], "idp:alice");
        assert_eq!(claims["issuer"], "https://login.example.com");
        assert_eq!(
            (&claims["principal_kind"], &claims["proof"]),
            (&json!("user"), &json!("jwt"))
        );
        assert_eq!(claims["tenant"], "acme");
        assert_eq!(claims["roles"], json!(["buyer", "admin"]));
        assert_eq!(claims["scopes"], json!(["read", "write"]));
        assert!(verify(the_assertion(&headers), &keys, "payments").is_err());
    }
    for dial in scene.workloads() {
        let headers = scene.fields(&dial, "/told/x", &[]).await;

        let claims = verify(the_assertion(&headers), &keys, "orders").unwrap();
        assert_eq!(claims["sub"], WEB);
        assert_eq!(
            (&claims["principal_kind"], &claims["proof"]),
            (&json!("workload"), &json!("mtls"))
        );
    }
    let seen = Seen::of(&scene.house.gateway);
    assert_eq!(seen.json("/identity/jwks").await, keys);
    let signed = seen
        .metric("portcullis_identity_assertions_total", &["outcome=\"signed\""])
        .await;
    let again = seen
        .metric(
            "portcullis_identity_assertions_total",
            &["outcome=\"remembered\""],
        )
        .await;
    assert_eq!((signed, again), (2.0, 3.0), "one for each principal");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nobody_nothing_is_said_and_a_silent_pool_is_told_nothing() {
    let scene = Scene::set().await;
    let bearer = scene.house.bearer("alice", json!({}));

    for dial in [scene.house.h1(), scene.house.h2()] {
        for (target, fields) in [
            ("/open/x", vec![]),
            ("/bare/x", vec![]),
            ("/untold/x", vec![("authorization", bearer.as_str())]),
        ] {
            let headers = scene.fields(&dial, target, &fields).await;
            assert!(!headers.contains_key(IDENTITY), "{target}: {headers:?}");
            assert!(!headers.contains_key(CERTIFICATE), "{target}: {headers:?}");
        }
        let told = scene
            .fields(&dial, "/told/x", &[("authorization", &bearer)])
            .await;
        assert!(told.contains_key(IDENTITY));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_ends_with_its_token_at_the_latest() {
    let scene = Scene::set().await;
    let now = seconds(SystemTime::now());
    // The house's issuer has the default tolerance of 30 s: so long does the gateway itself accept the token.
    for (token_ends_in, at_most) in [(5, 35), (3600, 61)] {
        let bearer = scene.house.bearer("alice", json!({ "exp": now + token_ends_in }));

        let headers = scene
            .fields(&scene.house.h2(), "/told/x", &[("authorization", &bearer)])
            .await;

        let claims = verify(the_assertion(&headers), &scene.keys().await, "orders").unwrap();
        let (issued, ends) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        assert!(ends <= now + at_most + 5 && ends <= issued + 60, "{claims}");
        if token_ends_in == 5 {
            assert_eq!(ends, now + 35, "not a second after the token is refused");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_told_in_one_element_whatever_the_route_asks() {
    let scene = Scene::set().await;
    let bearer = scene.house.bearer("alice", json!({}));
    for dial in scene.workloads() {
        for (target, fields) in [
            ("/mesh/x", vec![]),
            ("/open/x", vec![]),
            ("/told/x", vec![("authorization", bearer.as_str())]),
        ] {
            let headers = scene.fields(&dial, target, &fields).await;

            let values: Vec<_> = headers.get_all(CERTIFICATE).iter().collect();
            assert_eq!(values.len(), 1, "{target}: {headers:?}");
            let pairs: Vec<_> = values[0].to_str().unwrap().split(';').collect();
            assert_eq!(pairs[0], "By=spiffe://corp.example/gateway");
            let hash = pairs[1].strip_prefix("Hash=").unwrap();
            assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(&pairs[2..], [r#"Subject="CN=leaf""#, &format!("URI={WEB}")]);
        }
    }
    for dial in [scene.house.plain(), scene.house.h1(), scene.house.h2()] {
        let headers = scene
            .fields(&dial, "/told/x", &[("authorization", &bearer)])
            .await;
        assert!(
            !headers.contains_key(CERTIFICATE),
            "nobody showed one: {headers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_does_not_fit_into_an_assertion_is_refused() {
    let scene = Scene::set().await;
    let roles = |count: usize| -> Vec<String> { (0..count).map(|number| format!("role-{number}")).collect() };
    let ask = async |count: usize| {
        let bearer = scene.house.bearer("alice", json!({ "roles": roles(count) }));
        scene
            .house
            .h2()
            .get("/told/x", &[("authorization", &bearer)])
            .await
    };

    let line = scene.house.assert_refused(&ask(400).await, 500, "internal");
    assert!(line.to_string().contains("400 roles"), "{line}");
    assert_eq!(scene.endpoint.requests(), 0);
    assert_eq!(ask(100).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_was_a_proof_for_us_goes_no_further() {
    let scene = Scene::set().await;
    let bearer = scene.house.bearer("alice", json!({}));
    let cookie = ("cookie", "session=1");
    let [h1, h2] = scene.workloads();
    let basic = "Basic eDp5";
    let cases = [
        // Proven by the token: it stays here.
        (scene.house.h1(), "/told/x", bearer.as_str(), false),
        (scene.house.h2(), "/told/x", bearer.as_str(), false),
        (h1.clone(), "/told/x", bearer.as_str(), false),
        (scene.house.plain(), "/untold/x", bearer.as_str(), false),
        // Proven by the certificate on a route that takes tokens too.
        (h2.clone(), "/first/x", bearer.as_str(), false),
        (h1.clone(), "/first/x", "bEARER some.other.token", false),
        (h2.clone(), "/first/x", basic, true),
        // Between client and endpoint.
        (h1, "/mesh/x", bearer.as_str(), true),
        (h2, "/mesh/x", basic, true),
        (scene.house.h2(), "/open/x", bearer.as_str(), true),
        (scene.house.plain(), "/bare/x", basic, true),
    ];
    for (dial, target, credential, goes_on) in cases {
        let proxy = ("proxy-authorization", "Basic eDp5");
        let fields = [("authorization", credential), cookie, proxy];
        let headers = scene.fields(&dial, target, &fields).await;

        let sent = headers.get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(sent, goes_on.then_some(credential), "{target} {credential}");
        assert_eq!(headers["cookie"], "session=1", "{target}");
        assert!(!headers.contains_key("proxy-authorization"), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_has_its_type_an_age_and_nothing_private() {
    let scene = Scene::set().await;

    for dial in [scene.house.plain(), scene.house.h2()] {
        let answer = dial.get("/keys", &[]).await;
        assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
        assert_eq!(answer.headers["cache-control"], "public, max-age=60");
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0]["alg"], "ES256");
        assert!(keys[0].get("d").is_none(), "{keys:?}");
        let head = dial.send(Method::HEAD, "/keys", &[], b"").await;
        assert_eq!(head.headers["content-type"], "application/jwk-set+json");
        assert!(head.body.is_empty());
    }
    let answer = Seen::of(&scene.house.gateway).get("/identity/jwks").await;
    assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_signs_nothing() {
    let scene = Scene::set().await;
    let folder = scene.house.gateway.folder.path();
    write(
        &folder.join("token.jwt"),
        &scene.house.issuer.token("alice", json!({})),
    );
    let url = format!("https://{HOST}/told/x");
    let asked = [
        "explain",
        "request",
        "GET",
        &url,
        "--token",
        "token.jwt",
        "--format",
        "json",
    ];

    let explained = portcullis(folder, &asked);

    assert_eq!(explained.code, Some(0), "{}", explained.err);
    let headers = explained.json()["endpoint"]["headers"].to_string();
    assert!(headers.contains("x-portcullis-identity"), "{headers}");
    assert!(headers.contains("(signed when it is sent)"), "{headers}");
    assert!(!explained.out.contains("eyJ"), "{}", explained.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_denied_is_told_to_nobody() {
    let scene = Scene::set().await;
    let bearer = scene.house.bearer("alice", json!({}));
    let fields = [("authorization", bearer.as_str())];
    let [h1, h2] = scene.workloads();
    for dial in [&h1, &h2] {
        let headers = scene.fields(dial, "/told/x", &fields).await;
        assert!(headers.contains_key(CERTIFICATE));
    }

    let denied = Dial::plain(scene.house.gateway.admin());
    let entry = json!({ "spiffe": WEB }).to_string();
    let answer = denied.send(Method::POST, "/deny", &[], entry.as_bytes()).await;
    assert!(answer.status.is_success(), "{answer:?}");

    // Also where the route does not ask for it, and the token beside it is as good as before.
    scene.endpoint.forget();
    for dial in [&h1, &h2] {
        for target in ["/told/x", "/mesh/x", "/open/x"] {
            let answer = dial.get(target, &fields).await;
            scene.house.assert_refused(&answer, 401, "certificate-revoked");
        }
    }
    assert!(scene.endpoint.received().is_empty());
    let headers = scene.fields(&scene.house.h2(), "/told/x", &fields).await;
    assert!(headers.contains_key(IDENTITY) && !headers.contains_key(CERTIFICATE));
}

/// How long a test that waits for the world to go on may take.
const A_WHILE: Duration = Duration::from_secs(20);
