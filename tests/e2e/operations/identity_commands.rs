//! `token`, `cert`, `cert list` and the admin port's `/identity`: what they say is what the running gateway does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, Header};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::commands::{Ended, portcullis};
use crate::support::lists::{Lists, list, overdue};
use crate::support::pki::{base64url, seconds};
use crate::support::{Authority, Dial, Leaf, Seen, TestGateway, TokenIssuer, configure, folder, pki};

const ISSUER: &str = "https://login.example.com";
const DAY: u64 = 86_400;
const HOUR: Duration = Duration::from_secs(3600);

fn configuration(keys: &str) -> String {
    format!(
        r#"version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: request, trust: [mesh] }}
trust:
  mesh: {{ spiffe: corp.example, pem: clients.pem, crl: [clients.crl] }}
revocation: {{ deny_list: deny.yaml }}
issuers:
  idp:
    issuer: "{ISSUER}"
    jwks: {keys}
    audiences: [api]
    token_types: [JWT]
    max_lifetime: 8h
    require_claims: {{ azp: [web, app] }}
    claims: {{ roles: realm_access.roles, tenant: tenant }}
routes:
  - name: tokens
    match: {{ path: "/tokens" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [authenticated]
    respond: {{ status: 204 }}
  - name: certificates
    match: {{ path: "/certificates" }}
    authenticate: [{{ mtls: mesh }}]
    authorize: [authenticated]
    respond: {{ status: 204 }}
"#
    )
}

const DENIED: &str = r#"
- { sub: mallory, reason: left the company }
- { spiffe: "spiffe://corp.example/denied" }
"#;

/// A folder, the authority of the gateway's own certificate and of its clients, and an issuer.
struct House {
    folder: TempDir,
    authority: Authority,
    /// Stands on the authority's list.
    revoked: Leaf,
    issuer: TokenIssuer,
}

impl House {
    fn new() -> Self {
        let (folder, authority) = (folder(), Authority::new("partners"));
        authority
            .leaf(&["api.example.com"], None)
            .write(folder.path(), "server");
        pki::write(&folder.path().join("clients.pem"), &authority.pem);
        let revoked = authority.leaf(&[], Some("spiffe://corp.example/revoked"));
        let list = list(&authority, &[&revoked], HOUR).pem().unwrap();
        pki::write(&folder.path().join("clients.crl"), &list);
        pki::write(&folder.path().join("deny.yaml"), DENIED);
        let issuer = TokenIssuer::new(ISSUER, "k1");
        pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
        configure(folder.path(), &configuration("{ file: jwks.json }"));
        Self {
            folder,
            authority,
            revoked,
            issuer,
        }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        portcullis(self.folder.path(), arguments)
    }

    /// What `token` says of a token.
    fn token(&self, token: &str, more: &[&str]) -> Ended {
        fs::write(self.folder.path().join("token.jwt"), format!("{token}\n")).unwrap();
        self.run(&[&["token", "token.jwt"], more].concat())
    }

    /// What `cert` says of a chain.
    fn cert(&self, pem: &str, more: &[&str]) -> Ended {
        fs::write(self.folder.path().join("shown.pem"), pem).unwrap();
        self.run(&[&["cert", "shown.pem"], more].concat())
    }
}

/// Claims that pass, with some of them different.
fn claims(change: Value) -> Value {
    let now = seconds(SystemTime::now());
    let mut claims = json!({ "iss": ISSUER, "sub": "alice", "aud": ["api", "other"], "iat": now, "exp": now + 3600,
        "azp": "web", "tenant": "acme", "realm_access": { "roles": ["staff"] }, "scope": "orders:read" });
    for (name, value) in change.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

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

/// The checks that failed.
fn failed(checks: &Value) -> Vec<&str> {
    let checks = checks.as_array().unwrap().iter();
    let failed = checks.filter(|check| check["outcome"] == "failed");
    failed.map(|check| check["check"].as_str().unwrap()).collect()
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

/// The same files once more, for a gateway of their own.
fn folder_like(original: &TempDir) -> TempDir {
    let copy = folder();
    for entry in fs::read_dir(original.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
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
    assert_eq!(offline.code, Some(1), "{}", offline.out);
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

/// What is said of every check, without what the clock moves between two runs.
fn words(checks: &Value) -> Value {
    let mut checks = checks.clone();
    for check in checks.as_array_mut().unwrap() {
        if ["expiry", "start", "lifetime"].contains(&check["check"].as_str().unwrap()) {
            check["found"] = Value::Null;
        }
    }
    checks
}

#[test]
fn explain_says_the_same_of_a_credential_at_authenticate() {
    let house = House::new();
    let bad = house.issuer.sign(&claims(json!({ "aud": "web" })));
    let url = "https://api.example.com/tokens";

    let token = house.token(&bad, &["--format", "json"]).json();
    let asked = ["explain", "request", "GET", url, "--token", "token.jwt"];
    let json = house.run(&[&asked[..], &["--format", "json"]].concat()).json();
    let text = house.run(&asked);

    assert_eq!(json["authentication"][0]["by"], "issuer idp");
    assert_eq!(
        words(&json["authentication"][0]["checks"]),
        words(&token["checks"])
    );
    assert_eq!(json["refusal"]["reason"], token["reason"]);
    assert!(
        text.out.contains("failed   audience") && text.out.contains("would pass: "),
        "{}",
        text.out
    );

    let stranger = Authority::new("strangers").leaf(&[], Some("spiffe://corp.example/web"));
    let cert = house.cert(&stranger.chain_pem, &["--format", "json"]).json();
    let asked = [
        "explain",
        "request",
        "GET",
        "https://api.example.com/certificates",
        "--cert",
        "shown.pem",
    ];
    let json = house.run(&[&asked[..], &["--format", "json"]].concat()).json();

    assert_eq!(json["authentication"][0]["by"], "trust mesh");
    assert_eq!(json["authentication"][0]["checks"], cert["trusts"][0]["checks"]);
    assert_eq!(json["refusal"]["reason"], cert["trusts"][0]["reason"]);
}

/// Chains, with the check that each fails; none for the good one.
fn chains(house: &House) -> Vec<(Option<&'static str>, Leaf)> {
    let authority = &house.authority;
    let uri = |id: &str| SanType::URI(id.try_into().unwrap());
    let web = "spiffe://corp.example/web";
    vec![
        (None, authority.leaf(&[], Some(web))),
        (Some("workload"), authority.leaf(&["web.corp.example"], None)),
        (
            Some("workload"),
            authority.leaf_with(vec![uri(web), uri("spiffe://corp.example/b")]),
        ),
        (
            Some("workload"),
            authority.leaf(&[], Some("spiffe://CORP.example/web")),
        ),
        (
            Some("domain"),
            authority.leaf(&[], Some("spiffe://other.example/web")),
        ),
        (Some("chain"), Authority::new("strangers").leaf(&[], Some(web))),
        (Some("revocation"), house.revoked.clone()),
        (
            Some("deny-list"),
            authority.leaf(&[], Some("spiffe://corp.example/denied")),
        ),
        (
            Some("purpose"),
            authority.leaf_shaped(vec![uri(web)], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            Some("validity"),
            authority.leaf_shaped(vec![uri(web)], |params| {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_says_of_every_chain_what_the_running_gateway_does_with_it() {
    let house = House::new();
    let gateway = TestGateway::start(folder_like(&house.folder));
    for (check, leaf) in chains(&house) {
        let (address, roots) = (gateway.address("public"), house.authority.roots());
        let dial = Dial::tls(address, "api.example.com", roots, Some(&leaf));
        let said = house.cert(&leaf.chain_pem, &["--format", "json"]);

        let view = said.json();
        let trust = &view["trusts"][0];
        match check {
            None => {
                let answer = dial.get("/certificates", &[]).await;
                assert_eq!((answer.status.as_u16(), said.code), (204, Some(0)), "{view:#}");
                assert_eq!(view["certificates"][0]["spiffe_id"], "spiffe://corp.example/web");
                assert_eq!(view["routes"][0]["accepted_by"], "mesh");
            }
            Some(check) => {
                assert_eq!(said.code, Some(1), "{check}: {view:#}");
                assert_eq!(failed(&trust["checks"])[0], check, "{view:#}");
                assert_eq!(view["routes"][0]["accepted_by"], Value::Null, "{check}");
            }
        }
        // With TLS 1.3 a client learns of the refusal when it reads.
        let is_let_in = match dial.connect().await {
            Ok(mut client) => client
                .send(http::Method::GET, "/certificates", &[], b"")
                .await
                .is_ok(),
            Err(_) => false,
        };
        assert_eq!(trust["passes_handshake"], is_let_in, "{check:?}: {view:#}");
        let accepted = view["listeners"][0]["accepted_by"].as_array().unwrap().len();
        assert_eq!(accepted == 1, is_let_in, "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_fetches_lists_as_run_does_and_knows_a_late_one() {
    let (house, lists) = (House::new(), Lists::start().await);
    let good = house.authority.leaf(&[], Some("spiffe://corp.example/web"));
    lists.serve("/a.crl", &list(&house.authority, &[&house.revoked], HOUR));
    lists.serve("/late.crl", &overdue(&house.authority, &[]));
    let with = |path: &str| {
        let text =
            configuration("{ file: jwks.json }").replace("clients.crl", &format!("\"{}\"", lists.url(path)));
        configure(house.folder.path(), &text);
    };
    let reason = |ended: &Ended| ended.json()["trusts"][0]["reason"].clone();

    with("/a.crl");
    let fetched = house.cert(&good.chain_pem, &["--format", "json"]);
    let revoked = house.cert(&house.revoked.chain_pem, &["--format", "json"]);
    let offline = house.cert(&good.chain_pem, &["--offline", "--format", "json"]);
    with("/late.crl");
    let late = house.cert(&good.chain_pem, &["--format", "json"]);
    with("/nowhere.crl");
    let missing = house.cert(&good.chain_pem, &["--format", "json"]);

    assert_eq!(
        (fetched.code, revoked.code),
        (Some(0), Some(1)),
        "{}{}",
        fetched.out,
        fetched.err
    );
    assert_eq!(reason(&revoked), "certificate-revoked");
    assert!(
        fetched.json()["fetched"][0]
            .as_str()
            .unwrap()
            .contains("1 revoked"),
        "{}",
        fetched.out
    );
    for (unknown, why) in [
        (&offline, "would_have_fetched"),
        (&late, "fetched"),
        (&missing, "fetched"),
    ] {
        assert_eq!(
            (unknown.code, reason(unknown)),
            (Some(1), json!("certificate-status-unknown")),
            "{}",
            unknown.out
        );
        assert!(
            unknown.json()[why][0].as_str().unwrap().contains(".crl"),
            "{}",
            unknown.out
        );
    }
    assert!(
        missing.json()["fetched"][0].as_str().unwrap().contains("404"),
        "{}",
        missing.out
    );
}

#[test]
fn cert_reads_der_and_says_what_a_certificate_is_without_a_configuration() {
    let (house, elsewhere) = (House::new(), folder());
    let leaf = house
        .authority
        .leaf(&["web.corp.example"], Some("spiffe://corp.example/web"));
    fs::write(elsewhere.path().join("leaf.der"), &leaf.chain()[0]).unwrap();
    fs::write(elsewhere.path().join("nothing.pem"), "nothing").unwrap();

    let told = portcullis(elsewhere.path(), &["cert", "leaf.der"]);
    let nothing = portcullis(elsewhere.path(), &["cert", "nothing.pem"]);

    assert!(
        told.out.contains("spiffe://corp.example/web") && told.out.contains("clientAuth"),
        "{}",
        told.out
    );
    if !Path::new("/etc/portcullis").exists() {
        assert_eq!(told.code, Some(2), "not judged");
    }
    assert!(
        nothing.code == Some(2) && nothing.err.contains("holds no certificate"),
        "{}",
        nothing.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_list_puts_what_ends_first_on_top_and_the_admin_port_says_the_same() {
    let house = House::new();
    let short = house.authority.leaf_shaped(
        vec![SanType::DnsName("api.example.com".try_into().unwrap())],
        |params| params.not_after = (SystemTime::now() + Duration::from_secs(10 * DAY)).into(),
    );
    short.write(house.folder.path(), "server");

    let month = house.run(&["cert", "list", "--format", "json"]);
    let week = house.run(&["cert", "list", "--warn-within", "7d"]);

    assert_eq!(
        (month.code, week.code),
        (Some(1), Some(0)),
        "{}{}",
        month.out,
        week.err
    );
    let view = month.json();
    let holdings = view["holdings"].as_array().unwrap();
    let first = &holdings[1];
    assert_eq!(
        (&first["kind"], &first["state"]),
        (&json!("certificate"), &json!("soon")),
        "{view:#}"
    );
    assert_eq!(first["used_by"], "listener public");
    let kinds: Vec<&str> = holdings.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["crl", "certificate", "anchor", "key-set"]);
    assert!(
        week.out.contains("in 9 d") && week.out.contains("DNS:api.example.com"),
        "{}",
        week.out
    );

    let gateway = TestGateway::start(folder_like(&house.folder));
    let admin = format!("http://{}", gateway.admin());
    let live =
        tokio::task::block_in_place(|| house.run(&["cert", "list", "--admin", &admin, "--format", "json"]));
    let seen = Seen::of(&gateway);

    assert_eq!(live.code, Some(1), "{}", live.err);
    let live = live.json();
    assert_eq!(live["holdings"][1]["sha256"], first["sha256"]);
    assert_eq!(live["issuers"][0]["keys"], 1);
    assert_eq!(live["holdings"], {
        let mut shown = seen.json("/identity").await["holdings"].clone();
        for (one, said) in shown
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(live["holdings"].as_array().unwrap())
        {
            one["state"] = said["state"].clone();
            one["ends_in_seconds"] = said["ends_in_seconds"].clone();
        }
        shown
    });
    let name = "portcullis_identity_certificate_expiry_timestamp_seconds";
    let ends = seen.metric(name, &[r#"certificate="api.example.com""#]).await;
    let left = ends - seconds(SystemTime::now()) as f64;
    assert!((9.9..10.1).contains(&(left / DAY as f64)), "{left}");
    assert!(seen.metric(name, &[r#"certificate="trust mesh""#]).await > ends);
}

#[test]
fn cert_list_says_what_it_cannot_list() {
    let house = House::new();
    fs::remove_file(house.folder.path().join("server.key")).unwrap();

    let listed = house.run(&["cert", "list"]);

    assert!(
        listed.err.contains("not listed") && listed.err.contains("server.key"),
        "{}",
        listed.err
    );
    assert!(!listed.out.contains("listener public"), "{}", listed.out);
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_example_of_identity_is_sound() {
    let authority = Authority::new("partners");
    let examples = repository().join("deploy/examples/identity");
    let mut checked = Vec::new();
    for entry in fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let here = folder();
        let beside = here.path().join("identity");
        // Beside the file, or beside its folder as for the examples above it.
        for certs in [beside.join("certs"), here.path().join("certs")] {
            fs::create_dir_all(&certs).unwrap();
            authority
                .leaf(&["partners.example.com"], None)
                .write(&certs, "server");
            pki::write(&certs.join("partners-ca.pem"), &authority.pem);
            pki::write(
                &certs.join("partners.crl"),
                &list(&authority, &[], HOUR).pem().unwrap(),
            );
        }
        fs::copy(&path, beside.join(&name)).unwrap();

        let ended = portcullis(&beside, &["check", "--offline", "--config", &name]);

        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
        assert!(
            !ended.out.contains("warning"),
            "{name}: {}{}",
            ended.out,
            ended.err
        );
        checked.push(name);
    }
    for expected in ["auth0", "entra", "keycloak", "okta", "partners-mtls", "spire"] {
        let name = format!("{expected}.yaml");
        assert!(checked.contains(&name), "{name}: {checked:?}");
    }
}
