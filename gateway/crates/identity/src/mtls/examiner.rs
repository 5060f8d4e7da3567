//! Judges a client certificate for its operator: by the rules of every trust, which check fails and what would pass.
//!
//! The verdict is that of the traffic, from the same two functions: what the handshake asks and what a route asks.
//! The single checks around it say why, and each certificate of the chain is looked at by itself, so that an
//! expired intermediate is called by its name.

use std::time::SystemTime;

use portcullis_model::Reason;
use portcullis_model::timestamp::rfc3339;
use rustls_pki_types::CertificateDer;

use super::crl::{CrlBoard, CrlStatus, RevocationFault};
use super::examination::{CertificateCheck, CertificateCheckName, CertificateExamination};
use super::facts::CertificateFacts;
use super::peer::{PeerIdentity, PeerIdentityFault};
use super::trust::{Trust, TrustFault};
use crate::compile::IdentityRuntime;
use crate::deny::DenyList;
use crate::jwt::CheckOutcome::{Failed, NotKnown, Passed, Skipped};
use crate::plan::{CrlSource, TrustAnchors, TrustPlan};

/// Most anchors that are named; a longer list helps nobody.
const MAX_NAMED: usize = 4;

impl IdentityRuntime {
    /// Judges a chain, leaf first, by the rules of every trust, in the order of their names.
    #[must_use]
    pub fn examine_certificate(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Vec<CertificateExamination> {
        let peer = PeerIdentity::from_chain(chain);
        let facts: Vec<Option<CertificateFacts>> =
            peer.chain.iter().map(|one| CertificateFacts::read(one)).collect();
        let examine = |(plan, trust): &(TrustPlan, std::sync::Arc<Trust>)| {
            let case = Case {
                plan,
                trust,
                peer: &peer,
                facts: &facts,
                now,
            };
            case.examine(self)
        };
        self.parts.trusts.values().map(examine).collect()
    }
}

/// One chain before one trust.
struct Case<'a> {
    plan: &'a TrustPlan,
    trust: &'a Trust,
    peer: &'a PeerIdentity,
    facts: &'a [Option<CertificateFacts>],
    now: SystemTime,
}

impl Case<'_> {
    fn examine(&self, runtime: &IdentityRuntime) -> CertificateExamination {
        let denied = &*runtime.parts.boards.denied;
        let intermediates = self.peer.chain.get(1..).unwrap_or_default();
        let handshake = self.trust.verify(self.peer, intermediates, self.now).map(drop);
        let judged = self.trust.judge(self.peer, self.now);
        let is_denied = denied
            .denies_certificate(self.peer, &self.trust.id, self.now)
            .is_some();
        let verdict = match judged {
            Ok(_) if is_denied => Err(Reason::CertificateRevoked),
            Ok((id, _)) => Ok(id),
            // The list holds whatever the bundle will be.
            Err(_) if is_denied && matches!(handshake, Err(TrustFault::NoBundle)) => {
                Err(Reason::CertificateRevoked)
            }
            Err(refusal) => Err(refusal.reason),
        };
        CertificateExamination {
            trust: self.trust.id.clone(),
            by: self.plan.origin.clone(),
            checks: vec![
                self.form(),
                self.workload(),
                self.domain(),
                self.validity(),
                self.purpose(),
                self.chain(&handshake),
                self.revocation(&handshake, &runtime.parts.boards.crls),
                self.deny_list(denied),
            ],
            passes_handshake: handshake.is_ok(),
            verdict,
        }
    }

    fn form(&self) -> CertificateCheck {
        let unreadable = self.facts.iter().position(Option::is_none);
        let found = match (self.facts.len(), unreadable) {
            (_, Some(index)) => format!("{} cannot be read", which(index)),
            (1, None) => "one certificate".to_owned(),
            (count, None) => format!("{count} certificates"),
        };
        CertificateCheck {
            name: CertificateCheckName::Form,
            outcome: if unreadable.is_some() || self.facts.is_empty() {
                Failed
            } else {
                Passed
            },
            expected: "X.509 in DER, the leaf first".to_owned(),
            found,
            advice: None,
        }
    }

    fn workload(&self) -> CertificateCheck {
        let fault = self.peer.spiffe_id.as_ref().err();
        let found = match (&self.peer.spiffe_id, self.facts.first()) {
            (Ok(id), _) => id.to_string(),
            (Err(fault), Some(Some(facts))) if !facts.names.is_empty() => {
                format!("{fault}; its names are {}", facts.names.join(", "))
            }
            (Err(fault), _) => fault.to_string(),
        };
        CertificateCheck {
            name: CertificateCheckName::Workload,
            outcome: if fault.is_some() { Failed } else { Passed },
            expected: "exactly one URI name, a SPIFFE ID with a path in its canonical spelling".to_owned(),
            found,
            advice: fault.map(|fault| advice_on_name(*fault)),
        }
    }

    fn domain(&self) -> CertificateCheck {
        let name = CertificateCheckName::Domain;
        let Some(domain) = self.trust.domain() else {
            return skipped(name, "any trust domain: the trust names none");
        };
        let Ok(id) = &self.peer.spiffe_id else {
            return skipped(name, &format!("a SPIFFE ID of {domain}"));
        };
        CertificateCheck {
            name,
            outcome: if id.is_member_of(domain) { Passed } else { Failed },
            expected: format!("a SPIFFE ID of {domain}"),
            found: id.trust_domain().to_string(),
            advice: Some("name the trust whose `spiffe` is this domain, or issue under the other name"),
        }
        .without_advice_when_passed()
    }

    /// Every certificate by itself, so that the one that ended is called by its name.
    fn validity(&self) -> CertificateCheck {
        let told = self.facts.iter().enumerate().filter_map(|(index, facts)| {
            let facts = facts.as_ref()?;
            let is_ended = facts.not_after < self.now;
            let is_early = self.now < facts.not_before;
            let text = match (is_ended, is_early) {
                (true, _) => format!("{} ended {}", which(index), rfc3339(facts.not_after)),
                (false, true) => format!("{} begins {}", which(index), rfc3339(facts.not_before)),
                (false, false) => format!("{} until {}", which(index), rfc3339(facts.not_after)),
            };
            Some((is_ended || is_early, text))
        });
        let (wrong, right): (Vec<_>, Vec<_>) = told.partition(|(is_wrong, _)| *is_wrong);
        let shown = if wrong.is_empty() { &right } else { &wrong };
        let texts: Vec<&str> = shown.iter().map(|(_, text)| text.as_str()).collect();
        CertificateCheck {
            name: CertificateCheckName::Validity,
            outcome: if wrong.is_empty() { Passed } else { Failed },
            expected: "every certificate of the chain within its time".to_owned(),
            found: texts.join("; "),
            advice: Some("renew it, and send the present chain"),
        }
        .without_advice_when_passed()
    }

    fn purpose(&self) -> CertificateCheck {
        let purposes = self
            .facts
            .first()
            .and_then(Option::as_ref)
            .map(|facts| &facts.purposes);
        let Some(purposes) = purposes else {
            return skipped(CertificateCheckName::Purpose, "clientAuth");
        };
        let may = purposes.is_empty() || purposes.iter().any(|one| one == "clientAuth");
        CertificateCheck {
            name: CertificateCheckName::Purpose,
            outcome: if may { Passed } else { Failed },
            expected: "an extended key usage with clientAuth, or none at all".to_owned(),
            found: if purposes.is_empty() {
                "it does not say".to_owned()
            } else {
                purposes.join(", ")
            },
            advice: Some("issue it with extendedKeyUsage=clientAuth"),
        }
        .without_advice_when_passed()
    }

    fn chain(&self, handshake: &Result<(), TrustFault>) -> CertificateCheck {
        let (outcome, found, advice) = match handshake {
            Ok(()) => (Passed, self.issuer(), None),
            // Revocation is asked along a path that was found.
            Err(TrustFault::Revocation(_)) => (Passed, self.issuer(), None),
            Err(TrustFault::NoBundle) => (
                NotKnown,
                "no bundle of the trust domain has arrived".to_owned(),
                Some(
                    "the Workload API delivers it to the running gateway: `cert list --admin URL` shows whether it has it, and it judges the live request",
                ),
            ),
            // Each has a check of its own.
            Err(TrustFault::OtherDomain | TrustFault::Unreadable) => (Skipped, String::new(), None),
            Err(TrustFault::Chain(error)) => match self.has_own_check(error) {
                true => (Skipped, String::new(), None),
                false => (
                    Failed,
                    format!("{}: {error}", self.issuer()),
                    Some(advice_on_chain(error)),
                ),
            },
        };
        CertificateCheck {
            name: CertificateCheckName::Chain,
            outcome,
            expected: self.anchors(),
            found,
            advice,
        }
    }

    /// True when the check of validity or of purpose says the same and failed.
    fn has_own_check(&self, error: &webpki::Error) -> bool {
        match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                self.validity().outcome == Failed
            }
            webpki::Error::RequiredEkuNotFoundContext(_) => self.purpose().outcome == Failed,
            _ => false,
        }
    }

    fn issuer(&self) -> String {
        let last = self.facts.last().and_then(Option::as_ref);
        last.map_or_else(String::new, |facts| {
            format!("the last certificate is signed by {}", facts.issuer)
        })
    }

    fn anchors(&self) -> String {
        let named = match &self.plan.anchors {
            TrustAnchors::Pem(anchors) | TrustAnchors::TrustDomain(_, Some(anchors)) => anchors.as_slice(),
            TrustAnchors::TrustDomain(domain, None) => {
                return format!("a chain to the bundle of {domain} that the Workload API delivers");
            }
        };
        let subjects: Vec<String> = named
            .iter()
            .take(MAX_NAMED)
            .filter_map(|anchor| CertificateFacts::read(anchor))
            .map(|facts| facts.subject)
            .collect();
        let more = match named.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("a chain to {}{more}", subjects.join(", "))
    }

    /// True for a list of this trust that nobody has asked for.
    fn misses_a_list(&self, lists: &CrlBoard) -> bool {
        let Some(plan) = &self.plan.revocation else {
            return false;
        };
        let is_ours = |list: &CrlStatus| match list.is_named {
            true => plan
                .lists
                .iter()
                .any(|one| matches!(&one.source, CrlSource::Url(url) if **url == *list.name)),
            false => plan.distribution_points,
        };
        let mut lists = lists.status().into_iter();
        lists.any(|list| !list.was_tried && is_ours(&list))
    }

    fn revocation(&self, handshake: &Result<(), TrustFault>, lists: &CrlBoard) -> CertificateCheck {
        let name = CertificateCheckName::Revocation;
        if !self.trust.asks_revocation() {
            return skipped(name, "nothing: the trust names no revocation list");
        }
        let (outcome, found, advice) = match handshake {
            Ok(()) => (Passed, String::new(), None),
            Err(TrustFault::Revocation(fault @ RevocationFault::NoList { .. }))
                if self.misses_a_list(lists) =>
            {
                (
                    NotKnown,
                    fault.to_string(),
                    Some(
                        "the running gateway fetches it: `cert list --admin URL` shows whether it has it, and it judges the live request",
                    ),
                )
            }
            Err(TrustFault::Revocation(fault)) => {
                (Failed, fault.to_string(), Some(advice_on_revocation(fault)))
            }
            Err(
                TrustFault::Unreadable
                | TrustFault::OtherDomain
                | TrustFault::NoBundle
                | TrustFault::Chain(_),
            ) => (Skipped, String::new(), None),
        };
        CertificateCheck {
            name,
            outcome,
            expected: "on no list, and a current list of its issuer".to_owned(),
            found,
            advice,
        }
    }

    fn deny_list(&self, denied: &DenyList) -> CertificateCheck {
        let entry = denied.denies_certificate(self.peer, &self.trust.id, self.now);
        CertificateCheck {
            name: CertificateCheckName::DenyList,
            outcome: if entry.is_some() { Failed } else { Passed },
            expected: "no entry for its serial number or its SPIFFE ID".to_owned(),
            found: entry.as_ref().map_or_else(String::new, |entry| entry.to_string()),
            advice: entry.map(|_| "take the entry back, where it is written, once it is not needed"),
        }
    }
}

impl CertificateCheck {
    fn without_advice_when_passed(mut self) -> Self {
        if self.outcome == Passed {
            self.advice = None;
        }
        self
    }
}

fn skipped(name: CertificateCheckName, expected: &str) -> CertificateCheck {
    CertificateCheck {
        name,
        outcome: Skipped,
        expected: expected.to_owned(),
        found: String::new(),
        advice: None,
    }
}

/// The leaf, or its place in the chain.
fn which(index: usize) -> String {
    match index {
        0 => "the leaf".to_owned(),
        index => format!("certificate {}", index + 1),
    }
}

const fn advice_on_name(fault: PeerIdentityFault) -> &'static str {
    match fault {
        PeerIdentityFault::Empty | PeerIdentityFault::Unreadable => {
            "send the leaf first, as X.509 in DER or PEM"
        }
        PeerIdentityFault::NoUri => "issue it with subjectAltName=URI:spiffe://DOMAIN/NAME",
        PeerIdentityFault::SeveralUris => "issue it with one URI; other names go into DNS names",
        PeerIdentityFault::NotSpiffe => {
            "write the ID as spiffe://domain/name: lower-case domain, no port, query, escapes, dots or slash at the end"
        }
        PeerIdentityFault::NoPath => "name a workload behind the trust domain, as in spiffe://DOMAIN/NAME",
        PeerIdentityFault::SigningCertificate => "issue a leaf: CA:FALSE and no keyCertSign or cRLSign",
    }
}

fn advice_on_chain(error: &webpki::Error) -> &'static str {
    match error {
        webpki::Error::UnknownIssuer => {
            "send the intermediates with the leaf, or add the anchor to the trust's `pem`"
        }
        webpki::Error::CertExpired { .. } => "renew what has ended, anchors included",
        webpki::Error::NameConstraintViolation => "a CA of the chain may not sign this name",
        webpki::Error::PathLenConstraintViolated => "a CA of the chain may not sign so many levels below it",
        webpki::Error::CaUsedAsEndEntity => "show the leaf, not a CA",
        _ => "`openssl verify -purpose sslclient` with the same files says more",
    }
}

const fn advice_on_revocation(fault: &RevocationFault) -> &'static str {
    match fault {
        RevocationFault::Revoked { .. } => "ask its issuer for another certificate",
        RevocationFault::NoList { .. } => "add the list of this issuer to the trust's `crl`",
        RevocationFault::Stale { .. } => {
            "publish the next list, or say what a late one means with `on_stale_crl`"
        }
    }
}

#[cfg(test)]
#[path = "examiner_tests.rs"]
mod tests;
