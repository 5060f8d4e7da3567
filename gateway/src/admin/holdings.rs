//! Everything of the identity side that ends: certificates, our identity, anchors, bundles, revocation lists and key
//! sets, as JSON. The admin port shows what is held, `cert list` shows what a configuration uses.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use portcullis_identity::plan::{
    CertifiedKeyPlan, IdentityPlan, ListenerTlsPlan, ShownPlan, TrustAnchors, UpstreamPeer,
};
use portcullis_identity::{Boards, CertificateFacts};
use portcullis_model::{IssuerId, Origin};
use portcullis_pipeline::snapshot::Snapshot;
use portcullis_telemetry::timestamp::rfc3339;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::views::{self, place};

/// What kind of thing ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// What a listener shows its clients.
    Certificate,
    /// Our own identity.
    Svid,
    /// Another certificate of one of these chains.
    Intermediate,
    /// A certificate that decides whom to trust.
    Anchor,
    /// A list of revoked certificates.
    Crl,
    /// The keys of a token issuer.
    KeySet,
    /// A key that signs what endpoints are told of principals.
    AssertionKey,
}

impl Kind {
    /// The word that people and machines read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Svid => "svid",
            Self::Intermediate => "intermediate",
            Self::Anchor => "anchor",
            Self::Crl => "crl",
            Self::KeySet => "key-set",
            Self::AssertionKey => "assertion-key",
        }
    }
}

/// One thing that is held.
#[derive(Clone, Debug)]
pub struct Holding {
    kind: Kind,
    /// The object that uses it, as in `listener public`.
    used_by: String,
    /// What the expiry metric calls it.
    label: String,
    /// Since when it holds, where that is known.
    begins: Option<SystemTime>,
    /// When it ends, where it does.
    ends: Option<SystemTime>,
    /// True when somebody renews it without being asked, long before it ends.
    is_renewed: bool,
    /// False for what is wanted and has not arrived.
    is_held: bool,
    facts: Option<CertificateFacts>,
    /// What there is to say of something that is no certificate.
    detail: Option<String>,
    written: Option<String>,
}

impl Holding {
    /// What the expiry metric calls it, and its end in seconds since the epoch.
    fn expiry(&self) -> Option<(&str, i64)> {
        let ends = self.ends?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some((&self.label, i64::try_from(ends.as_secs()).unwrap_or(i64::MAX)))
    }

    fn view(&self, now: SystemTime) -> Value {
        let facts = self.facts.as_ref();
        json!({
            "kind": self.kind.as_str(),
            "used_by": self.used_by,
            "subject": facts.map(|facts| facts.subject.as_str()),
            "issuer": facts.map(|facts| facts.issuer.as_str()),
            "names": facts.map(|facts| facts.names.as_slice()).unwrap_or_default(),
            "serial": facts.map(|facts| facts.serial.as_str()),
            "sha256": facts.map(|facts| hex(&facts.sha256)),
            "key": facts.map(|facts| facts.key.as_str()),
            "begins": self.begins.map(|begins| rfc3339(begins).to_string()),
            "ends": self.ends.map(|ends| rfc3339(ends).to_string()),
            "ends_in_seconds": self.ends.map(|ends| seconds_until(ends, now)),
            "renewed": self.is_renewed,
            "held": self.is_held,
            "detail": self.detail,
            "written": self.written,
        })
    }
}

/// Everything that a snapshot uses and its boards hold, with the issuers' key sets: the answer of `/identity`.
#[must_use]
pub fn identity(snapshot: &Snapshot, boards: &Boards) -> Value {
    let (now, instant) = (boards.clock.wall(), boards.clock.instant());
    let plan = &snapshot.plan.identity;
    let holdings: Vec<Value> = holdings(snapshot, boards)
        .iter()
        .map(|one| one.view(now))
        .collect();
    let workload = plan.workload_api.then(|| {
        let status = boards.workload.status(now, instant);
        json!({
            "spiffe_id": status.spiffe_id.map(|id| id.to_string()),
            "ends": status.expires_at.map(|at| rfc3339(at).to_string()),
            "generation": status.generation,
            "bundles": boards.workload.held().bundles.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "agent_connected": status.is_connected,
            "heard_seconds_ago": status.heard.map(|ago| ago.as_secs()),
            "from_before_a_restart": status.is_kept,
            "lack": status.lack.map(|lack| lack.to_string()),
        })
    });
    let mut view = views::issuers(snapshot);
    if let Some(view) = view.as_object_mut() {
        view.insert("at".to_owned(), rfc3339(now).to_string().into());
        view.insert("generation".to_owned(), snapshot.identity.generation().into());
        view.insert("workload".to_owned(), workload.unwrap_or_default());
        view.insert("holdings".to_owned(), holdings.into());
    }
    view
}

/// Writes the ends of everything that is held into the metrics; what is held no more is forgotten.
pub fn refresh_metrics(snapshot: &Snapshot, boards: &Boards) {
    let mut holdings = Vec::new();
    certificates_of(&snapshot.plan.identity, boards, &mut holdings);
    boards
        .metrics
        .set_expiries(holdings.iter().filter_map(Holding::expiry));
}

/// Everything, sorted by what ends first; what does not end comes last.
fn holdings(snapshot: &Snapshot, boards: &Boards) -> Vec<Holding> {
    let mut all = Vec::new();
    certificates_of(&snapshot.plan.identity, boards, &mut all);
    all.extend(boards.crls.status().into_iter().map(|list| Holding {
        kind: Kind::Crl,
        used_by: format!("revocation list {}", list.name),
        label: list.name,
        begins: list.this_update,
        ends: list.next_update,
        is_renewed: true,
        is_held: list.this_update.is_some(),
        facts: None,
        detail: Some(match (list.this_update, list.last_fault) {
            (_, Some(fault)) => fault,
            (None, None) => "not loaded".to_owned(),
            (Some(_), None) => format!("{} revoked", list.revoked),
        }),
        written: None,
    }));
    all.extend(undelivered(&snapshot.plan.identity, boards));
    all.extend(assertion_keys(snapshot));
    let now = boards.clock.wall();
    all.extend(
        snapshot
            .identity
            .issuers_status()
            .into_iter()
            .map(|issuer| Holding {
                kind: Kind::KeySet,
                used_by: format!("issuer {}", issuer.id),
                label: issuer.id.to_string(),
                begins: issuer.age.and_then(|age| now.checked_sub(age)),
                // Of keys that are too old the end is past, and how long ago is not in what is left.
                ends: issuer.age.and_then(|age| {
                    let stale = stale_after(&snapshot.plan.identity, &issuer.id)?;
                    now.checked_sub(age)?.checked_add(stale)
                }),
                is_renewed: true,
                is_held: issuer.usable || issuer.age.is_some(),
                facts: None,
                detail: Some(match (issuer.usable, issuer.last_fault) {
                    (_, Some(fault)) => fault,
                    (false, None) if issuer.age.is_some() => "too old to use".to_owned(),
                    (false, None) => "not loaded".to_owned(),
                    (true, None) => format!("{} keys", issuer.keys),
                }),
                written: None,
            }),
    );
    all.sort_by_key(|holding| (holding.ends.is_none(), holding.ends));
    all
}

/// How long the keys of an issuer serve after they were fetched.
fn stale_after(plan: &IdentityPlan, id: &IssuerId) -> Option<Duration> {
    let issuer = plan.issuers.iter().find(|issuer| issuer.id == *id)?;
    Some(issuer.key_times.stale)
}

/// What a Workload API should have delivered and has not.
fn undelivered(plan: &IdentityPlan, boards: &Boards) -> Vec<Holding> {
    if !plan.workload_api {
        return Vec::new();
    }
    let trusted = plan.trust.iter().filter_map(|trust| match &trust.anchors {
        TrustAnchors::TrustDomain(domain, None) => Some(domain),
        TrustAnchors::TrustDomain(..) | TrustAnchors::Pem(_) => None,
    });
    let asked = plan.upstreams.iter().filter_map(|upstream| match &upstream.peer {
        UpstreamPeer::Spiffe { expected, anchors } => anchors.is_none().then(|| expected.trust_domain()),
        UpstreamPeer::Https { .. } => None,
    });
    let held = boards.workload.held();
    let domains: BTreeSet<_> = trusted
        .chain(asked)
        .filter(|domain| !held.bundles.contains_key(*domain))
        .collect();
    let missing = |kind, used_by: String| Holding {
        kind,
        label: used_by.clone(),
        used_by,
        begins: None,
        ends: None,
        is_renewed: true,
        is_held: false,
        facts: None,
        detail: Some("not loaded".to_owned()),
        written: None,
    };
    let shows_svid = |listener: &ListenerTlsPlan| {
        let mut shown = listener.certificates.iter();
        shown.any(|one| matches!(one, ShownPlan::Svid { .. }))
    };
    let needs_svid = plan.listeners.iter().any(shows_svid)
        || plan
            .upstreams
            .iter()
            .any(|upstream| matches!(upstream.peer, UpstreamPeer::Spiffe { .. }));
    let lacks_svid = needs_svid && plan.svid.is_none() && held.chain.is_empty();
    let svid = lacks_svid.then(|| missing(Kind::Svid, "workload API".to_owned()));
    let bundles = domains
        .into_iter()
        .map(|domain| missing(Kind::Anchor, format!("bundle {domain}")));
    svid.into_iter().chain(bundles).collect()
}

/// The keys that endpoints verify assertions by; they end when the configuration takes them away.
fn assertion_keys(snapshot: &Snapshot) -> Vec<Holding> {
    let set = snapshot.identity.assertion_keys();
    let keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let holdings = keys.map(|key| Holding {
        kind: Kind::AssertionKey,
        used_by: "assertion".to_owned(),
        label: "assertion".to_owned(),
        begins: None,
        ends: None,
        is_renewed: false,
        is_held: true,
        facts: None,
        detail: Some(format!("{} {}", text(key, "alg"), text(key, "kid"))),
        written: None,
    });
    holdings.collect()
}

/// Every certificate that is shown, that we are, or that decides whom to trust.
fn certificates_of(plan: &IdentityPlan, boards: &Boards, all: &mut Vec<Holding>) {
    for listener in &plan.listeners {
        for shown in &listener.certificates {
            let used_by = format!("listener {}", listener.listener);
            match shown {
                ShownPlan::Certificate(certificate) => {
                    all.extend(chain(Kind::Certificate, &used_by, certificate))
                }
                // Our own identity stands below.
                ShownPlan::Svid { .. } => {}
            }
        }
    }
    all.extend(
        plan.svid
            .iter()
            .flat_map(|svid| chain(Kind::Svid, "identity", svid)),
    );
    for trust in &plan.trust {
        let (TrustAnchors::Pem(anchors) | TrustAnchors::TrustDomain(_, Some(anchors))) = &trust.anchors
        else {
            continue;
        };
        let name = format!("trust {}", trust.id);
        all.extend(certificates(Kind::Anchor, &name, anchors, &trust.origin));
    }
    for upstream in &plan.upstreams {
        let anchors = match &upstream.peer {
            UpstreamPeer::Https { ca, .. } => ca,
            // Those of a `trust` entry are listed there.
            UpstreamPeer::Spiffe { .. } => &None,
        };
        let name = format!("pool {}", upstream.pool);
        all.extend(certificates(
            Kind::Anchor,
            &name,
            anchors.as_deref().unwrap_or_default(),
            &upstream.origin,
        ));
    }
    let held = boards.workload.held();
    let nowhere = Origin::default();
    let mut delivered = of_chain(Kind::Svid, "workload API", &held.chain, &nowhere, "svid");
    for (domain, anchors) in &held.bundles {
        let name = format!("bundle {domain}");
        delivered.extend(certificates(Kind::Anchor, &name, anchors, &nowhere));
    }
    // The agent brings the next ones.
    all.extend(delivered.into_iter().map(|holding| Holding {
        is_renewed: true,
        ..holding
    }));
}

/// A chain of ours with its key.
fn chain(kind: Kind, used_by: &str, plan: &CertifiedKeyPlan) -> Vec<Holding> {
    let leaf = plan.chain.first().and_then(|leaf| CertificateFacts::read(leaf));
    let label = match kind {
        Kind::Svid => "svid".to_owned(),
        _ => leaf
            .as_ref()
            .and_then(first_name)
            .unwrap_or_else(|| "unnamed".to_owned()),
    };
    of_chain(kind, used_by, &plan.chain, &plan.origin, &label)
}

fn of_chain(
    kind: Kind,
    used_by: &str,
    chain: &[CertificateDer<'_>],
    origin: &Origin,
    label: &str,
) -> Vec<Holding> {
    let kinds = std::iter::once(kind).chain(std::iter::repeat(Kind::Intermediate));
    let holdings = chain.iter().zip(kinds).map(|(certificate, kind)| Holding {
        label: label.to_owned(),
        ..holding(kind, used_by, certificate, origin)
    });
    holdings.collect()
}

fn certificates(
    kind: Kind,
    used_by: &str,
    certificates: &[CertificateDer<'_>],
    origin: &Origin,
) -> Vec<Holding> {
    let holdings = certificates
        .iter()
        .map(|certificate| holding(kind, used_by, certificate, origin));
    holdings.collect()
}

fn holding(kind: Kind, used_by: &str, certificate: &CertificateDer<'_>, origin: &Origin) -> Holding {
    let facts = CertificateFacts::read(certificate);
    Holding {
        kind,
        used_by: used_by.to_owned(),
        label: used_by.to_owned(),
        begins: facts.as_ref().map(|facts| facts.not_before),
        ends: facts.as_ref().map(|facts| facts.not_after),
        is_renewed: false,
        is_held: true,
        facts,
        detail: None,
        written: place(origin),
    }
}

/// As the handshake's metrics name a certificate.
fn first_name(facts: &CertificateFacts) -> Option<String> {
    let names = facts.names.iter().filter_map(|name| name.strip_prefix("DNS:"));
    let names: Vec<&str> = names.collect();
    let whole = names.iter().find(|name| !name.starts_with("*."));
    whole.or(names.first()).map(|name| name.to_ascii_lowercase())
}

/// Lower-case hex without separators.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds until a moment; negative when it has passed.
fn seconds_until(moment: SystemTime, now: SystemTime) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match moment.duration_since(now) {
        Ok(left) => whole(left.as_secs()),
        Err(past) => -whole(past.duration().as_secs()),
    }
}

#[cfg(test)]
#[path = "holdings_tests.rs"]
mod tests;
