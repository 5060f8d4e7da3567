//! The load bench: builds the gateway as it is shipped and the tool that measures it, then becomes the tool.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::needs::{BENCH, BUILD};
use crate::tasks::{become_command, cargo, failed, set_up};

/// Runs `bench load`.
pub(crate) fn bench(root: &Path, args: &[String]) -> ExitCode {
    let Some(("load", args)) = args.split_first().map(|(kind, rest)| (kind.as_str(), rest)) else {
        return failed(
            "there is one bench here, `cargo xtask bench load`; the others run with `cargo bench`",
        );
    };
    let plan = Plan::of(args);
    // A proof needs no load generator.
    let needs: &[&'static [_]] = if plan.is_proof { &[BUILD] } else { &[BUILD, BENCH] };
    if let Err(code) = set_up(needs) {
        return code;
    }
    let mut builds = vec![vec![
        "build",
        "--quiet",
        "--release",
        "--package",
        "portcullis-bench-load",
    ]];
    if let Some(profile) = plan.profile {
        println!(
            "xtask: building the gateway ({profile} profile{})",
            plan.patience()
        );
        builds.push(vec!["build", "--profile", profile, "--bin", "portcullis"]);
    }
    for words in builds {
        match cargo(root).args(&words).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return failed(&format!("cargo {} failed with {status}", words.join(" "))),
            Err(error) => return failed(&format!("cannot run cargo: {error}")),
        }
    }
    let mut command = Command::new(root.join("target/release/portcullis-bench-load"));
    command.arg("--root").arg(root).args(args);
    become_command(command)
}

/// What must be built first.
#[derive(Debug, Eq, PartialEq)]
struct Plan {
    /// Of the gateway; `None` when a built one is named or nothing is measured.
    profile: Option<&'static str>,
    is_proof: bool,
}

impl Plan {
    fn of(args: &[String]) -> Self {
        let has = |name: &str| {
            args.iter()
                .any(|arg| arg == name || arg.starts_with(&format!("{name}=")))
        };
        let needs_no_gateway = ["--portcullis", "--help", "-h", "--list"].into_iter().any(has);
        let profile = if has("--release") { "release" } else { "dist" };
        Self {
            profile: (!needs_no_gateway).then_some(profile),
            is_proof: has("--proof") || needs_no_gateway && !has("--portcullis"),
        }
    }

    fn patience(&self) -> &'static str {
        if self.profile == Some("dist") {
            ", what is shipped; about eight minutes the first time, --release is quicker"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Plan {
        Plan::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_shipped_is_measured_unless_told_otherwise() {
        assert_eq!(
            plan(&["--short"]),
            Plan {
                profile: Some("dist"),
                is_proof: false
            }
        );
        assert_eq!(
            plan(&["--release", "--proof"]),
            Plan {
                profile: Some("release"),
                is_proof: true
            }
        );
    }

    #[test]
    fn nothing_is_built_for_help_or_beside_a_binary_that_is_named() {
        assert_eq!(
            plan(&["--help"]),
            Plan {
                profile: None,
                is_proof: true
            }
        );
        assert_eq!(
            plan(&["--portcullis=a"]),
            Plan {
                profile: None,
                is_proof: false
            }
        );
    }
}
