//! What the agent delivers, in the words of `identity`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use portcullis_identity::plan::{IdentityPlan, KeySource, TrustAnchors, UpstreamPeer};
use portcullis_identity::{Svid, WorkloadIdentity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::bundle::jwt::JwtBundleSet;
use spiffe::{TrustDomain, X509Context};

/// Trust domains whose bundle or keys the configuration expects from the Workload API.
pub(super) fn expected_domains(plan: &IdentityPlan) -> BTreeSet<TrustDomain> {
    let of_trust = plan.trust.iter().filter_map(|trust| match &trust.anchors {
        TrustAnchors::TrustDomain(domain, None) => Some(domain.clone()),
        TrustAnchors::TrustDomain(_, Some(_)) | TrustAnchors::Pem(_) => None,
    });
    let of_pools = plan.upstreams.iter().filter_map(|upstream| match &upstream.peer {
        UpstreamPeer::Spiffe {
            expected,
            anchors: None,
        } => Some(expected.trust_domain().clone()),
        UpstreamPeer::Spiffe { anchors: Some(_), .. } | UpstreamPeer::Https { .. } => None,
    });
    let of_issuers = plan.issuers.iter().filter_map(|issuer| match &issuer.keys {
        KeySource::WorkloadApi(domain) => Some(domain.clone()),
        KeySource::Document(_) | KeySource::Url(_) | KeySource::Discovery => None,
    });
    of_trust.chain(of_pools).chain(of_issuers).collect()
}

type Bundles = BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>;

/// Our identity, and the bundle of every trust domain.
pub(super) fn identity_of(context: &X509Context) -> (Option<Svid>, Bundles) {
    let svid = context.default_svid().map(|svid| Svid {
        chain: svid
            .cert_chain()
            .iter()
            .map(|part| CertificateDer::from(part.as_bytes().to_vec()))
            .collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec())),
        spiffe_id: svid.spiffe_id().clone(),
    });
    let bundles = context.bundle_set().iter().map(|(domain, bundle)| {
        let anchors = bundle
            .authorities()
            .iter()
            .map(|one| CertificateDer::from(one.as_bytes().to_vec()));
        (domain.clone(), anchors.collect())
    });
    (svid, bundles.collect())
}

/// Every domain's authorities as a key set, in the order of their ids: the set itself has none.
pub(super) fn documents_of(set: &JwtBundleSet) -> BTreeMap<TrustDomain, Bytes> {
    set.iter()
        .map(|(domain, bundle)| {
            let mut keys: Vec<_> = bundle.jwt_authorities().map(Arc::clone).collect();
            keys.sort_by(|one, other| one.key_id().cmp(other.key_id()));
            let mut document = b"{\"keys\":[".to_vec();
            for (index, key) in keys.iter().enumerate() {
                if index > 0 {
                    document.push(b',');
                }
                document.extend_from_slice(key.jwk_json());
            }
            document.extend_from_slice(b"]}");
            (domain.clone(), Bytes::from(document))
        })
        .collect()
}

/// True when both say the same; a leaf stands for its key.
pub(super) fn is_same(one: &WorkloadIdentity, other: &WorkloadIdentity) -> bool {
    let chain = |identity: &WorkloadIdentity| identity.svid.as_ref().map(|svid| svid.chain.clone());
    chain(one) == chain(other) && one.bundles == other.bundles && one.jwt_bundles == other.jwt_bundles
}
