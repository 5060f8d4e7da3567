//! `trust`: whose client certificates are believed.

use portcullis_identity::plan::{TrustAnchors, TrustPlan};
use portcullis_model::{TrustDomain, TrustId};
use rustls_pki_types::CertificateDer;

use crate::file::GatewayFile;
use crate::file::identities::Trust;
use crate::file::section::entries;
use crate::resolve::Resolver;

pub(super) fn trust(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> Vec<TrustPlan> {
    let mut plans = Vec::new();
    for entry in entries(&file.trust) {
        let Some(Trust {
            pem,
            spiffe,
            has_refused_keys,
        }) = entry.value.get()
        else {
            continue;
        };
        let certificates = pem.at().map(|path| resolver.certificates(path, "trust anchors"));
        let anchors = match (spiffe.get(), certificates) {
            (_, Some(None)) => continue,
            (Some(domain), None) => TrustAnchors::TrustDomain(domain.clone(), None),
            (Some(domain), Some(Some(bundle))) => TrustAnchors::TrustDomain(domain.clone(), Some(bundle)),
            (None, Some(Some(anchors))) => TrustAnchors::Pem(anchors),
            (None, None) => {
                if pem.is_absent() && spiffe.is_absent() && !has_refused_keys {
                    let message = "one of `pem`, `spiffe` is missing";
                    resolver.error("missing-key", &entry.name.origin, message);
                }
                continue;
            }
        };
        let id = TrustId::from(entry.name.value.as_str());
        plans.push(TrustPlan {
            id,
            origin: entry.name.origin.clone(),
            anchors,
        });
    }
    plans
}

/// The anchors from files for a trust domain, of every `trust` entry that names it.
pub(super) fn anchors_of(trust: &[TrustPlan], domain: &TrustDomain) -> Option<Vec<CertificateDer<'static>>> {
    let mut anchors = Vec::new();
    for plan in trust {
        match &plan.anchors {
            TrustAnchors::TrustDomain(named, Some(bundle)) if named == domain => {
                anchors.extend(bundle.iter().cloned());
            }
            TrustAnchors::TrustDomain(..) | TrustAnchors::Pem(_) => {}
        }
    }
    (!anchors.is_empty()).then_some(anchors)
}
