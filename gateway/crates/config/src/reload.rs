//! Loading again while running: nothing, everything, or the old one with the reasons.
//!
//! What is here decides; when to reload, and telling people about it, is the app's.

use std::path::Path;

use portcullis_model::{Origin, Problem, Problems};
use portcullis_pipeline::{Boards, Snapshot, SnapshotStore};

use crate::boot::BootPlan;
use crate::compile::compile;
use crate::load::{LoadOptions, Loaded, load};
use crate::sources::Sources;

/// What is running and would be replaced.
pub struct Running<'a> {
    /// What it was started with.
    pub boot: &'a BootPlan,
    /// What serves.
    pub store: &'a SnapshotStore,
    /// What outlives snapshots.
    pub boards: &'a Boards,
}

/// A reload, whatever became of it.
#[derive(Debug)]
pub struct Reload {
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// Every file that was read, also by a refused configuration: its correction has to be noticed.
    pub sources: Sources,
}

/// What became of a reload.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// The configuration means what it meant before; nothing was touched.
    Unchanged,
    /// A new snapshot serves.
    Published {
        /// Its revision.
        revision: String,
        /// What is probably not meant.
        warnings: Problems,
    },
    /// The previous snapshot goes on serving.
    Kept {
        /// Why.
        problems: Problems,
    },
}

/// Loads and compiles aside, then publishes; or keeps what serves. `before_publish` sees the new snapshot while
/// the old one still serves.
pub fn reload(
    source: &Path,
    options: &LoadOptions<'_>,
    running: &Running<'_>,
    before_publish: impl FnOnce(&Snapshot),
) -> Reload {
    match load(source, options) {
        Ok(loaded) => {
            let outcome = publish(&loaded, running, before_publish);
            Reload {
                outcome,
                sources: loaded.sources,
            }
        }
        Err(refused) => Reload {
            outcome: ReloadOutcome::Kept {
                problems: refused.problems,
            },
            sources: refused.sources,
        },
    }
}

fn publish(loaded: &Loaded, running: &Running<'_>, before_publish: impl FnOnce(&Snapshot)) -> ReloadOutcome {
    if let Some(problem) = restart_needed(running.boot, &loaded.boot) {
        return ReloadOutcome::Kept {
            problems: problem.into(),
        };
    }
    let previous = running.store.load();
    if *loaded.live == *previous.plan && !loaded.unfit.has_errors() {
        return ReloadOutcome::Unchanged;
    }
    match compile(loaded, Some(&previous), running.boards) {
        Ok((snapshot, warnings)) => {
            before_publish(&snapshot);
            running.store.publish(snapshot);
            // Requests that live long are judged by the configuration that serves.
            running.boards.identity.pulse.beat();
            ReloadOutcome::Published {
                revision: loaded.revision.clone(),
                warnings,
            }
        }
        Err(refused) => ReloadOutcome::Kept {
            problems: refused.problems,
        },
    }
}

/// The problem with a change of what is fixed until restart.
#[must_use]
pub fn restart_needed(running: &BootPlan, wanted: &BootPlan) -> Option<Problem> {
    let changes = [
        ("gateway.region", "the region", running.region != wanted.region),
        (
            "listeners",
            "the listeners or their addresses",
            running.listeners != wanted.listeners,
        ),
        (
            "gateway.admin.listen",
            "the admin port",
            running.admin != wanted.admin,
        ),
        (
            "gateway.workers",
            "the number of workers",
            running.workers != wanted.workers,
        ),
        (
            "gateway.workload_api",
            "the Workload API",
            running.workload_api != wanted.workload_api,
        ),
        (
            "gateway.egress.allow",
            "what the gateway may call",
            running.egress_allow != wanted.egress_allow,
        ),
        (
            "telemetry.access_log.to",
            "where the access log goes",
            running.access_log != wanted.access_log,
        ),
        (
            "gateway.state_dir",
            "the folder for what outlives a restart",
            running.state_dir != wanted.state_dir,
        ),
    ];
    let (path, what, _) = changes.into_iter().find(|(_, _, is_changed)| *is_changed)?;
    let problem = Problem::error(
        "restart-needed",
        &Origin::of(path),
        format!("{what} cannot change while running"),
    );
    Some(problem.with_hint("take the change back, or restart"))
}

#[cfg(test)]
mod tests {
    use crate::boot::AccessLogDestination;

    use super::*;

    fn boot() -> BootPlan {
        BootPlan {
            region: "eu-west".into(),
            listeners: Vec::new(),
            admin: "127.0.0.1:9901".parse().unwrap(),
            workers: 0,
            workload_api: None,
            egress_allow: Vec::new(),
            access_log: AccessLogDestination::Stdout,
            state_dir: None,
        }
    }

    #[test]
    fn every_change_of_the_boot_part_asks_for_a_restart() {
        let changes: [fn(&mut BootPlan); 8] = [
            |plan| plan.region = "us-east".into(),
            |plan| {
                plan.listeners.push(crate::boot::BootListener {
                    id: "new".into(),
                    addresses: Vec::new(),
                })
            },
            |plan| plan.admin.set_port(9902),
            |plan| plan.workers = 4,
            |plan| plan.workload_api = Some("unix:///x".to_owned()),
            |plan| {
                plan.egress_allow
                    .push(crate::boot::EgressHost::Name("x".to_owned()))
            },
            |plan| plan.access_log = AccessLogDestination::None,
            |plan| plan.state_dir = Some("state".into()),
        ];
        for change in changes {
            let mut wanted = boot();
            change(&mut wanted);
            assert_ne!(wanted, boot());
            assert!(restart_needed(&boot(), &wanted).is_some(), "{wanted:?}");
        }
    }

    #[test]
    fn an_equal_boot_part_asks_for_nothing() {
        assert_eq!(restart_needed(&boot(), &boot()), None);
    }
}
