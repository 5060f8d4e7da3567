//! Hostile tokens by class: each is refused with its code, tells its sender nothing, and leaves the endpoint alone.

use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{TEXT, bearer, claims, plain, raw};
use crate::support::pki::{base64url, write};
use crate::support::{Endpoint, TestGateway, TokenIssuer, configure, folder};

struct Scene {
    gateway: TestGateway,
    endpoint: Endpoint,
    issuer: TokenIssuer,
}

impl Scene {
    async fn set() -> Self {
        let endpoint = Endpoint::start("orders").await;
        let issuer = TokenIssuer::new("https://login.example.com", "k1");
        let folder = folder();
        write(&folder.path().join("jwks.json"), &issuer.jwks());
        let idp =
            "  idp: { issuer: \"https://login.example.com\", jwks: { file: jwks.json }, audiences: [api] }";
        let text = TEXT
            .replace("ISSUERS", idp)
            .replace("SCHEMES", "{ jwt: idp }")
            .replace("ENDPOINT", &endpoint.address.to_string());
        configure(folder.path(), &text);
        Self {
            gateway: TestGateway::start(folder),
            endpoint,
            issuer,
        }
    }

    /// Sends each on one connection and checks the refusal; in the end an honest token passes there.
    async fn refuse(&self, tokens: Vec<(&str, String)>) {
        let mut client = plain(&self.gateway).connect().await.unwrap();
        for (code, token) in tokens {
            let fields = [("authorization", bearer(&token))];
            let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = client.send(Method::GET, "/api", &fields, b"").await.unwrap();
            assert_eq!(answer.status, 401, "{token}");
            assert_eq!(answer.code(), code, "{token}");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm=\"portcullis\", error=\"invalid_token\""));
            let problem = answer.json();
            let told = format!("{challenge} {} {}", problem["title"], problem["detail"]);
            for value in ["login.example.com", "alice", "evil", "k1", "api"] {
                assert!(!told.contains(value), "{value}: {told}");
            }
        }
        assert_eq!(self.endpoint.requests(), 0);
        let honest = bearer(&self.issuer.sign(&claims(&self.issuer)));
        let fields = [("authorization", honest.as_str())];
        let answer = client.send(Method::GET, "/api", &fields, b"").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(self.endpoint.requests(), 1);
        assert!(!self.endpoint.last().headers.contains_key("authorization"));
    }

    fn header(&self, more: Value) -> String {
        let mut header = json!({ "alg": "ES256", "kid": "k1" });
        for (name, value) in more.as_object().into_iter().flatten() {
            header[name] = value.clone();
        }
        header.to_string()
    }

    /// An honest token's parts.
    fn parts(&self) -> [String; 3] {
        let token = self.issuer.sign(&claims(&self.issuer));
        let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_its_own_honest_signature_is_refused() {
    let scene = Scene::set().await;
    let text = claims(&scene.issuer).to_string();
    let [header, body, signature] = scene.parts();
    let own = format!("{header}.{body}");
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &[1; 32], &[0x02, 0x20], &[1; 32]].concat();
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap())
        .collect();

    let mut tokens: Vec<(&str, String)> = Vec::new();
    // RFC 8725 section 3.1, CVE-2015-9235: `none` in every spelling, with and without a signature.
    for none in ["none", "None", "NONE", "nOnE", " none", "none\u{0}", ""] {
        let header = scene.header(json!({ "alg": none }));
        tokens.push(("token-algorithm", raw(&header, &text, b"")));
        tokens.push(("token-algorithm", raw(&header, &text, &[1; 64])));
    }
    // CVE-2022-21449: r = s = 0, r = 0, s = 0, and numbers of the group's order.
    tokens.push(("token-signature", format!("{own}.{}", base64url(&[0; 64]))));
    for half in [
        [&[0; 32][..], &[1; 32]].concat(),
        [&[1; 32][..], &[0; 32]].concat(),
    ] {
        tokens.push(("token-signature", format!("{own}.{}", base64url(&half))));
    }
    tokens.push((
        "token-signature",
        format!("{own}.{}", base64url(&[&order[..], &order].concat())),
    ));
    // RFC 7518 section 3.4: 64 octets, neither fewer nor more, and not the form of ASN.1.
    for length in [0, 1, 63, 65, 96, 128] {
        tokens.push((
            "token-signature",
            format!("{own}.{}", base64url(&vec![1; length])),
        ));
    }
    tokens.push(("token-signature", format!("{own}.{}", base64url(&der))));
    tokens.push(("token-signature", format!("{own}.{signature}AAAA")));
    // RFC 8725 section 2.5: what was signed is another thing than what is sent.
    let others = json!({ "iss": scene.issuer.url, "sub": "root", "aud": "api", "exp": 4_000_000_000_u64 });
    tokens.push((
        "token-signature",
        format!(
            "{header}.{}.{signature}",
            base64url(others.to_string().as_bytes())
        ),
    ));
    scene.refuse(tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_never_chooses_its_key() {
    let scene = Scene::set().await;
    let claims = claims(&scene.issuer);
    let text = claims.to_string();
    let evil = TokenIssuer::new(&scene.issuer.url, "k1");

    let mut tokens: Vec<(&str, String)> = Vec::new();
    // RFC 8725 section 3.10, CVE-2018-0114: the sender's own key, where the header may carry or name one.
    let mut carried = Header::new(Algorithm::ES256);
    carried.kid = Some("k1".to_owned());
    carried.jwk = serde_json::from_value(evil.jwk()).unwrap();
    carried.jku = Some("http://127.0.0.1:1/jwks".to_owned());
    carried.x5u = Some("http://127.0.0.1:1/x5u".to_owned());
    carried.x5c = Some(vec!["AAAA".to_owned()]);
    tokens.push(("token-signature", evil.sign_under(&carried, &claims)));
    // RFC 7515 section 4.1.4: a key id is a name, never a path, a query or a command.
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "k1' OR '1'='1",
        "k1\" UNION SELECT 'secret' --",
        "k1; sleep 5",
        "$(id)",
        "k1\u{0}",
        "K1",
        " k1",
        "",
        "http://127.0.0.1:1/k1",
    ] {
        let header = scene.header(json!({ "kid": kid }));
        tokens.push(("token-key-unknown", raw(&header, &text, &[1; 64])));
    }
    for kid in [
        json!(1),
        json!(["k1"]),
        json!({ "kid": "k1" }),
        json!(null),
        json!("k".repeat(300)),
    ] {
        let header = scene.header(json!({ "kid": kid }));
        tokens.push(("token-malformed", raw(&header, &text, &[1; 64])));
    }
    // RFC 8725 section 2.1, CVE-2026-34950 and its like: the public key as a secret, in all of its spellings.
    let pem = scene.issuer.public_pem();
    let x = scene.issuer.jwk()["x"].as_str().unwrap().to_owned();
    for secret in [
        &*pem,
        pem.trim_end(),
        &*scene.issuer.jwks(),
        &*scene.issuer.jwk().to_string(),
        &*x,
        "",
    ] {
        for (name, algorithm) in [
            ("HS256", Algorithm::HS256),
            ("HS384", Algorithm::HS384),
            ("HS512", Algorithm::HS512),
        ] {
            let mut header = Header::new(algorithm);
            header.kid = Some("k1".to_owned());
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes()));
            assert!(forged.is_ok(), "{name}");
            tokens.push(("token-algorithm", forged.unwrap()));
        }
    }
    // RFC 8725 section 3.1: another algorithm than the key's.
    for alg in [
        "RS256", "PS256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "es256", "ECDH-ES", "dir",
    ] {
        let header = scene.header(json!({ "alg": alg }));
        tokens.push(("token-algorithm", raw(&header, &text, &[1; 64])));
    }
    scene.refuse(tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_two_readings_is_refused() {
    let scene = Scene::set().await;
    let [header, body, signature] = scene.parts();
    let text = claims(&scene.issuer).to_string();
    let good = scene.header(json!({}));
    let malformed = "token-malformed";
    let twice = |member: &str| text.replacen('{', &format!("{{{member},"), 1);

    let mut tokens: Vec<(&str, String)> = vec![
        // RFC 7519 section 4, RFC 8725 section 2.4: a member twice, however it is spelt.
        (malformed, raw(&good, &twice(r#""sub":"root""#), &[1; 64])),
        (malformed, raw(&good, &twice(r#""\u0073ub":"root""#), &[1; 64])),
        (
            malformed,
            raw(r#"{"alg":"none","alg":"ES256","kid":"k1"}"#, &text, &[1; 64]),
        ),
        // RFC 7515 section 4.1.11, RFC 7797: `crit` with anything, `b64: false` with its `crit`.
        (
            malformed,
            raw(
                &scene.header(json!({ "crit": ["b64"], "b64": false })),
                &text,
                &[1; 64],
            ),
        ),
        (
            malformed,
            raw(
                &scene.header(json!({ "crit": ["exp"], "exp": 1 })),
                &text,
                &[1; 64],
            ),
        ),
        (
            malformed,
            raw(&scene.header(json!({ "crit": [] })), &text, &[1; 64]),
        ),
        (
            malformed,
            raw(&scene.header(json!({ "crit": "b64" })), &text, &[1; 64]),
        ),
        // RFC 7516 section 3: five parts are encrypted, and not for us. RFC 7515 section 7.1: three, not two or four.
        (
            malformed,
            format!("{header}.{body}.{signature}.{body}.{signature}"),
        ),
        (malformed, format!("{header}.{body}.{signature}.")),
        (malformed, format!("{header}.{body}")),
        (malformed, format!(".{body}.{signature}")),
        (malformed, format!("{header}..{signature}")),
        (malformed, "..".to_owned()),
        // RFC 7515 section 2: base64url without padding, in its one alphabet.
        (malformed, format!("{header}=.{body}.{signature}")),
        (malformed, format!("{header}.{body}.{signature}==")),
        (
            malformed,
            format!("{header}.{}+.{signature}", &body[..body.len() - 1]),
        ),
        // RFC 8259: one document, in UTF-8, without a mark before it.
        (malformed, raw(&format!("{good} {good}"), &text, &[1; 64])),
        (malformed, raw(&format!("\u{feff}{good}"), &text, &[1; 64])),
        (malformed, raw("null", &text, &[1; 64])),
        (malformed, raw(&good, "[]", &[1; 64])),
        (
            malformed,
            format!("{header}.{}.{signature}", base64url(&[0xff, 0xfe])),
        ),
        // A nested token: its claims are another token.
        (
            malformed,
            raw(
                &scene.header(json!({ "cty": "JWT" })),
                &format!("{header}.{body}.{signature}"),
                &[1; 64],
            ),
        ),
    ];
    tokens.extend(with_another_last_letter([&header, &body, &signature]));
    scene.refuse(tokens).await;
}

/// RFC 4648 section 3.5: bits that nobody reads are zero. 64 octets leave four of them in the last letter.
fn with_another_last_letter([header, body, signature]: [&str; 3]) -> Vec<(&'static str, String)> {
    let mut tokens = Vec::new();
    let last = signature.chars().last().unwrap();
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if other != last {
            let spoilt = format!("{}{other}", &signature[..signature.len() - 1]);
            let code = if "AQgw".contains(other) {
                "token-signature"
            } else {
                "token-malformed"
            };
            tokens.push((code, format!("{header}.{body}.{spoilt}")));
        }
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_huge_or_deep_is_refused_and_costs_nothing() {
    let scene = Scene::set().await;
    let good = scene.header(json!({}));
    let text = claims(&scene.issuer).to_string();
    let with = |member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let deep = |open: &str, close: &str, depth: usize| {
        with(&format!(
            r#""deep":{}1{}"#,
            open.repeat(depth),
            close.repeat(depth)
        ))
    };

    // CVE-2025-27144 and its like: no part of a token makes work out of proportion. RFC 8259 section 9: depth has a bound.
    let tokens = vec![
        ("token-malformed", raw(&good, &deep("[", "]", 5_000), &[1; 64])),
        (
            "token-malformed",
            raw(&good, &deep("{\"a\":", "}", 1_500), &[1; 64]),
        ),
        (
            "token-malformed",
            raw(&scene.header(json!({ "x": "y".repeat(16_000) })), &text, &[1; 64]),
        ),
        (
            "token-malformed",
            raw(
                &good,
                &with(&format!(r#""x":"{}""#, "y".repeat(14_000))),
                &[1; 64],
            ),
        ),
        ("token-malformed", ".".repeat(16_000)),
        ("token-malformed", "A".repeat(16_000)),
        ("token-malformed", raw(&good, &with(r#""x":1e400"#), &[1; 64])),
    ];
    scene.refuse(tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_signed_and_still_wrong_is_refused() {
    let scene = Scene::set().await;
    let spoilt = |name: &str, value: Value| {
        let mut claims = claims(&scene.issuer);
        claims[name] = value;
        scene.issuer.sign(&claims)
    };
    let now = claims(&scene.issuer)["iat"].as_u64().unwrap();

    let mut tokens: Vec<(&str, String)> = vec![
        // RFC 7519 section 4.1.3: a list, a text, an empty list, an empty text.
        ("token-audience", spoilt("aud", json!([]))),
        ("token-audience", spoilt("aud", json!(""))),
        ("token-audience", spoilt("aud", json!(["other", "API"]))),
        ("token-audience", spoilt("aud", json!("api other"))),
        ("token-claims", spoilt("aud", json!({ "api": 1 }))),
        ("token-claims", spoilt("aud", json!(["api", 1]))),
        ("token-expired", spoilt("exp", json!(0))),
        ("token-expired", spoilt("exp", json!(now - 31))),
        // An issue date in the far future is of a clock that we do not know.
        ("token-not-yet-valid", spoilt("iat", json!(now + 86_400))),
        ("token-not-yet-valid", spoilt("nbf", json!(now + 3_600))),
        // RFC 8725 section 3.8: the issuer to the letter.
        (
            "token-issuer-unknown",
            spoilt("iss", json!("https://login.example.com/")),
        ),
        (
            "token-issuer-unknown",
            spoilt("iss", json!("HTTPS://login.example.com")),
        ),
        (
            "token-issuer-unknown",
            spoilt("iss", json!("https://login.example.com.evil.example")),
        ),
        (
            "token-claims",
            spoilt("iss", json!(["https://login.example.com"])),
        ),
        ("token-claims", spoilt("sub", json!(""))),
        ("token-claims", spoilt("sub", json!(["alice"]))),
        ("token-lifetime", spoilt("exp", json!(now + 86_401))),
    ];
    // CVE-2026-25537: a date of another type is refused, not skipped.
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!(now.to_string()),
            json!([now]),
            json!(-1),
            json!(1e300),
            json!(true),
        ] {
            tokens.push(("token-claims", spoilt(name, value)));
        }
    }
    // RFC 8725 section 3.11: what was made for something else, signed by the right key.
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "kb+jwt",
        "portcullis-identity+jwt",
    ] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        header.typ = Some(typ.to_owned());
        tokens.push((
            "token-type",
            scene.issuer.sign_under(&header, &claims(&scene.issuer)),
        ));
    }
    scene.refuse(tokens).await;
}
