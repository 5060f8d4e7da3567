//! What the room was told, compiled: shared by every request of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{IssuerId, ListenerId, Origin, PoolId, Problem, Problems, TrustId};

use crate::assertion::{Forwarding, Signer};
use crate::authenticator::{Authenticator, Kind, Scheme, Schemes};
use crate::boards::Boards;
use crate::jwt::Issuer;
use crate::mtls::{Anchors, Trust};
use crate::plan::{ListenerTlsPlan, TrustPlan, UpstreamTlsPlan};
use crate::tls::{ListenerTls, OwnCertificate, UpstreamTls};

/// How an issuer's keys are doing.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerStatus {
    /// Its name.
    pub id: IssuerId,
    /// The `iss` claim, or the trust domain of JWT-SVIDs as a SPIFFE ID.
    pub issuer: Arc<str>,
    /// Usable keys; 0 when there are none.
    pub keys: usize,
    /// Keys of its document that we do not use.
    pub skipped: usize,
    /// The key set's generation; 0 before the first.
    pub generation: u64,
    /// Time since the last good fetch; `None` for keys from a file and for those never fetched.
    pub age: Option<Duration>,
    /// How long the keys may still be used when no fetch succeeds; `None` where they do not age.
    pub ends_in: Option<Duration>,
    /// True when tokens can be verified now.
    pub usable: bool,
    /// Why the last fetch failed.
    pub last_fault: Option<String>,
}

/// Everything compiled; a clone shares it.
#[derive(Clone, Debug)]
pub struct IdentityRuntime {
    pub(crate) parts: Arc<Parts>,
}

/// The parts of a runtime, each with the plan it was made of, so that the next compilation can keep it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) issuers: BTreeMap<IssuerId, Arc<Issuer>>,
    pub(crate) trusts: BTreeMap<TrustId, (TrustPlan, Arc<Trust>)>,
    pub(crate) svid: Option<Arc<OwnSvid>>,
    pub(crate) system: Arc<SystemRoots>,
    pub(crate) listeners: BTreeMap<ListenerId, (ListenerTlsPlan, Arc<ListenerTls>)>,
    pub(crate) upstreams: BTreeMap<PoolId, (UpstreamTlsPlan, Arc<UpstreamTls>)>,
    pub(crate) signer: Option<Arc<Signer>>,
    pub(crate) forwards: BTreeMap<PoolId, Arc<Forwarding>>,
    /// Given anew when anything but the issuers changed.
    pub(crate) generation: u64,
    pub(crate) boards: Boards,
}

/// Our identity from files, and the plan it was made of.
#[derive(Debug)]
pub(crate) struct OwnSvid {
    pub(crate) plan: crate::plan::CertifiedKeyPlan,
    pub(crate) certificate: OwnCertificate,
}

/// The system's anchors as read and as used.
#[derive(Debug, Default)]
pub(crate) struct SystemRoots {
    pub(crate) certificates: Arc<Vec<rustls_pki_types::CertificateDer<'static>>>,
    pub(crate) anchors: Arc<Anchors>,
}

impl IdentityRuntime {
    /// The authenticator of a route.
    ///
    /// # Errors
    /// When a scheme names an issuer or a trust that the plan does not have.
    pub fn authenticator(&self, schemes: &[Scheme]) -> Result<Authenticator, Problems> {
        let mut problems = Problems::new();
        let mut unknown = |kind: &str, name: &str, origin: &Origin| {
            problems.push(Problem::error(
                "unknown-reference",
                origin,
                format!("unknown {kind} {name:?}"),
            ));
        };
        let mut order = Vec::new();
        let mut issuers = Vec::new();
        let mut trusts = Vec::new();
        for scheme in schemes {
            let kind = match scheme {
                Scheme::Jwt(id, origin) => {
                    match self.parts.issuers.get(id) {
                        Some(issuer) => issuers.push((Arc::clone(issuer), origin.clone())),
                        None => unknown("issuer", id.as_str(), origin),
                    }
                    Kind::Token
                }
                Scheme::Mtls(id, origin) => {
                    match self.parts.trusts.get(id) {
                        Some((_, trust)) => trusts.push((Arc::clone(trust), origin.clone())),
                        None => unknown("trust", id.as_str(), origin),
                    }
                    Kind::Certificate
                }
            };
            if !order.contains(&kind) {
                order.push(kind);
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        let boards = self.parts.boards.clone();
        Ok(Authenticator::new(Schemes {
            order,
            issuers,
            trusts,
            boards,
        }))
    }

    /// A listener's TLS material.
    #[must_use]
    pub fn listener_tls(&self, id: &ListenerId) -> Option<Arc<ListenerTls>> {
        self.parts
            .listeners
            .get(id)
            .map(|(_, listener)| Arc::clone(listener))
    }

    /// A pool's TLS material.
    #[must_use]
    pub fn upstream_tls(&self, pool: &PoolId) -> Option<Arc<UpstreamTls>> {
        self.parts
            .upstreams
            .get(pool)
            .map(|(_, upstream)| Arc::clone(upstream))
    }

    /// What a pool's endpoints are told of principals; `None`: nothing.
    #[must_use]
    pub fn forwarding(&self, pool: &PoolId) -> Option<Arc<Forwarding>> {
        self.parts.forwards.get(pool).cloned()
    }

    /// The key set by which endpoints verify assertions, those included that were signed before a reload.
    #[must_use]
    pub fn assertion_keys(&self) -> serde_json::Value {
        match &self.parts.signer {
            Some(signer) => signer.key_set(),
            None => self.parts.boards.assertions.key_set(&[]),
        }
    }

    /// The trust generation: changes when certificates, bundles, trust or revocation lists change, by file, by
    /// delivery or by fetch.
    #[must_use]
    pub fn generation(&self) -> u64 {
        // All are drawn from one sequence, so the greatest one changes whenever any does.
        let boards = &self.parts.boards;
        let delivered = boards.workload.generation().max(boards.crls.generation());
        self.parts.generation.max(delivered)
    }

    /// How the issuers' keys are doing, in the order of their names.
    #[must_use]
    pub fn issuers_status(&self) -> Vec<IssuerStatus> {
        let now = self.parts.boards.clock.instant();
        let status = |(id, issuer): (&IssuerId, &Arc<Issuer>)| {
            let loaded = issuer.keys.loaded();
            IssuerStatus {
                id: id.clone(),
                issuer: issuer.plan.kind.name(),
                keys: loaded.as_ref().map_or(0, |keys| keys.set.len()),
                skipped: loaded.as_ref().map_or(0, |keys| keys.set.skipped),
                generation: loaded.as_ref().map_or(0, |keys| keys.generation),
                age: issuer.keys.age(now),
                ends_in: issuer.keys.ends_in(now),
                usable: issuer.keys.usable(now).is_some_and(|keys| keys.set.len() > 0),
                last_fault: issuer.keys.last_fault(),
            }
        };
        self.parts.issuers.iter().map(status).collect()
    }
}
