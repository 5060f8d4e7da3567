//! Where an issuer finds its keys: in a slot of the key board, or among what a SPIFFE Workload API delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::TrustDomain;

use super::key_slot::{KeySlot, LoadedKeys};
use crate::mtls::WorkloadBoard;

/// The keys of one compiled issuer.
#[derive(Clone, Debug)]
pub(crate) enum IssuerKeys {
    /// From a document, or fetched.
    Slot(Arc<KeySlot>),
    /// The JWT authorities of a trust domain, as long as the agent's last delivery holds them.
    Workload(Arc<WorkloadBoard>, TrustDomain),
}

impl IssuerKeys {
    /// The keys that may be used now.
    pub(crate) fn usable(&self, now: Instant) -> Option<Arc<LoadedKeys>> {
        match self {
            Self::Slot(slot) => slot.usable(now),
            Self::Workload(board, domain) => board.jwt_keys(domain),
        }
    }

    /// Whatever was loaded last, stale or not.
    pub(crate) fn loaded(&self) -> Option<Arc<LoadedKeys>> {
        match self {
            Self::Slot(slot) => slot.loaded(),
            Self::Workload(board, domain) => board.jwt_keys(domain),
        }
    }

    /// The keys of a document that is part of the configuration.
    pub(crate) fn document_keys(&self) -> Option<Arc<LoadedKeys>> {
        match self {
            Self::Slot(slot) if !slot.is_fetched() => slot.loaded(),
            Self::Slot(_) | Self::Workload(..) => None,
        }
    }

    /// Time since the last good fetch; `None` for keys that are not fetched or never were.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Slot(slot) => slot.age(now),
            Self::Workload(..) => None,
        }
    }

    /// How long the present keys may still be used when no fetch succeeds; `None` where they do not age.
    pub(crate) fn ends_in(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Slot(slot) => Some(slot.times.stale.saturating_sub(slot.age(now)?)),
            Self::Workload(..) => None,
        }
    }

    /// Why the last fetch failed.
    pub(crate) fn last_fault(&self) -> Option<String> {
        match self {
            Self::Slot(slot) => slot.last_fault(),
            Self::Workload(..) => None,
        }
    }

    /// True when no keys are here, and nothing says that they cannot be had: nobody delivered or fetched them yet.
    pub(crate) fn are_elsewhere(&self) -> bool {
        self.loaded().is_none() && self.last_fault().is_none()
    }

    /// When to come back for keys that are not there.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Slot(slot) => slot.times.cooldown,
            Self::Workload(..) => DELIVERY,
        }
    }
}

/// What a client waits for an agent that has not delivered; the agent says nothing about when it will.
const DELIVERY: Duration = Duration::from_secs(5);
