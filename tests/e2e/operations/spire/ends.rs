//! What happens when the agent is gone: across a restart, until the SVID is over, and when it takes the identity back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const CONNECTED: &str = "portcullis_identity_workload_api_connected";
const EXPIRES_IN: &str = "portcullis_identity_svid_expires_in_seconds";

fn with_state(spire: &Spire) -> Text {
    Text {
        gateway: format!(r#", state_dir: "{}""#, spire.folder().join("state").display()),
        ..Text::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_restarts_without_an_agent_serves_on_what_it_kept() {
    let Some(mut mesh) = Mesh::start(1, &[], with_state).await else {
        return;
    };
    let kept = mesh.spire.folder().join("state/trust/workload.json");
    tokio::task::block_in_place(|| wait_for("what is kept", || kept.exists().then_some(())));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept), 0o600);
    assert_eq!(mode(kept.parent().unwrap()), 0o700);

    mesh.spire.stop_agent();
    tokio::task::block_in_place(|| {
        mesh.restart();
        mesh.gateway.wait_until_ready();
    });

    let said = "serving the workload identity of before the restart, until the agent is heard";
    let line = mesh
        .gateway
        .log
        .wait_for("that it says so", |line| line["message"] == said);
    assert_eq!(line["spiffe_id"], GATEWAY);
    let answer = mesh.dial(Some(&mesh.web)).get("/billing/1", &[]).await;
    assert_eq!(answer.body, "welcome!", "{answer:?}");
    let stale = mesh.seen.json("/readyz").await["stale"].to_string();
    assert!(stale.contains("no agent"), "{stale}");
    assert_eq!(mesh.seen.metric(CONNECTED, &[]).await, 0.0);

    // A file that was spoiled is as good as none.
    fs::write(&kept, "{ \"version\": 1, \"endpoint\":").unwrap();
    tokio::task::block_in_place(|| mesh.restart());
    let said = "the workload identity of before the restart is not used";
    mesh.gateway
        .log
        .wait_for("that it says so", |line| line["message"] == said);
    let waiting = mesh.seen.get("/readyz").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    tokio::task::block_in_place(|| mesh.spire.start_agent("agent"));
    wait_until("readiness", || async { mesh.seen.is_ready().await.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stays_away_costs_readiness_when_the_svid_is_over_and_heals_within_seconds() {
    let Some(mut mesh) = Mesh::start(1, &["-x509SVIDTTL", "6"], |_| Text::default()).await else {
        return;
    };
    let web = mesh.dial(Some(&mesh.web));
    assert_eq!(web.get("/billing/1", &[]).await.body, "welcome!");

    mesh.spire.stop_agent();
    let gone = "the workload API went away, what it delivered serves until it expires";
    let line = mesh
        .gateway
        .log
        .wait_for("a warning", |line| line["message"] == gone);
    assert_eq!(line["level"], "WARN");
    let still = web.get("/billing/1", &[]).await;
    assert_eq!(
        still.body, "welcome!",
        "what was delivered serves until it is over"
    );
    wait_until("the gauge", || async {
        (mesh.seen.metric(CONNECTED, &[]).await == 0.0).then_some(())
    })
    .await;

    wait_until("the end of the SVID", || async {
        (!mesh.seen.is_ready().await).then_some(())
    })
    .await;
    let why = mesh.seen.get("/readyz").await.json()["waiting_for"].to_string();
    assert!(why.contains("our SVID has expired"), "{why}");
    let refused = web.get("/billing/2", &[]).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{refused:?}");
    assert_eq!(refused.code(), "endpoint-tls");
    let record = mesh.gateway.access_line(&refused.request_id());
    assert!(
        record
            .to_string()
            .contains("our SVID spiffe://example.org/gateway expired"),
        "the operator is told, {record}"
    );
    let told = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(!told.contains("SVID"), "and the client is not: {told}");
    wait_until("the gauge", || async {
        (mesh.seen.metric(EXPIRES_IN, &[]).await == 0.0).then_some(())
    })
    .await;
    let ping = mesh.dial(None).get("/ping", &[]).await;
    assert_eq!(ping.body, "pong", "what needs no identity goes on");

    tokio::task::block_in_place(|| {
        mesh.spire.start_agent("agent");
        let socket = mesh.spire.workload_api();
        wait_for("the agent to listen", || {
            std::os::unix::net::UnixStream::connect(socket.trim_start_matches("unix://")).ok()
        });
    });
    let began = Instant::now();
    wait_until("readiness", || async { mesh.seen.is_ready().await.then_some(()) }).await;
    println!("ready {:?} after the agent was back", began.elapsed());
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(web.get("/billing/3", &[]).await.body, "welcome!");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_the_agent_takes_back_is_used_no_longer_and_not_kept() {
    let Some(mesh) = Mesh::start(1, &[], with_state).await else {
        return;
    };
    let kept = mesh.spire.folder().join("state/trust/workload.json");
    tokio::task::block_in_place(|| wait_for("what is kept", || kept.exists().then_some(())));
    let web = mesh.dial(Some(&mesh.web));
    assert_eq!(web.get("/billing/1", &[]).await.body, "welcome!");

    let entry = mesh.entry.as_str();
    let deleted = tokio::task::block_in_place(|| mesh.spire.server(&["entry", "delete", "-entryID", entry]));
    assert!(deleted.is_some());

    wait_until("the withdrawal", || async {
        (!mesh.seen.is_ready().await).then_some(())
    })
    .await;
    let why = mesh.seen.get("/readyz").await.json()["waiting_for"].to_string();
    assert!(why.contains("no identity any more"), "{why}");
    let refused = mesh.dial(None).get("/open/1", &[]).await;
    assert_eq!(refused.code(), "endpoint-tls", "{refused:?}");
    tokio::task::block_in_place(|| wait_for("what was kept to be gone", || (!kept.exists()).then_some(())));
}

/// A listener without TLS that follows an agent at `socket`.
fn plain(socket: &std::path::Path, state: &str) -> String {
    format!(
        r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }}, workload_api: "unix://{}"{state} }}
listeners: {{ public: {{ listen: "127.0.0.1:0" }} }}
routes: [{{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}]
"#,
        socket.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_takes_connections_and_says_nothing_holds_nothing_up() {
    let folder = folder();
    let socket = folder.path().join("agent.sock");
    let silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    configure(folder.path(), &plain(&socket, ""));

    let gateway = TestGateway::spawn(folder, &[]);
    let answer = Dial::plain(gateway.address("public")).get("/ping", &[]).await;

    assert_eq!(answer.body, "pong");
    let _asked = silent.accept().unwrap();
    let waiting = Seen::of(&gateway).get("/readyz").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(waiting.json()["waiting_for"].to_string().contains("workload API"));
}

#[test]
fn a_state_folder_that_others_can_read_is_refused_by_check_and_run() {
    let folder = folder();
    let state = folder.path().join("state");
    let text = plain(&folder.path().join("agent.sock"), ", state_dir: state");
    configure(folder.path(), &text);
    let check = || {
        std::process::Command::new(gateway_program())
            .args(["check", "--config"])
            .arg(folder.path().join("portcullis.yaml"))
            .output()
            .unwrap()
    };
    assert!(check().status.success(), "it is made at the start");
    assert!(!state.exists(), "and check makes nothing");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o750)).unwrap();

    let refused = check();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("state-dir"), "{said}");
    let mut gateway = TestGateway::spawn(folder, &[]);
    assert!(!gateway.wait_for_exit().success());
}
