//! What the Workload API delivered, for whoever lists what ends when.

use std::collections::BTreeMap;

use portcullis_model::TrustDomain;
use rustls_pki_types::CertificateDer;

use super::workload::WorkloadBoard;

/// The last delivery without its private key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeldIdentity {
    /// The generation of the delivery; 0 before the first.
    pub generation: u64,
    /// Our own chain, leaf first; empty while there is none.
    pub chain: Vec<CertificateDer<'static>>,
    /// The authorities of every trust domain.
    pub bundles: BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>,
}

impl WorkloadBoard {
    /// What is held now, current or not.
    #[must_use]
    pub fn held(&self) -> HeldIdentity {
        let current = self.current();
        HeldIdentity {
            generation: current.generation,
            chain: current
                .svid
                .as_ref()
                .map(|svid| svid.cert.clone())
                .unwrap_or_default(),
            bundles: current.raw_bundles.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtls::WorkloadIdentity;
    use crate::testing::TestCa;

    #[test]
    fn what_was_delivered_is_held_and_nothing_before() {
        const US: &str = "spiffe://corp.example/gateway";
        let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
        assert_eq!(board.held(), HeldIdentity::default());
        let (leaf, domain) = (ca.leaf(&[US]), TrustDomain::new("corp.example").unwrap());

        let generation = board
            .publish(WorkloadIdentity {
                svid: Some(leaf.svid(US)),
                bundles: [(domain.clone(), ca.anchors())].into(),
                ..WorkloadIdentity::default()
            })
            .unwrap();

        let held = board.held();
        assert_eq!(held.generation, generation);
        assert_eq!(held.chain, leaf.chain);
        assert_eq!(held.bundles.get(&domain), Some(&ca.anchors()));
    }
}
