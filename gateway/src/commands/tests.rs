//! The commands that answer and exit, over small configurations.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::{Exit, execute};
use crate::cli::Cli;
use crate::output::Output;

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","use":"sig",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

const GOOD: &str = r#"
version: 1
listeners:
  plain: { listen: "127.0.0.1:0" }
issuers:
  idp: { issuer: "https://login.example.com", jwks: { file: jwks.json }, audiences: [api] }
pools:
  orders: { endpoints: [{ address: "127.0.0.1:3000" }, { dns: "orders.invalid:3000" }], danger_plaintext: true }
routes:
  - name: orders
    match: { path: "/orders/**" }
    authenticate: [{ jwt: idp }]
    authorize: [{ scope: orders }]
    pool: orders
  - { name: ping, match: { path: /ping }, public: true, respond: { status: 200, body: pong } }
"#;

/// A stream that a test reads afterwards.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("not JSON: {}{}", self.out, self.err))
    }
}

fn folder(configuration: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwks.json"), JWKS).unwrap();
    let path = folder.path().join("portcullis.yaml");
    fs::write(&path, configuration).unwrap();
    (folder, path)
}

fn run(arguments: &[&str], config: &Path) -> Ran {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = config.to_str().unwrap();
    let mut all = vec!["portcullis"];
    all.extend(arguments);
    all.extend(["--config", config]);
    let cli = Cli::try_parse_from(all).unwrap();
    let (out, err) = (Captured::default(), Captured::default());
    let exit = execute(cli.command, &mut Output::to(out.clone(), err.clone()));
    Ran {
        exit,
        out: out.text(),
        err: err.text(),
    }
}

#[test]
fn check_accepts_a_sound_configuration() {
    let (_folder, path) = folder(GOOD);

    let ran = run(&["check"], &path);

    assert_eq!(ran.exit, Exit::Clean, "{}", ran.err);
    assert!(
        ran.out.contains("sound; 1 listener, 2 routes, 1 pool"),
        "{}",
        ran.out
    );
}

/// The good configuration with a policy for the route, in a folder of its own.
fn with_policy(rego: &str) -> (TempDir, PathBuf) {
    let (folder, path) = folder(
        &GOOD
            .replace("authorize: [{ scope: orders }]", "authorize: [tenants]")
            .replace(
                "routes:",
                "policies: { tenants: { rego: p.rego, decision: data.p.decision } }\nroutes:",
            )
            .replace("authenticate: [{ jwt: idp }]", "public: true"),
    );
    fs::write(folder.path().join("p.rego"), format!("package p\n{rego}\n")).unwrap();
    (folder, path)
}

#[test]
fn check_verbose_says_under_which_facts_a_policy_is_remembered() {
    let (_folder, path) = with_policy("decision := input.principal.claims.tenant == input.route.name");

    let text = run(&["check", "--verbose"], &path);
    let json = run(&["check", "--verbose", "--format", "json"], &path).json();

    assert!(
        text.out.ends_with(
            "\n  policy tenants: remembered under input.principal.claims.tenant, input.route.name\n"
        ),
        "{}",
        text.out
    );
    assert_eq!(
        json["policies"],
        serde_json::json!([{ "name": "tenants", "remembered": true,
            "facts": ["input.principal.claims.tenant", "input.route.name"], "because": [] }])
    );
    assert!(
        run(&["check", "--format", "json"], &path)
            .json()
            .get("policies")
            .is_none()
    );
    assert!(!run(&["check"], &path).out.contains("policy tenants"));
}

#[test]
fn check_verbose_says_why_a_policy_is_evaluated_every_time() {
    let (_folder, path) = with_policy("decision := time.now_ns() > count(input.request.id)");

    let text = run(&["check", "--verbose"], &path);
    let json = run(&["check", "--verbose", "--format", "json"], &path).json();

    assert!(
        text.out
            .contains("policy tenants: not remembered: reads request.id (")
            && text.out.contains("p.rego:2:35); calls time.now_ns ("),
        "{}",
        text.out
    );
    assert_eq!(json["policies"][0]["remembered"], false);
    assert_eq!(json["policies"][0]["because"].as_array().map(Vec::len), Some(2));
}

#[test]
fn explain_evaluates_and_says_whether_the_traffic_would() {
    for (rego, said, remembered) in [
        (
            "decision := input.route.name == \"orders\"",
            "policy:tenants allows: evaluated afresh",
            true,
        ),
        (
            "decision := input.request.id != \"\"",
            "policy:tenants allows: evaluated, as every time",
            false,
        ),
        (
            "decision := input.route.name == \"other\"",
            "policy:tenants refuses: evaluated afresh",
            true,
        ),
    ] {
        let (_folder, path) = with_policy(rego);

        let ran = run(
            &[
                "explain",
                "request",
                "GET",
                "http://localhost/orders/7",
                "--format",
                "json",
            ],
            &path,
        );

        let json = ran.json();
        let step = json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["remembered"].is_boolean());
        let step = step.unwrap_or_else(|| panic!("{json:#}"));
        assert!(step["detail"].as_str().unwrap().starts_with(said), "{step}");
        assert_eq!(step["remembered"], remembered);
    }
}

#[test]
fn check_refuses_a_broken_one_with_every_problem_and_what_to_try() {
    let (_folder, path) = folder(
        &GOOD
            .replace("pool: orders", "pool: ordres")
            .replace("jwt: idp", "jwt: ipd"),
    );

    let ran = run(&["check", "--format", "json"], &path);

    assert_eq!(ran.exit, Exit::Problems);
    let text = ran.json().to_string();
    assert!(
        text.contains("did you mean \\\"orders\\\"") && text.contains("did you mean \\\"idp\\\""),
        "{text}"
    );
}

#[test]
fn routes_and_pools_are_listed_from_a_configuration() {
    let (_folder, path) = folder(GOOD);

    let routes = run(&["routes", "--format", "json"], &path).json();
    let pools = run(&["pools"], &path);

    assert_eq!(routes["routes"][0]["path"], "/orders/**");
    assert_eq!(routes["routes"][1]["public"], true);
    assert!(
        pools.out.contains("127.0.0.1:3000") && pools.out.contains("orders.invalid:3000"),
        "{}",
        pools.out
    );
}

#[test]
fn explain_forwards_proven_claims_and_says_what_it_assumed() {
    let (folder, path) = folder(GOOD);
    let claims = folder.path().join("claims.json");
    fs::write(&claims, r#"{"sub":"alice","scope":"orders"}"#).unwrap();

    let ran = run(
        &[
            "explain",
            "request",
            "GET",
            "http://localhost/orders/7",
            "--format",
            "json",
            "--claims",
            claims.to_str().unwrap(),
        ],
        &path,
    );

    let explanation = ran.json();
    assert_eq!(ran.exit, Exit::Clean, "{explanation:#}");
    assert_eq!(explanation["verdict"], "served");
    assert_eq!(explanation["principal"], "idp:alice");
    assert_eq!(explanation["endpoint"]["pool"], "orders");
    let assumed = explanation["assumed"].to_string();
    assert!(
        assumed.contains("healthy") && assumed.contains("no signature"),
        "{assumed}"
    );
    assert!(
        explanation["would_have_fetched"]
            .to_string()
            .contains("orders.invalid:3000"),
        "{explanation:#}"
    );
}

#[test]
fn explain_takes_the_claims_of_a_workload_and_of_a_stricter_issuer() {
    let mesh = GOOD
        .replace(
            "idp: { issuer: \"https://login.example.com\", jwks: { file: jwks.json }, audiences: [api] }",
            "idp: { spiffe: corp.example, jwks: { file: jwks.json }, audiences: [api] }",
        )
        .replace("authorize: [{ scope: orders }]", "authorize: [authenticated]");
    let strict = GOOD.replace(
        "audiences: [api] }",
        "audiences: [api], token_types: [at+jwt], max_lifetime: 1m, require_claims: { azp: [web] } }",
    );
    for (text, claims, principal) in [
        (
            &mesh,
            r#"{"sub":"spiffe://corp.example/web"}"#,
            "spiffe://corp.example/web",
        ),
        (
            &strict,
            r#"{"sub":"alice","scope":"orders","azp":"web"}"#,
            "idp:alice",
        ),
    ] {
        let (folder, path) = folder(&text.replace("\"use\":\"sig\"", "\"use\":\"jwt-svid\""));
        fs::write(
            folder.path().join("jwks.json"),
            JWKS.replace("\"sig\"", "\"jwt-svid\""),
        )
        .unwrap();
        if principal.starts_with("idp") {
            fs::write(folder.path().join("jwks.json"), JWKS).unwrap();
        }
        let file = folder.path().join("claims.json");
        fs::write(&file, claims).unwrap();
        let asked = [
            "explain",
            "request",
            "GET",
            "http://localhost/orders/7",
            "--format",
            "json",
            "--claims",
            file.to_str().unwrap(),
        ];

        let ran = run(&asked, &path);

        let explanation = ran.json();
        assert_eq!(explanation["principal"], principal, "{explanation:#}");
        assert_eq!(ran.exit, Exit::Clean, "{explanation:#}");
    }
}

#[test]
fn explain_names_the_line_that_refuses() {
    let (folder, path) = folder(GOOD);
    let claims = folder.path().join("claims.json");
    fs::write(&claims, r#"{"sub":"alice","scope":"other"}"#).unwrap();

    let ran = run(
        &[
            "explain",
            "request",
            "GET",
            "http://localhost/orders/7",
            "--format",
            "json",
            "--claims",
            claims.to_str().unwrap(),
        ],
        &path,
    );

    let explanation = ran.json();
    assert_eq!(ran.exit, Exit::Problems);
    assert_eq!(explanation["refusal"]["reason"], "scope-missing");
    assert!(
        explanation["refusal"]["decided_by"]
            .as_str()
            .unwrap()
            .contains("routes[0].authorize[0]")
    );
    assert_eq!(
        explanation["steps"].as_array().unwrap().last().unwrap()["detail"],
        "not reached"
    );
}

#[test]
fn explain_shows_an_ambiguous_path_as_it_was_typed() {
    let (_folder, path) = folder(GOOD);

    let ran = run(
        &[
            "explain",
            "request",
            "GET",
            "http://localhost/orders/..%2fping",
            "--format",
            "json",
        ],
        &path,
    );

    let explanation = ran.json();
    assert!(
        explanation["request"]
            .as_str()
            .unwrap()
            .ends_with("/orders/..%2fping")
    );
    assert_eq!(explanation["refusal"]["stage"], "normalize");
}

#[test]
fn explain_refuses_what_it_cannot_know() {
    let (_folder, path) = folder(GOOD);

    let foreign = run(&["explain", "request", "GET", "/orders/7"], &path);
    let listener = run(
        &["explain", "request", "GET", "https://localhost/orders/7"],
        &path,
    );

    assert_eq!(foreign.exit, Exit::Usage);
    assert!(foreign.err.contains("absolute"), "{}", foreign.err);
    assert_eq!(listener.exit, Exit::Usage);
    assert!(listener.err.contains("there are plain"), "{}", listener.err);
}

#[test]
fn explain_route_knows_its_objects_and_refuses_an_unknown_name() {
    let (_folder, path) = folder(GOOD);

    let known = run(&["explain", "route", "orders"], &path);
    let unknown = run(&["explain", "route", "ordres"], &path);

    assert!(known.out.contains("pool orders"), "{}", known.out);
    assert_eq!(unknown.exit, Exit::Problems);
    assert!(unknown.err.contains("orders, ping"), "{}", unknown.err);
}

#[test]
fn explain_route_shows_what_a_path_may_hold() {
    let every = "path: { allow: [encoded-slash, backslash, semicolon, empty-segment, double-encoding] }";
    for (opt_ins, shown) in [
        (
            "path: { allow: [semicolon, encoded-slash] }",
            "encoded-slash, semicolon",
        ),
        (
            every,
            "encoded-slash, backslash, semicolon, empty-segment, double-encoding",
        ),
        ("", "-"),
    ] {
        let text = GOOD.replacen("name: orders", &format!("name: orders\n    {opt_ins}"), 1);
        let (_folder, path) = folder(&text);

        let explained = run(&["explain", "route", "orders"], &path);

        let line = explained.out.lines().find(|line| line.starts_with("path_allow"));
        let words = line.unwrap().trim_start_matches("path_allow").trim();
        assert_eq!(words, shown, "{}", explained.out);
    }
}

#[test]
fn the_tour_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::try_parse_from([
        "portcullis",
        "demo",
        "--once",
        "--dir",
        folder.path().to_str().unwrap(),
    ])
    .unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (out, err) = (Captured::default(), Captured::default());

    let exit = execute(cli.command, &mut Output::to(out.clone(), err.clone()));

    assert_eq!(exit, Exit::Clean, "{}{}", out.text(), err.text());
    assert_eq!(
        run(&["check"], &folder.path().join("portcullis.yaml")).exit,
        Exit::Clean
    );
}

#[test]
fn the_demo_never_writes_into_a_folder_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "precious").unwrap();
    let cli = Cli::try_parse_from([
        "portcullis",
        "demo",
        "--once",
        "--dir",
        folder.path().to_str().unwrap(),
    ])
    .unwrap();
    let err = Captured::default();

    let exit = execute(cli.command, &mut Output::to(Captured::default(), err.clone()));

    assert_eq!(exit, Exit::Problems);
    assert!(err.text().contains("--dir"), "{}", err.text());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
