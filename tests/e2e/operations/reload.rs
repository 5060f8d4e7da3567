//! A configuration that changes while traffic goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use rustls::HandshakeKind;
use serde_json::json;
use tokio::net::TcpStream;

use super::load::{Ask, Load, ok};
use crate::support::Seen;
use crate::support::{
    Authority, Dial, Endpoint, TestGateway, TokenIssuer, client, configure, folder, pki, wait_for, wait_until,
};

/// Swaps of each kind under load, and requests that go on meanwhile.
const SWAPS: usize = 25;
const REQUESTS: usize = 20_000;

/// A gateway in front of one endpoint; `revision` is a field of every answer.
struct Edge {
    gateway: TestGateway,
    authority: Authority,
    endpoint: Endpoint,
    issuer: TokenIssuer,
}

impl Edge {
    async fn start(arguments: &[&str]) -> Self {
        let (folder, authority) = (folder(), Authority::new("edge"));
        authority
            .leaf(&["api.example.com"], None)
            .write(folder.path(), "server");
        let issuer = TokenIssuer::new("https://login.example.com", "k1");
        pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
        let endpoint = Endpoint::start("one").await;
        configure(folder.path(), &text(&endpoint, 0));
        Self {
            gateway: TestGateway::start_with(folder, arguments),
            authority,
            endpoint,
            issuer,
        }
    }

    fn dials(&self) -> Vec<Dial> {
        let (address, roots) = (self.gateway.address("public"), self.authority.roots());
        let h1 = Dial::tls(address, "api.example.com", Arc::clone(&roots), None);
        let h2 = Dial::h2(address, "api.example.com", roots, None);
        vec![h1.clone(), h1.clone(), h1, h2.clone(), h2]
    }

    fn dial(&self) -> Dial {
        self.dials().remove(0)
    }

    fn seen(&self) -> Seen {
        Seen::of(&self.gateway)
    }

    /// Writes the configuration of a revision and waits until it serves.
    async fn publish(&self, revision: usize) {
        let seen = self.seen();
        let previous = seen.revision().await;
        self.gateway.configure(&text(&self.endpoint, revision));
        seen.revision_after(&previous).await;
    }
}

fn text(endpoint: &Endpoint, revision: usize) -> String {
    format!(
        r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ handshakes_per_address: 10000/s }}
issuers:
  idp: {{ issuer: "https://login.example.com", jwks: {{ file: jwks.json }}, audiences: [api] }}
pools:
  orders: {{ endpoints: [{{ address: "{}" }}] }}
routes:
  - name: orders
    match: {{ path: "/orders/**" }}
    public: true
    pool: orders
    request_headers: {{ set: {{ x-revision: "{revision}" }} }}
    response_headers: {{ set: {{ x-revision: "{revision}" }} }}
  - name: mine
    match: {{ path: "/mine/**" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [{{ authenticated: true }}]
    pool: orders
"#,
        endpoint.address
    )
}

fn revision_of(answer: &crate::support::Answer) -> usize {
    answer.headers["x-revision"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_swapped_under_load_without_a_failed_request() {
    let edge = Edge::start(&[]).await;
    let load = Load::start(edge.dials(), || Ask::get("/orders/7"), ok);
    let address = edge.gateway.address("public");
    let config = client::client_config(edge.authority.roots(), None, b"http/1.1");

    for swap in 1..=SWAPS {
        let leaf = edge.authority.leaf(&["api.example.com"], None);
        leaf.write(edge.gateway.folder.path(), "server");
        let expected = leaf.chain();
        wait_until(&format!("certificate {swap} to be shown"), || async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let stream = client::handshake(tcp, &config, "api.example.com").await.unwrap();
            (stream.get_ref().1.peer_certificates() == Some(expected.as_slice())).then_some(())
        })
        .await;
        load.answered(swap * REQUESTS / SWAPS).await;
    }

    load.answered(REQUESTS).await;
    let tally = load.finish(&format!("{SWAPS} certificate swaps")).await;
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert!(tally.answered() >= REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_swapped_under_load_and_no_later_request_gets_an_old_one() {
    let edge = Edge::start(&[]).await;
    let published = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&published);
    let make = move || Ask {
        note: known.load(Ordering::SeqCst),
        ..Ask::get("/orders/7")
    };
    let load = Load::start(edge.dials(), make, |ask, answer| {
        ok(ask, answer)?;
        let (wanted, got) = (ask.note, revision_of(answer));
        if got >= wanted {
            Ok(())
        } else {
            Err(format!("{got} answered after {wanted} was published"))
        }
    });

    for swap in 1..=SWAPS {
        edge.publish(swap).await;
        published.store(swap, Ordering::SeqCst);
        load.answered(swap * REQUESTS / SWAPS).await;
        // One that began before may still be the last to arrive.
        wait_until(&format!("revision {swap} at the endpoint"), || async {
            let last = edge.endpoint.last();
            (last.headers["x-revision"] == swap.to_string().as_str()).then_some(())
        })
        .await;
    }

    load.answered(REQUESTS).await;
    let tally = load.finish(&format!("{SWAPS} configuration swaps")).await;
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert!(tally.answered() >= REQUESTS);
    assert!(
        edge.seen()
            .metric("portcullis_config_reloads_total", &["published"])
            .await
            >= SWAPS as f64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_while_traffic_goes_on_and_a_good_file_heals_it() {
    let edge = Edge::start(&[]).await;
    let (seen, good) = (edge.seen(), text(&edge.endpoint, 0));
    let revision = seen.revision().await;
    let load = Load::start(edge.dials(), || Ask::get("/orders/7"), ok);
    let unknown_key = good.replace("pool: orders", "pol: orders");
    let unknown_line = unknown_key
        .lines()
        .position(|line| line.contains("pol: orders"))
        .unwrap()
        + 1;
    let garbage = [
        (
            "not YAML",
            "version: 1\nroutes: [ {".to_owned(),
            "portcullis.yaml:".to_owned(),
        ),
        (
            "unknown key",
            unknown_key,
            format!("portcullis.yaml:{unknown_line}:"),
        ),
        (
            "missing file",
            good.replace("server.pem", "nowhere.pem"),
            "nowhere.pem".to_owned(),
        ),
        (
            "8 MiB of junk",
            "\u{1}junk: [}".repeat(8 << 17),
            "portcullis.yaml".to_owned(),
        ),
        ("empty", String::new(), "portcullis.yaml".to_owned()),
    ];

    for (what, text, said) in garbage {
        edge.gateway.configure(&text);
        wait_until(&format!("{what} to be refused"), || async {
            (seen.metric("portcullis_config_reload_failed", &[]).await == 1.0).then_some(())
        })
        .await;
        edge.gateway.log.wait_for(&format!("{what} in the log"), |line| {
            line["level"] == "ERROR" && line.to_string().contains(&said)
        });
        load.answered_more(200).await;
        assert_eq!(seen.revision().await, revision, "{what}");

        edge.gateway.configure(&good);
        wait_until(&format!("{what} to be healed"), || async {
            (seen.metric("portcullis_config_reload_failed", &[]).await == 0.0).then_some(())
        })
        .await;
    }

    let tally = load.finish("garbage").await;
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert_eq!(seen.revision().await, revision);
    edge.publish(1).await;
    assert_eq!(revision_of(&edge.dial().get("/orders/7", &[]).await), 1);
}

/// Two handshakes of one client that remembers sessions: whether the second was resumed.
async fn is_resumed(dial: &Dial) -> bool {
    let mut last = None;
    for _ in 0..2 {
        let tcp = TcpStream::connect(dial.address).await.unwrap();
        let mut stream = client::handshake(tcp, dial.tls.as_ref().unwrap(), "api.example.com")
            .await
            .unwrap();
        last = stream.get_ref().1.handshake_kind();
        // The ticket comes with the answer.
        let request = b"GET /orders/7 HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request)
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    last == Some(HandshakeKind::Resumed)
}

/// How the next connection of a client that remembers a session begins.
async fn handshake_kind(dial: &Dial) -> Option<HandshakeKind> {
    let tcp = TcpStream::connect(dial.address).await.unwrap();
    let stream = client::handshake(tcp, dial.tls.as_ref().unwrap(), "api.example.com")
        .await
        .unwrap();
    stream.get_ref().1.handshake_kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_configuration_changes_nothing_and_keeps_sessions() {
    let edge = Edge::start(&[]).await;
    let (seen, dial) = (edge.seen(), edge.dial());
    let revision = seen.revision().await;
    assert!(is_resumed(&dial).await, "a session is resumed");

    edge.gateway
        .configure(&format!("{}# only a remark\n", text(&edge.endpoint, 0)));
    wait_until("the reload to be counted", || async {
        (seen
            .metric("portcullis_config_reloads_total", &["unchanged"])
            .await
            >= 1.0)
            .then_some(())
    })
    .await;

    assert_eq!(seen.revision().await, revision);
    assert_eq!(
        seen.metric("portcullis_config_reloads_total", &["published"])
            .await,
        0.0
    );
    assert_eq!(
        handshake_kind(&dial).await,
        Some(HandshakeKind::Resumed),
        "the same trust generation"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_certificates_begin_a_new_trust_generation() {
    let edge = Edge::start(&[]).await;
    let (seen, dial) = (edge.seen(), edge.dial());
    let revision = seen.revision().await;
    assert!(is_resumed(&dial).await, "a session is resumed");

    edge.gateway
        .configure(&format!("# every line moves\n{}", text(&edge.endpoint, 1)));
    let moved = seen.revision_after(&revision).await;
    assert_eq!(
        handshake_kind(&dial).await,
        Some(HandshakeKind::Resumed),
        "the same certificates"
    );

    edge.authority
        .leaf(&["api.example.com"], None)
        .write(edge.gateway.folder.path(), "server");
    seen.revision_after(&moved).await;
    assert_eq!(
        handshake_kind(&dial).await,
        Some(HandshakeKind::Full),
        "other certificates"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_where_files_are_not_watched() {
    let edge = Edge::start(&["--no-watch"]).await;
    let (seen, dial) = (edge.seen(), edge.dial());
    let revision = seen.revision().await;
    edge.gateway.configure(&text(&edge.endpoint, 1));
    for _ in 0..50 {
        assert_eq!(
            revision_of(&dial.get("/orders/7", &[]).await),
            0,
            "nobody asked for it yet"
        );
    }

    edge.gateway.signal("HUP");
    seen.revision_after(&revision).await;

    assert_eq!(revision_of(&dial.get("/orders/7", &[]).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_listener_address_asks_for_a_restart() {
    let edge = Edge::start(&[]).await;
    let seen = edge.seen();
    let revision = seen.revision().await;

    let elsewhere =
        text(&edge.endpoint, 1).replacen("listen: \"127.0.0.1:0\"\n", "listen: \"127.0.0.2:0\"\n", 1);
    assert_ne!(elsewhere, text(&edge.endpoint, 1));
    edge.gateway.configure(&elsewhere);

    edge.gateway.log.wait_for("the restart to be asked for", |line| {
        line["level"] == "ERROR" && line.to_string().contains("restart")
    });
    wait_until("the outcome", || async {
        (seen.last_outcome().await == "kept").then_some(())
    })
    .await;
    assert_eq!(seen.revision().await, revision);
    assert_eq!(revision_of(&edge.dial().get("/orders/7", &[]).await), 0);
    edge.publish(2).await;
    assert_eq!(revision_of(&edge.dial().get("/orders/7", &[]).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_leaves_the_key_set_stops_at_once_although_its_token_is_remembered() {
    let edge = Edge::start(&[]).await;
    let (seen, dial) = (edge.seen(), edge.dial());
    let bearer = |issuer: &TokenIssuer| format!("Bearer {}", issuer.token("alice", json!({})));
    let next = TokenIssuer::new("https://login.example.com", "k2");
    let (old_token, new_token) = (bearer(&edge.issuer), bearer(&next));
    for _ in 0..3 {
        let answer = dial.get("/mine/1", &[("authorization", &old_token)]).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let checked = seen
        .metric("portcullis_identity_signature_checks_total", &[])
        .await;
    assert_eq!(checked, 1.0, "the second and third cost no signature");

    let revision = seen.revision().await;
    pki::write(&edge.gateway.path("jwks.json"), &next.jwks());
    seen.revision_after(&revision).await;

    let refused = dial.get("/mine/1", &[("authorization", &old_token)]).await;
    let accepted = dial.get("/mine/1", &[("authorization", &new_token)]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::UNAUTHORIZED, "token-key-unknown")
    );
    assert_eq!(accepted.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_problems_does_not_start_and_says_where() {
    let folder = folder();
    configure(
        folder.path(),
        "version: 1\nlisteners:\n  public: { listn: \"127.0.0.1:0\" }\n",
    );

    let mut gateway = TestGateway::spawn(folder, &[]);

    assert_eq!(gateway.wait_for_exit().code(), Some(1));
    wait_for("the problem", || {
        let said: String = gateway.log.all().iter().map(ToString::to_string).collect();
        (said.contains("listn") && said.contains("did you mean")).then_some(())
    });
}
