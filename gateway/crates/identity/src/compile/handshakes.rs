//! The TLS side: listeners and upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{Origin, Problem, TrustId};
use rustls_pki_types::ServerName;

use super::{Compiler, Listeners, Trusts, Upstreams, with_cause};
use crate::fault::IdentityFault;
use crate::mtls::Anchors;
use crate::plan::{
    ClientCertificates, ClientCertificatesPlan, ListenerTlsPlan, ShownPlan, UpstreamPeer, UpstreamTlsPlan,
};
use crate::runtime::{OwnSvid, Parts, SystemRoots};
use crate::tls::{
    ClientPolicy, ListenerParts, ListenerTls, Names, Peer, Shown, SvidSource, UpstreamParts, UpstreamTls,
};

impl Compiler<'_> {
    pub(super) fn listeners(&mut self, trusts: &Trusts, svid: Option<&Arc<OwnSvid>>) -> Listeners {
        let mut listeners = Listeners::new();
        for plan in &self.plan.listeners {
            let kept = self.previous.and_then(|previous| {
                let (planned, listener) = previous.listeners.get(&plan.listener)?;
                let trusts_are_kept = plan.trusts().all(|id| is_kept(previous, trusts, id));
                let svid_is_kept = !plan.certificates.iter().any(ShownPlan::is_svid)
                    || same_part(previous.svid.as_ref(), svid);
                (planned.means_the_same(plan) && trusts_are_kept && svid_is_kept).then_some(listener)
            });
            let listener = match kept {
                Some(listener) => Some(Arc::clone(listener)),
                None => {
                    self.has_changed = true;
                    self.listener(plan, trusts, svid)
                }
            };
            if let Some(listener) = listener {
                for name in plan.hosts.keys().filter(|name| !listener.covers(name)) {
                    let message = format!("no certificate of the listener covers the host {name:?}");
                    self.problems
                        .push(Problem::warning("host-uncovered", &plan.origin, message));
                }
                for (shown, planned) in listener.certificates().iter().zip(&plan.certificates) {
                    // Our SVID has metrics of its own.
                    if let Shown::Certificate(certificate) = shown {
                        let name = format!("{}/{}", plan.listener, certificate.names.first());
                        self.check_expiry(certificate, &name, planned.origin());
                    }
                }
                listeners.insert(plan.listener.clone(), (plan.clone(), listener));
            }
        }
        listeners
    }

    fn listener(
        &mut self,
        plan: &ListenerTlsPlan,
        trusts: &Trusts,
        svid: Option<&Arc<OwnSvid>>,
    ) -> Option<Arc<ListenerTls>> {
        if plan.certificates.is_empty() {
            self.problems.push(Problem::error(
                "certificate-missing",
                &plan.origin,
                "there is no certificate",
            ));
        }
        let mut certificates = Vec::with_capacity(plan.certificates.len());
        for planned in &plan.certificates {
            if let Some(shown) = self.shown(planned, svid) {
                certificates.push(shown);
            }
        }
        let client = self.client_policy(&plan.client, trusts, &plan.origin);
        let mut hosts = BTreeMap::new();
        for (name, host) in &plan.hosts {
            if let Some(policy) = self.client_policy(host, trusts, &plan.origin) {
                hosts.insert(name.clone(), policy);
            }
        }
        if certificates.len() != plan.certificates.len() || hosts.len() != plan.hosts.len() {
            return None;
        }
        let parts = ListenerParts {
            certificates,
            client: client?,
            hosts,
            alpn: plan.alpn.clone(),
            workload: Arc::clone(&self.boards.workload),
            denied: Arc::clone(&self.boards.denied),
            clock: self.boards.clock.clone(),
        };
        match ListenerTls::build(parts) {
            Ok(listener) => Some(Arc::new(listener)),
            Err(IdentityFault::EmptyChain) => None,
            Err(fault) => {
                self.problems
                    .push(Problem::error("listener-tls", &plan.origin, with_cause(&fault)));
                None
            }
        }
    }

    fn shown(&mut self, plan: &ShownPlan, svid: Option<&Arc<OwnSvid>>) -> Option<Shown> {
        match plan {
            ShownPlan::Certificate(plan) => {
                let certificate = self.certificate(plan)?;
                if certificate.names.is_empty() {
                    let message = "the certificate names no DNS name, so no client can ask for it";
                    let hint = "give it a subject alternative name; the common name is not looked at";
                    self.problems
                        .push(Problem::error("certificate-names", &plan.origin, message).with_hint(hint));
                }
                Some(Shown::Certificate(certificate))
            }
            ShownPlan::Svid { origin, names } => {
                let names = Names::of(names.iter().map(String::as_str));
                let names = (!names.is_empty()).then_some(names);
                Some(Shown::Svid(self.svid_source(svid, origin), names))
            }
        }
    }

    /// Where our identity comes from; a problem when nothing says so.
    fn svid_source(&mut self, svid: Option<&Arc<OwnSvid>>, origin: &Origin) -> SvidSource {
        match svid {
            Some(svid) => SvidSource::Files(Arc::clone(&svid.certificate.certified)),
            None => {
                if self.plan.svid.is_none() {
                    self.require_workload_api("our own identity", origin);
                }
                SvidSource::Delivered
            }
        }
    }

    fn client_policy(
        &mut self,
        plan: &ClientCertificatesPlan,
        trusts: &Trusts,
        origin: &Origin,
    ) -> Option<ClientPolicy> {
        if plan.mode == ClientCertificates::Off {
            return Some(ClientPolicy {
                mode: plan.mode,
                trusts: Vec::new(),
            });
        }
        if plan.trust.is_empty() {
            let message = "client certificates are asked for, and no trust says which are good";
            self.problems
                .push(Problem::error("client-trust-missing", origin, message));
            return None;
        }
        let mut found = Vec::with_capacity(plan.trust.len());
        for id in &plan.trust {
            match trusts.get(id) {
                Some((_, trust)) => found.push(Arc::clone(trust)),
                // A trust that is planned and not here has its own problem.
                None if self.plan.trust.iter().any(|planned| planned.id == *id) => return None,
                None => {
                    let message = format!("unknown trust {:?}", id.as_str());
                    self.problems
                        .push(Problem::error("unknown-reference", origin, message));
                    return None;
                }
            }
        }
        Some(ClientPolicy {
            mode: plan.mode,
            trusts: found,
        })
    }

    pub(super) fn upstreams(&mut self, svid: Option<&Arc<OwnSvid>>, system: &Arc<SystemRoots>) -> Upstreams {
        let mut upstreams = Upstreams::new();
        for plan in &self.plan.upstreams {
            let kept = self.previous.and_then(|previous| {
                let (planned, upstream) = previous.upstreams.get(&plan.pool)?;
                let is_kept = planned.means_the_same(plan)
                    && same_part(previous.svid.as_ref(), svid)
                    && Arc::ptr_eq(&previous.system, system);
                is_kept.then_some(upstream)
            });
            let upstream = match kept {
                Some(upstream) => Some(Arc::clone(upstream)),
                None => {
                    self.has_changed = true;
                    self.upstream(plan, svid, system).map(Arc::new)
                }
            };
            if let Some(upstream) = upstream {
                if let Some((told, revocation)) = plan.revocation.as_ref().zip(upstream.revocation()) {
                    self.warn_of_stale(told, revocation);
                }
                upstreams.insert(plan.pool.clone(), (plan.clone(), upstream));
            }
        }
        upstreams
    }

    fn upstream(
        &mut self,
        plan: &UpstreamTlsPlan,
        svid: Option<&Arc<OwnSvid>>,
        system: &SystemRoots,
    ) -> Option<UpstreamTls> {
        let peer = match &plan.peer {
            UpstreamPeer::Spiffe { expected, anchors } => {
                let anchors = match anchors {
                    Some(certificates) => Some(self.anchors(certificates, &plan.origin)?),
                    None => {
                        let what = format!("the bundle of {}", expected.trust_domain());
                        self.require_workload_api(&what, &plan.origin);
                        None
                    }
                };
                let svid = self.svid_source(svid, &plan.origin);
                Peer::Workload {
                    expected: expected.clone(),
                    anchors,
                    svid,
                }
            }
            UpstreamPeer::Https { server_name, ca } => {
                let name = match server_name {
                    Some(name) => Some(self.server_name(name, &plan.origin)?),
                    None => None,
                };
                let anchors = match ca {
                    Some(certificates) => self.anchors(certificates, &plan.origin)?,
                    None => self.system_anchors(system, &plan.origin)?,
                };
                Peer::Named { name, anchors }
            }
        };
        let revocation = self
            .revocation(format!("pool/{}", plan.pool), plan.revocation.as_ref())
            .ok()?;
        Some(UpstreamTls::new(UpstreamParts {
            peer,
            revocation: revocation.map(Arc::new),
            generation: self.boards.workload.next_generation(),
            workload: Arc::clone(&self.boards.workload),
            denied: Arc::clone(&self.boards.denied),
            clock: self.boards.clock.clone(),
        }))
    }

    fn server_name(&mut self, name: &str, origin: &Origin) -> Option<ServerName<'static>> {
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => Some(name),
            Err(_) => {
                let message = format!("{name:?} is neither a DNS name nor an address");
                self.problems.push(Problem::error("server-name", origin, message));
                None
            }
        }
    }

    fn system_anchors(&mut self, system: &SystemRoots, origin: &Origin) -> Option<Arc<Anchors>> {
        if system.anchors.len() == 0 {
            let message = "the system has no trust anchors to verify this endpoint by";
            let hint = "install the system's CA certificates, or name a CA file";
            self.problems
                .push(Problem::error("system-roots-missing", origin, message).with_hint(hint));
            return None;
        }
        Some(Arc::clone(&system.anchors))
    }
}

fn is_kept(previous: &Parts, trusts: &Trusts, id: &TrustId) -> bool {
    match (previous.trusts.get(id), trusts.get(id)) {
        (Some((_, previous)), Some((_, now))) => Arc::ptr_eq(previous, now),
        _ => false,
    }
}

fn same_part<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}
