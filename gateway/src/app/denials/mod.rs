//! The deny list while the gateway runs: its file is followed, what the admin port adds is kept.
//!
//! The file is followed apart from the configuration: a revocation must not wait for a configuration that is sound,
//! nor for one that takes its time to compile.

mod kept;
mod rest;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use portcullis_config::{Loaded, Refused, read_deny_list, unknown_names};
use portcullis_identity::deny::{Added, DenyEntry, DenyIndex, DenyList, Removed, Side};
use portcullis_model::{Problem, Problems};
use portcullis_pipeline::Gateway;
use portcullis_pipeline::plan::DenyListPlan;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

pub(crate) use self::rest::Stamp;
use self::rest::{LOOK, Rest};
use super::reload::warn_all;
use super::state::{StateDir, StateFault};
use crate::output::chain;

/// Looks between two at the clocks; half a minute.
const LOOKS_PER_CLOCK: u32 = 300;
/// A list as long as this is rarely written in one piece, so that less than half of it may be a part of the next one.
const LONG: usize = 16;

/// What went wrong with the entries that were kept from before a restart.
#[derive(Debug, Error)]
pub enum KeptFault {
    /// The file cannot be read.
    #[error("cannot take up the deny list of the admin port ({KEPT_ADVICE})")]
    State(#[source] Box<StateFault>),
    /// The file is not what we wrote; starting without it would let in again whoever it names.
    #[error("cannot take up the deny list of the admin port from {path}: {problems} ({KEPT_ADVICE})")]
    Broken {
        /// Which file.
        path: String,
        /// What is wrong with it.
        problems: String,
    },
}

/// What to do about it; never by itself, because somebody would come back in.
const KEPT_ADVICE: &str =
    "correct the file, or remove it knowing that whoever the admin port denied is let in again";

/// Reads what was kept as the start will, without making the folder.
///
/// # Errors
/// When a start would not take it up.
pub(crate) fn judge_kept(folder: &Path) -> Result<Vec<DenyEntry>, KeptFault> {
    kept::read(&StateDir::existing(folder))
}

/// The deny list of a running gateway.
pub struct Denials {
    gateway: Arc<Gateway>,
    state: Option<Arc<StateDir>>,
    status: Mutex<Status>,
    /// One change of the admin port's side at a time, until it is written down.
    turn: Mutex<()>,
}

/// What became of the file.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Which file.
    pub plan: Option<DenyListPlan>,
    /// When it was last read well.
    pub loaded_at: Option<SystemTime>,
    /// What is wrong with the file as it is now; while there is an error, the last good list holds.
    pub problems: Problems,
}

/// A list that was read, and what the file looked like then.
pub(crate) struct Read {
    status: Status,
    stamp: Stamp,
}

/// Where the admin port's entries are while the gateway does not run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keeping {
    /// In the folder for state.
    OnDisk,
    /// Nowhere: there is no folder for state.
    UntilRestart,
    /// Nowhere, though they should be: the folder cannot be written.
    Failed,
}

impl Keeping {
    /// The words of the admin port.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnDisk => "on disk",
            Self::UntilRestart => "until restart",
            Self::Failed => "until restart: the state folder cannot be written",
        }
    }
}

/// Reads the file that a configuration names, if it names one, and publishes it.
///
/// # Errors
/// Returns every problem of the file.
pub(crate) fn load(loaded: &Loaded, denied: &DenyList) -> Result<Read, Refused> {
    let Some(list) = &loaded.live.deny_list else {
        return Ok(Read {
            status: Status::default(),
            stamp: Stamp::default(),
        });
    };
    let stamp = Stamp::of(&list.path);
    let entries = read_deny_list(list).map_err(|refused| refused.with_sources_of(loaded))?;
    let problems = unknown_names(&entries, &loaded.live.identity);
    let now = SystemTime::now();
    denied.publish(Side::File, DenyIndex::new(entries, now));
    denied.metrics().loaded(now);
    let status = Status {
        plan: Some(list.clone()),
        loaded_at: Some(now),
        problems,
    };
    Ok(Read { status, stamp })
}

impl Read {
    /// What is probably not meant.
    pub(crate) const fn warnings(&self) -> &Problems {
        &self.status.problems
    }
}

impl Denials {
    /// Takes up what was read for the start and what was kept before it; with what the file looked like when it was
    /// read.
    ///
    /// # Errors
    /// When what was kept cannot be read: nobody it names may come in by a restart.
    pub(crate) fn take_up(
        gateway: &Arc<Gateway>,
        state: Option<Arc<StateDir>>,
        read: Read,
    ) -> Result<(Arc<Self>, Stamp), KeptFault> {
        warn_all(&read.status.problems);
        let denied = &gateway.boards().identity.denied;
        if let Some(state) = &state {
            let entries = kept::read(state)?;
            if !entries.is_empty() {
                info!(entries = entries.len(), "the admin port's deny list holds again");
                warn_all(&unknown_names(&entries, &gateway.snapshot().plan.identity));
                denied.publish(Side::Admin, DenyIndex::new(entries, SystemTime::now()));
            }
        }
        let denials = Self {
            gateway: Arc::clone(gateway),
            state,
            status: Mutex::new(read.status),
            turn: Mutex::new(()),
        };
        Ok((Arc::new(denials), read.stamp))
    }

    /// The list itself.
    #[must_use]
    pub fn list(&self) -> &Arc<DenyList> {
        &self.gateway.boards().identity.denied
    }

    /// What became of the file.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock_status().clone()
    }

    /// Where the admin port's entries are kept.
    #[must_use]
    pub const fn keeping(&self) -> Keeping {
        match self.state {
            Some(_) => Keeping::OnDisk,
            None => Keeping::UntilRestart,
        }
    }

    /// The issuers and trusts that the configuration has, for entries that are meant within one.
    #[must_use]
    pub fn unknown_names(&self, entry: &DenyEntry) -> Problems {
        let snapshot = self.gateway.snapshot();
        unknown_names(std::slice::from_ref(entry), &snapshot.plan.identity)
    }

    /// Adds an entry to the admin port's side and writes the side down; blocks.
    #[must_use]
    pub fn add(&self, entry: DenyEntry) -> (Added, Keeping) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, value) = (entry.name.kind().as_str(), Arc::clone(entry.name.value()));
        let added = self.list().add(entry, SystemTime::now());
        match &added {
            Added::New(id) | Added::Replaced(id) => {
                info!(%id, kind, %value, "denied by the admin port");
                (added, self.keep())
            }
            Added::Full => (added, self.keeping()),
        }
    }

    /// Takes an entry of the admin port's side back and writes the side down; blocks.
    #[must_use]
    pub fn remove(&self, id: &str) -> (Removed, Keeping) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = self.list().remove(id, SystemTime::now());
        match &removed {
            Removed::Gone(entry) => {
                info!(id, kind = entry.name.kind().as_str(), value = %entry.name.value(), "no longer denied by the admin port");
                (removed, self.keep())
            }
            Removed::Unknown => (removed, self.keeping()),
        }
    }

    /// Follows the file until the task is dropped.
    pub(crate) async fn follow(self: Arc<Self>, read: Stamp) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follower = Follower {
            path: self.status().plan.map(|plan| plan.path),
            rest: Rest::after(read),
            retired: None,
        };
        let mut looks: u32 = 0;
        loop {
            ticks.tick().await;
            looks = looks.wrapping_add(1);
            let is_clock_due = looks.is_multiple_of(LOOKS_PER_CLOCK);
            let has_file = follower.path.is_some() || self.gateway.snapshot().plan.deny_list.is_some();
            if !is_clock_due && !has_file {
                continue;
            }
            // A look may block on a mount that went away, and a long list takes a while to read.
            let (denials, mut mine) = (Arc::clone(&self), std::mem::take(&mut follower));
            let looked = tokio::task::spawn_blocking(move || {
                denials.look(&mut mine);
                if is_clock_due {
                    denials.follow_clock();
                }
                mine
            });
            match looked.await {
                Ok(mine) => follower = mine,
                Err(fault) => error!(%fault, "reading the deny list panicked, the last good list holds"),
            }
        }
    }

    fn follow_clock(&self) {
        if self.list().follow_clock(SystemTime::now(), Instant::now()) {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.keep();
        }
    }

    fn look(&self, follower: &mut Follower) {
        // Nobody looks at it any more; if somebody does, it is freed by them, which is as rare as it is harmless.
        follower.retired = None;
        let snapshot = self.gateway.snapshot();
        let Some(plan) = &snapshot.plan.deny_list else {
            return self.without_file(follower);
        };
        if follower.path.as_ref() != Some(&plan.path) {
            follower.path = Some(Arc::clone(&plan.path));
            follower.rest = Rest::default();
        }
        let before = Stamp::of(&plan.path);
        if !follower.rest.is_due(&before, Instant::now()) {
            return;
        }
        let read = read_deny_list(plan);
        let after = Stamp::of(&plan.path);
        if !follower.rest.was_read(&before, &after, Instant::now()) {
            return;
        }
        match read {
            Ok(entries) => {
                let warnings = unknown_names(&entries, &snapshot.plan.identity);
                follower.retired = Some(self.publish(plan, entries, warnings));
            }
            Err(refused) => self.keep_the_last(plan, refused.problems),
        }
    }

    /// The configuration names no file any more: what stood in the last one ends with it.
    fn without_file(&self, follower: &mut Follower) {
        if follower.path.take().is_none() {
            return;
        }
        info!("the configuration names no deny list any more");
        follower.retired = Some(self.list().publish(Side::File, DenyIndex::default()));
        self.list().metrics().without_file();
        *self.lock_status() = Status::default();
    }

    fn publish(
        &self,
        plan: &DenyListPlan,
        entries: Vec<DenyEntry>,
        mut warnings: Problems,
    ) -> Arc<DenyIndex> {
        let now = SystemTime::now();
        let index = DenyIndex::new(entries, now);
        let entries = index.entries().len();
        let before = self.list().publish(Side::File, index);
        self.list().metrics().loaded(now);
        if let Some(warning) = shrunk(plan, before.entries().len(), entries) {
            self.list().metrics().shrunk();
            warnings.push(warning);
        }
        warn_all(&warnings);
        info!(file = %plan.path.display(), entries, "the deny list changed, and holds");
        *self.lock_status() = Status {
            plan: Some(plan.clone()),
            loaded_at: Some(now),
            problems: warnings,
        };
        before
    }

    fn keep_the_last(&self, plan: &DenyListPlan, problems: Problems) {
        self.list().metrics().load_failed();
        for problem in &problems {
            error!(code = problem.code, "{problem}");
        }
        error!(file = %plan.path.display(), "the deny list cannot be used, the last good one holds");
        let mut status = self.lock_status();
        status.plan = Some(plan.clone());
        status.problems = problems;
    }

    /// Writes the admin port's side down; the caller has the turn.
    fn keep(&self) -> Keeping {
        let Some(state) = &self.state else {
            return Keeping::UntilRestart;
        };
        match kept::write(state, self.list().entries(Side::Admin).entries()) {
            Ok(()) => Keeping::OnDisk,
            Err(fault) => {
                warn!(
                    error = chain(&fault),
                    "the admin port's deny list holds until a restart only"
                );
                Keeping::Failed
            }
        }
    }

    fn lock_status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The warning of a list that lost more than half of its entries: nothing tells one that was meant from the first
/// part of one that is still being written.
fn shrunk(plan: &DenyListPlan, before: usize, now: usize) -> Option<Problem> {
    let is_shrunk = before >= LONG && now < before / 2;
    is_shrunk.then(|| {
        let message = format!(
            "the deny list has {now} entries and had {before}: whoever is not in it any more is let in again"
        );
        Problem::warning("list-shrunk", &plan.origin, message)
            .with_hint("write it aside and rename it, so that no part of it is read")
    })
}

/// What the task remembers from look to look.
#[derive(Default)]
struct Follower {
    path: Option<Arc<Path>>,
    rest: Rest,
    /// The list that was just replaced: requests may still look at it, and none of them is to free it.
    retired: Option<Arc<DenyIndex>>,
}
