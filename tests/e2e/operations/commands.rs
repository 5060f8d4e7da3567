//! The command line as people and programs use it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Authority, Dial, Endpoint, TestGateway, TokenIssuer, configure, folder, pki};

/// What a command printed and how it ended.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("not JSON: {} {}", self.out, self.err))
    }
}

pub fn portcullis(folder: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PORTCULLIS_CONFIG")
        .env_remove("PORTCULLIS_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

const CONTRACT: &str = r#"
openapi: 3.1.0
info: { title: Orders, version: "1" }
paths:
  /orders:
    post:
      operationId: createOrder
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              additionalProperties: false
              required: [item, count]
              properties: { item: { type: string }, count: { type: integer, minimum: 1 } }
      responses: { "200": { description: Made. } }
  /orders/{id}:
    get:
      operationId: readOrder
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { "200": { description: One. } }
"#;

/// Line numbers in it are part of what is promised.
fn text(endpoint: &str) -> String {
    format!(
        r#"version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public: {{ listen: "127.0.0.1:0", tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }} }}
issuers:
  idp: {{ issuer: "https://login.example.com", jwks: {{ file: jwks.json }}, audiences: [api] }}
contracts:
  orders: {{ openapi: orders.yaml }}
pools:
  orders: {{ endpoints: [{{ address: "{endpoint}" }}] }}
routes:
  - name: orders
    match: {{ path: "/orders/**" }}
    authenticate: [{{ jwt: idp }}]
    contract: orders
    authorize: [{{ scope: orders }}]
    pool: orders
  - {{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}
"#
    )
}

fn written(endpoint: &str) -> (TempDir, Authority, TokenIssuer) {
    let (folder, authority) = (folder(), Authority::new("edge"));
    authority
        .leaf(&["api.example.com"], None)
        .write(folder.path(), "server");
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
    pki::write(&folder.path().join("orders.yaml"), CONTRACT);
    configure(folder.path(), &text(endpoint));
    (folder, authority, issuer)
}

#[test]
fn check_ends_0_when_sound_1_with_problems_and_2_when_misused() {
    let (folder, ..) = written("127.0.0.1:3000");
    let sound = portcullis(folder.path(), &["check"]);
    let sound_json = portcullis(folder.path(), &["check", "--format", "json"]);
    pki::write(
        &folder.path().join("portcullis.yaml"),
        &text("127.0.0.1:3000").replace("pool: orders\n", "pool: ordres\n"),
    );
    let unsound = portcullis(folder.path(), &["check"]);
    let unsound_json = portcullis(folder.path(), &["check", "--format", "json"]);

    assert_eq!(sound.code, Some(0), "{}", sound.err);
    assert!(sound.out.contains("sound"), "{}", sound.out);
    assert_eq!(
        (sound_json.code, &sound_json.json()["errors"]),
        (Some(0), &json!(0))
    );
    assert_eq!(unsound.code, Some(1));
    assert!(unsound.err.contains("portcullis.yaml:17:"), "{}", unsound.err);
    assert!(
        unsound.err.contains("did you mean \"orders\"?"),
        "{}",
        unsound.err
    );
    assert!(!unsound.err.contains('\u{1b}'), "no colour where nobody looks");
    let problem = &unsound_json.json()["problems"][0];
    assert_eq!(
        (unsound_json.code, &problem["origin"]["line"]),
        (Some(1), &json!(17))
    );
    assert_eq!(
        portcullis(folder.path(), &["check", "--config", "nowhere.yaml"]).code,
        Some(1)
    );
    assert_eq!(portcullis(folder.path(), &["check", "--colour"]).code, Some(2));
    assert_eq!(portcullis(folder.path(), &["serve"]).code, Some(2));
    let empty = crate::support::folder();
    if !Path::new("/etc/portcullis").exists() {
        assert_eq!(
            portcullis(empty.path(), &["check"]).code,
            Some(2),
            "there is nothing to check"
        );
    }
}

#[test]
fn check_says_all_problems_at_once_and_needs_no_secrets_offline() {
    let (folder, ..) = written("127.0.0.1:3000");
    fs::remove_file(folder.path().join("server.key")).unwrap();
    assert_eq!(portcullis(folder.path(), &["check", "--offline"]).code, Some(0));
    assert_eq!(portcullis(folder.path(), &["check"]).code, Some(1));

    let bad = text("127.0.0.1:3000")
        .replace("pool: orders\n", "pool: ordres\n")
        .replace("jwks.json", "gone.json");
    pki::write(&folder.path().join("portcullis.yaml"), &bad);
    let ended = portcullis(folder.path(), &["check", "--format", "json"]);

    assert_eq!(
        (ended.code, &ended.json()["errors"]),
        (Some(1), &json!(3)),
        "{}",
        ended.out
    );
}

/// A request, and how it must end: status, stage, reason, and the line that decides.
struct Case {
    method: Method,
    path: &'static str,
    scope: Option<&'static str>,
    body: &'static str,
    ends: (u16, Option<(&'static str, &'static str)>, Option<usize>),
}

fn cases() -> Vec<Case> {
    let get = |path, scope, ends| Case {
        method: Method::GET,
        path,
        scope,
        body: "",
        ends,
    };
    let post = |body, ends| Case {
        method: Method::POST,
        path: "/orders",
        scope: Some("orders"),
        body,
        ends,
    };
    vec![
        get("/orders/7", Some("orders"), (200, None, None)),
        get("/ping", None, (200, None, None)),
        get(
            "/orders/7",
            None,
            (401, Some(("authenticate", "credentials-missing")), Some(14)),
        ),
        get(
            "/orders/7",
            Some("other"),
            (403, Some(("authorize", "scope-missing")), Some(16)),
        ),
        get(
            "/nowhere",
            None,
            (404, Some(("match_route", "route-not-found")), None),
        ),
        post(r#"{"item":"tea","count":1}"#, (200, None, None)),
        post(
            r#"{"item":"tea","count":0}"#,
            (422, Some(("validate_body", "body-invalid")), Some(15)),
        ),
    ]
}

/// What explain says of a case, and what the running gateway then does with it.
async fn explained_and_done(
    gateway: &TestGateway,
    dial: &Dial,
    issuer: &TokenIssuer,
    case: &Case,
) -> (Ended, Answer) {
    let url = format!("https://api.example.com{}", case.path);
    let mut asked = vec![
        "explain",
        "request",
        case.method.as_str(),
        &url,
        "--format",
        "json",
    ];
    let mut fields = Vec::new();
    let bearer = case
        .scope
        .map(|scope| issuer.token("alice", json!({ "scope": scope })))
        .unwrap_or_default();
    let field = format!("Bearer {bearer}");
    if case.scope.is_some() {
        fs::write(gateway.path("token.jwt"), &bearer).unwrap();
        asked.extend(["--token", "token.jwt"]);
        fields.push(("authorization", field.as_str()));
    }
    if !case.body.is_empty() {
        fs::write(gateway.path("body.json"), case.body).unwrap();
        asked.extend(["--body", "body.json", "-H", "content-type: application/json"]);
        fields.push(("content-type", "application/json"));
    }

    let explained = portcullis(gateway.folder.path(), &asked);
    let answer = dial
        .send(case.method.clone(), case.path, &fields, case.body.as_bytes())
        .await;
    (explained, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_agrees_with_what_the_running_gateway_does() {
    let endpoint = Endpoint::start("one").await;
    let (folder, authority, issuer) = written(&endpoint.address.to_string());
    let gateway = TestGateway::start(folder);
    let dial = Dial::tls(
        gateway.address("public"),
        "api.example.com",
        authority.roots(),
        None,
    );
    for case in cases() {
        let (explained, answer) = explained_and_done(&gateway, &dial, &issuer, &case).await;

        let what = format!("{} {} {:?}", case.method, case.path, case.scope);
        let (status, refusal, line) = case.ends;
        let (view, record) = (explained.json(), gateway.access_line(&answer.request_id()));
        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        assert_eq!(explained.code, Some(i32::from(refusal.is_some())), "{what}");
        assert_eq!(view["route"], record["route"], "{what}");
        assert_eq!(view["revision"], record["revision"], "{what}");
        if let Some((stage, reason)) = refusal {
            let ends =
                json!({ "stage": stage, "reason": reason, "decided_by": view["refusal"]["decided_by"] });
            assert_eq!(view["refusal"], ends, "{what}");
            assert_eq!(view["answer"]["status"], status, "{what}");
            assert_eq!(
                (&record["stage"], &record["reason"]),
                (&json!(stage), &json!(reason)),
                "{what}"
            );
            assert_eq!(answer.code(), reason, "{what}");
        } else {
            assert_eq!(view["verdict"], "served", "{what}");
        }
        if let Some(line) = line {
            let place = view["refusal"]["decided_by"].as_str().unwrap_or_default();
            assert!(
                place.contains(&format!("portcullis.yaml:{line}:")),
                "{what}: decided by {place}"
            );
        }
        if status == 200 && case.path.starts_with("/orders") {
            assert_eq!(
                view["endpoint"]["address"],
                endpoint.address.to_string(),
                "{what}"
            );
            assert_eq!(view["endpoint"]["target"], endpoint.last().target, "{what}");
        }
    }
}

#[test]
fn explain_prints_every_stage_with_its_line_for_people() {
    let (folder, _, issuer) = written("127.0.0.1:3000");
    fs::write(
        folder.path().join("t"),
        issuer.token("alice", json!({ "scope": "orders" })),
    )
    .unwrap();

    let served = portcullis(
        folder.path(),
        &[
            "explain",
            "request",
            "GET",
            "https://api.example.com/orders/7",
            "--token",
            "t",
        ],
    );

    assert_eq!(served.code, Some(0), "{}", served.err);
    for said in [
        "normalize",
        "match_route",
        "authenticate",
        "limit",
        "validate_head",
        "authorize",
        "select_endpoint",
        "portcullis.yaml:16:",
        "127.0.0.1:3000",
        "Assumed: every endpoint is healthy",
    ] {
        assert!(served.out.contains(said), "{said} is missing in:\n{}", served.out);
    }
    let misused = portcullis(folder.path(), &["explain", "request", "GET", "/orders/7"]);
    assert_eq!(misused.code, Some(2), "{}", misused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_pools_are_listed_from_the_file_and_live() {
    let endpoint = Endpoint::start("one").await;
    let address = endpoint.address.to_string();
    let (folder, ..) = written(&address);
    let routes = portcullis(folder.path(), &["routes"]);
    let pools = portcullis(folder.path(), &["pools", "--format", "json"]);
    let gateway = TestGateway::start(folder);
    let admin = format!("http://{}", gateway.admin());
    let live =
        tokio::task::block_in_place(|| portcullis(gateway.folder.path(), &["pools", "--admin", &admin]));
    let one = tokio::task::block_in_place(|| {
        portcullis(
            gateway.folder.path(),
            &["explain", "endpoint", &address, "--admin", &admin],
        )
    });

    assert_eq!(
        (routes.code, pools.code, live.code, one.code),
        (Some(0), Some(0), Some(0), Some(0)),
        "{}",
        live.err
    );
    assert!(
        routes.out.contains("jwt:idp") && routes.out.contains("scope:orders"),
        "{}",
        routes.out
    );
    assert!(
        routes.out.contains("respond:200") && routes.out.contains("public"),
        "{}",
        routes.out
    );
    assert_eq!(pools.json()["pools"][0]["endpoints"][0]["address"], address);
    assert!(
        live.out.contains("usable") && live.out.contains(&address),
        "{}",
        live.out
    );
    assert!(one.out.contains("up"), "{}", one.out);
}

#[test]
fn the_schema_is_the_published_one() {
    let here = folder();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/portcullis.schema.json");

    let printed = portcullis(here.path(), &["schema"]);

    assert_eq!(printed.code, Some(0));
    assert_eq!(
        printed.json(),
        serde_json::from_str::<Value>(&fs::read_to_string(published).unwrap()).unwrap()
    );
}

#[test]
fn completions_version_and_help_are_printed() {
    let here = folder();

    let bash = portcullis(here.path(), &["completions", "bash"]);
    let version = portcullis(here.path(), &["--version"]);
    let help = portcullis(here.path(), &["--help"]);

    assert!(bash.code == Some(0) && bash.out.contains("complete") && bash.out.contains("explain"));
    let commit = version
        .out
        .lines()
        .find(|line| line.starts_with("commit: "))
        .map(str::len);
    assert!(
        version
            .out
            .starts_with(concat!("portcullis ", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.out
    );
    assert!(
        commit.is_some_and(|length| length > "commit: ".len()),
        "{}",
        version.out
    );
    assert!(version.out.contains("features: "), "{}", version.out);
    for command in [
        "run",
        "check",
        "demo",
        "explain",
        "routes",
        "pools",
        "schema",
        "completions",
    ] {
        assert!(help.out.contains(command), "{}", help.out);
        let one = portcullis(here.path(), &[command, "--help"]);
        assert!(
            one.code == Some(0) && one.out.contains("Example") || command == "explain",
            "{}",
            one.out
        );
    }
}

#[test]
fn the_demo_keeps_every_promise_of_its_tour() {
    let (here, began) = (folder(), Instant::now());

    let demo = portcullis(here.path(), &["demo", "--once", "--port", "0"]);

    println!("demo --once took {:?}", began.elapsed());
    assert_eq!(demo.code, Some(0), "{}\n{}", demo.out, demo.err);
    for promise in ["401", "403", "422", "429", "us-east"] {
        assert!(
            demo.out.contains(promise),
            "{promise} is missing in:\n{}",
            demo.out
        );
    }
    assert_eq!(
        fs::read_dir(here.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}
