//! The TLS side of a listener: one rustls configuration per certificate and client-certificate policy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, version};

use super::certificate::{OwnCertificate, provider};
use super::client_verifier::ClientVerifier;
use crate::boards::Clock;
use crate::fault::IdentityFault;
use crate::mtls::{Trust, WorkloadBoard};
use crate::plan::ClientCertificates;

/// TLS 1.2 sessions kept per configuration; tickets need no room.
const SESSIONS: usize = 1024;

/// No certificate of the listener covers the name: answer with the alert `unrecognized_name`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no certificate of the listener covers {0:?}")]
pub struct UnknownName(pub String);

/// What a name asks of a client, its trusts resolved.
#[derive(Clone, Debug)]
pub(crate) struct ClientPolicy {
    pub(crate) mode: ClientCertificates,
    /// Empty when the mode is off.
    pub(crate) trusts: Vec<Arc<Trust>>,
}

/// What a listener is built of.
pub(crate) struct ListenerParts {
    /// Never empty.
    pub(crate) certificates: Vec<OwnCertificate>,
    pub(crate) client: ClientPolicy,
    pub(crate) hosts: BTreeMap<String, ClientPolicy>,
    pub(crate) alpn: Vec<&'static str>,
    pub(crate) workload: Arc<WorkloadBoard>,
    pub(crate) clock: Clock,
}

/// A listener's TLS material.
///
/// Every pair of certificate and client-certificate policy has a configuration, and with it a session store and
/// ticket keys of its own: a session can come back only to the policy and the trust that made it.
#[derive(Debug)]
pub struct ListenerTls {
    certificates: Vec<OwnCertificate>,
    /// Distinct policies; the first is the listener's own.
    policies: Vec<ClientPolicy>,
    /// The position in `policies` of names that differ from the listener.
    hosts: BTreeMap<String, usize>,
    /// By certificate, then by policy.
    configurations: Vec<Vec<Configuration>>,
    alpn: Vec<&'static str>,
    workload: Arc<WorkloadBoard>,
    clock: Clock,
}

/// A configuration, and the delivery of trust that it was built with.
#[derive(Debug)]
struct Configuration {
    current: ArcSwap<(u64, Arc<ServerConfig>)>,
}

impl ListenerTls {
    /// Builds every configuration.
    ///
    /// # Errors
    /// When there is no certificate or rustls refuses one.
    pub(crate) fn build(parts: ListenerParts) -> Result<Self, IdentityFault> {
        if parts.certificates.is_empty() {
            return Err(IdentityFault::EmptyChain);
        }
        let mut policies = vec![parts.client];
        let mut hosts = BTreeMap::new();
        for (name, policy) in parts.hosts {
            let present = policies.iter().position(|known| known.asks_the_same(&policy));
            let position = present.unwrap_or_else(|| {
                policies.push(policy);
                policies.len() - 1
            });
            hosts.insert(name.to_ascii_lowercase(), position);
        }
        let mut listener = Self {
            certificates: parts.certificates,
            policies,
            hosts,
            configurations: Vec::new(),
            alpn: parts.alpn,
            workload: parts.workload,
            clock: parts.clock,
        };
        let generation = listener.workload.generation();
        for certificate in &listener.certificates {
            let row = listener.policies.iter().map(|policy| {
                let configuration = listener.configure(certificate, policy)?;
                Ok(Configuration {
                    current: ArcSwap::from_pointee((generation, configuration)),
                })
            });
            let row = row.collect::<Result<_, IdentityFault>>()?;
            listener.configurations.push(row);
        }
        Ok(listener)
    }

    /// The configuration for a handshake that asks for `sni`; without a name, that of the first certificate.
    ///
    /// # Errors
    /// When no certificate covers the name.
    pub fn server_config(&self, sni: Option<&str>) -> Result<Arc<ServerConfig>, UnknownName> {
        let name = sni.map(canonical);
        let unknown = || UnknownName(name.clone().unwrap_or_default());
        let certificate = self.certificate_for(name.as_deref()).ok_or_else(unknown)?;
        let policy = self.policy_for(name.as_deref());
        self.current(certificate, policy).ok_or_else(unknown)
    }

    /// Whether a request for `host` (without its port) may travel on a connection that asked for `sni`.
    ///
    /// False when the names differ in what they ask of a client, or when the certificate that was shown does not
    /// cover the host: then the answer is 421. A client that asks for no name may name an address as its host.
    #[must_use]
    pub fn is_directed(&self, sni: Option<&str>, host: &str) -> bool {
        let sni = sni.map(canonical);
        let host = canonical(host.trim_start_matches('[').trim_end_matches(']'));
        if sni.as_deref() == Some(host.as_str()) {
            return true;
        }
        if self.policy_for(sni.as_deref()) != self.policy_for(Some(&host)) {
            return false;
        }
        let is_address = host.parse::<IpAddr>().is_ok();
        (sni.is_none() && is_address)
            || self
                .certificate_for(sni.as_deref())
                .and_then(|position| self.certificates.get(position))
                .is_some_and(|certificate| certificate.covers(&host))
    }

    /// The certificates, in the order written.
    pub(crate) fn certificates(&self) -> &[OwnCertificate] {
        &self.certificates
    }

    /// True when some certificate covers the name, or could cover names under a wildcard of it.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let name = canonical(name);
        let concrete = name
            .strip_prefix("*.")
            .map_or_else(|| name.clone(), |parent| format!("any.{parent}"));
        self.certificate_for(Some(&concrete)).is_some()
    }

    /// A whole name before a wildcard, in the order written.
    fn certificate_for(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else {
            return (!self.certificates.is_empty()).then_some(0);
        };
        self.certificates
            .iter()
            .position(|certificate| certificate.names_exactly(name))
            .or_else(|| {
                self.certificates
                    .iter()
                    .position(|certificate| certificate.covers_by_wildcard(name))
            })
    }

    /// What the name asks of a client, as a position in `policies`.
    fn policy_for(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return 0 };
        let by_wildcard = || self.hosts.get(&format!("*.{}", name.split_once('.')?.1));
        self.hosts.get(name).or_else(by_wildcard).copied().unwrap_or(0)
    }

    /// The configuration of this moment: a new delivery of trust makes a new one, with new sessions.
    fn current(&self, certificate: usize, policy: usize) -> Option<Arc<ServerConfig>> {
        let configuration = self.configurations.get(certificate)?.get(policy)?;
        let current = configuration.current.load();
        let generation = self.workload.generation();
        let policy = self.policies.get(policy)?;
        if current.0 == generation || !policy.follows_deliveries() {
            return Some(Arc::clone(&current.1));
        }
        let rebuilt = self.configure(self.certificates.get(certificate)?, policy).ok()?;
        configuration
            .current
            .store(Arc::new((generation, Arc::clone(&rebuilt))));
        Some(rebuilt)
    }

    fn configure(
        &self,
        certificate: &OwnCertificate,
        policy: &ClientPolicy,
    ) -> Result<Arc<ServerConfig>, IdentityFault> {
        let builder = ServerConfig::builder_with_details(provider(), Arc::new(self.clock.clone()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(IdentityFault::Configuration)?;
        let builder = match policy.mode {
            ClientCertificates::Off => builder.with_no_client_auth(),
            ClientCertificates::Request | ClientCertificates::Require => {
                let is_mandatory = policy.mode == ClientCertificates::Require;
                builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(
                    policy.trusts.clone(),
                    is_mandatory,
                )))
            }
        };
        let mut config = builder.with_cert_resolver(resolver(&certificate.certified));
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config.max_early_data_size = 0;
        match policy.mode {
            ClientCertificates::Off | ClientCertificates::Request => {
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
                config.ticketer = Ticketer::new().map_err(IdentityFault::Configuration)?;
            }
            // A strict name sees every certificate in a full handshake.
            ClientCertificates::Require => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(Arc::new(config))
    }
}

impl ClientPolicy {
    fn asks_the_same(&self, other: &Self) -> bool {
        let ids = |policy: &Self| {
            policy
                .trusts
                .iter()
                .map(|trust| trust.id.clone())
                .collect::<Vec<_>>()
        };
        self.mode == other.mode && (self.mode == ClientCertificates::Off || ids(self) == ids(other))
    }

    fn follows_deliveries(&self) -> bool {
        self.trusts.iter().any(|trust| trust.follows_deliveries())
    }
}

fn resolver(certified: &Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(Arc::clone(
        certified,
    ))))
}

/// Lower case, without the root's dot.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
