//! Reading the configuration again: on SIGHUP, on a change of a file, or when a test asks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_config::reload::{ReloadOutcome, Running, reload};
use portcullis_config::{AccessLogDestination, BootPlan, Sources};
use portcullis_identity::plan::{CrlSource, IssuerKind, KeySource};
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

    /// What fetches, under the rules of the newest configuration.
    pub(crate) fn fetch(&self) -> Arc<HttpFetch> {
        Arc::clone(&self.fetch)
    }

    /// Files that the gateway itself writes.
    pub(crate) fn own_files(&self) -> BTreeSet<PathBuf> {
        match &self.boot.access_log {
            AccessLogDestination::File(path) => BTreeSet::from([path.clone()]),
            AccessLogDestination::Stdout | AccessLogDestination::Stderr | AccessLogDestination::None => {
                BTreeSet::new()
            }
        }
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

    /// Reads, compiles aside and publishes, or keeps what serves and says why; the outcome in a word.
    pub(crate) fn reload(&self) -> &'static str {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (store, boards) = (self.gateway.store(), self.gateway.boards());
        let running = Running {
            boot: &self.boot,
            store,
            boards,
        };
        let env = |name: &str| std::env::var(name).ok();
        let done = reload(
            &self.selection.path,
            &self.selection.options(&env),
            &running,
            |snapshot| {
                // The new issuers must be allowed before anybody asks for their keys.
                self.fetch.replace_rules(egress_rules(&snapshot.plan, &self.boot));
                boards.limits.sweep(snapshot.admission.limits());
            },
        );
        self.follow(&done.sources);
        match done.outcome {
            ReloadOutcome::Unchanged => self.status.unchanged(),
            ReloadOutcome::Published { revision, warnings } => self.status.published(&revision, warnings),
            ReloadOutcome::Kept { problems } => self.status.kept(problems),
        }
    }

    fn follow(&self, sources: &Sources) {
        if let Some(watch) = &*self.watch.lock().unwrap_or_else(PoisonError::into_inner) {
            watch.follow(sources.paths());
        }
    }

    /// Reloads on a thread that may block: policies and contracts take their time to compile.
    pub(crate) async fn reload_aside(self: &Arc<Self>) -> Option<&'static str> {
        let reloader = Arc::clone(self);
        let outcome = tokio::task::spawn_blocking(move || reloader.reload()).await;
        if outcome.is_err() {
            error!("the reload panicked, the previous configuration goes on serving");
        }
        outcome.ok()
    }
}

/// Whom the gateway may call: what the configuration names, and what it allows beyond.
pub(crate) fn egress_rules(plan: &GatewayPlan, boot: &BootPlan) -> EgressRules {
    let urls = plan
        .identity
        .issuers
        .iter()
        .filter_map(|issuer| match (&issuer.keys, &issuer.kind) {
            (KeySource::Url(url), _) => Some(&**url),
            (KeySource::Discovery, IssuerKind::Url(url)) => Some(&**url),
            (KeySource::Discovery, IssuerKind::Spiffe(_))
            | (KeySource::Document(_) | KeySource::WorkloadApi(_), _) => None,
        });
    let of_trusts = plan.identity.trust.iter().map(|trust| &trust.revocation);
    let of_pools = plan.identity.upstreams.iter().map(|pool| &pool.revocation);
    let lists = of_trusts.chain(of_pools).flatten().flat_map(|plan| &plan.lists);
    let lists = lists.filter_map(|list| match &list.source {
        CrlSource::Url(url) => Some(&**url),
        CrlSource::Document { .. } => None,
    });
    EgressRules::new(urls, boot.egress_allow.clone()).with_lists(lists)
}
