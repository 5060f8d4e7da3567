//! Tells the binary which commit it was built from; without git it is `unknown`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=PORTCULLIS_COMMIT");
    println!("cargo::rerun-if-changed=gateway/build.rs");
    // A release names its commit exactly; a debug build may lag behind, which spares a rebuild after every commit.
    let watched = if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        ".git/HEAD"
    } else {
        ".git/logs/HEAD"
    };
    if Path::new(watched).exists() {
        println!("cargo::rerun-if-changed={watched}");
    }
    let commit = env::var("PORTCULLIS_COMMIT")
        .ok()
        .or_else(commit_of_the_work_tree);
    println!(
        "cargo::rustc-env=PORTCULLIS_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

fn commit_of_the_work_tree() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    let commit = commit.trim();
    (output.status.success() && !commit.is_empty()).then(|| commit.to_owned())
}
