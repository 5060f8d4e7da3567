//! Several trust domains: each peer is verified by the bundle of the domain in its own SPIFFE ID, and by no other.

use super::*;

const PEER: &str = "spiffe://peer.example/web";

/// Routes for the peers of the other trust domain, by certificate and by token.
const ROUTES: &str = r#"
  - name: peers
    match: { path: "/peers/**" }
    authenticate: [{ mtls: peers }, { jwt: peers }]
    authorize: [{ spiffe: ["spiffe://peer.example/*"] }]
    respond: { status: 200, body: "peer" }
  - name: mine
    match: { path: "/mine/**" }
    authenticate: [{ mtls: mesh }, { jwt: mesh }]
    authorize: [authenticated]
    respond: { status: 200, body: "mine" }
"#;
const ISSUERS: &str = "issuers:
  mesh: { spiffe: example.org, audiences: [gw] }
  peers: { spiffe: peer.example, audiences: [gw] }
";

async fn with_token(mesh: &Mesh, path: &str, token: &str) -> crate::support::Answer {
    let bearer = format!("Bearer {token}");
    mesh.dial(None).get(path, &[("authorization", &bearer)]).await
}

/// Who passes, and who does not although their certificate is good somewhere.
async fn each_by_the_bundle_of_its_own_domain(mesh: &Mesh, peer: &Spire) {
    let (peer_leaf, _) = tokio::task::block_in_place(|| peer.mint(PEER));
    let welcome = mesh.dial(Some(&peer_leaf)).get("/peers/1", &[]).await;
    assert_eq!(welcome.status, StatusCode::OK, "{welcome:?}");
    let record = mesh.gateway.access_line(&welcome.request_id());
    assert_eq!(record["principal"], PEER);
    let elsewhere = mesh.dial(Some(&peer_leaf)).get("/mine/1", &[]).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED, "{elsewhere:?}");
    let mine = mesh.dial(Some(&mesh.web)).get("/mine/1", &[]).await;
    assert_eq!(mine.status, StatusCode::OK, "{mine:?}");
    let elsewhere = mesh.dial(Some(&mesh.web)).get("/peers/1", &[]).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED, "{elsewhere:?}");

    let token = tokio::task::block_in_place(|| peer.mint_jwt(PEER, "gw"));
    let welcome = with_token(mesh, "/peers/2", &token).await;
    assert_eq!(welcome.status, StatusCode::OK, "{welcome:?}");
    assert_eq!(mesh.gateway.access_line(&welcome.request_id())["principal"], PEER);
    let elsewhere = with_token(mesh, "/mine/2", &token).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED, "{elsewhere:?}");
    let other_audience = tokio::task::block_in_place(|| peer.mint_jwt(PEER, "elsewhere"));
    let refused = with_token(mesh, "/peers/3", &other_audience).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
}

/// An authority that is trusted for one domain issues a certificate that names the other one.
async fn no_authority_speaks_for_another_domain(mesh: &Mesh, rogue: &Authority) {
    for id in [WEB, PEER] {
        let forged = rogue.leaf(&[], Some(id));
        let Ok(mut client) = mesh.dial(Some(&forged)).connect().await else {
            continue;
        };
        // A handshake that the gateway ends shows at the first read.
        if let Ok(answer) = client.send(http::Method::GET, "/mine/1", &[], b"").await {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_peer_is_verified_by_the_bundle_of_its_own_domain_alone() {
    let rogue = Authority::new("rogue");
    let started = tokio::task::block_in_place(|| Spire::start_server(1, "peer.example"));
    let Some(peer) = started else {
        return;
    };
    let federates = [
        "-federatesWith",
        "spiffe://peer.example",
        "-federatesWith",
        "spiffe://rogue.example",
    ];
    let mesh = Mesh::start(1, &federates, |spire| {
        spire.federate("peer.example", "spiffe", &peer.bundle());
        // A third domain whose authority is ours to misuse.
        spire.federate("rogue.example", "pem", &rogue.pem);
        Text {
            trust: (
                "  peers: { spiffe: peer.example }\n  rogues: { spiffe: rogue.example }".to_owned(),
                ", peers, rogues",
            ),
            issuers: ISSUERS,
            routes: ROUTES,
            ..Text::default()
        }
    })
    .await
    .unwrap();
    wait_until("the bundles of three domains", || async {
        let lines = mesh.gateway.log.all();
        let mut received = lines.iter().filter(|line| line["message"] == RECEIVED);
        received
            .any(|line| line["bundles"] == 3 && line["jwt_bundles"].as_u64() >= Some(2))
            .then_some(())
    })
    .await;

    each_by_the_bundle_of_its_own_domain(&mesh, &peer).await;
    no_authority_speaks_for_another_domain(&mesh, &rogue).await;
    let rogue_leaf = rogue.leaf(&[], Some("spiffe://rogue.example/web"));
    let known = mesh.dial(Some(&rogue_leaf)).get("/ping", &[]).await;
    assert_eq!(known.body, "pong", "for its own domain it is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_a_file_verifies_certificates_and_tokens_of_its_domain_and_follows_the_file() {
    let started = tokio::task::block_in_place(|| Spire::start_server(1, "peer.example"));
    let Some(peer) = started else {
        return;
    };
    let bundle = tokio::task::block_in_place(|| peer.bundle());
    let mesh = Mesh::start(1, &[], |spire| {
        let path = spire.folder().join("peer.json");
        std::fs::write(&path, &bundle).unwrap();
        Text {
            trust: (
                format!(
                    "  peers: {{ spiffe: peer.example, bundle: \"{}\" }}",
                    path.display()
                ),
                ", peers",
            ),
            issuers: ISSUERS,
            routes: ROUTES,
            ..Text::default()
        }
    })
    .await
    .unwrap();

    each_by_the_bundle_of_its_own_domain(&mesh, &peer).await;

    // Another bundle of the domain: nobody of the old authority is let in any more.
    let (peer_leaf, _) = tokio::task::block_in_place(|| peer.mint(PEER));
    let other = tokio::task::block_in_place(|| Spire::start_server(1, "peer.example").unwrap().bundle());
    let revision = mesh.seen.revision().await;
    crate::support::pki::write(&mesh.spire.folder().join("peer.json"), &other);
    mesh.seen.revision_after(&revision).await;
    if let Ok(mut client) = mesh.dial(Some(&peer_leaf)).connect().await
        && let Ok(answer) = client.send(http::Method::GET, "/peers/9", &[], b"").await
    {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_from_the_agent_proves_its_workload() {
    let text = |_: &Spire| Text {
        issuers: "issuers:\n  mesh: { spiffe: example.org, audiences: [gw] }\n",
        routes: r#"
  - name: tokens
    match: { path: "/tokens/**" }
    authenticate: [{ jwt: mesh }]
    authorize: [{ spiffe: ["spiffe://example.org/job"] }]
    respond: { status: 200, body: "token" }
"#,
        ..Text::default()
    };
    let Some(mesh) = Mesh::start(1, &[], text).await else {
        return;
    };
    let job = "spiffe://example.org/job";
    let said = tokio::task::block_in_place(|| {
        let program = mesh.spire.agent_program();
        let more = &[];
        mesh.spire.register(&Entry {
            id: job,
            program,
            more,
        });
        wait_for("a JWT-SVID", || {
            mesh.spire
                .workload(&["fetch", "jwt", "-audience", "gw", "-spiffeID", job])
        })
    });
    let token = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("eyJ"))
        .unwrap();

    let welcome = with_token(&mesh, "/tokens/1", token).await;
    assert_eq!(welcome.status, StatusCode::OK, "{welcome:?}");
    assert_eq!(mesh.gateway.access_line(&welcome.request_id())["principal"], job);
    let spoilt = format!("{}A", &token[..token.len() - 2]);
    let refused = with_token(&mesh, "/tokens/2", &spoilt).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    let somebody_else = tokio::task::block_in_place(|| mesh.spire.mint_jwt(WEB, "gw"));
    let denied = with_token(&mesh, "/tokens/3", &somebody_else).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{denied:?}");
}
