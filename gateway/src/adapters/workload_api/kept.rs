//! What was delivered last, kept for a restart without an agent: one file, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use portcullis_identity::{PeerIdentity, Svid, WorkloadIdentity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use spiffe::TrustDomain;
use thiserror::Error;

use crate::app::state::{StateDir, StateFault};

/// The file's name in `trust/`.
const FILE: &str = "workload.json";
/// A hundred times what a delivery with ten trust domains takes.
const LONGEST: u64 = 8 << 20;
/// The layout below; a file of another one is not ours to read.
const VERSION: u32 = 1;

/// Why what was kept is not used.
#[derive(Debug, Error)]
pub(super) enum KeptFault {
    /// The file cannot be read.
    #[error(transparent)]
    State(#[from] StateFault),
    /// It is not what we write.
    #[error("it cannot be read")]
    Layout(#[from] serde_json::Error),
    /// A part of it is not what it should be.
    #[error("its {0} cannot be read")]
    Part(&'static str),
    /// It is of a version that we do not know.
    #[error("it was written by another version (layout {0})")]
    Version(u32),
    /// It came from another agent.
    #[error("it came from {0}, and the configuration names another Workload API")]
    OtherEndpoint(String),
    /// No trust domain that the configuration expects is in it.
    #[error("it is of trust domain {0}, and holds none that the configuration expects")]
    OtherDomain(String),
    /// The SVID is over.
    #[error("its SVID expired")]
    Expired,
}

/// The file with what was delivered last.
#[derive(Debug)]
pub(super) struct Kept {
    folder: StateDir,
    /// A digest of what was written last, so that an equal delivery is not written again.
    written: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    version: u32,
    /// The Workload API it came from.
    endpoint: String,
    /// DER in Base64, leaf first.
    chain: Vec<String>,
    /// PKCS #8 in Base64.
    key: String,
    trust_domains: BTreeMap<String, Bundle>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    /// DER in Base64.
    x509: Vec<String>,
    /// A JWK set.
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
}

impl Kept {
    /// The file in the folder `trust/` of the gateway's state.
    pub(super) fn open(state: &StateDir) -> Result<Self, StateFault> {
        Ok(Self {
            folder: state.folder("trust")?,
            written: None,
        })
    }

    /// What was kept, when it still fits: same agent, a trust domain that is expected, not over.
    pub(super) fn read(
        &self,
        endpoint: &str,
        expected: &BTreeSet<TrustDomain>,
        now: SystemTime,
    ) -> Result<Option<WorkloadIdentity>, KeptFault> {
        let Some(bytes) = self.folder.read(FILE, LONGEST)? else {
            return Ok(None);
        };
        let layout: Layout = serde_json::from_slice(&bytes)?;
        if layout.version != VERSION {
            return Err(KeptFault::Version(layout.version));
        }
        if layout.endpoint != endpoint {
            return Err(KeptFault::OtherEndpoint(layout.endpoint));
        }
        let identity = layout.identity()?;
        let svid = identity.svid.as_ref().ok_or(KeptFault::Part("SVID"))?;
        let domain = svid.spiffe_id.trust_domain();
        let is_expected = |domain: &TrustDomain| expected.contains(domain);
        if !expected.is_empty() && !is_expected(domain) && !identity.bundles.keys().any(is_expected) {
            return Err(KeptFault::OtherDomain(domain.to_string()));
        }
        if svid.valid_until() <= now {
            return Err(KeptFault::Expired);
        }
        Ok(Some(identity))
    }

    /// Keeps a delivery in place of the one before; one without an SVID is not worth keeping.
    pub(super) fn write(&mut self, endpoint: &str, identity: &WorkloadIdentity) -> Result<(), KeptFault> {
        let Some(svid) = &identity.svid else {
            return Ok(());
        };
        let bytes = serde_json::to_vec(&Layout::of(endpoint, svid, identity))?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let digest = hasher.finish();
        if self.written == Some(digest) {
            return Ok(());
        }
        self.folder.write(FILE, &bytes)?;
        self.written = Some(digest);
        Ok(())
    }

    /// Forgets it.
    pub(super) fn forget(&mut self) -> Result<(), KeptFault> {
        self.written = None;
        Ok(self.folder.remove(FILE)?)
    }
}

impl Layout {
    fn of(endpoint: &str, svid: &Svid, identity: &WorkloadIdentity) -> Self {
        let der = |certificates: &[CertificateDer<'_>]| {
            certificates
                .iter()
                .map(|certificate| STANDARD.encode(certificate))
                .collect()
        };
        let mut trust_domains = BTreeMap::<String, Bundle>::new();
        for (domain, anchors) in &identity.bundles {
            trust_domains.entry(domain.to_string()).or_default().x509 = der(anchors);
        }
        for (domain, document) in &identity.jwt_bundles {
            let text = String::from_utf8_lossy(document).into_owned();
            trust_domains.entry(domain.to_string()).or_default().jwt = Some(text);
        }
        Self {
            version: VERSION,
            endpoint: endpoint.to_owned(),
            chain: der(&svid.chain),
            key: STANDARD.encode(svid.key.secret_der()),
            trust_domains,
        }
    }

    fn identity(self) -> Result<WorkloadIdentity, KeptFault> {
        let chain = certificates(&self.chain, "chain")?;
        let key = STANDARD.decode(self.key).map_err(|_| KeptFault::Part("key"))?;
        let spiffe_id = PeerIdentity::from_chain(&chain)
            .spiffe_id
            .map_err(|_| KeptFault::Part("SVID"))?;
        let mut identity = WorkloadIdentity {
            svid: Some(Svid {
                chain,
                key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
                spiffe_id,
            }),
            ..WorkloadIdentity::default()
        };
        for (name, bundle) in self.trust_domains {
            let domain = TrustDomain::new(&name).map_err(|_| KeptFault::Part("trust domain"))?;
            if let Some(jwt) = bundle.jwt {
                identity.jwt_bundles.insert(domain.clone(), Bytes::from(jwt));
            }
            let anchors = certificates(&bundle.x509, "bundle")?;
            if !anchors.is_empty() {
                identity.bundles.insert(domain, anchors);
            }
        }
        Ok(identity)
    }
}

fn certificates(encoded: &[String], part: &'static str) -> Result<Vec<CertificateDer<'static>>, KeptFault> {
    let decode = |text: &String| STANDARD.decode(text).map(CertificateDer::from);
    encoded
        .iter()
        .map(decode)
        .collect::<Result<_, _>>()
        .map_err(|_| KeptFault::Part(part))
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
