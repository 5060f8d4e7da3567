//! What `token` says of tokens.

use std::fs;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{DAY, House, ISSUER, claims, configuration, failed, folder_like};
use crate::support::pki::{base64url, seconds};
use crate::support::{Dial, TestGateway, TokenIssuer, configure};

/// Tokens, with the check that each fails; none for the good one.
fn tokens(issuer: &TokenIssuer) -> Vec<(Option<&'static str>, String)> {
    let now = seconds(SystemTime::now());
    let signed = |change: Value| issuer.sign(&claims(change));
    let header = |typ: &str, kid: &str| {
        let mut header = Header::new(Algorithm::ES256);
        (header.typ, header.kid) = (Some(typ.to_owned()), Some(kid.to_owned()));
        header
    };
    let good = signed(json!({}));
    let (message, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!(
        "{}.{}.",
        base64url(br#"{"alg":"none","typ":"JWT","kid":"k1"}"#),
        base64url(claims(json!({})).to_string().as_bytes())
    );
    vec![
        (None, good.clone()),
        (Some("form"), "abc.def".to_owned()),
        (
            Some("issuer"),
            signed(json!({ "iss": "https://login.example.com/" })),
        ),
        (
            Some("type"),
            issuer.sign_under(&header("id+jwt", "k1"), &claims(json!({}))),
        ),
        (Some("algorithm"), unsigned),
        (
            Some("key"),
            issuer.sign_under(&header("JWT", "k2"), &claims(json!({}))),
        ),
        (Some("signature"), format!("{message}.{}", base64url(&[7; 64]))),
        (Some("subject"), signed(json!({ "sub": null }))),
        (Some("audience"), signed(json!({ "aud": ["web", "other"] }))),
        (
            Some("expiry"),
            signed(json!({ "iat": now - 7200, "exp": now - 3600 })),
        ),
        (Some("expiry"), signed(json!({ "exp": "tomorrow" }))),
        (Some("start"), signed(json!({ "nbf": now + 1800 }))),
        (Some("lifetime"), signed(json!({ "exp": now + DAY }))),
        (Some("required-claim"), signed(json!({ "azp": "batch" }))),
        (Some("required-claim"), signed(json!({ "azp": null }))),
        (Some("attributes"), signed(json!({ "tenant": 7 }))),
        (Some("deny-list"), signed(json!({ "sub": "mallory" }))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn token_says_of_every_token_what_the_running_gateway_says() {
    let house = House::new();
    let gateway = TestGateway::start(folder_like(&house.folder));
    let dial = Dial::tls(
        gateway.address("public"),
        "api.example.com",
        house.authority.roots(),
        None,
    );
    for (check, token) in tokens(&house.issuer) {
        let field = format!("Bearer {token}");
        let answer = dial.get("/tokens", &[("authorization", &field)]).await;

        let said = house.token(&token, &["--format", "json"]);

        let view = said.json();
        let Some(check) = check else {
            assert_eq!((answer.status.as_u16(), said.code), (204, Some(0)), "{view:#}");
            assert_eq!(view["principal"]["name"], "idp:alice");
            assert_eq!(view["principal"]["roles"], json!(["staff"]));
            assert_eq!(view["principal"]["tenant"], "acme");
            continue;
        };
        assert_eq!(
            (answer.status.as_u16(), said.code),
            (401, Some(1)),
            "{check}: {view:#}"
        );
        assert_eq!(view["reason"], answer.code(), "{check}: {view:#}");
        assert_eq!(failed(&view["checks"])[0], check, "{view:#}");
        if check != "form" {
            let first = view["checks"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["check"] == check)
                .unwrap();
            assert!(
                first["would_pass"].as_str().is_some_and(|text| !text.is_empty()),
                "{first}"
            );
        }
    }
}

#[test]
fn token_says_what_would_pass_and_prints_no_part_of_the_token() {
    let house = House::new();
    for (check, token) in tokens(&house.issuer) {
        for format in ["text", "json"] {
            let said = house.token(&token, &["--format", format]);

            let printed = format!("{}{}", said.out, said.err);
            for part in token.split('.').filter(|part| part.len() > 8) {
                assert!(!printed.contains(part), "{check:?} {format}: {printed}");
            }
        }
    }
    let audience = house.token(
        &house.issuer.sign(&claims(json!({ "aud": ["web", "other"] }))),
        &[],
    );

    for said in [
        "failed   audience",
        "web",
        "api",
        "Refused with token-audience",
        "portcullis.yaml:13:",
    ] {
        assert!(
            audience.out.contains(said),
            "{said} is missing in:\n{}",
            audience.out
        );
    }
}

#[test]
fn token_judges_as_of_the_moment_that_it_is_given() {
    let house = House::new();
    let now = seconds(SystemTime::now());
    let old = house.issuer.sign(&claims(
        json!({ "iat": now - 7 * DAY, "exp": now - 7 * DAY + 3600 }),
    ));

    let today = house.token(&old, &[]);
    let then = house.token(&old, &["--at", &rfc3339(now - 7 * DAY + 60)]);
    let nonsense = house.token(&old, &["--at", "last week"]);

    assert_eq!(
        (today.code, then.code, nonsense.code),
        (Some(1), Some(0), Some(2)),
        "{}",
        then.out
    );
}

/// A whole second since the epoch, as the command line takes it.
fn rfc3339(second: u64) -> String {
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{second}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn token_ends_2_when_there_is_nothing_to_judge() {
    let house = House::new();
    let good = house.issuer.sign(&claims(json!({})));

    assert_eq!(house.token(&good, &["--issuer", "idp"]).code, Some(0));
    let other = house.token(&good, &["--issuer", "ipd"]);
    assert!(
        other.code == Some(2) && other.err.contains("there are idp"),
        "{}",
        other.err
    );
    assert_eq!(house.run(&["token", "nowhere.jwt"]).code, Some(2));
    assert_eq!(house.token(&good, &["--config", "nowhere.yaml"]).code, Some(2));
}

#[test]
fn what_cannot_be_asked_ends_2_everywhere_and_programs_read_why_on_standard_output() {
    let house = House::new();
    fs::write(house.folder.path().join("broken.yaml"), "version: 1\nroots: []\n").unwrap();
    // Nobody listens on the port of discarded bytes.
    let nobody = "http://127.0.0.1:9";
    for arguments in [
        &["deny", "list", "--admin", nobody][..],
        &[
            "deny", "add", "--sub", "alice", "--issuer", "idp", "--admin", nobody,
        ],
        &["deny", "remove", "0a", "--admin", nobody],
        &["explain", "endpoint", "10.0.0.1:80", "--admin", nobody],
        &["cert", "list", "--admin", nobody],
        &["routes", "--admin", nobody],
        &["token", "nowhere.jwt"],
        &["cert", "nowhere.pem"],
        &["cert", "server.pem", "--config", "broken.yaml"],
        &["token", "jwks.json", "--config", "broken.yaml"],
        &["cert", "list", "--config", "broken.yaml"],
        &[
            "explain",
            "request",
            "GET",
            "https://api.example.com/",
            "--config",
            "broken.yaml",
        ],
    ] {
        let people = house.run(arguments);
        let programs = house.run(&[arguments, &["--format", "json"]].concat());

        assert_eq!(
            (people.code, programs.code),
            (Some(2), Some(2)),
            "{arguments:?}: {}",
            people.err
        );
        assert!(!people.err.is_empty(), "{arguments:?}");
        assert!(
            programs.json()["problems"][0]["message"].is_string(),
            "{arguments:?}: {}{}",
            programs.out,
            programs.err
        );
    }
    assert_eq!(house.run(&["check", "--config", "broken.yaml"]).code, Some(1));
}

/// Serves one body to everybody, made for the address that it is served at.
async fn serve(body: impl FnOnce(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = body(&url);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn token_fetches_keys_as_run_does_and_offline_says_what_it_would_have_fetched() {
    let house = House::new();
    let url = serve(|_| house.issuer.jwks()).await;
    let good = house.issuer.sign(&claims(json!({})));
    let with = |keys: &str| configure(house.folder.path(), &configuration(keys));

    with(&format!(r#"{{ url: "{url}/jwks" }}"#));
    let fetched = house.token(&good, &["--format", "json"]);
    let offline = house.token(&good, &["--offline", "--format", "json"]);
    // Nobody named the host that this issuer's document leads to.
    let astray =
        serve(|url| json!({ "issuer": url, "jwks_uri": "https://keys.example.net/jwks" }).to_string()).await;
    let text = configuration("{ discovery: true }").replace(ISSUER, &astray);
    configure(house.folder.path(), &text);
    let good = house.issuer.sign(&claims(json!({ "iss": astray })));
    let forbidden = house.token(&good, &["--format", "json"]);

    assert_eq!(fetched.code, Some(0), "{}", fetched.out);
    assert!(
        fetched.json()["fetched"][0].as_str().unwrap().contains(&url),
        "{}",
        fetched.out
    );
    assert_eq!(offline.code, Some(2), "{}", offline.out);
    assert_eq!(offline.json()["verdict"], "not judged");
    assert_eq!(offline.json()["reason"], "keys-unavailable");
    assert!(
        offline.json()["would_have_fetched"][0]
            .as_str()
            .unwrap()
            .contains(&url)
    );
    assert_eq!(forbidden.json()["reason"], "keys-unavailable");
    let why = forbidden.json()["fetched"][0].as_str().unwrap().to_owned();
    assert!(why.contains("egress"), "{why}");
}
