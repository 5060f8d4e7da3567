//! A chain as it was given: what each certificate of it says.

use std::time::SystemTime;

use portcullis_identity::{CertificateFacts, PeerIdentity};
use portcullis_telemetry::timestamp::rfc3339;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::admin::holdings::hex;
use crate::commands::checks::printable;
use crate::commands::moments;

/// A chain as it was given.
pub(super) struct Presented {
    pub(super) chain: Vec<CertificateDer<'static>>,
    facts: Vec<Option<CertificateFacts>>,
    peer: PeerIdentity,
    pub(super) at: SystemTime,
}

impl Presented {
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, at: SystemTime) -> Self {
        Self {
            facts: chain.iter().map(|one| CertificateFacts::read(one)).collect(),
            peer: PeerIdentity::from_chain(&chain),
            chain,
            at,
        }
    }

    pub(super) fn certificates_view(&self) -> Vec<Value> {
        let view = |(index, facts): (usize, &Option<CertificateFacts>)| {
            let Some(facts) = facts else {
                return json!({ "readable": false });
            };
            let workload = (index == 0).then(|| match &self.peer.spiffe_id {
                Ok(id) => json!({ "spiffe_id": id.to_string() }),
                Err(fault) => json!({ "spiffe_id": null, "why_none": fault.to_string() }),
            });
            let mut view = json!({
                "readable": true,
                "subject": facts.subject,
                "issuer": facts.issuer,
                "names": facts.names,
                "begins": rfc3339(facts.not_before).to_string(),
                "ends": rfc3339(facts.not_after).to_string(),
                "serial": facts.serial,
                "sha256": hex(&facts.sha256),
                "purposes": facts.purposes,
                "key": facts.key,
                "is_authority": facts.is_authority,
                "distribution_points": facts.distribution_points,
            });
            if let (Some(view), Some(Value::Object(workload))) = (view.as_object_mut(), workload) {
                view.extend(workload);
            }
            view
        };
        self.facts.iter().enumerate().map(view).collect()
    }

    pub(super) fn certificates_text(&self) -> String {
        let mut text = String::new();
        for (index, facts) in self.facts.iter().enumerate() {
            let which = match index {
                0 => "the leaf".to_owned(),
                index => format!("the chain, {}", index + 1),
            };
            let Some(facts) = facts else {
                text.push_str(&format!("Certificate ({which}): cannot be read\n\n"));
                continue;
            };
            text.push_str(&format!("Certificate ({which})\n"));
            for (name, value) in self.lines(index, facts) {
                text.push_str(format!("  {name:<10}  {}", printable(&value)).trim_end());
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    fn lines(&self, index: usize, facts: &CertificateFacts) -> Vec<(&'static str, String)> {
        let or_none = |items: &[String], none: &str| match items {
            [] => none.to_owned(),
            items => items.join(", "),
        };
        let is_begun = facts.not_before <= self.at;
        let begins = match is_begun {
            true => rfc3339(facts.not_before).to_string(),
            false => format!(
                "{}, {}",
                rfc3339(facts.not_before),
                moments::from_now(facts.not_before, self.at)
            ),
        };
        let ends = format!(
            "{}, {}",
            rfc3339(facts.not_after),
            moments::from_now(facts.not_after, self.at)
        );
        let mut lines = vec![
            ("subject", facts.subject.clone()),
            ("issuer", facts.issuer.clone()),
            ("names", or_none(&facts.names, "none")),
            ("begins", begins),
            ("ends", ends),
            ("serial", facts.serial.clone()),
            ("sha256", hex(&facts.sha256)),
            ("purposes", or_none(&facts.purposes, "it does not say")),
            ("key", facts.key.clone()),
        ];
        if facts.is_authority {
            lines.push(("authority", "it may sign certificates".to_owned()));
        }
        if !facts.distribution_points.is_empty() {
            lines.push(("crl", facts.distribution_points.join(", ")));
        }
        if index == 0 {
            let workload = match &self.peer.spiffe_id {
                Ok(id) => id.to_string(),
                Err(fault) => format!("none: {fault}"),
            };
            lines.insert(3, ("SPIFFE ID", workload));
        }
        lines
    }
}
