use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use http::Method;
use portcullis_model::Principal;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::plan::PolicySource;
use crate::policy::test_facts::{
    Facts, compiled, example_data, example_folder, example_policy, plan, user, workload,
};
use crate::policy::{Ask, Decision, Obstacle, Policy, Recall, Remembering};

/// Decisions of the example policies: as a Rego rule and as an entrypoint.
const EXAMPLES: [(&str, &str); 5] = [
    ("data.portcullis.authz.decision", "portcullis/authz/decision"),
    ("data.portcullis.rbac.allow", "portcullis/rbac/allow"),
    ("data.portcullis.residency.allow", "portcullis/residency/allow"),
    (
        "data.portcullis.spiffe_allow.allow",
        "portcullis/spiffe_allow/allow",
    ),
    ("data.portcullis.tenant.allow", "portcullis/tenant/allow"),
];

fn module() -> Arc<[u8]> {
    std::fs::read(example_folder().join("wasm/portcullis.wasm"))
        .unwrap()
        .into()
}

fn wasm_plan(bytes: impl Into<Arc<[u8]>>, entrypoint: &str) -> PolicyPlan {
    plan(
        PolicySource::Wasm {
            file: "p.wasm".into(),
            bytes: bytes.into(),
            data: example_data(),
        },
        entrypoint,
    )
}

fn example(entrypoint: &str) -> Policy {
    compiled(&wasm_plan(module(), entrypoint))
}

/// A module that OPA made for these tests; its source stands beside it.
fn fixture(name: &str) -> Arc<[u8]> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "policies", name]
        .iter()
        .collect();
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into()
}

/// Every principal with every method at every gateway, tenant and route: 4,320 requests.
fn requests() -> Vec<Facts> {
    let scopes = [
        "appointments:read",
        "appointments:write",
        "programs:read",
        "programs:write",
    ];
    let principals = [
        Principal::anonymous(),
        user("none", None, &[], &[], None),
        user("viewer", Some("acme"), &["viewer"], &scopes, Some("EU")),
        user(
            "editor",
            Some("acme-labs"),
            &["editor", "viewer"],
            &scopes[..2],
            Some("US"),
        ),
        user("admin", Some("globex"), &["admin"], &scopes, None),
        user("noscope", Some("acme"), &["admin"], &[], Some("EU")),
        workload("spiffe://corp.example/billing"),
        workload("spiffe://corp.example/scheduler"),
        workload("spiffe://partner.example/clinic/sync"),
        workload("spiffe://evil.example/billing"),
    ];
    let mut requests = Vec::new();
    for principal in &principals {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            for region in ["eu-west", "us-east", "moon"] {
                for tenants in [&[][..], &["acme"][..], &["globex"][..], &["acme", "globex"][..]] {
                    for (route, operation) in [
                        ("appointments", Some("listAppointments")),
                        ("programs", Some("createProgram")),
                        ("unknown", None),
                    ] {
                        for residency in [&[][..], &["EU"][..], &["EU", "US"][..]] {
                            let mut facts = Facts::by(principal.clone()).method(method.clone());
                            facts.region = region.into();
                            facts.route = route.into();
                            facts.operation = operation.map(str::to_owned);
                            facts.residency = residency.iter().map(|name| (*name).into()).collect();
                            for tenant in tenants {
                                facts = facts.header("x-tenant", tenant.as_bytes());
                            }
                            requests.push(facts);
                        }
                    }
                }
            }
        }
    }
    requests
}

#[test]
fn a_wasm_policy_is_evaluated_every_time_and_says_why() {
    let policy = compiled(&wasm_plan(fixture("limits.wasm"), "p/nothing"));

    assert_eq!(policy.remembering(), Remembering::Never(vec![Obstacle::Wasm]));
    for _ in 0..2 {
        let (_, recall) = policy.ask(&Facts::new().input(), Ask::Remembering);
        assert_eq!(recall, Recall::Never);
    }
}

#[test]
fn the_example_policies_decide_the_same_as_text_and_as_module() {
    let requests = requests();
    for (rule, entrypoint) in EXAMPLES {
        let (text, module) = (example_policy(rule), example(entrypoint));
        let mut allowed = 0;
        for facts in &requests {
            let expected = text.decide(&facts.input()).unwrap();
            let actual = module.decide(&facts.input()).unwrap();
            assert_eq!(actual, expected, "{entrypoint}: {facts:?}");
            allowed += usize::from(expected.allow);
        }
        assert!(
            allowed > 0 && allowed < requests.len(),
            "{entrypoint}: {allowed} of {}",
            requests.len()
        );
    }
}

#[test]
fn the_module_was_made_from_the_sources_that_are_here() {
    let recorded = std::fs::read_to_string(example_folder().join("wasm/SOURCES")).unwrap();
    let mut lines = recorded.lines();

    assert!(lines.next().unwrap().starts_with("opa 1."), "{recorded}");
    for line in lines {
        let (expected, file) = line.split_once("  ").unwrap();
        let digest = Sha256::digest(std::fs::read(example_folder().join(file)).unwrap());
        let actual: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            actual, expected,
            "{file} was changed: run policies/wasm/build.sh and commit both"
        );
    }
}

#[test]
fn building_the_module_again_gives_the_same_bytes() {
    let opa = std::env::var("OPA").unwrap_or_else(|_| "opa".into());
    let version = Command::new(&opa).arg("version").output();
    let recorded = std::fs::read_to_string(example_folder().join("wasm/SOURCES")).unwrap();
    let wanted = recorded.lines().next().unwrap().replace("opa ", "Version: ");
    match version {
        Ok(output)
            if String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line == wanted) => {}
        Ok(output) => {
            let found = String::from_utf8_lossy(&output.stdout)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            println!("SKIPPED: comparing the Wasm module with a new build wants {wanted}, found {found:?}");
            return;
        }
        Err(error) => {
            println!(
                "SKIPPED: comparing the Wasm module with a new build needs opa on PATH or in $OPA: {error}"
            );
            return;
        }
    }
    let output = std::env::temp_dir().join(format!("portcullis-opa-{}", std::process::id()));
    std::fs::create_dir_all(&output).unwrap();

    let built = Command::new(example_folder().join("wasm/build.sh"))
        .arg(&output)
        .env("OPA", &opa)
        .status()
        .unwrap();

    assert!(built.success());
    let bytes = std::fs::read(output.join("portcullis.wasm")).unwrap();
    std::fs::remove_dir_all(&output).unwrap();
    assert!(
        *bytes == *module(),
        "the module differs from a new build: run policies/wasm/build.sh and commit it"
    );
}

#[test]
fn a_module_gives_reason_and_status_like_text() {
    let decision = example("portcullis/authz/decision")
        .decide(&Facts::new().input())
        .unwrap();

    assert_eq!(
        decision,
        Decision {
            allow: false,
            reason: Some("nobody has proven who they are".into()),
            status: Some(http::StatusCode::FORBIDDEN),
            ..Decision::default()
        }
    );
}

#[test]
fn an_unknown_entrypoint_is_refused_with_those_that_exist() {
    let problems = Policy::compile(&wasm_plan(module(), "data.portcullis.authz.decision"))
        .unwrap_err()
        .to_string();

    assert!(problems.contains("has no entrypoint"), "{problems}");
    assert!(problems.contains("portcullis/authz/decision"), "{problems}");
}

#[test]
fn what_is_no_policy_module_is_refused() {
    for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0", b"package p"] {
        assert!(Policy::compile(&wasm_plan(bytes, "a/b")).is_err(), "{bytes:?}");
    }
    let mut cut = module().to_vec();
    cut.truncate(100_000);
    assert!(Policy::compile(&wasm_plan(cut, "portcullis/authz/decision")).is_err());
}

#[test]
fn missing_built_ins_are_listed_and_forbidden_ones_named() {
    let problems = Policy::compile(&wasm_plan(fixture("builtins.wasm"), "p/decision"))
        .unwrap_err()
        .to_string();

    assert!(
        problems.contains("regex.replace") && problems.contains("object.subset"),
        "{problems}"
    );
    assert!(problems.contains("no policy may call opa.runtime"), "{problems}");
    assert!(problems.contains("no policy may call http.send"), "{problems}");
    assert!(problems.contains("calls sprintf"), "{problems}");
}

#[test]
fn a_module_that_takes_too_long_times_out_soon_and_answers_again() {
    let mut plan = wasm_plan(fixture("limits.wasm"), "p/slow");
    plan.budget = Duration::from_millis(20);
    let policy = compiled(&plan);
    let mut slow = Facts::new();
    slow.path = "/100000000".into();
    let mut quick = Facts::new();
    quick.path = "/3".into();

    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(policy.decide(&slow.input()), Err(PolicyFault::Timeout));
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
        assert!(policy.decide(&quick.input()).unwrap().allow);
    }
}

#[test]
fn a_module_that_takes_too_much_memory_is_a_fault() {
    let mut plan = wasm_plan(fixture("limits.wasm"), "p/large");
    plan.budget = Duration::from_secs(60);
    let policy = compiled(&plan);
    let mut large = Facts::new();
    large.path = "/30000000".into();

    assert!(matches!(
        policy.decide(&large.input()),
        Err(PolicyFault::Engine(_))
    ));
    let mut small = Facts::new();
    small.path = "/3".into();
    assert!(policy.decide(&small.input()).unwrap().allow);
}

#[test]
fn undefined_and_wrong_shapes_deny_as_they_do_for_text() {
    let input = Facts::new();

    assert_eq!(
        compiled(&wasm_plan(fixture("limits.wasm"), "p/nothing")).decide(&input.input()),
        Err(PolicyFault::Undefined)
    );
    let wrong = compiled(&wasm_plan(fixture("limits.wasm"), "p/wrong")).decide(&input.input());
    assert!(matches!(wrong, Err(PolicyFault::Shape(_))), "{wrong:?}");
}

/// `opa-wasm` takes a tokio lock per evaluation; in a task that has used up its cooperative budget that lock would be
/// pending for ever, were it not for `unconstrained`.
#[test]
fn a_task_that_has_used_up_its_cooperative_budget_still_gets_its_decision() {
    let policy = example("portcullis/rbac/allow");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let decided = runtime.block_on(async {
        tokio::spawn(async move {
            let lock = tokio::sync::Mutex::new(());
            let mut context = Context::from_waker(Waker::noop());
            while pin!(lock.lock()).poll(&mut context).is_ready() {}
            policy.decide(&Facts::new().input())
        })
        .await
        .unwrap()
    });

    assert!(!decided.unwrap().allow);
}

#[test]
fn the_pool_is_bounded_and_instances_are_used_again() {
    let bytes = module();
    let plan = wasm_plan(Arc::clone(&bytes), "portcullis/rbac/allow");
    let (engine, _) = WasmEngine::compile(&plan, "p.wasm", &bytes, &Arc::new(json!({}))).unwrap();
    let facts = Facts::new();
    let input = facts.input();
    let document = Document::new(&input, &[], false);

    for _ in 0..10 {
        engine.evaluate(&document).unwrap();
    }
    assert_eq!(engine.pool().idle.len(), 1);
    assert_eq!(engine.pool().in_use, 0);

    engine.pool().in_use = MAX_INSTANCES;
    assert_eq!(
        engine.evaluate(&document),
        Err(PolicyFault::Exhausted(MAX_INSTANCES))
    );
}
