//! What an agent delivers to tests.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use portcullis_identity::{Svid, WorkloadIdentity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use spiffe::TrustDomain;

const US: &str = "spiffe://corp.example/gateway";

/// The present of the tests.
pub(super) fn present() -> SystemTime {
    // 2027-01-15
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A trust domain.
pub(super) fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// Trust domains that a configuration expects.
pub(super) fn expected(names: &[&str]) -> BTreeSet<TrustDomain> {
    names.iter().map(|name| domain(name)).collect()
}

/// An SVID until July 2027, the bundles of two domains and the JWT authorities of one.
pub(super) fn delivery() -> WorkloadIdentity {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(2027, 7, 1);
    params.subject_alt_names = vec![SanType::URI(US.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    let anchors = vec![authority.der().clone()];
    WorkloadIdentity {
        svid: Some(Svid {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            spiffe_id: spiffe::SpiffeId::new(US).unwrap(),
        }),
        bundles: [
            (domain("corp.example"), anchors.clone()),
            (domain("peer.example"), anchors),
        ]
        .into(),
        jwt_bundles: [(domain("corp.example"), Bytes::from_static(b"{\"keys\":[]}"))].into(),
    }
}
