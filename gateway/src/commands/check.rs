//! `check`: is this configuration sound?

use portcullis_config::{Refused, Sources, problems_to_json, render};
use portcullis_model::Problems;

use super::Exit;
use crate::cli::{CheckArgs, Format};
use crate::configuration::{Selection, count};
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
            print(&rehearsal.warnings, &rehearsal.sources, args.format, output);
            if args.format == Format::Text {
                output.line(summary(&selection, &rehearsal));
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

fn summary(selection: &Selection, rehearsal: &crate::configuration::Rehearsal) -> String {
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
