//! What the SPIFFE Workload API delivered last; kept when the agent goes away.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use portcullis_model::{SpiffeId, TrustDomain};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::warn;

use super::anchors::Anchors;
use super::peer::PeerIdentity;
use super::workload_status::Contact;
use crate::fault::IdentityFault;
use crate::jwt::{KeyPurpose, KeySet, LoadedKeys};
use crate::tls;

/// Our own identity as a workload.
pub struct Svid {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub key: PrivateKeyDer<'static>,
    /// The ID that the leaf carries.
    pub spiffe_id: SpiffeId,
}

impl Svid {
    /// When the first certificate of the chain ends.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        PeerIdentity::from_chain(&self.chain).valid_until()
    }
}

impl Clone for Svid {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            spiffe_id: self.spiffe_id.clone(),
        }
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// One delivery of the Workload API: it replaces the previous one whole.
#[derive(Clone, Debug, Default)]
pub struct WorkloadIdentity {
    /// Our identity.
    pub svid: Option<Svid>,
    /// Trust anchors by trust domain.
    pub bundles: BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>,
    /// JWT authorities by trust domain: JWK sets, as the agent sends them.
    pub jwt_bundles: BTreeMap<TrustDomain, Bytes>,
}

/// A delivery, parsed.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) generation: u64,
    pub(crate) svid: Option<Arc<CertifiedKey>>,
    /// The ID of `svid`.
    pub(crate) own_id: Option<Arc<SpiffeId>>,
    /// When `svid` ends.
    pub(super) svid_until: Option<SystemTime>,
    pub(crate) bundles: BTreeMap<TrustDomain, Arc<Anchors>>,
    /// The bundles as they came, to tell an equal delivery from a new one.
    pub(super) raw_bundles: BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>,
}

/// The last delivery, for everything that follows it.
#[derive(Debug)]
pub struct WorkloadBoard {
    current: ArcSwap<Delivered>,
    /// Apart from the rest: new keys for tokens are no reason to end sessions.
    jwt_keys: ArcSwap<BTreeMap<TrustDomain, JwtBundle>>,
    contact: ArcSwap<Contact>,
    generations: AtomicU64,
}

/// The JWT authorities of one trust domain.
#[derive(Clone, Debug)]
struct JwtBundle {
    document: Bytes,
    keys: Arc<LoadedKeys>,
}

impl WorkloadBoard {
    /// A board on which nothing was delivered yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::default(),
            jwt_keys: ArcSwap::default(),
            contact: ArcSwap::default(),
            generations: AtomicU64::new(0),
        })
    }

    /// Publishes a delivery and returns its generation; an equal one again keeps generation and sessions.
    ///
    /// JWT authorities that cannot be read leave those that the domain had, and are no reason to refuse the rest; a
    /// foreign domain whose bundle cannot be read is untrusted.
    ///
    /// # Errors
    /// When the SVID's key does not fit, its leaf does not carry the ID, or an anchor of our own domain cannot be
    /// read; the previous delivery then stays.
    pub fn publish(&self, mut delivery: WorkloadIdentity) -> Result<u64, IdentityFault> {
        self.publish_jwt_keys(std::mem::take(&mut delivery.jwt_bundles));
        let current = self.current.load();
        if current.equals(&delivery) {
            return Ok(current.generation);
        }
        let own_id = delivery
            .svid
            .as_ref()
            .map(|svid| Arc::new(svid.spiffe_id.clone()));
        let svid_until = delivery.svid.as_ref().map(Svid::valid_until);
        let svid = delivery.svid.map(check_svid).transpose()?;
        let mut bundles = BTreeMap::new();
        for (domain, certificates) in &delivery.bundles {
            match Anchors::read(certificates) {
                Ok(anchors) => {
                    bundles.insert(domain.clone(), Arc::new(anchors));
                }
                // A domain that we federate with must not keep us from our own next identity: it is untrusted alone.
                Err((index, error)) if own_id.as_ref().is_some_and(|id| !id.is_member_of(domain)) => {
                    warn!(%domain, index, %error, "cannot use the trust bundle of a foreign domain, its peers are untrusted");
                }
                Err((index, source)) => {
                    let domain = domain.clone();
                    return Err(IdentityFault::Anchor {
                        domain,
                        index,
                        source,
                    });
                }
            }
        }
        let generation = self.next_generation();
        self.current.store(Arc::new(Delivered {
            generation,
            svid,
            own_id,
            svid_until,
            bundles,
            raw_bundles: delivery.bundles,
        }));
        Ok(generation)
    }

    /// The generation of the last delivery; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Our own SPIFFE ID, once it was delivered.
    pub(crate) fn own_id(&self) -> Option<Arc<SpiffeId>> {
        self.current.load().own_id.clone()
    }

    /// The JWT authorities of a trust domain, when any were ever delivered; none in it when they are no longer.
    pub(crate) fn jwt_keys(&self, domain: &TrustDomain) -> Option<Arc<LoadedKeys>> {
        let bundles = self.jwt_keys.load();
        bundles.get(domain).map(|bundle| Arc::clone(&bundle.keys))
    }

    fn publish_jwt_keys(&self, documents: BTreeMap<TrustDomain, Bytes>) {
        let present = self.jwt_keys.load();
        let mut bundles = BTreeMap::new();
        for (domain, document) in documents {
            let held = present.get(&domain);
            let bundle = match held.filter(|held| held.document == document) {
                Some(held) => held.clone(),
                None => match (KeySet::parse(&document, KeyPurpose::JwtSvids), held) {
                    (Ok(set), _) => JwtBundle {
                        keys: Arc::new(LoadedKeys::delivered(set, self.next_generation(), &document)),
                        document,
                    },
                    (Err(error), held) => {
                        warn!(%domain, %error, "cannot use the trust domain's JWT authorities");
                        match held {
                            Some(held) => held.clone(),
                            None => continue,
                        }
                    }
                },
            };
            bundles.insert(domain, bundle);
        }
        // A domain that is not delivered any more has no keys, which is another thing than one that was never heard
        // of: what its keys signed is refuted, not waited for.
        for (domain, held) in present.iter() {
            if !bundles.contains_key(domain) {
                let withdrawn = held.withdrawn(|| self.next_generation());
                bundles.insert(domain.clone(), withdrawn);
            }
        }
        self.jwt_keys.store(Arc::new(bundles));
    }

    pub(crate) fn current(&self) -> Arc<Delivered> {
        self.current.load_full()
    }

    pub(super) fn contact(&self) -> Arc<Contact> {
        self.contact.load_full()
    }

    pub(super) fn note(&self, change: impl Fn(&mut Contact)) {
        self.contact.rcu(|contact| {
            let mut contact = Contact::clone(contact);
            change(&mut contact);
            contact
        });
    }

    /// A number no other generation of trust has had.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl JwtBundle {
    /// What is left of it when its domain is not delivered any more.
    fn withdrawn(&self, generation: impl FnOnce() -> u64) -> Self {
        if self.document.is_empty() {
            return self.clone();
        }
        Self {
            document: Bytes::new(),
            keys: Arc::new(LoadedKeys::delivered(KeySet::empty(), generation(), b"")),
        }
    }
}

impl Delivered {
    /// True when the agent says again what it said last; the leaf stands for its key.
    fn equals(&self, delivery: &WorkloadIdentity) -> bool {
        let ours = self.svid.as_ref().map(|svid| svid.cert.as_slice());
        let theirs = delivery.svid.as_ref().map(|svid| svid.chain.as_slice());
        ours == theirs && self.raw_bundles == delivery.bundles
    }
}

fn check_svid(svid: Svid) -> Result<Arc<CertifiedKey>, IdentityFault> {
    if PeerIdentity::from_chain(&svid.chain).spiffe_id.ok().as_ref() != Some(&svid.spiffe_id) {
        return Err(IdentityFault::SvidIdentity(svid.spiffe_id.to_string()));
    }
    tls::certified_key(svid.chain, svid.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    const US: &str = "spiffe://corp.example/gateway";

    fn now() -> SystemTime {
        crate::testing::now()
    }

    fn delivery(svid: Svid, ca: &TestCa) -> WorkloadIdentity {
        let domain = TrustDomain::new("corp.example").unwrap();
        WorkloadIdentity {
            svid: Some(svid),
            bundles: [(domain, ca.anchors())].into(),
            ..WorkloadIdentity::default()
        }
    }

    #[test]
    fn a_delivery_makes_the_board_ready_and_every_one_has_its_own_generation() {
        let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
        assert!(!board.is_ready(now()));

        let first = board.publish(delivery(ca.leaf(&[US]).svid(US), &ca)).unwrap();
        let second = board.publish(delivery(ca.leaf(&[US]).svid(US), &ca)).unwrap();

        assert!(board.is_ready(now()));
        assert!(second > first);
        assert_eq!(board.generation(), second);
    }

    #[test]
    fn an_equal_delivery_keeps_its_generation() {
        let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
        let leaf = ca.leaf(&[US]);

        let first = board.publish(delivery(leaf.svid(US), &ca)).unwrap();

        assert_eq!(board.publish(delivery(leaf.svid(US), &ca)).unwrap(), first);
        let other_bundle = delivery(leaf.svid(US), &TestCa::new("ca"));
        assert_ne!(board.publish(other_bundle).unwrap(), first);
    }

    #[test]
    fn a_delivery_that_does_not_fit_together_leaves_the_previous_one() {
        let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
        let generation = board.publish(delivery(ca.leaf(&[US]).svid(US), &ca)).unwrap();
        let other_id = ca.leaf(&["spiffe://corp.example/other"]).svid(US);
        let other_key = Svid {
            key: ca.leaf(&[US]).key(),
            ..ca.leaf(&[US]).svid(US)
        };
        let mut bad_bundle = delivery(ca.leaf(&[US]).svid(US), &ca);
        bad_bundle
            .bundles
            .values_mut()
            .for_each(|anchors| anchors[0] = CertificateDer::from(vec![1, 2]));

        assert!(matches!(
            board.publish(delivery(other_id, &ca)),
            Err(IdentityFault::SvidIdentity(_))
        ));
        assert!(matches!(
            board.publish(delivery(other_key, &ca)),
            Err(IdentityFault::KeyMismatch)
        ));
        assert!(matches!(
            board.publish(bad_bundle),
            Err(IdentityFault::Anchor { index: 0, .. })
        ));
        assert_eq!(board.generation(), generation);
    }

    #[test]
    fn a_foreign_bundle_that_cannot_be_read_is_left_out_and_costs_us_nothing() {
        let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
        let foreign = |name: &str| TrustDomain::new(name).unwrap();
        let mut delivered = delivery(ca.leaf(&[US]).svid(US), &ca);
        let broken = vec![CertificateDer::from(vec![1, 2])];
        delivered.bundles.insert(foreign("broken.example"), broken);
        delivered.bundles.insert(foreign("peer.example"), ca.anchors());

        board.publish(delivered).unwrap();

        assert!(board.is_ready(crate::testing::now()));
        let bundles = &board.current().bundles;
        assert!(bundles.contains_key(&foreign("peer.example")));
        assert!(!bundles.contains_key(&foreign("broken.example")));
    }
}
