//! `token`, `cert`, `cert list` and the admin port's `/identity`: what they say is what the running gateway does.

mod certificates;
mod tokens;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::{Ended, portcullis};
use crate::support::lists::list;
use crate::support::pki::seconds;
use crate::support::{Authority, Leaf, TokenIssuer, configure, folder, pki};

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

/// The checks that failed.
fn failed(checks: &Value) -> Vec<&str> {
    let checks = checks.as_array().unwrap().iter();
    let failed = checks.filter(|check| check["outcome"] == "failed");
    failed.map(|check| check["check"].as_str().unwrap()).collect()
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
