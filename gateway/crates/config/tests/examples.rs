//! Every file of `deploy/examples/` is complete: it compiles, with throw-away certificates in the place of real ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_config::{compile, render};
use support::{Folder, boards};

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")).unwrap()
}

/// A folder with the examples, what they name, and a PKI.
fn folder() -> Folder {
    let folder = Folder::empty();
    copy(
        &repository().join("deploy/examples"),
        &folder.path().join("deploy/examples"),
    );
    copy(&repository().join("schemas"), &folder.path().join("schemas"));
    copy(&repository().join("policies"), &folder.path().join("policies"));
    folder.add_pki("deploy/examples/certs/");
    for (name, copied) in [
        ("server.pem", "other.pem"),
        ("server.key", "other.key"),
        ("server.key", "assertion.key"),
    ] {
        let certs = folder.path().join("deploy/examples/certs");
        fs::copy(certs.join(name), certs.join(copied)).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn every_example_compiles_without_a_warning() {
    let folder = folder();
    let mut examples: Vec<_> = fs::read_dir(repository().join("deploy/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    examples.sort();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let loaded = folder
            .load(&format!("deploy/examples/{example}"))
            .unwrap_or_else(|refused| {
                panic!(
                    "{example}\n{}",
                    render(&refused.problems, &refused.sources, false)
                )
            });
        let warnings = match compile(&loaded, None, &boards()) {
            Ok((_, warnings)) => warnings,
            Err(refused) => panic!(
                "{example}\n{}",
                render(&refused.problems, &refused.sources, false)
            ),
        };
        assert!(
            warnings.is_empty(),
            "{example}\n{}",
            render(&warnings, &loaded.sources, false)
        );
    }
}
