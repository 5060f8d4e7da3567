//! What a configuration makes of a chain: by every trust, in every handshake, on every route.

use portcullis_identity::CertificateExamination;
use portcullis_identity::plan::{ClientCertificates, ClientCertificatesPlan, TrustAnchors};
use portcullis_model::TrustId;
use portcullis_pipeline::plan::SchemeKind;
use portcullis_telemetry::timestamp::rfc3339;
use serde_json::{Value, json};

use super::lists;
use super::presented::Presented;
use crate::admin::views::place;
use crate::commands::Exit;
use crate::commands::checks::{self, Check};
use crate::configuration::Rehearsal;

/// What a configuration makes of a chain.
pub(super) struct Judged {
    trusts: Vec<CertificateExamination>,
    listeners: Vec<ListenerVerdict>,
    routes: Vec<RouteVerdict>,
    /// Revocation lists, and what came of asking for them.
    fetched: Vec<String>,
    would_have_fetched: Vec<String>,
}

/// What the handshake of one name of a listener makes of it.
struct ListenerVerdict {
    listener: String,
    /// `None`: every name without a word of its own.
    host: Option<String>,
    mode: ClientCertificates,
    accepted_by: Vec<TrustId>,
    /// A trust whose verdict is not known here could accept it.
    is_open: bool,
}

/// What one route makes of it.
struct RouteVerdict {
    route: String,
    trusts: Vec<TrustId>,
    accepted_by: Option<TrustId>,
    /// A trust whose verdict is not known here could accept it.
    is_open: bool,
}

impl Judged {
    pub(super) fn new(presented: &Presented, rehearsal: &Rehearsal, fetched: Vec<String>) -> Self {
        let snapshot = &rehearsal.snapshot;
        let trusts = snapshot
            .identity
            .examine_certificate(&presented.chain, presented.at);
        let passes = |id: &TrustId| trusts.iter().any(|one| one.trust == *id && one.passes_handshake);
        let proves = |id: &TrustId| trusts.iter().any(|one| one.trust == *id && one.verdict.is_ok());
        let is_open = |id: &TrustId| trusts.iter().any(|one| one.trust == *id && !one.is_judged());
        let mut listeners = Vec::new();
        for listener in &snapshot.plan.identity.listeners {
            let verdict = |host: Option<&String>, plan: &ClientCertificatesPlan| ListenerVerdict {
                listener: listener.listener.to_string(),
                host: host.cloned(),
                mode: plan.mode,
                accepted_by: plan.trust.iter().filter(|id| passes(id)).cloned().collect(),
                is_open: plan.trust.iter().any(is_open),
            };
            listeners.push(verdict(None, &listener.client));
            listeners.extend(
                listener
                    .hosts
                    .iter()
                    .map(|(host, plan)| verdict(Some(host), plan)),
            );
        }
        let routes = snapshot.routes.iter().filter_map(|route| {
            let schemes = route.plan.authenticate.iter();
            let asked: Vec<TrustId> = schemes
                .filter_map(|scheme| match &scheme.scheme {
                    SchemeKind::Mtls(trust) => Some(trust.clone()),
                    SchemeKind::Jwt(_) => None,
                })
                .collect();
            let accepted_by = asked.iter().find(|id| proves(id)).cloned();
            (!asked.is_empty()).then(|| RouteVerdict {
                route: route.plan.id.to_string(),
                is_open: asked.iter().any(is_open),
                trusts: asked,
                accepted_by,
            })
        });
        Self {
            listeners,
            routes: routes.collect(),
            fetched,
            would_have_fetched: would_have_fetched(rehearsal),
            trusts,
        }
    }

    /// What all trusts together make of it.
    fn verdict(&self) -> &'static str {
        let mut words: Vec<&str> = self.trusts.iter().map(verdict_word).collect();
        words.sort_by_key(|word| match *word {
            "accepted" => 0,
            NOT_JUDGED => 1,
            _ => 2,
        });
        words.first().copied().unwrap_or("refused")
    }

    /// 0 when some trust accepts it, 2 when one that does not say could, 1 when none does.
    pub(super) fn exit(&self) -> Exit {
        match self.verdict() {
            "accepted" => Exit::Clean,
            NOT_JUDGED => Exit::Usage,
            _ => Exit::Problems,
        }
    }

    pub(super) fn view(&self, presented: &Presented) -> Value {
        let trusts = self.trusts.iter().map(|one| {
            let checks: Vec<Check> = one.checks.iter().map(Check::from).collect();
            json!({
                "trust": one.trust,
                "written": place(&one.by),
                "verdict": verdict_word(one),
                "reason": one.verdict.as_ref().err().map(|reason| reason.code()),
                "passes_handshake": one.is_judged().then_some(one.passes_handshake),
                "checks": checks,
            })
        });
        let listeners = self.listeners.iter().map(|one| {
            json!({
                "listener": one.listener,
                "host": one.host,
                "mode": mode_word(one.mode),
                "accepted_by": one.accepted_by,
            })
        });
        let routes = self
            .routes
            .iter()
            .map(|one| json!({ "route": one.route, "trusts": one.trusts, "accepted_by": one.accepted_by }));
        json!({
            "verdict": self.verdict(),
            "at": rfc3339(presented.at).to_string(),
            "certificates": presented.certificates_view(),
            "trusts": trusts.collect::<Vec<_>>(),
            "listeners": listeners.collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "fetched": self.fetched,
            "would_have_fetched": self.would_have_fetched,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.trusts.is_empty() {
            text.push_str("The configuration has no trust, so no client certificate is accepted.\n");
        }
        for one in &self.trusts {
            let place = place(&one.by)
                .map(|place| format!(" ({place})"))
                .unwrap_or_default();
            let verdict = match &one.verdict {
                Ok(id) => format!("accepted, {id}"),
                Err(reason) if one.is_judged() => format!("refused, {}", reason.code()),
                Err(_) => NOT_JUDGED.to_owned(),
            };
            text.push_str(&format!("Trust {}{place}: {verdict}\n", one.trust));
            let checks: Vec<Check> = one.checks.iter().map(Check::from).collect();
            text.push_str(&checks::text(&checks, 2));
            text.push('\n');
        }
        for one in &self.listeners {
            text.push_str(&format!("{}\n", one.text()));
        }
        for one in &self.routes {
            text.push_str(&format!("{}\n", one.text()));
        }
        for fetched in &self.fetched {
            text.push_str(&format!("Asked for {}.\n", checks::printable(fetched)));
        }
        for fetched in &self.would_have_fetched {
            text.push_str(&format!("Would have fetched {fetched}.\n"));
        }
        if self.verdict() == NOT_JUDGED {
            text.push_str(
                "Not judged: what decides it is not known here. `portcullis cert list --admin URL` shows whether a running gateway has it; the live request tells its verdict.\n",
            );
        }
        text
    }
}

impl ListenerVerdict {
    fn text(&self) -> String {
        let name = match &self.host {
            Some(host) => format!("Listener {}, {host}", self.listener),
            None => format!("Listener {}", self.listener),
        };
        let accepted: Vec<&str> = self.accepted_by.iter().map(TrustId::as_str).collect();
        match (self.mode, accepted.as_slice()) {
            (ClientCertificates::Off, _) => format!("{name}: asks for no certificate"),
            (_, []) if self.is_open => format!("{name}: not known here"),
            (_, []) => format!("{name}: ends the handshake of whoever shows it"),
            (_, trusts) => format!("{name}: takes it, by trust {}", trusts.join(", ")),
        }
    }
}

impl RouteVerdict {
    fn text(&self) -> String {
        let asked: Vec<&str> = self.trusts.iter().map(TrustId::as_str).collect();
        match &self.accepted_by {
            Some(trust) => format!("Route {}: proves the workload, by trust {trust}", self.route),
            None if self.is_open => {
                format!(
                    "Route {}: asks for trust {}, not known here",
                    self.route,
                    asked.join(", ")
                )
            }
            None => format!(
                "Route {}: asks for trust {}, refuses it",
                self.route,
                asked.join(", ")
            ),
        }
    }
}

/// What is neither accepted nor refused, because what decides it is not known here.
const NOT_JUDGED: &str = "not judged";

fn verdict_word(one: &CertificateExamination) -> &'static str {
    match (one.verdict.is_ok(), one.is_judged()) {
        (true, _) => "accepted",
        (false, true) => "refused",
        (false, false) => NOT_JUDGED,
    }
}

const fn mode_word(mode: ClientCertificates) -> &'static str {
    match mode {
        ClientCertificates::Off => "off",
        ClientCertificates::Request => "request",
        ClientCertificates::Require => "require",
    }
}

/// What the running gateway has and this command does not.
fn would_have_fetched(rehearsal: &Rehearsal) -> Vec<String> {
    let plan = &rehearsal.snapshot.plan.identity;
    let bundles = plan.trust.iter().filter_map(|trust| match &trust.anchors {
        TrustAnchors::TrustDomain(domain, None) => {
            Some(format!("the bundle of {domain} from the Workload API"))
        }
        TrustAnchors::TrustDomain(..) | TrustAnchors::Pem(_) => None,
    });
    let lists = lists::wanted(rehearsal).into_iter();
    bundles
        .chain(lists.map(|name| format!("revocation list {name}")))
        .collect()
}
