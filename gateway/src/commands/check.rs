//! `check`: is this configuration sound?

use std::sync::Arc;

use portcullis_admission::policy::{Policy, Remembering};
use portcullis_config::{Refused, Sources, problems_to_json, render};
use portcullis_model::Problems;
use serde_json::{Value, json};

use super::Exit;
use crate::cli::{CheckArgs, Format};
use crate::configuration::{Rehearsal, Selection, count};
use crate::output::Output;

/// Loads and compiles, prints every problem, and ends 0 when there is no error.
pub(super) fn check(args: &CheckArgs, output: &mut Output) -> Exit {
    let selection = match Selection::from_args(&args.config, args.offline) {
        Ok(selection) => selection,
        Err(fault) => {
            output.error(fault.to_string());
            return Exit::Usage;
        }
    };
    match selection.rehearse() {
        Ok(rehearsal) => {
            match args.format {
                Format::Json => output.json(&report(&rehearsal, args.verbose)),
                Format::Text => {
                    print(&rehearsal.warnings, &rehearsal.sources, args.format, output);
                    output.line(summary(&selection, &rehearsal));
                    if args.verbose {
                        output.text(policies_text(&rehearsal));
                    }
                }
            }
            Exit::Clean
        }
        Err(Refused { problems, sources }) => {
            print(&problems, &sources, args.format, output);
            Exit::Problems
        }
    }
}

/// Problems on standard error for people, on standard output for programs.
pub(super) fn print(problems: &Problems, sources: &Sources, format: Format, output: &mut Output) {
    match format {
        Format::Json => output.json(&problems_to_json(problems)),
        Format::Text if problems.is_empty() => {}
        Format::Text => {
            let color = output.color();
            output.error_text(render(problems, sources, color));
        }
    }
}

/// The problems, and of every policy whether it is remembered.
fn report(rehearsal: &Rehearsal, verbose: bool) -> Value {
    let mut report = problems_to_json(&rehearsal.warnings);
    if let Some(report) = report.as_object_mut().filter(|_| verbose) {
        let policies = rehearsal.snapshot.admission.policies();
        report.insert(
            "policies".to_owned(),
            policies.map(|policy| policy_json(policy)).collect(),
        );
    }
    report
}

fn policy_json(policy: &Policy) -> Value {
    let (remembered, facts, obstacles) = match policy.remembering() {
        Remembering::Under(facts) => (true, facts, Vec::new()),
        Remembering::Never(obstacles) => (false, Vec::new(), obstacles),
    };
    let because: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    json!({ "name": policy.id().as_str(), "remembered": remembered, "facts": facts, "because": because })
}

fn policies_text(rehearsal: &Rehearsal) -> String {
    let line = |policy: &Arc<Policy>| {
        let what = match policy.remembering() {
            Remembering::Under(facts) if facts.is_empty() => {
                "remembered: it is the same for every request".to_owned()
            }
            Remembering::Under(facts) => format!("remembered under {}", facts.join(", ")),
            Remembering::Never(obstacles) => {
                let because: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
                format!("not remembered: {}", because.join("; "))
            }
        };
        format!("  policy {}: {what}\n", policy.id())
    };
    rehearsal.snapshot.admission.policies().map(line).collect()
}

fn summary(selection: &Selection, rehearsal: &Rehearsal) -> String {
    let snapshot = &rehearsal.snapshot;
    let (_, warnings) = count(&rehearsal.warnings);
    let warnings = match warnings {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        several => format!(", {several} warnings"),
    };
    format!(
        "{}: sound; {}, {}, {}, revision {}{warnings}",
        selection.path.display(),
        counted(snapshot.listeners.len(), "listener"),
        counted(snapshot.routes.len(), "route"),
        counted(snapshot.plan.routing.pools.len(), "pool"),
        snapshot.revision,
    )
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}
