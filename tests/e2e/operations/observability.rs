//! What can be seen of a gateway, and what must never be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::Seen;
use crate::support::tools::skip;
use crate::support::{
    Authority, Behaviour, Dial, Endpoint, TestGateway, TokenIssuer, configure, folder, pki, wait_until,
};

/// Stands for everything that must not be written down anywhere.
const CANARY: &str = "canary-7d1f0c55";

struct Edge {
    gateway: TestGateway,
    endpoint: Endpoint,
    issuer: TokenIssuer,
    dial: Dial,
    h2: Dial,
}

impl Edge {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        Self::start_trusting("", arguments).await
    }

    /// With proxies whose word is believed.
    async fn start_trusting(proxies: &str, arguments: &[&str]) -> Self {
        let (folder, authority) = (folder(), Authority::new("edge"));
        authority
            .leaf(&["api.example.com"], None)
            .write(folder.path(), "server");
        let issuer = TokenIssuer::new("https://login.example.com", "k1");
        pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi/appointments.yaml");
        fs::copy(contract, folder.path().join("appointments.yaml")).unwrap();
        let endpoint = Endpoint::start("one").await;
        let text = format!(
            r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }}, trusted_proxies: [{proxies}] }}
listeners:
  public: {{ listen: "127.0.0.1:0", tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }} }}
issuers:
  idp: {{ issuer: "https://login.example.com", jwks: {{ file: jwks.json }}, audiences: [api] }}
contracts:
  clinic: {{ openapi: appointments.yaml }}
rate_limits:
  few: {{ key: client.address, limit: 1/h, burst: 1 }}
pools:
  orders: {{ endpoints: [{{ address: "{}" }}], health: {{ probe: {{ http: /healthz }}, interval: 500ms, timeout: 500ms }} }}
routes:
  - name: orders
    match: {{ path: "/orders/**" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [{{ scope: orders }}]
    pool: orders
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: orders }}
  - {{ name: rare, match: {{ path: "/rare/**" }}, public: true, rate_limits: [few], pool: orders }}
  - {{ name: clinic, match: {{ path: "/api/v1/**" }}, public: true, contract: clinic, pool: orders }}
"#,
            endpoint.address
        );
        configure(folder.path(), &text);
        let gateway = TestGateway::start_with(folder, arguments);
        let address = gateway.address("public");
        let dial = Dial::tls(address, "api.example.com", authority.roots(), None);
        let h2 = Dial::h2(address, "api.example.com", authority.roots(), None);
        Self {
            gateway,
            endpoint,
            issuer,
            dial,
            h2,
        }
    }

    fn bearer(&self, scope: &str) -> String {
        format!(
            "Bearer {}",
            self.issuer
                .token("alice", json!({ "scope": scope, "note": CANARY }))
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_says_alive_ready_and_what_is_served() {
    let edge = Edge::start().await;
    let seen = Seen::of(&edge.gateway);

    assert_eq!(seen.get("/livez").await.status, StatusCode::OK);
    let ready = seen.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["ready"]),
        (StatusCode::OK, &json!(true))
    );
    assert_eq!(seen.json("/routes").await["routes"].as_array().unwrap().len(), 4);
    assert_eq!(seen.json("/issuers").await["issuers"][0]["name"], "idp");
    assert_eq!(seen.get("/nowhere").await.status, StatusCode::NOT_FOUND);
    let written = Dial::plain(edge.gateway.admin())
        .send(Method::POST, "/livez", &[], b"")
        .await;
    assert_eq!(written.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_refuses_a_name_that_was_rebound_and_web_pages() {
    let edge = Edge::start().await;
    let admin = Dial::plain(edge.gateway.admin());

    let ours = admin.get("/metrics", &[("host", "localhost:9901")]).await;
    let rebound = admin.get("/metrics", &[("host", "evil.example:9901")]).await;
    let page = admin.get("/metrics", &[("origin", "https://evil.example")]).await;

    assert_eq!(ours.status, StatusCode::OK);
    assert_eq!(rebound.status, StatusCode::FORBIDDEN);
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(!String::from_utf8_lossy(&rebound.body).contains("portcullis_requests_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route_stage_reason_and_class_of_status() {
    let edge = Edge::start().await;
    let seen = Seen::of(&edge.gateway);
    let bearer = edge.bearer("orders");
    for _ in 0..3 {
        edge.dial.get("/orders/1", &[("authorization", &bearer)]).await;
    }
    edge.dial.get("/orders/1", &[]).await;
    edge.h2
        .get("/orders/1", &[("authorization", &edge.bearer("other"))])
        .await;
    edge.h2.get("/nowhere", &[]).await;
    edge.endpoint.behave(Behaviour::Status(StatusCode::IM_A_TEAPOT));
    edge.dial.get("/open/1", &[]).await;

    let expected: [(&[&str], f64); 5] = [
        (
            &[
                "route=\"orders\"",
                "stage=\"-\"",
                "reason=\"-\"",
                "status=\"2xx\"",
            ],
            3.0,
        ),
        (
            &[
                "route=\"orders\"",
                "stage=\"authenticate\"",
                "reason=\"credentials-missing\"",
                "status=\"4xx\"",
            ],
            1.0,
        ),
        (
            &[
                "route=\"orders\"",
                "stage=\"authorize\"",
                "reason=\"scope-missing\"",
                "status=\"4xx\"",
            ],
            1.0,
        ),
        (
            &[
                "stage=\"match_route\"",
                "reason=\"route-not-found\"",
                "status=\"4xx\"",
            ],
            1.0,
        ),
        (&["route=\"open\"", "stage=\"-\"", "status=\"4xx\""], 1.0),
    ];
    for (labels, count) in expected {
        wait_until(&format!("{labels:?} to be counted"), || async {
            (seen.metric("portcullis_requests_total", labels).await == count).then_some(())
        })
        .await;
    }
    assert_eq!(
        seen.metric("portcullis_request_duration_seconds_count", &["route=\"orders\""])
            .await,
        5.0
    );
    assert_eq!(
        seen.metric("portcullis_upstream_attempts_total", &["pool=\"orders\""])
            .await,
        4.0
    );
    assert_eq!(
        seen.metric("portcullis_endpoints", &["pool=\"orders\"", "state=\"up\""])
            .await,
        1.0
    );
}

/// Every metric that the page for operators lists.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/docs/operations.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `portcullis_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// A line of the text format: a remark, or a name, perhaps labels, and a number.
fn is_exposition(line: &str) -> bool {
    if line.starts_with("# HELP ") || line.starts_with("# TYPE ") {
        return line.split(' ').count() >= 4;
    }
    let Some((sample, value)) = line.rsplit_once(' ') else {
        return false;
    };
    let name = sample.split('{').next().unwrap();
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    is_name && (!sample.contains('{') || sample.ends_with('}')) && value.parse::<f64>().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_the_operators_page_lists() {
    let edge = Edge::start().await;
    let seen = Seen::of(&edge.gateway);
    edge.dial
        .get("/orders/1", &[("authorization", &edge.bearer("orders"))])
        .await;
    edge.dial
        .get("/orders/1", &[("authorization", "Bearer x.y.z")])
        .await;
    edge.dial.get("/rare/1", &[]).await;
    edge.dial.get("/api/v1/nothing", &[]).await;

    let text = seen.metrics().await;

    for line in text.lines() {
        assert!(is_exposition(line), "not the text format: {line:?}");
    }
    let shown: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .filter(|name| name.starts_with("portcullis_"))
        .collect();
    let unknown: Vec<_> = shown.difference(&documented()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new(), "shown and not documented");
    // A family of a library that knows no empty families appears with its first sample.
    let silent: Vec<_> = documented().difference(&shown).cloned().collect();
    println!(
        "{} metrics shown; without a sample so far: {silent:?}",
        shown.len()
    );
    for name in [
        "portcullis_requests_total",
        "portcullis_connections",
        "portcullis_endpoints",
        "portcullis_build_info",
        "portcullis_config_reload_failed",
        "portcullis_identity_tokens_total",
        "portcullis_limit_decisions_total",
        "portcullis_contract_verdicts_total",
        "portcullis_residency_violation_total",
        "portcullis_pool_in_flight",
    ] {
        assert!(shown.contains(name), "{name} is missing");
    }
    check_with_promtool(&text);
}

fn check_with_promtool(text: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        return skip(
            1,
            "the checks of the metrics with promtool",
            "it is not installed",
        );
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    // 3 is lint; anything that cannot be parsed is 1.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_one_access_log_line_with_one_id_everywhere() {
    let edge = Edge::start().await;
    let bearer = edge.bearer("orders");

    for dial in [&edge.dial, &edge.h2] {
        let answer = dial.get("/orders/7?x=1", &[("authorization", &bearer)]).await;
        let (id, received) = (answer.request_id(), edge.endpoint.last());
        let line = edge.gateway.access_line(&id);

        assert_eq!(received.headers["x-request-id"].to_str().unwrap(), id);
        assert_eq!(
            (line["route"].as_str(), line["status"].as_u64()),
            (Some("orders"), Some(200))
        );
        assert_eq!(
            (line["path"].as_str(), line["host"].as_str()),
            (Some("/orders/7"), Some("api.example.com"))
        );
        assert_eq!(line["ending"], "complete");
        assert!(line["principal"].as_str().unwrap().ends_with("alice"), "{line}");
        let same = edge
            .gateway
            .access
            .all()
            .into_iter()
            .filter(|line| line["request_id"] == id.as_str());
        assert_eq!(same.count(), 1);
    }
    let refused = edge.dial.get("/orders/7", &[]).await;
    assert_eq!(refused.json()["request_id"], refused.request_id());
    assert_eq!(
        edge.gateway.access_line(&refused.request_id())["reason"],
        "credentials-missing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_left_has_its_line_too() {
    let edge = Edge::start().await;
    edge.endpoint.behave(Behaviour::Hang);

    for (dial, path) in [(&edge.dial, "/open/left-h1"), (&edge.h2, "/open/left-h2")] {
        let before = edge.endpoint.requests();
        let mut client = dial.connect().await.unwrap();
        let asking = tokio::spawn(async move { client.send(Method::GET, path, &[], b"").await });
        wait_until("the request to arrive", || async {
            (edge.endpoint.requests() > before).then_some(())
        })
        .await;
        asking.abort();

        let line = edge
            .gateway
            .access
            .wait_for("the line of an aborted request", |line| line["path"] == path);
        assert_eq!(line["ending"], "client-closed", "{line}");
        assert_eq!(line["route"], "open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_have_a_line_too() {
    let edge = Edge::start().await;

    let answer = edge
        .dial
        .raw(b"GET /open/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;

    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    edge.gateway.access.wait_for("the line", |line| {
        line["stage"] == "frame" && line["status"] == 400
    });
    assert_eq!(edge.endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_kept_from_a_trusted_proxy_or_started() {
    let edge = Edge::start_trusting("127.0.0.0/8", &[]).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");

    let kept = edge.dial.get("/open/1", &[("traceparent", &parent)]).await;
    let seen_kept = edge.endpoint.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    let started = edge.dial.get("/open/1", &[]).await;
    let seen_started = edge.endpoint.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    edge.dial.get("/open/1", &[("traceparent", "00-zz-yy-01")]).await;
    let seen_mended = edge.endpoint.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();

    assert!(
        seen_kept.starts_with(&format!("00-{trace}-")) && seen_kept.ends_with("-01"),
        "{seen_kept}"
    );
    assert_ne!(seen_kept, parent, "our own span is the parent");
    assert_eq!(edge.gateway.access_line(&kept.request_id())["trace_id"], trace);
    let started_id = edge.gateway.access_line(&started.request_id())["trace_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        seen_started.starts_with(&format!("00-{started_id}-")),
        "{seen_started}"
    );
    assert!(!seen_mended.contains("zz"), "{seen_mended}");

    // Anybody else could have every request of theirs sampled, or join somebody's trace.
    let edge = Edge::start().await;
    edge.dial.get("/open/1", &[("traceparent", &parent)]).await;
    let seen_refused = edge.endpoint.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        !seen_refused.contains(trace) && seen_refused.ends_with("-00"),
        "{seen_refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_anywhere_although_everything_is_logged() {
    let edge = Edge::start_with(&["--log", "trace"]).await;
    let token = edge.bearer("orders");
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let other = edge.bearer("other");
    let (broken, cookie) = (
        format!("Bearer {CANARY}.{CANARY}.{CANARY}"),
        format!("session={CANARY}"),
    );
    let query = format!("/orders/1?secret={CANARY}");
    let body = format!("{{\"patient\": \"{CANARY}\", \"unknown\": [\"{CANARY}\"]}}");
    let json_type = ("content-type", "application/json");
    for dial in [&edge.dial, &edge.h2] {
        for authorization in [&token, &other, &broken] {
            let fields = [
                ("authorization", authorization.as_str()),
                ("cookie", cookie.as_str()),
                json_type,
            ];
            dial.send(Method::POST, &query, &fields, body.as_bytes()).await;
        }
        let answer = dial
            .send(
                Method::POST,
                "/api/v1/appointments",
                &[json_type],
                body.as_bytes(),
            )
            .await;
        assert!(answer.status.is_client_error(), "{answer:?}");
        assert!(
            !String::from_utf8_lossy(&answer.body).contains(CANARY),
            "never the submitted value: {answer:?}"
        );
        dial.get(
            &format!("/api/v1/appointments?limit={CANARY}"),
            &[("x-tenant", CANARY)],
        )
        .await;
        dial.get(&format!("/nowhere?{CANARY}"), &[("x-secret", CANARY)])
            .await;
    }
    edge.endpoint.behave(Behaviour::Close);
    edge.dial
        .send(
            Method::POST,
            &query,
            &[("authorization", token.as_str()), json_type],
            body.as_bytes(),
        )
        .await;
    let mut wire = edge.dial.wire().await.unwrap();
    wire.write_all(format!("{CANARY}\r\n{CANARY}: {CANARY}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    edge.gateway
        .access
        .wait_for("the last line", |line| line["stage"] == "frame");

    let seen = Seen::of(&edge.gateway);
    let mut everything = vec![seen.metrics().await];
    for path in ["/config", "/routes", "/pools", "/issuers", "/readyz"] {
        everything.push(seen.json(path).await.to_string());
    }
    let lines = edge
        .gateway
        .log
        .all()
        .into_iter()
        .chain(edge.gateway.access.all());
    everything.extend(lines.map(|line| line.to_string()));
    assert!(edge.gateway.access.all().len() >= 13);
    for text in everything {
        assert!(!text.contains(CANARY), "{text}");
        assert!(!text.contains(&signature), "{text}");
    }
}
