//! The TLS side of a pool: whom its endpoints must prove to be, and what we show them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use portcullis_model::SpiffeId;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme, version};
use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};

use super::certificate::provider;
use super::server_verifier::{self, EndpointVerifier, Expected};
use super::shown::SvidSource;
use crate::boards::Clock;
use crate::deny::DenyList;
use crate::fault::IdentityFault;
use crate::mtls::{Anchors, Generation, PeerIdentity, Revocation, WorkloadBoard};

/// Sessions kept per configuration, for endpoints that are dialled again.
const SESSIONS: usize = 256;

/// The ALPN lists that a configuration is built for.
const ALPN: [&[&[u8]]; 3] = [&[b"h2"], &[b"http/1.1"], &[b"h2", b"http/1.1"]];

/// Whom to expect, resolved.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// A workload, by its domain's bundle: a given one, or the delivered one.
    Workload {
        expected: SpiffeId,
        anchors: Option<Arc<Anchors>>,
        svid: SvidSource,
    },
    /// A name, given or each endpoint's own.
    Named {
        name: Option<ServerName<'static>>,
        anchors: Arc<Anchors>,
    },
}

/// What an endpoint proved when its connection was made.
#[derive(Clone, Copy, Debug)]
pub struct EndpointProof<'a> {
    /// The generation under which it was accepted last.
    pub generation: u64,
    /// The chain that it showed, leaf first.
    pub chain: &'a [CertificateDer<'static>],
    /// Until when the chain need not be judged again for its age, as [`UpstreamTls::note_accepted`] said; `None`: for ever.
    pub until: Option<Instant>,
    /// The DNS name that it was resolved from.
    pub dns: Option<&'a str>,
}

/// What an upstream is built of.
pub(crate) struct UpstreamParts {
    pub(crate) peer: Peer,
    /// `None`: revocation of the endpoints' certificates is not asked about.
    pub(crate) revocation: Option<Arc<Revocation>>,
    /// A number that no other material of an upstream has had.
    pub(crate) generation: u64,
    pub(crate) workload: Arc<WorkloadBoard>,
    pub(crate) denied: Arc<DenyList>,
    pub(crate) clock: Clock,
}

/// A pool's TLS material; follows what the Workload API delivers and what revocation lists say.
#[derive(Debug)]
pub struct UpstreamTls {
    peer: Peer,
    revocation: Option<Arc<Revocation>>,
    generation: u64,
    workload: Arc<WorkloadBoard>,
    denied: Arc<DenyList>,
    clock: Clock,
    current: ArcSwapOption<Configurations>,
}

/// One configuration per ALPN list, and the delivery and the revocation lists they were built with.
#[derive(Debug)]
struct Configurations {
    depends_on: Generation,
    by_alpn: [Arc<ClientConfig>; 3],
    /// The second since the epoch at which the first certificate ends on which a session of these may rest: a resumed
    /// handshake shows no chain to judge.
    ends: AtomicU64,
}

impl UpstreamTls {
    pub(crate) fn new(parts: UpstreamParts) -> Self {
        Self {
            peer: parts.peer,
            revocation: parts.revocation,
            generation: parts.generation,
            workload: parts.workload,
            denied: parts.denied,
            clock: parts.clock,
            current: ArcSwapOption::empty(),
        }
    }

    /// What it knows of revocation.
    pub(crate) fn revocation(&self) -> Option<&Revocation> {
        self.revocation.as_deref()
    }

    /// The configuration for a handshake that offers `alpn`, one of `[h2]`, `[http/1.1]` and `[h2, http/1.1]`.
    ///
    /// # Errors
    /// When our SVID or the peer's bundle has not arrived, when the SVID has expired, or the list is another one.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityFault> {
        let position = ALPN
            .iter()
            .position(|known| *known == alpn)
            .ok_or(IdentityFault::Alpn)?;
        // The delivery first: what is built of a newer one is only built again.
        let depends_on = self.depends_on();
        let svid = self.svid()?;
        let present = self
            .current
            .load_full()
            .filter(|present| present.depends_on == depends_on && !present.have_aged(self.now()));
        let configurations = match present {
            Some(present) => present,
            None => {
                let built = Arc::new(self.build(depends_on, svid)?);
                self.current.store(Some(Arc::clone(&built)));
                built
            }
        };
        configurations
            .by_alpn
            .get(position)
            .cloned()
            .ok_or(IdentityFault::Alpn)
    }

    /// The name to hand to rustls: the configured one, the endpoint's own, or its address; never an empty one.
    ///
    /// What the endpoint must prove does not hang on it, except for a pool that expects each endpoint's own name.
    #[must_use]
    pub fn server_name(&self, dns: Option<&str>, address: SocketAddr) -> ServerName<'static> {
        let configured = match &self.peer {
            Peer::Named { name, .. } => name.clone(),
            Peer::Workload { .. } => None,
        };
        configured
            .or_else(|| {
                dns.and_then(|name| DnsName::try_from(name.to_owned()).ok())
                    .map(ServerName::DnsName)
            })
            .unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
    }

    /// An endpoint showed this chain, leaf first, and was accepted. Gives for how long neither it nor the session need
    /// be judged again for their age: until the first of its certificates ends that has not ended yet. Which of them the
    /// proof rests on is not asked, because asking again too early costs a handshake at most.
    ///
    /// `None` without a chain; no time at all for a leaf whose end cannot be read.
    pub fn note_accepted(&self, chain: &[CertificateDer<'_>]) -> Option<Duration> {
        let now = self.now();
        let left = |certificate| {
            let end = PeerIdentity::from_chain(std::slice::from_ref(certificate)).not_after;
            since_epoch(end).checked_sub(now)
        };
        let (leaf, others) = chain.split_first()?;
        let leaf = left(leaf).unwrap_or_default();
        let left = others.iter().filter_map(left).fold(leaf, Duration::min);
        if let Some(present) = &*self.current.load() {
            let end = now.saturating_add(left).as_secs();
            present.ends.fetch_min(end, Ordering::AcqRel);
        }
        Some(left)
    }

    /// Changes with the trust, our SVID, its end and the expected identity: connections of another key may not be
    /// reused. The end of an endpoint's own certificate is in no key, as it differs from connection to connection;
    /// each carries its own ([`Self::note_accepted`]).
    #[must_use]
    pub fn generation_key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.generation, self.depends_on(), self.svid().is_err()).hash(&mut hasher);
        hasher.finish()
    }

    /// True when the endpoint proved to be somebody else, as against any other TLS failure.
    #[must_use]
    pub fn is_identity_mismatch(error: &rustls::Error) -> bool {
        server_verifier::is_identity_mismatch(error)
    }

    /// Whether a handshake today would accept the chain, leaf first, that an endpoint showed when its connection was
    /// made; gives the generation that it is accepted under. Nothing is verified while that is the one of the proof and
    /// no certificate has ended.
    ///
    /// # Errors
    /// Why not, for the log.
    pub fn still_accepts(&self, proof: &EndpointProof<'_>, address: SocketAddr) -> Result<u64, String> {
        // Read first: what changes meanwhile is asked about again.
        let generation = self.generation_key();
        let has_aged = proof.until.is_some_and(|until| until <= self.clock.instant());
        if generation == proof.generation && !has_aged {
            return Ok(generation);
        }
        let shown = proof.chain.split_first();
        let (leaf, intermediates) = shown.ok_or_else(|| "no chain was shown".to_owned())?;
        let verifier = self.verifier().map_err(|fault| fault.to_string())?;
        let name = self.server_name(proof.dns, address);
        let now = UnixTime::since_unix_epoch(self.now());
        let verified = verifier.verify_server_cert(leaf, intermediates, &name, &[], now);
        verified.map(|_| generation).map_err(|error| error.to_string())
    }

    /// The wall's time since the epoch.
    fn now(&self) -> Duration {
        since_epoch(self.clock.wall())
    }

    /// What we show an endpoint at this moment; nothing where ordinary HTTPS is spoken.
    fn svid(&self) -> Result<Option<Arc<CertifiedKey>>, IdentityFault> {
        match &self.peer {
            Peer::Workload { svid, .. } => svid.certified(&self.workload, self.clock.wall()).map(Some),
            Peer::Named { .. } => Ok(None),
        }
    }

    /// The delivery, and the revocation lists with the deny list, that this material depends on; 0 where it depends on
    /// none.
    fn depends_on(&self) -> Generation {
        let follows = match &self.peer {
            Peer::Workload { anchors: None, .. }
            | Peer::Workload {
                svid: SvidSource::Delivered,
                ..
            } => true,
            Peer::Workload {
                anchors: Some(_),
                svid: SvidSource::Files(_),
                ..
            }
            | Peer::Named { .. } => false,
        };
        let delivered = if follows { self.workload.generation() } else { 0 };
        let lists = self.revocation.as_ref().map_or(0, |lists| lists.generation());
        // Both only ever grow, so that their sum changes whenever either does.
        (delivered, lists.wrapping_add(self.denied.certificates()))
    }

    fn verifier(&self) -> Result<EndpointVerifier, IdentityFault> {
        let (revocation, denied) = (self.revocation.clone(), Arc::clone(&self.denied));
        Ok(match &self.peer {
            Peer::Workload {
                expected, anchors, ..
            } => {
                let domain = expected.trust_domain();
                let delivered = || self.workload.current().bundles.get(domain).cloned();
                let anchors = anchors.clone().or_else(delivered);
                let anchors = anchors.ok_or_else(|| IdentityFault::NoBundle(domain.clone()))?;
                EndpointVerifier::new(anchors, revocation, denied, Expected::Workload(expected.clone()))
            }
            Peer::Named { name, anchors } => {
                let expected = name.clone().map_or(Expected::OwnName, Expected::Name);
                EndpointVerifier::new(Arc::clone(anchors), revocation, denied, expected)
            }
        })
    }

    fn build(
        &self,
        depends_on: Generation,
        svid: Option<Arc<CertifiedKey>>,
    ) -> Result<Configurations, IdentityFault> {
        let verifier = self.verifier()?;
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(self.clock.clone()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(IdentityFault::Configuration)?
            // Our verifier is stricter than the ordinary one where an identity is expected, and equal elsewhere.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match svid {
            Some(svid) => builder.with_client_cert_resolver(Arc::new(OurSvid(svid))),
            None => builder.with_no_client_auth(),
        };
        config.enable_early_data = false;
        let by_alpn = ALPN.map(|protocols| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        });
        Ok(Configurations {
            depends_on,
            by_alpn,
            ends: AtomicU64::new(u64::MAX),
        })
    }
}

impl Configurations {
    /// True when a certificate has ended on which a session of these may rest.
    fn have_aged(&self, now: Duration) -> bool {
        now.as_secs() > self.ends.load(Ordering::Acquire)
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Shows our SVID to whoever asks for a certificate.
#[derive(Debug)]
struct OurSvid(Arc<CertifiedKey>);

impl ResolvesClientCert for OurSvid {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
