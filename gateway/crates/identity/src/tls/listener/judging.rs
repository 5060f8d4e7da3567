//! Requests on open connections: whether a handshake of today would lead to the same.

use std::net::IpAddr;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use portcullis_model::{Reason, Rejection};

use super::{ListenerTls, canonical};
use crate::authenticator::CERTIFICATE_CHALLENGE;
use crate::mtls::{CertificateRefusal, PeerIdentity};
use crate::plan::ClientCertificates;
use crate::tls::shown::Shown;

impl ListenerTls {
    /// Judges a request for `host` (without its port) on a connection that asked for `sni` and showed `peer`. Gives until
    /// when a trust accepts that certificate, as long as no pulse beats; `None` where there is none, or nobody asks.
    ///
    /// # Errors
    /// `misdirected` for a host that the connection was not made for; otherwise as [`Self::still_accepts`].
    pub fn judge_request(
        &self,
        sni: Option<&str>,
        host: &str,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Rejection> {
        match self.directed(sni, host) {
            Some(policy) => self.judge_peer(policy, peer, now),
            None => Err(Rejection::new(Reason::Misdirected)),
        }
    }

    /// Whether a handshake for `sni` would still accept the certificate that a connection showed, or that it showed
    /// none: what a connection was given before a certificate was revoked, before its anchor went or before one was
    /// required does not outlive that. Gives until when, as [`Self::judge_request`] does.
    ///
    /// # Errors
    /// Why not, in a rejection that a request gets.
    pub fn still_accepts(
        &self,
        sni: Option<&str>,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Rejection> {
        let policy = self.policy_for(sni.map(canonical).as_deref());
        self.judge_peer(policy, peer, now)
    }

    /// What was asked of a connection that asked for `sni`, when a request for `host` may travel on it, as a position in
    /// `policies`.
    ///
    /// `None` when the names differ in what they ask of a client, or when the certificate that was shown does not
    /// cover the host: then the answer is 421. A client that asks for no name may name an address as its host.
    pub(in crate::tls) fn directed(&self, sni: Option<&str>, host: &str) -> Option<usize> {
        let sni = sni.map(canonical);
        let host = canonical(host.trim_start_matches('[').trim_end_matches(']'));
        let policy = self.policy_for(sni.as_deref());
        if sni.as_ref() == Some(&host) {
            return Some(policy);
        }
        if policy != self.policy_for(Some(&host)) {
            return None;
        }
        let is_address = host.parse::<IpAddr>().is_ok();
        if sni.is_none() && is_address {
            return Some(policy);
        }
        let position = self.certificate_for(sni.as_deref());
        let names = position
            .and_then(|position| self.certificates.get(position))
            .map(Shown::names);
        let is_covered = match names {
            Some(Some(names)) => names.cover(&host),
            // An SVID for every name that nothing else covers: the host has to be one of those.
            Some(None) => self.certificate_for(Some(&host)) == position,
            None => false,
        };
        is_covered.then_some(policy)
    }

    fn judge_peer(
        &self,
        policy: usize,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Rejection> {
        let Some(policy) = self.policies.get(policy) else {
            return Ok(None);
        };
        let judged = match peer {
            Some(peer) => policy.judge(peer, now).map(|judged| judged.zip(Some(peer))),
            None if policy.mode == ClientCertificates::Require => Err(CertificateRefusal {
                reason: Reason::CertificateMissing,
                check: "the name requires a certificate by now".into(),
            }),
            None => Ok(None),
        };
        let rejection = match judged {
            Ok(None) => return Ok(None),
            Ok(Some(((trust, until), peer))) => match self.denied.denies_certificate(peer, &trust.id, now) {
                Some(entry) => entry.rejection(Reason::CertificateRevoked),
                None => return Ok(Some(until)),
            },
            Err(refusal) => Rejection::new(refusal.reason).with_private(refusal.check),
        };
        Err(rejection.with_header(WWW_AUTHENTICATE, HeaderValue::from_static(CERTIFICATE_CHALLENGE)))
    }
}
