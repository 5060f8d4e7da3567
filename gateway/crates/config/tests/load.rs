//! From a path to a plan: what is read, from where, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod support;

use std::net::SocketAddr;

use portcullis_config::{LoadOptions, compile, load, render};
use support::{Folder, SMALLEST, boards, options};

#[test]
fn the_smallest_file_is_a_plan_without_warnings() {
    let folder = Folder::with_everything();
    folder.write("portcullis.yaml", SMALLEST);

    let loaded = folder.load("portcullis.yaml").unwrap();

    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.live.routes.len(), 1);
    assert_eq!(loaded.boot.admin, "127.0.0.1:9901".parse::<SocketAddr>().unwrap());
    assert_eq!(loaded.boot.region.as_str(), "local");
}

/// Only compiling reads keys and lists; a folder of the wrong mode must not keep them from being looked at.
#[test]
fn a_state_folder_that_others_may_enter_hides_no_other_problem() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with_everything();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("broken.json", "{\"keys\": 5}");
    folder.write(
        "portcullis.yaml",
        r#"version: 1
gateway: { state_dir: state }
listeners: { public: { listen: "127.0.0.1:8080" } }
issuers: { idp: { issuer: "https://login.example.com", jwks: { file: broken.json }, audiences: [api] } }
routes:
  - { name: a, match: { path: /a }, authenticate: [{ jwt: idp }], authorize: [authenticated], respond: { status: 200 } }
"#,
    );
    let codes = || {
        let loaded = folder.load("portcullis.yaml").unwrap();
        let problems = match compile(&loaded, None, &boards()) {
            Ok((_, warnings)) => warnings,
            Err(refused) => refused.problems,
        };
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };

    let of_both = codes();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    let of_keys = codes();

    assert!(
        !of_keys.is_empty() && !of_keys.contains(&"state-dir"),
        "{of_keys:?}"
    );
    assert_eq!(of_both, [&["state-dir"][..], &of_keys].concat());
    folder.write(
        "portcullis.yaml",
        r#"version: 1
gateway: { state_dir: state }
listeners: { public: { listen: "127.0.0.1:8080" } }
routes: [{ name: a, match: { path: /a }, public: true, respond: { status: 200 } }]
"#,
    );
    assert!(codes().is_empty());
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(codes(), ["state-dir"], "alone it is refused too");
}

#[test]
fn every_kind_of_problem_is_reported_in_one_run() {
    let folder = Folder::with_everything();
    let text = r#"version: 1
listeners:
  public: { listen: "127.0.0.1:8443", tls: { certificates: [{ chain: server.pem, key: server.key }] }, limts: {} }
issuers:
  idp: { issuer: "https://login.example.com", jwks: { discovery: true } }
pools:
  orders: { endpoints: [{ address: "127.0.0.1:3000" }], health: { probe: { http: /healthz }, interval: 5 } }
routes:
  - name: orders
    match: { path: "/orders/**" }
    authenticate: [{ jwt: idp }]
    authorize: { scope: orders }
    pool: ordrs
"#;
    folder.write("portcullis.yaml", text);

    let refused = folder.load("portcullis.yaml").unwrap_err();

    let codes: Vec<_> = refused.problems.iter().map(|problem| problem.code).collect();
    for code in [
        "unknown-key",
        "missing-key",
        "missing-unit",
        "wrong-type",
        "unknown-reference",
    ] {
        assert!(
            codes.contains(&code),
            "{code} is missing in {}",
            render(&refused.problems, &refused.sources, false)
        );
    }
    assert!(
        !codes.contains(&"openness"),
        "a broken `authorize` is not a missing one"
    );
}

#[test]
fn a_directory_is_merged_by_section() {
    let folder = Folder::with_everything();
    let (doors, routes) = SMALLEST.split_at(SMALLEST.find("pools:").unwrap());
    folder.write("conf.d/a.yaml", &doors.replace("server.", "../server."));
    folder.write("conf.d/b.yml", routes);
    folder.write("conf.d/.hidden.yaml", "not: [valid");
    folder.write("conf.d/notes.txt", "not a configuration");

    let loaded = folder.load("conf.d").unwrap();

    assert_eq!(loaded.live.routes.len(), 1);
    assert!(loaded.sources.paths().any(|path| path.ends_with("b.yml")));
}

#[test]
fn a_name_in_two_files_of_a_directory_is_refused_with_both_places() {
    let folder = Folder::with_everything();
    folder.write("conf.d/a.yaml", &SMALLEST.replace("server.", "../server."));
    folder.write(
        "conf.d/b.yaml",
        "version: 1\npools:\n  orders: { endpoints: [{ address: 127.0.0.1:1 }] }\n",
    );

    let refused = folder.load("conf.d").unwrap_err();

    let problem = refused
        .problems
        .iter()
        .find(|problem| problem.code == "duplicate-name")
        .unwrap();
    assert!(problem.origin.file.ends_with("b.yaml"));
    assert!(
        problem.hint.as_ref().unwrap().contains("a.yaml on line 7"),
        "{problem}"
    );
}

#[test]
fn an_empty_directory_and_a_missing_file_are_problems() {
    let folder = Folder::empty();

    assert_eq!(
        folder.load("").unwrap_err().problems.iter().next().unwrap().code,
        "empty-file"
    );
    assert_eq!(
        folder
            .load("missing.yaml")
            .unwrap_err()
            .problems
            .iter()
            .next()
            .unwrap()
            .code,
        "unreadable-file"
    );
}

#[test]
fn secrets_come_from_files_and_the_environment() {
    let folder = Folder::with_everything();
    let fields = "    request_headers: { set: { x-a: '${file:secret.txt}', x-b: '${env:API_KEY}' } }\n";
    folder.write("portcullis.yaml", &format!("{SMALLEST}{fields}"));

    let loaded = folder.load("portcullis.yaml").unwrap();

    let set = &loaded.live.routes[0].request_fields.set;
    assert_eq!(set[0].1, "s3cret");
    assert_eq!(set[1].1, "k3y");
    assert!(set.iter().all(|(_, value)| value.is_sensitive()));
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn a_missing_secret_is_a_problem_except_offline() {
    let folder = Folder::with_everything();
    let fields = "    request_headers: { set: { x-b: '${env:NOT_SET}' } }\n";
    folder.write("portcullis.yaml", &format!("{SMALLEST}{fields}"));
    std::fs::remove_file(folder.path().join("server.key")).unwrap();
    let path = folder.path().join("portcullis.yaml");

    let refused = load(&path, &options()).unwrap_err();
    let loaded = load(
        &path,
        &LoadOptions {
            offline: true,
            ..options()
        },
    )
    .unwrap();

    let codes: Vec<_> = refused.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unreadable-file", "missing-variable"]);
    assert!(loaded.warnings.iter().all(|problem| problem.code == "offline"));
    assert_eq!(loaded.warnings.iter().count(), 2);
}

#[test]
fn a_private_key_never_shows_in_a_snippet_or_a_debug_dump() {
    let folder = Folder::with_everything();
    folder.write("portcullis.yaml", SMALLEST);
    let key = std::fs::read_to_string(folder.path().join("server.key")).unwrap();
    let secret_line = key.lines().nth(1).unwrap();

    let loaded = folder.load("portcullis.yaml").unwrap();

    assert!(!format!("{loaded:?}").contains(secret_line));
}

#[test]
fn an_access_log_without_its_folder_is_a_problem_except_offline() {
    let folder = Folder::with_everything();
    let telemetry = |to: &str| format!("{SMALLEST}telemetry: {{ access_log: {{ to: {to} }} }}\n");
    folder.write("here.yaml", &telemetry("access.log"));
    folder.write("nowhere.yaml", &telemetry("nowhere/access.log"));
    folder.write("folder.yaml", &telemetry("."));

    let here = folder.load("here.yaml");
    let nowhere = folder.load("nowhere.yaml").unwrap_err();
    let is_folder = folder.load("folder.yaml").unwrap_err();
    let offline = load(
        &folder.path().join("nowhere.yaml"),
        &LoadOptions {
            offline: true,
            ..options()
        },
    );

    assert!(here.is_ok());
    assert!(nowhere.problems.to_string().contains("there is no folder"));
    assert!(is_folder.problems.to_string().contains("is a folder"));
    assert!(offline.is_ok());
}

#[test]
fn the_revision_changes_with_a_certificate_and_not_by_itself() {
    let folder = Folder::with_everything();
    folder.write("portcullis.yaml", SMALLEST);
    let first = folder.load("portcullis.yaml").unwrap();
    let second = folder.load("portcullis.yaml").unwrap();
    let mut chain = std::fs::read_to_string(folder.path().join("server.pem")).unwrap();
    chain.push_str(&std::fs::read_to_string(folder.path().join("ca.pem")).unwrap());
    folder.write("server.pem", &chain);
    let third = folder.load("portcullis.yaml").unwrap();

    assert_eq!(first.revision, second.revision);
    assert_eq!(first.live, second.live);
    assert_ne!(second.revision, third.revision);
    assert_ne!(second.live, third.live);
}

#[test]
fn the_given_region_wins_and_must_exist() {
    let folder = Folder::with_everything();
    let sites = "sites: { eu-west: { endpoints: [{ address: 127.0.0.1:1 }] }, us-east: { endpoints: [{ address: 127.0.0.1:2 }] } }";
    let text = SMALLEST.replace("endpoints: [{ address: \"127.0.0.1:3000\" }]", sites)
        + "gateway: { region: eu-west }\nregions: { eu-west: { failover: [us-east] } }\n";
    folder.write("portcullis.yaml", &text);
    let path = folder.path().join("portcullis.yaml");
    let with = |region: &str| {
        load(
            &path,
            &LoadOptions {
                region: Some(region.to_owned()),
                ..options()
            },
        )
    };

    assert_eq!(with("us-east").unwrap().live.routing.local.as_str(), "us-east");
    assert_eq!(
        folder
            .load("portcullis.yaml")
            .unwrap()
            .live
            .routing
            .local
            .as_str(),
        "eu-west"
    );
    assert!(with("us-west").is_err());
}

#[test]
fn garbage_is_refused_and_never_a_panic() {
    let folder = Folder::empty();
    for text in [
        "",
        "\u{0}\u{0}",
        "[]",
        "1",
        "version: 1",
        "version: 2\nlisteners: 3\n",
        "- - -",
        "{{{{",
        "a: &a [*a]",
    ] {
        folder.write("portcullis.yaml", text);
        assert!(folder.load("portcullis.yaml").is_err(), "{text:?}");
    }
    std::fs::write(folder.path().join("portcullis.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(folder.load("portcullis.yaml").is_err());
}

#[test]
fn ten_thousand_routes_are_loaded_and_one_more_is_refused() {
    let folder = Folder::with_everything();
    let doors = SMALLEST.split_at(SMALLEST.find("routes:").unwrap()).0;
    let routes = |count: usize| {
        let route = |index: usize| {
            format!("  - {{ name: r{index}, match: {{ path: /r/{index} }}, public: true, pool: orders }}\n")
        };
        format!("{doors}routes:\n{}", (0..count).map(route).collect::<String>())
    };

    folder.write("portcullis.yaml", &routes(10_000));
    assert_eq!(folder.load("portcullis.yaml").unwrap().live.routes.len(), 10_000);

    folder.write("portcullis.yaml", &routes(10_001));
    let refused = folder.load("portcullis.yaml").unwrap_err();
    assert!(refused.problems.iter().any(|problem| problem.code == "too-large"));
}

#[test]
fn a_configuration_file_beyond_its_bound_is_refused() {
    let folder = Folder::with_everything();
    folder.write(
        "portcullis.yaml",
        &format!("{SMALLEST}# {}\n", "x".repeat(4 << 20)),
    );

    let refused = folder.load("portcullis.yaml").unwrap_err();

    assert!(
        refused
            .problems
            .iter()
            .next()
            .unwrap()
            .message
            .contains("larger than 4 MiB")
    );
}

#[test]
fn an_identity_beside_a_workload_api_is_refused() {
    let folder = Folder::with_everything();
    let own = "identity: { svid: { chain: server.pem, key: server.key } }\n";
    let api = "gateway: { workload_api: \"unix:///run/spire/agent.sock\" }\n";
    folder.write("one.yaml", &format!("{SMALLEST}{api}"));
    folder.write("both.yaml", &format!("{SMALLEST}{api}{own}"));

    assert!(folder.load("one.yaml").unwrap().live.identity.workload_api);
    assert!(folder.load("both.yaml").is_err());
}

#[test]
fn names_that_differ_only_in_case_are_one_name() {
    let folder = Folder::with_everything();
    let fields = "    response_headers: { set: { x-a: '1', X-A: '2' } }\n    listeners: [public, public]\n";
    folder.write("portcullis.yaml", &format!("{SMALLEST}{fields}"));

    let refused = folder.load("portcullis.yaml").unwrap_err();

    let codes: Vec<_> = refused.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["duplicate-key", "duplicate-name"]);
}
