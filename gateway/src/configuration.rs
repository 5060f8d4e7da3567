//! From `--config` to a snapshot: the one path that `check`, `run`, `explain` and the lists share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_admission::limit::LimitTable;
use portcullis_config::{LoadOptions, Loaded, Refused, Sources, compile, load, unknown_names};
use portcullis_identity::{Clock, FetchFault, KeyFetch};
use portcullis_model::{Origin, Problem, Problems};
use portcullis_pipeline::plan::GatewayPlan;
use portcullis_pipeline::{Boards, HeldBodies, Snapshot};
use prometheus::Registry;
use thiserror::Error;

use crate::app::denials;
use crate::cli::{ConfigArgs, DEFAULT_CONFIG};
use crate::output::chain;

/// Which configuration, for which region, and how strictly.
#[derive(Clone, Debug)]
pub struct Selection {
    /// A file or a folder.
    pub path: PathBuf,
    /// Wins over `gateway.region`.
    pub region: Option<String>,
    /// Without secrets and private keys.
    pub offline: bool,
}

/// No configuration was named and none stands where it is looked for.
#[derive(Debug, Error)]
#[error("no configuration: neither {} is there (name one with --config)", DEFAULT_CONFIG.join(" nor "))]
pub struct NoConfiguration;

impl Selection {
    /// What the command line says, with the places that are looked at when it says nothing.
    ///
    /// # Errors
    /// Fails when nothing was named and nothing was found.
    pub fn from_args(args: &ConfigArgs, offline: bool) -> Result<Self, NoConfiguration> {
        let path = match &args.config {
            Some(path) => path.clone(),
            None => DEFAULT_CONFIG
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists())
                .ok_or(NoConfiguration)?,
        };
        Ok(Self {
            path,
            region: args.region.clone(),
            offline,
        })
    }

    /// What the loader is asked for, given where environment variables come from.
    pub(crate) fn options<'a>(&self, env: &'a dyn Fn(&str) -> Option<String>) -> LoadOptions<'a> {
        LoadOptions {
            offline: self.offline,
            region: self.region.clone(),
            env,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Returns every problem of the files.
    pub fn load(&self) -> Result<Loaded, Refused> {
        let env = |name: &str| std::env::var(name).ok();
        load(&self.path, &self.options(&env))
    }

    /// Reads and compiles it without serving: keys are not fetched, nothing is bound.
    ///
    /// # Errors
    /// Returns every problem of the files, or of what they mean.
    pub fn rehearse(&self) -> Result<Rehearsal, Refused> {
        self.rehearse_with(|plan| plan)
    }

    /// The same with a plan that `change` made of the one that was read.
    ///
    /// # Errors
    /// As [`Selection::rehearse`].
    pub fn rehearse_with(
        &self,
        change: impl FnOnce(Arc<GatewayPlan>) -> Arc<GatewayPlan>,
    ) -> Result<Rehearsal, Refused> {
        let mut loaded = self.load()?;
        loaded.live = change(loaded.live);
        let boards = match boards(Arc::new(NoFetch), &Registry::new()) {
            Ok(boards) => Arc::new(boards),
            Err(fault) => {
                return Err(Refused {
                    problems: internal(&fault).into(),
                    sources: loaded.sources,
                });
            }
        };
        let compiled = compile(&loaded, None, &boards);
        // Whatever else would keep a gateway from starting is told with the rest.
        let denied = self
            .deny_list(&loaded, &boards.identity)
            .and_then(|warnings| self.kept_entries(&loaded, warnings));
        let (snapshot, warnings) = match (compiled, denied) {
            (Ok((snapshot, mut warnings)), Ok(more)) => {
                warnings.extend(more);
                (snapshot, warnings)
            }
            (Ok(_), Err(refused)) => return Err(refused),
            (Err(refused), Ok(_)) => return Err(refused),
            (Err(mut refused), Err(more)) => {
                refused.problems.extend(more.problems);
                refused.sources.extend(more.sources);
                return Err(refused);
            }
        };
        Ok(Rehearsal {
            boot: loaded.boot,
            snapshot,
            boards,
            warnings,
            sources: loaded.sources,
        })
    }

    /// Reads the deny list into empty boards; offline, one that is not there is left out.
    pub(crate) fn deny_list(
        &self,
        loaded: &Loaded,
        boards: &portcullis_identity::Boards,
    ) -> Result<Problems, Refused> {
        if let Some(list) = loaded.live.deny_list.as_ref().filter(|_| self.offline)
            && !list.path.exists()
        {
            let message = format!(
                "deny list {:?} is left out: it is not there, and this check is offline",
                list.path
            );
            return Ok(Problem::warning("offline", &list.origin, message).into());
        }
        denials::load(loaded, &boards.denied).map(|read| read.warnings().clone())
    }

    /// Looks at what the admin port's side kept, by which a start would be refused; offline the folder is elsewhere.
    fn kept_entries(&self, loaded: &Loaded, mut warnings: Problems) -> Result<Problems, Refused> {
        let Some(folder) = loaded.boot.state_dir.as_ref().filter(|_| !self.offline) else {
            return Ok(warnings);
        };
        match denials::judge_kept(folder) {
            Ok(entries) => {
                warnings.extend(unknown_names(&entries, &loaded.live.identity));
                Ok(warnings)
            }
            Err(fault) => {
                let origin = Origin {
                    path: "gateway.state_dir".into(),
                    ..Origin::default()
                };
                Err(Refused {
                    problems: Problem::error("deny-list", &origin, chain(&fault)).into(),
                    sources: loaded.sources.clone(),
                })
            }
        }
    }
}

/// A configuration that would serve, without serving.
pub struct Rehearsal {
    /// What is fixed until restart.
    pub boot: portcullis_config::BootPlan,
    /// What a request would meet.
    pub snapshot: Snapshot,
    /// Boards of its own, empty.
    pub boards: Arc<Boards>,
    /// What is probably not meant.
    pub warnings: Problems,
    /// For the snippets.
    pub sources: Sources,
}

/// Empty boards over a client, with every room's metrics registered.
///
/// # Errors
/// Fails when the registry has them already.
pub fn boards(fetch: Arc<dyn KeyFetch>, registry: &Registry) -> Result<Boards, prometheus::Error> {
    let identity = portcullis_identity::Boards::new(fetch, Clock::new(Instant::now, SystemTime::now));
    identity.metrics.register(registry)?;
    identity.denied.metrics().register(registry)?;
    Ok(Boards {
        identity,
        routing: portcullis_routing::Boards::new(registry)?,
        limits: Arc::new(LimitTable::with_metrics(
            portcullis_admission::metrics::Metrics::register(registry)?,
        )),
        held: Arc::new(HeldBodies::new()),
    })
}

fn internal(fault: &prometheus::Error) -> Problem {
    Problem::error(
        "internal",
        &Origin::default(),
        format!("cannot register metrics: {fault}"),
    )
}

/// Errors and warnings, counted.
#[must_use]
pub fn count(problems: &Problems) -> (usize, usize) {
    let errors = problems.iter().filter(|problem| is_error(problem)).count();
    (errors, problems.iter().count() - errors)
}

fn is_error(problem: &Problem) -> bool {
    problem.severity == portcullis_model::Severity::Error
}

/// Fetches nothing: for commands that never open a connection.
pub struct NoFetch;

#[async_trait]
impl KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, FetchFault> {
        Err(FetchFault::Refused("this command fetches nothing".to_owned()))
    }
}
