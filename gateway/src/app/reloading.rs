//! Reading the configuration again: on SIGHUP, on a change of a file, or when a test asks.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_config::{BootPlan, Sources};
use portcullis_identity::plan::KeySource;
use portcullis_model::{Origin, Problem};
use portcullis_pipeline::Gateway;
use portcullis_pipeline::plan::GatewayPlan;
use tracing::error;

use super::reload::ReloadStatus;
use super::watch::{Changes, FileWatch};
use crate::adapters::egress::EgressRules;
use crate::adapters::http_fetch::HttpFetch;
use crate::configuration::Selection;

/// Everything a reload needs.
pub(crate) struct Reloader {
    selection: Selection,
    boot: BootPlan,
    gateway: Arc<Gateway>,
    fetch: Arc<HttpFetch>,
    status: Arc<ReloadStatus>,
    watch: Mutex<Option<FileWatch>>,
    /// One reload at a time.
    turn: Mutex<()>,
}

impl Reloader {
    pub(crate) const fn new(
        selection: Selection,
        boot: BootPlan,
        gateway: Arc<Gateway>,
        fetch: Arc<HttpFetch>,
        status: Arc<ReloadStatus>,
    ) -> Self {
        Self {
            selection,
            boot,
            gateway,
            fetch,
            status,
            watch: Mutex::new(None),
            turn: Mutex::new(()),
        }
    }

    /// Where workload identities come from.
    pub(crate) fn workload_api(&self) -> Option<String> {
        self.boot.workload_api.clone()
    }

    /// Keeps the watch, whose folders follow what the configuration names.
    pub(crate) fn watch(&self, watch: FileWatch) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// Reloads at every change, for as long as there are any to come.
    pub(crate) async fn reload_on(self: Arc<Self>, mut changes: Changes) {
        while changes.next().await.is_some() {
            self.reload_aside().await;
        }
    }

    /// Reads, compiles aside and publishes, or keeps what serves and says why.
    pub(crate) fn reload(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match self.selection.load() {
            Ok(loaded) => loaded,
            Err(refused) => {
                self.follow(&refused.sources);
                return self.status.kept(refused.problems);
            }
        };
        self.follow(&loaded.sources);
        if let Some(problem) = self.needs_restart(&loaded.boot) {
            return self.status.kept(problem.into());
        }
        let previous = self.gateway.snapshot();
        if *loaded.live == *previous.plan {
            return self.status.unchanged();
        }
        let rules = egress_rules(&loaded.live, &self.boot);
        let compiled = portcullis_pipeline::compile(
            loaded.live,
            Some(&previous),
            self.gateway.boards(),
            loaded.revision.clone(),
        );
        let mut warnings = loaded.warnings;
        match compiled {
            Ok((snapshot, more)) => {
                warnings.extend(more);
                // The new issuers must be allowed before anybody asks for their keys.
                self.fetch.replace_rules(rules);
                self.gateway.boards().limits.sweep(snapshot.admission.limits());
                self.gateway.store().publish(snapshot);
                self.status.published(&loaded.revision, warnings);
            }
            Err(problems) => self.status.kept(problems),
        }
    }

    /// A change of what is fixed until restart.
    fn needs_restart(&self, boot: &BootPlan) -> Option<Problem> {
        if *boot == self.boot {
            return None;
        }
        let (path, what) = if boot.listeners != self.boot.listeners {
            ("listeners", "the addresses of listeners")
        } else if boot.region != self.boot.region {
            ("gateway.region", "the region")
        } else {
            (
                "gateway",
                "a setting of the gateway's own sockets, threads or logs",
            )
        };
        let problem = Problem::error(
            "restart-required",
            &Origin::of(path),
            format!("{what} changed, which needs a restart"),
        );
        Some(problem.with_hint("start a new process, or take the change back"))
    }

    fn follow(&self, sources: &Sources) {
        if let Some(watch) = &*self.watch.lock().unwrap_or_else(PoisonError::into_inner) {
            watch.follow(sources.paths());
        }
    }

    /// Reloads on a thread that may block: policies and contracts take their time to compile.
    pub(crate) async fn reload_aside(self: &Arc<Self>) {
        let reloader = Arc::clone(self);
        if tokio::task::spawn_blocking(move || reloader.reload())
            .await
            .is_err()
        {
            error!("the reload panicked, the previous configuration goes on serving");
        }
    }
}

/// Whom the gateway may call: what the configuration names, and what it allows beyond.
pub(crate) fn egress_rules(plan: &GatewayPlan, boot: &BootPlan) -> EgressRules {
    let urls = plan
        .identity
        .issuers
        .iter()
        .filter_map(|issuer| match &issuer.keys {
            KeySource::Document(_) => None,
            KeySource::Url(url) => Some(&**url),
            KeySource::Discovery => Some(&*issuer.issuer),
        });
    EgressRules::new(urls, boot.egress_allow.clone())
}
