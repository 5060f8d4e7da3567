//! The SPIFFE Workload API: our X.509-SVID, every bundle and the JWT authorities, published on the board as they
//! rotate, and kept for a restart where the gateway has a state folder.
//!
//! Start-up never waits for the agent, and an agent that goes away takes nothing with it: the last delivery serves
//! until it is over. Only an agent that says that we are nobody any more ends it before.

mod deliveries;
mod keeping;
mod kept;
mod streams;

#[cfg(test)]
mod samples;

use std::future::pending;
use std::time::{Duration, Instant};

use portcullis_identity::plan::IdentityPlan;
use portcullis_identity::{Boards, WorkloadIdentity, WorkloadLack};
use spiffe::WorkloadApiError;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use self::deliveries::{documents_of, expected_domains, identity_of, is_same};
use self::keeping::{Keeper, Wish, keep};
use self::kept::Kept;
use self::streams::{Event, Material, is_denial};
use crate::app::state::{StateDir, StateFault};
use crate::output::chain;

/// Between looks at whether the agent is there and the SVID is over.
const LOOK: Duration = Duration::from_secs(1);
/// How often what is wrong is said again.
const SAID_AGAIN: Duration = Duration::from_secs(60);
/// After which an agent that has not delivered yet is worth a line.
const FIRST_DELIVERY: Duration = Duration::from_secs(10);
/// How long an agent may say that we are nobody before it is believed: one that was restarted says so until it has
/// heard from its server. An agent that says it on a stream that had delivered is believed at once.
const DENIED: Duration = Duration::from_secs(30);

/// What follows the agent.
pub(crate) struct Follower {
    endpoint: String,
    boards: Boards,
    /// What is to be kept where there is a state folder, and what keeps it until it is followed.
    wishes: watch::Sender<Option<Wish>>,
    kept: Option<Kept>,
    /// The parts of the next delivery: both streams bring one of their own.
    latest: WorkloadIdentity,
    /// Since when the agent says nothing but that we are nobody.
    denied_since: Option<Instant>,
    /// What is wrong, and when it is to be said next.
    trouble: Option<(Trouble, Instant)>,
}

/// What is worth a line in the log again and again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    NoAgent,
    NoIdentity(WorkloadLack),
}

impl Follower {
    /// Follows the agent at `endpoint` (as in `unix:///run/spire/agent.sock`).
    ///
    /// # Errors
    /// When there is a state folder and nothing can be kept in it.
    pub(crate) fn new(
        endpoint: String,
        boards: Boards,
        state: Option<&StateDir>,
    ) -> Result<Self, StateFault> {
        Ok(Self {
            endpoint,
            boards,
            wishes: watch::Sender::new(None),
            kept: state.map(Kept::open).transpose()?,
            latest: WorkloadIdentity::default(),
            denied_since: None,
            trouble: None,
        })
    }

    /// Serves what was kept from before a restart, until the agent is heard.
    pub(crate) fn restore(&mut self, plan: &IdentityPlan) {
        let Some(kept) = &self.kept else { return };
        let now = self.boards.clock.wall();
        let identity = match kept.read(&self.endpoint, &expected_domains(plan), now) {
            Ok(Some(identity)) => identity,
            Ok(None) => return,
            Err(fault) => {
                return warn!(error = %chain(&fault), "the workload identity of before the restart is not used");
            }
        };
        match self.boards.workload.publish_kept(identity.clone(), now) {
            Ok(_) => {
                self.latest = identity;
                let status = self.boards.workload.status(now, self.boards.clock.instant());
                info!(
                    spiffe_id = status.spiffe_id.as_ref().map(tracing::field::display),
                    expires_in_s = status.expires_in.as_secs(),
                    "serving the workload identity of before the restart, until the agent is heard"
                );
            }
            Err(fault) => {
                warn!(error = %chain(&fault), "the workload identity of before the restart is not used");
            }
        }
    }

    /// Follows until the task is dropped.
    pub(crate) async fn follow(mut self) {
        let endpoint = self.endpoint.clone();
        let (to, mut events) = mpsc::channel(4);
        let streams = streams::follow(&endpoint, to);
        tokio::pin!(streams);
        let keeper = self.kept.take().map(|kept| Keeper {
            kept,
            endpoint: endpoint.clone(),
        });
        let wishes = self.wishes.subscribe();
        let keeping = async {
            match keeper {
                Some(keeper) => keep(keeper, wishes).await,
                None => pending().await,
            }
        };
        tokio::pin!(keeping);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut streams => return,
                () = &mut keeping => return,
                Some(event) = events.recv() => self.take(event),
                _ = looks.tick() => self.look(),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Identity(context) => {
                self.denied_since = None;
                let (svid, bundles) = identity_of(&context);
                let next = WorkloadIdentity {
                    svid,
                    bundles,
                    jwt_bundles: self.latest.jwt_bundles.clone(),
                };
                if self.publish(next) {
                    self.boards.workload.heard(self.boards.clock.instant());
                }
            }
            Event::JwtAuthorities(set) => {
                let next = WorkloadIdentity {
                    jwt_bundles: documents_of(&set),
                    ..self.latest.clone()
                };
                // Authorities that come first wait for the identity: a delivery replaces the previous one whole.
                if next.svid.is_some() {
                    self.publish(next);
                } else {
                    self.latest = next;
                }
            }
            Event::Unreadable(material, fault) => {
                error!(?material, error = %chain(&fault), "workload API message refused, keeping the previous one");
            }
            Event::Ended {
                material: Material::JwtAuthorities,
                fault,
                ..
            } => debug!(error = %chain(&fault), "the stream of JWT authorities ended, opening it again"),
            Event::Ended {
                material: Material::Identity,
                fault,
                had_delivered,
            } => self.lost(&fault, had_delivered),
        }
        self.look();
    }

    /// True when it was taken.
    fn publish(&mut self, next: WorkloadIdentity) -> bool {
        let is_news = !is_same(&next, &self.latest);
        let published = self.boards.workload.publish(next.clone());
        // What the agent says again is no reason to judge everything that lives. Authorities are taken also out of a
        // delivery that is refused for the rest of it.
        if is_news {
            self.boards.pulse.beat();
        }
        match published {
            Ok(generation) => {
                if is_news {
                    info!(
                        spiffe_id = next
                            .svid
                            .as_ref()
                            .map_or_else(|| "none".to_owned(), |svid| svid.spiffe_id.to_string()),
                        bundles = next.bundles.len(),
                        jwt_bundles = next.jwt_bundles.len(),
                        generation,
                        "workload identity received"
                    );
                }
                self.latest = next;
                self.wish(Wish::Keep(Box::new(self.latest.clone())));
                true
            }
            Err(fault) => {
                error!(error = %chain(&fault), "workload identity refused, keeping the previous one");
                false
            }
        }
    }

    /// Has the latest in the state folder, as soon as the disk gets to it.
    fn wish(&self, wish: Wish) {
        self.wishes.send_replace(Some(wish));
    }

    fn lost(&mut self, fault: &WorkloadApiError, had_delivered: bool) {
        let board = &self.boards.workload;
        let (wall, now) = (self.boards.clock.wall(), self.boards.clock.instant());
        let status = board.status(wall, now);
        if status.is_connected {
            board.lost();
            warn!(
                endpoint = %self.endpoint, error = %chain(fault), expires_in_s = status.expires_in.as_secs(),
                "the workload API went away, what it delivered serves until it expires"
            );
            self.trouble = Some((Trouble::NoAgent, now + SAID_AGAIN));
        } else {
            debug!(endpoint = %self.endpoint, error = %chain(fault), "workload API not usable yet, trying again");
        }
        if !is_denial(fault) {
            self.denied_since = None;
            return;
        }
        let since = *self.denied_since.get_or_insert(now);
        if had_delivered || now.saturating_duration_since(since) >= DENIED {
            self.withdraw();
        }
    }

    /// The agent says that we are nobody: nothing that it delivered is used on, now or after a restart.
    fn withdraw(&mut self) {
        if self.latest.svid.is_none() {
            return;
        }
        self.latest = WorkloadIdentity::default();
        match self.boards.workload.withdraw() {
            Ok(_) => {
                error!(endpoint = %self.endpoint, "the workload API took our identity back, it is used no longer")
            }
            Err(fault) => error!(error = %chain(&fault), "cannot take our identity back"),
        }
        self.boards.pulse.beat();
        self.wish(Wish::Forget);
    }

    /// Shows how the agent is doing, and says what is wrong: at once, and every minute.
    fn look(&mut self) {
        let (wall, now) = (self.boards.clock.wall(), self.boards.clock.instant());
        let status = self.boards.workload.status(wall, now);
        self.boards.metrics.workload.show(&self.endpoint, &status);
        let trouble = match status.lack {
            Some(lack) => Trouble::NoIdentity(lack),
            None if !status.is_connected => Trouble::NoAgent,
            None => {
                self.trouble = None;
                return;
            }
        };
        let known = self.trouble.filter(|(known, _)| *known == trouble);
        let due = known.map_or_else(|| now + trouble.patience(), |(_, due)| due);
        if now < due {
            self.trouble = Some((trouble, due));
            return;
        }
        self.trouble = Some((trouble, now + SAID_AGAIN));
        let (endpoint, expires_in_s) = (&self.endpoint, status.expires_in.as_secs());
        match trouble {
            Trouble::NoAgent => {
                warn!(%endpoint, expires_in_s, "no workload API, what it delivered serves until it expires");
            }
            Trouble::NoIdentity(WorkloadLack::NothingDelivered) => {
                warn!(%endpoint, "workload API: {}", WorkloadLack::NothingDelivered);
            }
            Trouble::NoIdentity(lack) => error!(%endpoint, "workload API: {lack}"),
        }
    }
}

impl Trouble {
    /// How long it lasts before it is said the first time.
    const fn patience(self) -> Duration {
        match self {
            // That the agent went, or that what serves is from before a restart, was said when it happened.
            Self::NoAgent => SAID_AGAIN,
            Self::NoIdentity(WorkloadLack::NothingDelivered) => FIRST_DELIVERY,
            Self::NoIdentity(WorkloadLack::NoBundle | WorkloadLack::Expired | WorkloadLack::Withdrawn) => {
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
