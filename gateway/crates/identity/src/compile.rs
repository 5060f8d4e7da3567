//! Plan to runtime, reusing what did not change.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{IssuerId, ListenerId, Origin, PoolId, Problem, Problems, TrustId};
use rustls_pki_types::CertificateDer;

use crate::boards::Boards;
use crate::fault::IdentityFault;
use crate::jwt::Issuer;
use crate::mtls::{AnchorSource, Anchors, PeerIdentity, Trust};
use crate::plan::{
    CertifiedKeyPlan, IdentityPlan, IssuerPlan, ListenerTlsPlan, TrustAnchors, TrustPlan, UpstreamTlsPlan,
};
use crate::runtime::{OwnSvid, Parts, SystemRoots};
use crate::tls::{ListenerTls, OwnCertificate, UpstreamTls};

mod assertion;
mod handshakes;
mod revocation;

pub use crate::runtime::{IdentityRuntime, IssuerStatus};

/// Compiles a plan; parts that mean what they meant in `previous` are kept, sessions and verdicts included.
///
/// # Errors
/// Every problem found, when one of them is an error.
pub fn compile(
    plan: &IdentityPlan,
    previous: Option<&IdentityRuntime>,
    boards: &Boards,
) -> Result<(IdentityRuntime, Problems), Problems> {
    let mut compiler = Compiler {
        plan,
        previous: previous.map(|runtime| &*runtime.parts),
        boards,
        problems: Problems::new(),
        has_changed: false,
    };
    let issuers = compiler.issuers();
    let trusts = compiler.trusts();
    let svid = compiler.svid();
    let system = compiler.system_roots();
    let listeners = compiler.listeners(&trusts, svid.as_ref());
    let upstreams = compiler.upstreams(svid.as_ref(), &system);
    let signer = compiler.signer();
    let forwards = compiler.forwards(signer.as_ref(), svid.as_ref());
    let generation = match compiler.previous {
        Some(previous) if !compiler.has_changed && previous.has_as_many(&trusts, &listeners, &upstreams) => {
            previous.generation
        }
        _ => boards.workload.next_generation(),
    };
    let problems = compiler.problems;
    let parts = Parts {
        issuers,
        trusts,
        svid,
        system,
        listeners,
        upstreams,
        signer,
        forwards,
        generation,
        boards: boards.clone(),
    };
    problems.into_result(IdentityRuntime {
        parts: Arc::new(parts),
    })
}

type Listeners = BTreeMap<ListenerId, (ListenerTlsPlan, Arc<ListenerTls>)>;
type Trusts = BTreeMap<TrustId, (TrustPlan, Arc<Trust>)>;
type Upstreams = BTreeMap<PoolId, (UpstreamTlsPlan, Arc<UpstreamTls>)>;

/// One compilation under way.
struct Compiler<'a> {
    plan: &'a IdentityPlan,
    previous: Option<&'a Parts>,
    boards: &'a Boards,
    problems: Problems,
    /// True when a certificate, a trust or an upstream is not the previous one.
    has_changed: bool,
}

impl Compiler<'_> {
    fn issuers(&mut self) -> BTreeMap<IssuerId, Arc<Issuer>> {
        let mut issuers = BTreeMap::new();
        for plan in &self.plan.issuers {
            if let Some(issuer) = self.issuer(plan) {
                issuers.insert(plan.id.clone(), issuer);
            }
        }
        issuers
    }

    fn issuer(&mut self, plan: &IssuerPlan) -> Option<Arc<Issuer>> {
        if plan.audiences.is_empty() {
            let message = format!("issuer {:?} accepts no audience", plan.id.as_str());
            self.problems
                .push(Problem::error("issuer-audience", &plan.origin, message));
        }
        if plan.algorithms.is_empty() {
            let message = format!("issuer {:?} accepts no algorithm", plan.id.as_str());
            self.problems
                .push(Problem::error("issuer-algorithms", &plan.origin, message));
        }
        let kept = self.previous.and_then(|previous| previous.issuers.get(&plan.id));
        let issuer = match kept.filter(|issuer| issuer.plan.means_the_same(plan)) {
            Some(issuer) => Arc::clone(issuer),
            None => match self.boards.issuer_keys(plan) {
                Ok(keys) => Arc::new(Issuer::new(plan.clone(), keys, &self.boards.metrics)),
                Err(fault) => {
                    let message = format!("cannot use the keys of issuer {:?}: {fault}", plan.id.as_str());
                    self.problems
                        .push(Problem::error("issuer-keys", &plan.origin, message));
                    return None;
                }
            },
        };
        self.check_key_document(&issuer, plan);
        Some(issuer)
    }

    /// Keys from a file are there now: none that is usable is an error, some that are not are a warning.
    fn check_key_document(&mut self, issuer: &Issuer, plan: &IssuerPlan) {
        let Some(keys) = issuer.keys.document_keys() else {
            return;
        };
        let id = plan.id.as_str();
        if keys.set.len() == 0 {
            let message = format!("the key set of issuer {id:?} has no key that may verify tokens");
            let hint =
                "it needs a public RSA (2048 bits or more), P-256, P-384 or Ed25519 key for signatures";
            self.problems
                .push(Problem::error("issuer-keys", &plan.origin, message).with_hint(hint));
        } else if keys.set.skipped > 0 {
            let message = format!("{} keys of issuer {id:?} are not used", keys.set.skipped);
            let hint = "they are of another type, use or size, or hold private parts";
            self.problems
                .push(Problem::warning("issuer-keys-skipped", &plan.origin, message).with_hint(hint));
        }
    }

    fn trusts(&mut self) -> Trusts {
        let mut trusts = Trusts::new();
        for plan in &self.plan.trust {
            let kept = self.previous.and_then(|previous| previous.trusts.get(&plan.id));
            let trust = match kept.filter(|(previous, _)| previous.means_the_same(plan)) {
                Some((_, trust)) => Some(Arc::clone(trust)),
                None => {
                    self.has_changed = true;
                    let source = self.anchor_source(plan);
                    let revocation = self.revocation(plan.id.to_string(), plan.revocation.as_ref());
                    let trust = source.zip(revocation.ok());
                    trust
                        .map(|(source, revocation)| Arc::new(Trust::new(plan.id.clone(), source, revocation)))
                }
            };
            if let Some(trust) = trust {
                // Of a trust that is kept as well: it is no better for having been told of before.
                let parts = plan.revocation.as_ref().zip(trust.revocation());
                if let Some((told, revocation)) = parts {
                    self.warn_of_stale(told, revocation);
                    self.warn_of_forged(told, revocation, trust.given_anchors());
                }
                trusts.insert(plan.id.clone(), (plan.clone(), trust));
            }
        }
        trusts
    }

    fn anchor_source(&mut self, plan: &TrustPlan) -> Option<AnchorSource> {
        match &plan.anchors {
            TrustAnchors::Pem(certificates) => self
                .anchors(certificates, &plan.origin)
                .map(AnchorSource::AnyDomain),
            TrustAnchors::TrustDomain(domain, Some(certificates)) => {
                let anchors = self.anchors(certificates, &plan.origin)?;
                Some(AnchorSource::Domain(domain.clone(), anchors))
            }
            TrustAnchors::TrustDomain(domain, None) => {
                self.require_workload_api(&format!("the bundle of {domain}"), &plan.origin);
                Some(AnchorSource::Delivered(
                    domain.clone(),
                    Arc::clone(&self.boards.workload),
                ))
            }
        }
    }

    fn anchors(&mut self, certificates: &[CertificateDer<'static>], origin: &Origin) -> Option<Arc<Anchors>> {
        if certificates.is_empty() {
            self.problems
                .push(Problem::error("trust-empty", origin, "there is no trust anchor"));
            return None;
        }
        match Anchors::read(certificates) {
            Ok(anchors) => Some(Arc::new(anchors)),
            Err((index, error)) => {
                let message = format!("certificate {} cannot be a trust anchor: {error}", index + 1);
                self.problems
                    .push(Problem::error("trust-anchor", origin, message));
                None
            }
        }
    }

    fn require_workload_api(&mut self, what: &str, origin: &Origin) {
        if !self.plan.workload_api {
            let message = format!("{what} would have to come from the Workload API, and none is configured");
            let hint = "name a file here, or set `workload_api`";
            self.problems
                .push(Problem::error("workload-api-missing", origin, message).with_hint(hint));
        }
    }

    fn svid(&mut self) -> Option<Arc<OwnSvid>> {
        let plan = self.plan.svid.as_ref()?;
        let kept = self.previous.and_then(|previous| previous.svid.as_ref());
        let svid = match kept.filter(|svid| svid.plan.means_the_same(plan)) {
            Some(svid) => Arc::clone(svid),
            None => {
                self.has_changed = true;
                let certificate = self.certificate(plan)?;
                if let Err(fault) = PeerIdentity::from_chain(&plan.chain).spiffe_id {
                    let message = format!("our own identity is no SVID: {fault}");
                    let hint = "its certificate needs exactly one URI name, a SPIFFE ID with a path";
                    self.problems
                        .push(Problem::error("svid-identity", &plan.origin, message).with_hint(hint));
                    return None;
                }
                Arc::new(OwnSvid {
                    plan: plan.clone(),
                    certificate,
                })
            }
        };
        self.check_expiry(&svid.certificate, "svid", &plan.origin);
        Some(svid)
    }

    fn system_roots(&mut self) -> Arc<SystemRoots> {
        let certificates = &self.plan.system_roots;
        if let Some(kept) = self.previous.map(|previous| &previous.system)
            && kept.certificates == *certificates
        {
            return Arc::clone(kept);
        }
        // Pools that rely on them change with them.
        self.has_changed |= self.previous.is_some();
        let anchors = Arc::new(Anchors::read_leniently(certificates));
        Arc::new(SystemRoots {
            certificates: Arc::clone(certificates),
            anchors,
        })
    }

    fn certificate(&mut self, plan: &CertifiedKeyPlan) -> Option<OwnCertificate> {
        match OwnCertificate::read(plan) {
            Ok(certificate) => Some(certificate),
            Err(fault) => {
                let code = match &fault {
                    IdentityFault::KeyMismatch => "certificate-key-mismatch",
                    IdentityFault::EmptyChain => "certificate-missing",
                    _ => "certificate-key",
                };
                self.problems
                    .push(Problem::error(code, &plan.origin, with_cause(&fault)));
                None
            }
        }
    }

    fn check_expiry(&mut self, certificate: &OwnCertificate, name: &str, origin: &Origin) {
        let until = certificate
            .not_after
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let gauge = self.boards.metrics.certificate_expiry.with_label_values(&[name]);
        gauge.set(i64::try_from(until.as_secs()).unwrap_or(i64::MAX));
        if certificate.not_after <= self.boards.clock.wall() {
            self.problems.push(Problem::warning(
                "certificate-expired",
                origin,
                "the certificate has expired",
            ));
        }
    }
}

impl Parts {
    /// True when nothing was taken away.
    fn has_as_many(&self, trusts: &Trusts, listeners: &Listeners, upstreams: &Upstreams) -> bool {
        self.trusts.len() == trusts.len()
            && self.listeners.len() == listeners.len()
            && self.upstreams.len() == upstreams.len()
    }
}

fn with_cause(fault: &IdentityFault) -> String {
    match fault.source() {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
