//! The material of a listener: one rustls configuration per certificate and client-certificate policy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, version};

use super::certificate::{Names, provider};
use super::client_policy::ClientPolicy;
use super::client_verifier::ClientVerifier;
use super::shown::Shown;
use crate::boards::Clock;
use crate::deny::DenyList;
use crate::fault::IdentityFault;
use crate::mtls::{Generation, WorkloadBoard};
use crate::plan::ClientCertificates;

mod judging;

/// TLS 1.2 sessions kept per configuration; tickets need no room.
const SESSIONS: usize = 1024;

/// Why a listener has nothing to show for a name.
#[derive(Debug, thiserror::Error)]
pub enum NoCertificate {
    /// No certificate covers the name: answer with the alert `unrecognized_name`.
    #[error("no certificate of the listener covers {0:?}")]
    UnknownName(String),
    /// What would be shown cannot be, as our SVID before it was delivered and after it expired.
    #[error("the certificate for {name:?} cannot be shown")]
    Unusable {
        /// The name.
        name: String,
        /// Why.
        #[source]
        cause: IdentityFault,
    },
}

/// What a listener is built of.
pub(crate) struct ListenerParts {
    /// Never empty.
    pub(crate) certificates: Vec<Shown>,
    pub(crate) client: ClientPolicy,
    pub(crate) hosts: BTreeMap<String, ClientPolicy>,
    pub(crate) alpn: Vec<&'static str>,
    pub(crate) workload: Arc<WorkloadBoard>,
    pub(crate) denied: Arc<DenyList>,
    pub(crate) clock: Clock,
}

/// A listener's TLS material.
///
/// Every pair of certificate and client-certificate policy has a configuration, and with it a session store and
/// ticket keys of its own: a session can come back only to the policy and the trust that made it.
#[derive(Debug)]
pub struct ListenerTls {
    certificates: Vec<Shown>,
    /// Distinct policies; the first is the listener's own.
    policies: Vec<ClientPolicy>,
    /// The position in `policies` of whole names that differ from the listener.
    hosts: BTreeMap<String, usize>,
    /// The same of what follows the `*.` of a wildcard.
    wildcards: BTreeMap<String, usize>,
    /// By certificate, then by policy.
    configurations: Vec<Vec<Configuration>>,
    alpn: Vec<&'static str>,
    workload: Arc<WorkloadBoard>,
    denied: Arc<DenyList>,
    clock: Clock,
}

/// A configuration and the delivery that it was built with; none before our SVID arrived that it shows.
#[derive(Debug, Default)]
struct Configuration {
    current: ArcSwapOption<(Generation, Arc<ServerConfig>)>,
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
        let (mut hosts, mut wildcards) = (BTreeMap::new(), BTreeMap::new());
        for (name, policy) in parts.hosts {
            let present = policies.iter().position(|known| known.asks_the_same(&policy));
            let position = present.unwrap_or_else(|| {
                policies.push(policy);
                policies.len() - 1
            });
            let name = name.to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => wildcards.insert(parent.to_owned(), position),
                None => hosts.insert(name, position),
            };
        }
        let mut listener = Self {
            certificates: parts.certificates,
            policies,
            hosts,
            wildcards,
            configurations: Vec::new(),
            alpn: parts.alpn,
            workload: parts.workload,
            denied: parts.denied,
            clock: parts.clock,
        };
        for certificate in &listener.certificates {
            let row = listener.policies.iter().map(|policy| {
                let generation = listener.generation(certificate, policy);
                if certificate.follows_deliveries() {
                    return Ok(Configuration::default());
                }
                let configuration = listener.configure(certificate, policy)?;
                Ok(Configuration {
                    current: ArcSwapOption::from_pointee((generation, configuration)),
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
    /// When no certificate covers the name, or the one that does cannot be shown now.
    pub fn server_config(&self, sni: Option<&str>) -> Result<Arc<ServerConfig>, NoCertificate> {
        let name = sni.map(canonical);
        let written = || name.clone().unwrap_or_default().into_owned();
        let certificate = self
            .certificate_for(name.as_deref())
            .ok_or_else(|| NoCertificate::UnknownName(written()))?;
        let policy = self.policy_for(name.as_deref());
        self.current(certificate, policy)
            .map_err(|cause| NoCertificate::Unusable {
                name: written(),
                cause,
            })
    }

    /// The certificates, in the order written.
    pub(crate) fn certificates(&self) -> &[Shown] {
        &self.certificates
    }

    /// True when some certificate covers the name, or could cover names under a wildcard of it.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let name = canonical(name);
        let concrete = name
            .strip_prefix("*.")
            .map_or_else(|| name.to_string(), |parent| format!("any.{parent}"));
        self.certificate_for(Some(&concrete)).is_some()
    }

    /// A whole name before a wildcard before an SVID without names, in the order written.
    fn certificate_for(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else {
            return (!self.certificates.is_empty()).then_some(0);
        };
        let first = |fits: &dyn Fn(Option<&Names>) -> bool| {
            let mut names = self.certificates.iter().map(Shown::names);
            names.position(fits)
        };
        first(&|names| names.is_some_and(|names| names.has(name)))
            .or_else(|| first(&|names| names.is_some_and(|names| names.cover_by_wildcard(name))))
            .or_else(|| first(&|names| names.is_none()))
    }

    /// What the name asks of a client, as a position in `policies`.
    fn policy_for(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return 0 };
        let by_wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.hosts.get(name).or_else(by_wildcard).copied().unwrap_or(0)
    }

    /// The configuration of this moment: a new delivery of our SVID or of trust makes a new one, with new sessions.
    fn current(&self, certificate: usize, policy: usize) -> Result<Arc<ServerConfig>, IdentityFault> {
        let row = self.configurations.get(certificate);
        let configuration = row
            .and_then(|row| row.get(policy))
            .ok_or(IdentityFault::EmptyChain)?;
        let (Some(shown), Some(policy)) = (self.certificates.get(certificate), self.policies.get(policy))
        else {
            return Err(IdentityFault::EmptyChain);
        };
        // The generation first: what is built of a newer delivery is only built again.
        let generation = self.generation(shown, policy);
        if shown.follows_deliveries() {
            shown.certified(&self.workload, self.clock.wall())?;
        }
        if let Some(current) = &*configuration.current.load()
            && current.0 == generation
        {
            return Ok(Arc::clone(&current.1));
        }
        let rebuilt = self.configure(shown, policy)?;
        configuration
            .current
            .store(Some(Arc::new((generation, Arc::clone(&rebuilt)))));
        Ok(rebuilt)
    }

    /// What a configuration hangs on that changes without a reload: deliveries, and lists of the policy's trusts.
    fn generation(&self, shown: &Shown, policy: &ClientPolicy) -> Generation {
        let (delivered, lists) = policy.generation();
        let shown = if shown.follows_deliveries() {
            self.workload.generation()
        } else {
            0
        };
        (delivered.max(shown), lists)
    }

    fn configure(
        &self,
        certificate: &Shown,
        policy: &ClientPolicy,
    ) -> Result<Arc<ServerConfig>, IdentityFault> {
        let certified = certificate.certified(&self.workload, self.clock.wall())?;
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
        let mut config = builder.with_cert_resolver(resolver(&certified));
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

fn resolver(certified: &Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(Arc::clone(
        certified,
    ))))
}

/// Lower case, without the root's dot.
fn canonical(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
