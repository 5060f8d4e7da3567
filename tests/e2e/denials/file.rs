//! The file: followed on its own, read by rules, and never the reason that somebody comes back in.

use std::fs;
use std::process::Command;

use super::*;
use crate::support::wait_until;

/// Waits until an operator sees this many entries of the file.
async fn entries_seen(scene: &Scene, kind: &str, count: u64) {
    wait_until("the list to be read", || async {
        let view = scene.seen().json("/deny").await;
        (view["file"]["entries"][kind] == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_entry_refuses_within_two_seconds_what_was_remembered_before() {
    let scene = Scene::with_list("[]");
    let billing = scene.mesh.leaf(&[], Some(BILLING));
    let orders = scene.mesh.leaf(&[], Some(ORDERS));
    let mut neighbours = [
        scene
            .person(&scene.corp, "bob", json!({ "jti": "t2", "sid": "s2" }))
            .await,
        scene.machine(&orders).await,
    ];
    let kinds = [
        (json!({ "jti": "t1" }), "token-revoked"),
        (json!({ "sub": "alice" }), "token-revoked"),
        (json!({ "sid": "s1" }), "token-revoked"),
        (json!({ "serial": serial(&billing) }), "certificate-revoked"),
        (json!({ "spiffe": BILLING }), "certificate-revoked"),
    ];
    for (entry, code) in kinds {
        let mut caller = if code == "token-revoked" {
            scene
                .person(&scene.corp, "alice", json!({ "jti": "t1", "sid": "s1" }))
                .await
        } else {
            scene.machine(&billing).await
        };
        // Twice, so that the second answer rests on what is remembered.
        assert!(caller.is_served().await && caller.is_served().await, "{entry}");

        let since = Instant::now();
        scene.write_list(&list_of(std::slice::from_ref(&entry)));

        let taken = scene.refused_after(since, &mut caller, code).await;
        assert!(taken < SOON, "{entry}: {taken:?}");
        for neighbour in &mut neighbours {
            assert!(neighbour.is_served().await, "{entry}");
        }
        // The same credential on a new connection fares no better.
        let mut again = match &caller.bearer {
            Some(_) => {
                scene
                    .person(&scene.corp, "alice", json!({ "jti": "t1", "sid": "s1" }))
                    .await
            }
            None => scene.machine(&billing).await,
        };
        assert_eq!(again.ask().await.code(), code, "{entry}");

        scene.write_list("[]");
        entries_seen(&scene, entry.as_object().unwrap().keys().next().unwrap(), 0).await;
        assert!(caller.is_served().await, "{entry}");
    }
    let hits = scene
        .seen()
        .metric("portcullis_identity_deny_hits_total", &[r#"kind="sid""#])
        .await;
    assert!(hits >= 2.0, "{hits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_within_an_issuer_or_trust_spares_the_namesake() {
    let billing = Authority::new("nobody").leaf(&[], Some(BILLING));
    let scene = Scene::with_list(&list_of(&[
        json!({ "sub": "alice", "issuer": "corp" }),
        json!({ "serial": serial(&billing), "trust": "partners" }),
    ]));
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    let mut namesake = scene.person(&scene.partners, "alice", json!({})).await;
    let mut machine = scene.machine(&scene.mesh.leaf(&[], Some(BILLING))).await;

    assert_eq!(alice.ask().await.code(), "token-revoked");
    assert!(namesake.is_served().await);
    assert!(machine.is_served().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_written_in_place_holds_as_one_that_is_renamed_does() {
    let scene = Scene::with_list("[]");
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    assert!(alice.is_served().await);

    let since = Instant::now();
    fs::write(scene.gateway.path("deny.yaml"), "- sub: alice\n").unwrap();

    let taken = scene.refused_after(since, &mut alice, "token-revoked").await;
    assert!(taken < SOON, "{taken:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_behind_a_symlink_that_is_swapped_holds() {
    let scene = Scene::with_list("[]");
    let path = scene.gateway.path("deny.yaml");
    fs::write(scene.gateway.path("v2.yaml"), "- sub: alice\n").unwrap();
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    assert!(alice.is_served().await);

    let since = Instant::now();
    std::os::unix::fs::symlink("v2.yaml", scene.gateway.path("aside")).unwrap();
    fs::rename(scene.gateway.path("aside"), path).unwrap();

    let taken = scene.refused_after(since, &mut alice, "token-revoked").await;
    assert!(taken < SOON, "{taken:?}");
}

/// A way to spoil a list.
type Damage<'a> = Box<dyn Fn() + 'a>;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_broke_vanished_or_was_emptied_leaves_the_last_good_one_in_force() {
    let scene = Scene::with_list("- sub: alice\n");
    let seen = scene.seen();
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    let path = scene.gateway.path("deny.yaml");
    let ways: [(&str, Damage<'_>); 5] = [
        ("unknown-key", Box::new(|| scene.write_list("- sbu: bob\n"))),
        ("yaml-syntax", Box::new(|| scene.write_list("- [sub, bob"))),
        ("empty-file", Box::new(|| scene.write_list(""))),
        ("unfinished-file", Box::new(|| scene.write_list("- sub: ali"))),
        ("unreadable-file", Box::new(|| fs::remove_file(&path).unwrap())),
    ];
    for (code, break_it) in ways {
        break_it();

        let view = wait_until("the problem to be seen", || async {
            let view = seen.json("/deny").await;
            (view["file"]["problems"][0]["code"] == code).then_some(view)
        })
        .await;
        assert_eq!(view["file"]["is_current"], false, "{view}");
        assert_eq!(alice.ask().await.code(), "token-revoked", "{code}");
        assert_eq!(
            seen.metric("portcullis_identity_deny_load_failed", &[]).await,
            1.0
        );
        let ready = seen.json("/readyz").await;
        assert!(ready["stale"].to_string().contains("deny list"), "{ready}");
    }
    let failed = seen
        .metric("portcullis_identity_deny_loads_total", &[r#"outcome="failed""#])
        .await;
    assert_eq!(failed, 5.0);

    scene.write_list("- sub: bob\n");

    wait_until("the correction to hold", || async {
        let view = seen.json("/deny").await;
        (view["file"]["is_current"] == true).then_some(())
    })
    .await;
    assert!(alice.is_served().await);
    assert_eq!(
        seen.metric("portcullis_identity_deny_load_failed", &[]).await,
        0.0
    );
}

/// Written in place, and looked at while half of it stood there at the end of a line.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_which_less_than_half_is_left_holds_and_is_told() {
    let list = |count: usize| -> String { (0..count).map(|number| format!("- sub: a{number}\n")).collect() };
    let scene = Scene::with_list(&list(40));
    let shrunk = async || {
        let seen = scene.seen();
        seen.metric("portcullis_identity_deny_shrunk_total", &[]).await
    };

    scene.write_list(&list(20));
    entries_seen(&scene, "sub", 20).await;
    assert_eq!(shrunk().await, 0.0);
    scene.write_list(&list(9));
    entries_seen(&scene, "sub", 9).await;

    wait_until("the warning", || async {
        let view = scene.seen().json("/deny").await;
        (view["file"]["problems"][0]["code"] == "list-shrunk" && view["file"]["is_current"] == true)
            .then_some(())
    })
    .await;
    assert_eq!(shrunk().await, 1.0);
    // A short list comes and goes.
    scene.write_list("[]");
    entries_seen(&scene, "sub", 0).await;
    assert_eq!(shrunk().await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_does_not_wait_for_a_sound_configuration() {
    let scene = Scene::with_list("[]");
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    assert!(alice.is_served().await);
    scene.gateway.configure("version: 1\nnonsense: true\n");
    wait_until("the configuration to be refused", || async {
        (scene.seen().last_outcome().await == "kept").then_some(())
    })
    .await;

    let since = Instant::now();
    scene.write_list("- sub: alice\n");

    let taken = scene.refused_after(since, &mut alice, "token-revoked").await;
    assert!(taken < SOON, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_names_another_list_follows_that_one_and_without_one_nobody_is_denied() {
    let scene = Scene::with_list("- sub: alice\n");
    let seen = scene.seen();
    let text = fs::read_to_string(scene.gateway.path("portcullis.yaml")).unwrap();
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    let mut bob = scene.person(&scene.corp, "bob", json!({})).await;
    assert!(!alice.is_served().await && bob.is_served().await);

    fs::write(scene.gateway.path("other.yaml"), "- sub: bob\n").unwrap();
    let previous = seen.revision().await;
    scene.gateway.configure(&text.replace("deny.yaml", "other.yaml"));
    seen.revision_after(&previous).await;
    let since = Instant::now();
    scene.refused_after(since, &mut bob, "token-revoked").await;
    assert!(alice.is_served().await);

    scene
        .gateway
        .configure(&text.replace("revocation: { deny_list: deny.yaml }", ""));
    entries_seen(&scene, "sub", 0).await;
    assert!(alice.is_served().await && bob.is_served().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_names_the_deciding_entry_and_the_answer_does_not() {
    let scene = Scene::with_list("# who left\n- sub: alice\n  reason: left the company\n");
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;

    let answer = alice.ask().await;

    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let told = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!told.contains("company") && !told.contains("deny.yaml"), "{told}");
    let line = scene.gateway.access_line(&answer.request_id());
    let line = line.to_string();
    assert!(
        line.contains("deny.yaml:2:3") && line.contains("left the company"),
        "{line}"
    );
}

#[test]
fn check_and_run_refuse_a_wrong_list_with_its_line_and_explain_shows_a_right_one() {
    let (folder, _, corp, ..) = Scene::written(Some("- sub: alice\n- sub: bob\n  until: soon\n"), "");
    let command = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("PORTCULLIS_CONFIG")
            .env_remove("PORTCULLIS_LOG")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for arguments in [&["check"][..], &["run"]] {
        let (code, text) = command(arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("deny.yaml:3:10") && text.contains("until: soon"),
            "{text}"
        );
    }

    fs::write(
        folder.path().join("deny.yaml"),
        "- sub: alice\n- sub: bob\n  issuer: crop\n",
    )
    .unwrap();
    let (code, text) = command(&["check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no issuer \"crop\""), "{text}");
    fs::write(folder.path().join("alice.jwt"), corp.token("alice", json!({}))).unwrap();
    let url = "https://api.example.com/people";
    let (code, text) = command(&["explain", "request", "GET", url, "--token", "alice.jwt"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("token-revoked") && text.contains("deny.yaml:1:3"),
        "{text}"
    );

    fs::remove_file(folder.path().join("deny.yaml")).unwrap();
    let (code, text) = command(&["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("portcullis.yaml:4:"), "{text}");
    let (code, text) = command(&["check", "--offline"]);
    assert_eq!(code, Some(0), "{text}");
}

/// A list of a large company: read while traffic goes on, in time and memory that do not grow beyond it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_entries_hold_within_bounded_time_and_memory() {
    let scene = Scene::with_list("[]");
    let seen = scene.seen();
    let mut alice = scene.person(&scene.corp, "alice", json!({})).await;
    assert!(alice.is_served().await);
    let before = seen.metric("process_resident_memory_bytes", &[]).await;
    let mut list = String::new();
    for number in 0..99_999 {
        list.push_str(&format!(
            "- jti: 6f1c2a50-7d1e-4b5e-9c51-{number:012}\n  reason: batch\n"
        ));
    }
    list.push_str("- sub: alice\n");

    let since = Instant::now();
    scene.write_list(&list);

    // Ten times what is promised of the shipped binary: this one is built for debugging, and not alone.
    let taken = scene.refused_after(since, &mut alice, "token-revoked").await;
    println!("100,000 entries hold after {taken:?}");
    let entries = seen
        .metric("portcullis_identity_deny_entries", &[r#"kind="jti""#])
        .await;
    assert_eq!(entries, 99_999.0);
    let grown = seen.metric("process_resident_memory_bytes", &[]).await - before;
    println!("and take {} MiB", grown / 1_048_576.0);
    assert!(grown < 128.0 * 1_048_576.0, "{grown}");
}
