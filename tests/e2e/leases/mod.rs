//! Leases on live exchanges: every kind of them by every cause, and the neighbour that lives on.

mod endpoint;
mod impostors;
mod live;
mod revoked;
mod tunnels;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::house::HOST;
use crate::support::pki::{seconds, write};
use crate::support::{Authority, Dial, House, Leaf, PATIENCE, Seen, TestGateway, wait_for, wait_until};
use endpoint::Source;
use live::{KINDS, Kind, Live};

const US: &str = "spiffe://corp.example/us";
const THEM: &str = "spiffe://corp.example/them";

/// A gateway with the same routes for holders of tokens and of certificates, before endpoints that never end.
struct Scene {
    house: House,
    source: Source,
    /// Two authorities, both trusted at first, and a client of each.
    ours: Authority,
    theirs: Authority,
    us: Leaf,
    them: Leaf,
}

/// What of the configuration a test changes.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// A route that is not there.
    without: &'a str,
    /// More routes.
    more: &'a str,
    /// The residency of every route.
    residency: &'a str,
    /// More about the trust `mesh`.
    trust: &'a str,
    /// More sections.
    sections: &'a str,
}

const PLAIN: Wanted<'static> = Wanted {
    without: "",
    more: "",
    residency: "",
    trust: "",
    sections: "",
};

fn text(source: &Source, wanted: Wanted<'_>) -> String {
    let mut routes = String::new();
    for (who, scheme) in [("token", "{ jwt: idp }"), ("mesh", "{ mtls: mesh }")] {
        for (pool, more) in [("socket", ", upgrade: [websocket]"), ("http", ""), ("grpc", "")] {
            let name = format!("{pool}-{who}");
            if name != wanted.without {
                routes.push_str(&format!(
                    "  - {{ name: {name}, match: {{ path: \"/{pool}/{who}/**\" }}, authenticate: [{scheme}], authorize: [rules]{more}, pool: {pool}{} }}\n",
                    wanted.residency,
                ));
            }
        }
    }
    format!(
        r#"
listeners:
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: request, trust: [mesh] }}
trust: {{ mesh: {{ pem: mesh.pem{trust} }} }}
{sections}
# The first question to a policy may wait for a machine that runs other tests too.
policies: {{ rules: {{ rego: rules.rego, decision: data.rules.decision, budget: 1s }} }}
regions: {{ here: {{}}, there: {{}} }}
jurisdictions: {{ north: [here], south: [there], both: [here, there] }}
pools:
  http: {{ sites: {{ here: {{ endpoints: [{{ address: "{http}" }}] }} }} }}
  grpc: {{ protocol: h2, sites: {{ here: {{ endpoints: [{{ address: "{http}" }}] }} }} }}
  socket: {{ sites: {{ here: {{ endpoints: [{{ address: "{socket}" }}] }} }} }}
routes:
{routes}{more}"#,
        http = source.http,
        socket = source.socket,
        more = wanted.more,
        trust = wanted.trust,
        sections = wanted.sections,
    )
}

/// A policy that denies these subjects and SPIFFE IDs.
fn rules(banned: &[&str]) -> String {
    let list = serde_json::to_string(banned).unwrap();
    format!(
        r#"
package rules

banned := {list}

decision := {{"allow": false, "reason": "banned"}} if {{
    some one in banned
    one in [object.get(input.principal, "subject", ""), object.get(input.principal, "spiffe_id", "")]
}} else := {{"allow": true}}
"#
    )
}

impl Scene {
    async fn set() -> Self {
        Self::set_as(PLAIN).await
    }

    async fn set_as(wanted: Wanted<'_>) -> Self {
        Self::set_with(wanted, |_, _, _| ()).await
    }

    /// With more files, of these two authorities.
    async fn set_with(wanted: Wanted<'_>, files: impl FnOnce(&Path, &Authority, &Authority)) -> Self {
        let source = Source::start().await;
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let house = House::open_by(&text(&source, wanted), |folder| {
            let path = folder.path();
            write(&path.join("mesh.pem"), &format!("{}{}", ours.pem, theirs.pem));
            write(&path.join("rules.rego"), &rules(&[]));
            files(path, &ours, &theirs);
            TestGateway::start_with(folder, &["--region", "here"])
        });
        Self {
            us: ours.leaf(&[], Some(US)),
            them: theirs.leaf(&[], Some(THEM)),
            house,
            source,
            ours,
            theirs,
        }
    }

    fn seen(&self) -> Seen {
        Seen::of(&self.house.gateway)
    }

    fn dial(&self, kind: Kind, certificate: Option<&Leaf>) -> Dial {
        let (address, roots) = (self.house.gateway.address("public"), self.house.edge.roots());
        if kind.is_h2() {
            Dial::h2(address, HOST, roots, certificate)
        } else {
            Dial::tls(address, HOST, roots, certificate)
        }
    }

    /// One of each kind, by a token; those over HTTP/2 share a connection with whoever comes later.
    async fn by_token(&self, subject: &str, claims: Value) -> Vec<Live> {
        let authorization = self.house.bearer(subject, claims);
        let mut all = Vec::new();
        for kind in KINDS {
            all.push(Live::open(kind, &self.dial(kind, None), "token", Some(&authorization)).await);
        }
        all
    }

    async fn by_certificate(&self, leaf: &Leaf) -> Vec<Live> {
        let mut all = Vec::new();
        for kind in KINDS {
            all.push(Live::open(kind, &self.dial(kind, Some(leaf)), "mesh", None).await);
        }
        all
    }

    /// Writes another configuration and waits until it serves.
    async fn publish(&self, change: impl FnOnce()) {
        let seen = self.seen();
        let previous = seen.revision().await;
        change();
        seen.revision_after(&previous).await;
    }

    async fn publish_text(&self, wanted: Wanted<'_>) {
        let common = std::fs::read_to_string(self.house.gateway.path("portcullis.yaml")).unwrap();
        let start = common.split("\nlisteners:").next().unwrap();
        let text = format!("{start}{}", text(&self.source, wanted));
        self.publish(|| self.house.gateway.configure(&text)).await;
    }

    /// Waits until so many exchanges are watched.
    async fn watched(&self, count: usize) {
        let seen = self.seen();
        wait_until("the leases to be watched", || async {
            (seen.metric("portcullis_leases_live", &[]).await == count as f64).then_some(())
        })
        .await;
    }

    /// Every one of them ends as its protocol ends by decision, with this reason in its record.
    async fn assert_ended(&self, doomed: Vec<Live>, reason: &str, (close, status): (u16, &str)) {
        let count = doomed.len() as f64;
        for one in doomed {
            let (kind, id) = (one.kind, one.request_id.clone());
            assert_eq!(one.end().await, kind.ended(reason, close, status), "{kind:?}");
            let line = self.house.gateway.access_line(&id);
            assert_eq!(
                (&line["reason"], &line["ending"]),
                (&json!(reason), &json!("lease-ended")),
                "{line}"
            );
            assert!(line["detail"].is_string(), "{line}");
            // What we ended says nothing about the endpoint.
            assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
        }
        let label = format!("reason=\"{reason}\"");
        let counted = self
            .seen()
            .metric("portcullis_leases_ended_total", &[&label])
            .await;
        assert_eq!(counted, count, "{reason}");
    }

    async fn assert_alive(&self, lives: &mut [Live]) {
        for one in lives {
            one.lives(&self.source).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_its_token() {
    let scene = Scene::set().await;
    let mut neighbours = scene.by_token("long", json!({})).await;
    // Thirty seconds are tolerated: what is left of this one is three.
    let ends = seconds(std::time::SystemTime::now()) - 27;

    let doomed = scene.by_token("short", json!({ "exp": ends })).await;

    scene.assert_ended(doomed, "token-expired", (1008, "16")).await;
    let over = seconds(std::time::SystemTime::now());
    assert!(
        (ends + 30..=ends + 32).contains(&over),
        "{over} is not {ends} + 30"
    );
    scene.assert_alive(&mut neighbours).await;
    scene.watched(neighbours.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_denies_by_now_ends_what_it_let_through() {
    let scene = Scene::set().await;
    let (mut tokens, mut meshed) = (
        scene.by_token("good", json!({})).await,
        scene.by_certificate(&scene.them).await,
    );
    let mut doomed = scene.by_token("bad", json!({})).await;
    doomed.extend(scene.by_certificate(&scene.us).await);
    scene.watched(20).await;

    scene
        .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad", US])))
        .await;

    scene.assert_ended(doomed, "policy-denied", (1008, "7")).await;
    scene.assert_alive(&mut tokens).await;
    scene.assert_alive(&mut meshed).await;
    scene.watched(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_longer_trusted_is_cut_off() {
    let scene = Scene::set().await;
    let doomed = scene.by_certificate(&scene.us).await;
    let mut neighbours = scene.by_certificate(&scene.them).await;
    neighbours.extend(scene.by_token("good", json!({})).await);

    scene
        .publish(|| write(&scene.house.gateway.path("mesh.pem"), &scene.theirs.pem))
        .await;

    scene
        .assert_ended(doomed, "certificate-untrusted", (1008, "16"))
        .await;
    scene.assert_alive(&mut neighbours).await;
    assert!(!scene.ours.pem.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_removed_takes_its_own_with_it_and_no_others() {
    for kind in KINDS {
        let scene = Scene::set().await;
        let all = scene.by_token("anybody", json!({})).await;
        let route = kind.route("token");
        let (doomed, mut neighbours): (Vec<Live>, Vec<Live>) =
            all.into_iter().partition(|one| one.kind.route("token") == route);

        scene
            .publish_text(Wanted {
                without: &route,
                ..PLAIN
            })
            .await;

        scene.assert_ended(doomed, "route-not-found", (1012, "14")).await;
        scene.assert_alive(&mut neighbours).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_where_it_may_not_any_more_is_ended() {
    let scene = Scene::set_as(Wanted {
        residency: ", residency: { default: [both] }",
        ..PLAIN
    })
    .await;
    let doomed = scene.by_token("anybody", json!({})).await;

    scene
        .publish_text(Wanted {
            residency: ", residency: { default: [south] }",
            ..PLAIN
        })
        .await;

    scene
        .assert_ended(doomed, "residency-unavailable", (1012, "14"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_none_of_theirs_ends_nothing() {
    let scene = Scene::set().await;
    let mut all = scene.by_token("good", json!({})).await;
    all.extend(scene.by_certificate(&scene.us).await);
    scene.watched(10).await;

    for number in 0..5 {
        let more = format!(
            "  - {{ name: more, match: {{ path: /more/{number} }}, public: true, respond: {{ status: 204 }} }}\n"
        );
        scene.publish_text(Wanted { more: &more, ..PLAIN }).await;
        scene.assert_alive(&mut all).await;
    }

    scene.watched(10).await;
    assert_eq!(
        scene.seen().metric("portcullis_leases_ended_total", &[]).await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_leaves_the_others_of_its_connection() {
    let scene = Scene::set().await;
    let dial = scene.dial(Kind::Grpc, None);
    let client = dial.connect().await.unwrap();
    let (good, bad) = (
        scene.house.bearer("good", json!({})),
        scene.house.bearer("bad", json!({})),
    );
    let mut neighbours = Vec::new();
    let mut doomed = Vec::new();
    for kind in [Kind::Grpc, Kind::Stream] {
        for _ in 0..5 {
            let on = || client.same_connection().unwrap();
            neighbours.push(Live::on(on(), kind, "token", Some(&good)).await);
            doomed.push(Live::on(on(), kind, "token", Some(&bad)).await);
        }
    }

    scene
        .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad"])))
        .await;

    scene.assert_ended(doomed, "policy-denied", (1008, "7")).await;
    scene.assert_alive(&mut neighbours).await;
    let mut later = Live::on(
        client.same_connection().unwrap(),
        Kind::Stream,
        "token",
        Some(&good),
    )
    .await;
    later.lives(&scene.source).await;
    assert!(!client.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_short_is_never_watched() {
    let scene = Scene::set().await;
    let seen = Arc::new(scene.seen());
    let authorization = scene.house.bearer("good", json!({}));
    let fields = [("authorization", authorization.as_str())];

    for _ in 0..50 {
        let mut client = scene.house.h2().connect().await.unwrap();
        let answer = client
            .start(http::Method::GET, "/http/token/x", &fields, b"")
            .await;
        assert_eq!(answer.unwrap().status(), 200);
        // Dropped at once: the stream is reset.
    }

    assert_eq!(seen.metric("portcullis_leases_live", &[]).await, 0.0);
}
