//! The admin port: what cannot wait for a file.

use std::time::SystemTime;

use super::*;
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_admin_port_holds_before_its_answer_is_read_and_can_be_taken_back() {
    let scene = Scene::start(None, "");
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    let mut bob = scene.person(&scene.corp, "bob", json!({})).await;
    assert!(alice.is_served().await && bob.is_served().await);

    let added = scene
        .admin(
            Method::POST,
            "/deny",
            r#"{ "sub": "alice", "issuer": "corp", "reason": "laptop stolen" }"#,
        )
        .await;

    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    assert_eq!(added.json()["kept"], "until restart");
    assert_eq!(alice.ask().await.code(), "token-revoked");
    assert!(bob.is_served().await);

    let id = added.json()["id"].as_str().unwrap().to_owned();
    let removed = scene.admin(Method::DELETE, &format!("/deny/{id}"), "").await;
    assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
    assert!(alice.is_served().await);
    let again = scene.admin(Method::DELETE, &format!("/deny/{id}"), "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_ends_when_it_says() {
    let scene = Scene::start(None, "");
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    let end = SystemTime::now() + Duration::from_secs(3);
    let until = portcullis_model::timestamp::rfc3339(end).to_string();
    let entry = json!({ "sub": "alice", "until": until }).to_string();

    assert_eq!(
        scene.admin(Method::POST, "/deny", &entry).await.status,
        StatusCode::CREATED
    );
    assert_eq!(alice.ask().await.code(), "token-revoked");
    while !alice.is_served().await {
        assert!(SystemTime::now() < end + SOON, "still refused");
    }

    // The moment is written in milliseconds.
    assert!(SystemTime::now() + Duration::from_millis(1) >= end);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_file_is_shown_and_is_not_the_admin_port_s_to_take_back() {
    let scene = Scene::with_list("- sub: alice\n  reason: left\n");
    scene.admin(Method::POST, "/deny", r#"{ "jti": "t1" }"#).await;

    let view = scene.seen().json("/deny").await;

    let shown: Vec<(&Value, &Value)> = view["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["source"], &entry["id"]))
        .collect();
    assert_eq!(shown.len(), 2, "{view}");
    assert_eq!(
        (shown[0].0, shown[1]),
        (&json!("admin"), (&json!("file"), &json!("line-1")))
    );
    assert_eq!(view["entries"][1]["reason"], "left");
    assert_eq!(view["left_out"], 0);
    assert_eq!(
        (&view["file"]["entries"]["sub"], &view["admin"]["entries"]["jti"]),
        (&json!(1), &json!(1))
    );
    let refused = scene.admin(Method::DELETE, "/deny/line-1", "").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(
        refused.json()["title"].as_str().unwrap().contains("file"),
        "{refused:?}"
    );
    let one = scene.seen().json("/deny?value=alice").await;
    assert_eq!(one["entries"].as_array().unwrap().len(), 1);
    let first = scene.seen().json("/deny?limit=1").await;
    assert_eq!(
        (first["entries"].as_array().unwrap().len(), &first["left_out"]),
        (1, &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_entry_is_refused_with_the_reason_and_denies_nobody() {
    let scene = Scene::start(None, "");
    let long = format!(r#"{{ "sub": "{}" }}"#, "a".repeat(20_000));
    for (body, status, says) in [
        ("", 422, "no entry"),
        ("{", 422, "not valid JSON"),
        ("sub: alice", 422, "not valid JSON"),
        (r#"{ "serial": 12e3 }"#, 422, "values are texts"),
        ("{}", 422, "missing"),
        (r#"{ "sbu": "alice" }"#, 422, "did you mean"),
        (
            r#"{ "sub": "alice", "issuer": "crop" }"#,
            422,
            "there are corp, partners",
        ),
        (r#"{ "serial": "xyz" }"#, 422, "serial number in hex"),
        (
            r#"{ "sub": "alice", "until": "2020-01-01T00:00:00Z" }"#,
            422,
            "ended already",
        ),
        (&long, 413, "longer than"),
    ] {
        let answer = scene.admin(Method::POST, "/deny", body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(told.contains(says), "{body}: {told}");
    }
    for (method, path, status) in [
        (Method::PUT, "/deny", 405),
        (Method::GET, "/deny/1", 405),
        (Method::DELETE, "/deny", 405),
        (Method::GET, "/denying", 404),
        (Method::GET, "/deny?sub=alice", 400),
        (Method::POST, "/routes", 405),
    ] {
        assert_eq!(
            scene.admin(method, path, "").await.status.as_u16(),
            status,
            "{path}"
        );
    }
    let view = scene.seen().json("/deny").await;
    assert_eq!(view["entries"], json!([]));
    assert_eq!(view["file"]["path"], Value::Null);
}

/// A page in a browser of this machine could otherwise deny whom it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_deny_anybody() {
    let scene = Scene::start(None, "");
    let admin = Dial::plain(scene.gateway.admin());
    for field in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let answer = admin
            .send(Method::POST, "/deny", &[field], br#"{ "sub": "alice" }"#)
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{field:?}");
    }

    assert_eq!(scene.seen().json("/deny").await["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_admin_port_outlive_a_restart_in_the_folder_for_state() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut scene = Scene::start(None, ", state_dir: state");
    let added = scene
        .admin(
            Method::POST,
            "/deny",
            r#"{ "sub": "alice", "issuer": "corp", "reason": "laptop stolen" }"#,
        )
        .await;
    assert_eq!(added.json()["kept"], "on disk", "{added:?}");
    let kept = scene.gateway.path("state/deny.json");
    assert_eq!(
        std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let TestGatewayParts { folder } = stop(&mut scene.gateway);
    scene.gateway = TestGateway::start(folder);

    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    assert_eq!(alice.ask().await.code(), "token-revoked");
    let view = scene.seen().json("/deny").await;
    assert_eq!(view["entries"][0]["id"], added.json()["id"]);
    assert_eq!(view["entries"][0]["reason"], "laptop stolen");
    let id = added.json()["id"].as_str().unwrap().to_owned();
    scene.admin(Method::DELETE, &format!("/deny/{id}"), "").await;
    assert!(alice.is_served().await);
    assert!(!kept.exists());
}

/// Whoever it names must not come back in because the file was damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_does_not_start_over_kept_entries_that_it_cannot_read() {
    let mut scene = Scene::start(None, ", state_dir: state");
    scene.admin(Method::POST, "/deny", r#"{ "sub": "alice" }"#).await;
    let TestGatewayParts { folder } = stop(&mut scene.gateway);
    std::fs::write(folder.path().join("state/deny.json"), "[{").unwrap();
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("check")
        .current_dir(folder.path())
        .env_remove("PORTCULLIS_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert_eq!(check.status.code(), Some(1), "{said}");
    assert!(
        said.contains("deny.json") && said.contains("correct the file, or remove it"),
        "{said}"
    );

    let mut gateway = TestGateway::spawn(folder, &[]);

    assert_eq!(gateway.wait_for_exit().code(), Some(1));
    wait_for("the reason", || {
        let said = gateway
            .log
            .all()
            .iter()
            .any(|line| line.to_string().contains("deny.json"));
        said.then_some(())
    });
}

/// What is left of a gateway that was stopped.
struct TestGatewayParts {
    folder: TempDir,
}

/// Kills a gateway, as a power cut would, and takes its folder.
fn stop(gateway: &mut TestGateway) -> TestGatewayParts {
    gateway.signal("KILL");
    gateway.wait_for_exit();
    let folder = std::mem::replace(&mut gateway.folder, folder());
    TestGatewayParts { folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_adds_lists_and_removes() {
    let scene = Scene::with_list("- jti: t9\n");
    let admin = format!("http://{}", scene.gateway.admin());
    let command = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("deny")
            .args(arguments)
            .args(["--admin", &admin])
            .env_remove("PORTCULLIS_LOG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;

    let (code, out, err) = command(&[
        "add", "--sub", "alice", "--issuer", "corp", "--for", "1h", "--format", "json",
    ]);
    assert_eq!(code, Some(0), "{err}");
    let added: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(alice.ask().await.code(), "token-revoked");
    let (code, out, _) = command(&["list"]);
    assert_eq!(code, Some(0));
    let id = added["id"].as_str().unwrap();
    assert!(
        out.contains(id) && out.contains("line-1") && out.contains("t9"),
        "{out}"
    );
    let (code, out, err) = command(&["remove", id]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "no longer denied by the admin port: sub alice\n"),
        "{err}"
    );
    assert!(alice.is_served().await);

    let (code, _, err) = command(&["remove", "line-1"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("409") && err.contains("take it out there"), "{err}");
    let (code, _, err) = command(&["add", "--sub", "alice", "--issuer", "crop"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no issuer \"crop\""), "{err}");
    // As the access log writes a principal; taken as it is, it would deny nobody and say that it does.
    let (code, _, err) = command(&["add", "--sub", "corp:alice"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("write `--sub alice --issuer corp`"), "{err}");
    assert!(alice.is_served().await);
}
