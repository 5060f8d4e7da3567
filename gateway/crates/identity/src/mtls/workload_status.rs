//! How long what the Workload API delivered is good for, and whether the agent is still there.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portcullis_model::SpiffeId;
use rustls::sign::CertifiedKey;

use super::workload::{WorkloadBoard, WorkloadIdentity};
use crate::fault::IdentityFault;

/// What is known of the agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    /// True while its stream is open.
    is_connected: bool,
    /// When it said something last.
    heard_at: Option<Instant>,
    /// True while what serves is from before a restart.
    is_kept: bool,
    /// True since it said that we have no identity any more.
    is_withdrawn: bool,
}

/// How the Workload API is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadStatus {
    /// Our own ID.
    pub spiffe_id: Option<Arc<SpiffeId>>,
    /// When our SVID ends.
    pub expires_at: Option<SystemTime>,
    /// Until then; nothing once it is over.
    pub expires_in: Duration,
    /// Trust domains with a bundle.
    pub bundles: usize,
    /// The delivery that serves; 0 before the first.
    pub generation: u64,
    /// True while the agent's stream is open.
    pub is_connected: bool,
    /// Since the agent said something last; `None` while it has not.
    pub heard: Option<Duration>,
    /// True while what serves is from before a restart.
    pub is_kept: bool,
    /// What keeps traffic away.
    pub lack: Option<WorkloadLack>,
}

/// Why there is no identity to serve with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkloadLack {
    /// The agent has not delivered yet.
    NothingDelivered,
    /// The agent delivered no trust bundle.
    NoBundle,
    /// The SVID is over, and the agent gave no other one.
    Expired,
    /// The agent said that we have no identity any more.
    Withdrawn,
}

impl WorkloadBoard {
    /// Publishes what was kept from before a restart, until the agent is heard.
    ///
    /// # Errors
    /// As [`WorkloadBoard::publish`], and when the SVID is over.
    pub fn publish_kept(&self, kept: WorkloadIdentity, now: SystemTime) -> Result<u64, IdentityFault> {
        let svid = kept.svid.as_ref().ok_or(IdentityFault::NoSvid)?;
        let until = svid.valid_until();
        if until <= now {
            return Err(IdentityFault::expired(&svid.spiffe_id, until));
        }
        let generation = self.publish(kept)?;
        self.note(|contact| contact.is_kept = true);
        Ok(generation)
    }

    /// The agent said something just now.
    pub fn heard(&self, now: Instant) {
        self.note(|contact| {
            *contact = Contact {
                is_connected: true,
                heard_at: Some(now),
                is_kept: false,
                is_withdrawn: false,
            };
        });
    }

    /// The agent's stream ended.
    pub fn lost(&self) {
        self.note(|contact| contact.is_connected = false);
    }

    /// The agent said that we have no identity any more: nothing of what it delivered serves on (Workload API 5.2.1).
    ///
    /// # Errors
    /// Never in practice: an empty delivery fits together.
    pub fn withdraw(&self) -> Result<u64, IdentityFault> {
        let generation = self.publish(WorkloadIdentity::default())?;
        self.note(|contact| {
            contact.is_withdrawn = true;
            contact.is_kept = false;
        });
        Ok(generation)
    }

    /// What keeps traffic away at this moment.
    #[must_use]
    pub fn lack(&self, now: SystemTime) -> Option<WorkloadLack> {
        let current = self.current();
        let is_withdrawn = || self.contact().is_withdrawn;
        match current.svid_until {
            None if is_withdrawn() => Some(WorkloadLack::Withdrawn),
            None => Some(WorkloadLack::NothingDelivered),
            Some(until) if until <= now => Some(WorkloadLack::Expired),
            Some(_) if current.bundles.values().all(|anchors| anchors.len() == 0) => {
                Some(WorkloadLack::NoBundle)
            }
            Some(_) => None,
        }
    }

    /// True when an identity that is not over and a bundle have been delivered.
    #[must_use]
    pub fn is_ready(&self, now: SystemTime) -> bool {
        self.lack(now).is_none()
    }

    /// Everything an operator wants to know.
    #[must_use]
    pub fn status(&self, wall: SystemTime, now: Instant) -> WorkloadStatus {
        let (current, contact) = (self.current(), self.contact());
        WorkloadStatus {
            spiffe_id: current.own_id.clone(),
            expires_at: current.svid_until,
            expires_in: current
                .svid_until
                .and_then(|until| until.duration_since(wall).ok())
                .unwrap_or_default(),
            bundles: current.bundles.len(),
            generation: current.generation,
            is_connected: contact.is_connected,
            heard: contact.heard_at.map(|at| now.saturating_duration_since(at)),
            is_kept: contact.is_kept,
            lack: self.lack(wall),
        }
    }

    /// Our SVID, unless none was delivered or it is over.
    pub(crate) fn usable_svid(&self, now: SystemTime) -> Result<Arc<CertifiedKey>, IdentityFault> {
        let current = self.current();
        let svid = current.svid.as_ref().ok_or(IdentityFault::NoSvid)?;
        match (current.svid_until, &current.own_id) {
            (Some(until), Some(id)) if until <= now => Err(IdentityFault::expired(id, until)),
            _ => Ok(Arc::clone(svid)),
        }
    }
}

impl fmt::Display for WorkloadLack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingDelivered => "no identity and bundle was delivered yet",
            Self::NoBundle => "no trust bundle was delivered",
            Self::Expired => "our SVID has expired, and the agent delivered no other one",
            Self::Withdrawn => "the agent says that we have no identity any more",
        })
    }
}

impl IdentityFault {
    /// An SVID that is over.
    pub(super) fn expired(id: &SpiffeId, until: SystemTime) -> Self {
        Self::SvidExpired {
            id: id.clone(),
            at: until
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        }
    }
}

#[cfg(test)]
#[path = "workload_status_tests.rs"]
mod tests;
