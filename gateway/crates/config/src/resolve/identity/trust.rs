//! `trust`: whose client certificates are believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_identity::plan::{TrustAnchors, TrustPlan};
use portcullis_model::{TrustDomain, TrustId};
use rustls_pki_types::CertificateDer;

use super::bundle::Bundle;
use super::revocation::RevocationKeys;
use crate::file::GatewayFile;
use crate::file::identities::{BundleFile, Trust};
use crate::file::section::{At, entries};
use crate::resolve::Resolver;
use crate::sources::{Files, MAX_DOCUMENT};

/// JWT authorities by trust domain, as key sets; `None` where a bundle has none.
pub(super) type KeySets = BTreeMap<TrustDomain, Option<Arc<str>>>;

/// The plans, and the JWT authorities that bundles in files bring for their trust domains.
pub(super) fn trust(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> (Vec<TrustPlan>, KeySets) {
    let mut plans = Vec::new();
    let mut key_sets = KeySets::new();
    for entry in entries(&file.trust) {
        let Some(Trust {
            pem,
            spiffe,
            bundle,
            crl,
            distribution_points,
            crl_depth,
            on_stale_crl,
            has_refused_keys,
        }) = entry.value.get()
        else {
            continue;
        };
        let certificates = match (pem.at(), bundle.at()) {
            (Some(_), Some(bundle)) => {
                let message = "`pem` and `bundle` are two bundles of one trust domain";
                resolver.error_with_hint("conflicting-keys", &bundle.origin, message, "keep one of them");
                continue;
            }
            (Some(path), None) => Some(resolver.certificates(path, "trust anchors")),
            (None, Some(path)) => Some(bundle_of(path, spiffe.get(), &mut key_sets, resolver)),
            (None, None) => None,
        };
        let anchors = match (spiffe.get(), certificates) {
            (_, Some(None)) => continue,
            (Some(domain), None) => TrustAnchors::TrustDomain(domain.clone(), None),
            (Some(domain), Some(Some(bundle))) => TrustAnchors::TrustDomain(domain.clone(), Some(bundle)),
            (None, Some(Some(anchors))) => TrustAnchors::Pem(anchors),
            (None, None) => {
                if pem.is_absent() && bundle.is_absent() && spiffe.is_absent() && !has_refused_keys {
                    let message = "one of `pem`, `spiffe` is missing";
                    resolver.error("missing-key", &entry.name.origin, message);
                }
                continue;
            }
        };
        let revocation = RevocationKeys {
            crl,
            distribution_points,
            crl_depth,
            on_stale_crl,
        };
        let revocation = revocation.plan(resolver);
        let id = TrustId::from(entry.name.value.as_str());
        plans.push(TrustPlan {
            id,
            origin: entry.name.origin.clone(),
            anchors,
            revocation,
        });
    }
    (plans, key_sets)
}

/// The X.509 authorities of a bundle in a file; its JWT authorities go to the key sets.
fn bundle_of(
    path: &At<BundleFile>,
    domain: Option<&TrustDomain>,
    key_sets: &mut KeySets,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let Some(domain) = domain else {
        let message = "a bundle is that of one trust domain, and none is named";
        resolver.error_with_hint(
            "missing-key",
            &path.origin,
            message,
            "name it, as in `spiffe: peer.example`",
        );
        return None;
    };
    let name = Files::name_beside(&path.origin, &path.value.0.0);
    let text = resolver.files.document(
        &name,
        ("trust bundle", MAX_DOCUMENT),
        &path.origin,
        resolver.problems,
    )?;
    let mut broken = |why: &str| {
        let message = format!("the trust bundle {name:?} cannot be used: {why}");
        let hint = "write it with `spire-server bundle show -format spiffe`";
        resolver.error_with_hint("bad-bundle", &path.origin, message, hint);
        None
    };
    match Bundle::parse(&text) {
        Ok(bundle) if bundle.anchors.is_empty() => broken("it holds no authority for X.509-SVIDs"),
        Ok(bundle) => {
            key_sets.insert(domain.clone(), bundle.key_set);
            Some(bundle.anchors)
        }
        Err(why) => broken(&why),
    }
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
