//! Every case below `cases/` gives exactly the plan or the problems that stand beside it.
//!
//! `UPDATE_GOLDEN=1` rewrites them; read the difference before keeping it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_config::{Loaded, render};
use portcullis_identity::plan::{ShownPlan, TrustAnchors, UpstreamPeer};
use regex::Regex;
use support::Folder;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_case_gives_what_stands_beside_it() {
    let folder = Folder::with_everything();
    folder.write("broken.yaml", "paths:\n  a: [\n");
    folder.write("broken.json", "{\n  \"paths\": ,\n}");
    folder.write("list.json", "[1]");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        folder.write("portcullis.yaml", &fs::read_to_string(&case).unwrap());
        let (problems, plan) = match folder.load("portcullis.yaml") {
            Ok(loaded) => {
                let mut problems = loaded.unfit.clone();
                problems.extend(loaded.warnings.clone());
                let is_served = !problems.has_errors();
                (
                    render(&problems, &loaded.sources, false),
                    is_served.then(|| describe(&loaded)),
                )
            }
            Err(refused) => (render(&refused.problems, &refused.sources, false), None),
        };
        let root = format!("{}/", folder.path().display());
        let problems = problems.replace(&root, "");
        let plan = plan.map(|plan| plan.replace(&root, ""));
        let has_problems = problems != "no problems\n";
        compare(
            &case.with_extension("problems"),
            has_problems.then_some(problems),
            update,
            &mut wrong,
        );
        compare(&case.with_extension("plan"), plan, update, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 rewrites:\n{}",
        wrong.join("\n")
    );
}

fn compare(golden: &Path, actual: Option<String>, update: bool, wrong: &mut Vec<String>) {
    let expected = fs::read_to_string(golden).ok();
    if expected == actual {
        return;
    }
    match (update, actual) {
        (true, Some(text)) => fs::write(golden, text).unwrap(),
        (true, None) => fs::remove_file(golden).unwrap(),
        (false, actual) => wrong.push(format!(
            "--- {}\n{}",
            golden.display(),
            actual.unwrap_or_default()
        )),
    }
}

/// The plan as text: without bytes of certificates, and every origin on one line.
fn describe(loaded: &Loaded) -> String {
    let mut live = (*loaded.live).clone();
    let mut counts = String::new();
    for trust in &mut live.identity.trust {
        match &mut trust.anchors {
            TrustAnchors::Pem(anchors) | TrustAnchors::TrustDomain(_, Some(anchors)) => {
                writeln!(counts, "trust {}: {} anchor(s)", trust.id, anchors.len()).unwrap();
                anchors.clear();
            }
            TrustAnchors::TrustDomain(_, None) => {}
        }
    }
    for listener in &mut live.identity.listeners {
        for certificate in &mut listener.certificates {
            let ShownPlan::Certificate(certificate) = certificate else {
                continue;
            };
            writeln!(
                counts,
                "listener {}: a chain of {}",
                listener.listener,
                certificate.chain.len()
            )
            .unwrap();
            certificate.chain.clear();
        }
    }
    if let Some(svid) = &mut live.identity.svid {
        svid.chain.clear();
    }
    for upstream in &mut live.identity.upstreams {
        match &mut upstream.peer {
            UpstreamPeer::Spiffe { anchors, .. } | UpstreamPeer::Https { ca: anchors, .. } => {
                if let Some(anchors) = anchors {
                    writeln!(counts, "pool {}: {} anchor(s)", upstream.pool, anchors.len()).unwrap();
                    anchors.clear();
                }
            }
        }
    }
    let text = format!("{counts}{:#?}\n{live:#?}\n", loaded.boot);
    let origin = Regex::new(
        r#"Origin \{\s*path: "((?:[^"\\]|\\.)*)",\s*file: "[^"]*",\s*line: (\d+),\s*column: (\d+),\s*\}"#,
    )
    .unwrap();
    origin.replace_all(&text, "$1 @$2:$3").into_owned()
}
