//! An explanation in words.

use portcullis_model::Stage;
use serde_json::Value;

use super::authentication::{Authentication, NOT_JUDGED};
use super::report::{EndpointView, Explanation};

/// The explanation for people.
pub(super) fn text(explanation: &Explanation) -> String {
    let mut text = format!(
        "{}\nlistener {}, region {}, revision {}\n\n",
        explanation.request, explanation.listener, explanation.region, explanation.revision
    );
    let width = explanation
        .steps
        .iter()
        .map(|step| step.stage.as_str().len())
        .max()
        .unwrap_or(0);
    for step in &explanation.steps {
        text.push_str(&format!(
            "  {:<width$}  {:<8}  {}\n",
            step.stage.as_str(),
            step.verdict,
            step.detail
        ));
        if let Some(place) = &step.decided_by {
            text.push_str(&format!("  {:<width$}  {:<8}  ↳ {place}\n", "", ""));
        }
    }
    text.push('\n');
    if let Some(refusal) = &explanation.refusal {
        if refusal.stage == Stage::Authenticate.as_str() {
            for by in explanation.authentication.iter().filter_map(Authentication::text) {
                text.push_str(&format!("{by}\n"));
            }
        }
        let verdict = match explanation.verdict {
            NOT_JUDGED => "Not judged: without what is not known here it would be refused",
            _ => "Refused",
        };
        text.push_str(&format!("{verdict} at {} with {}", refusal.stage, refusal.reason));
        text.push_str(
            &refusal
                .decided_by
                .as_ref()
                .map(|place| format!(", by {place}"))
                .unwrap_or_default(),
        );
        text.push_str(".\n");
    }
    if explanation.handshake.is_some() {
        text.push_str("A new connection ends in its handshake: the client gets a TLS alert and no answer.\n");
    }
    if let Some(endpoint) = &explanation.endpoint {
        text.push_str(&endpoint_text(endpoint));
    }
    if let Some(answer) = explanation
        .answer
        .as_ref()
        .filter(|_| explanation.verdict != NOT_JUDGED)
    {
        let whose = match explanation.handshake {
            Some(_) => "On a connection that is open already the client",
            None => "The client",
        };
        text.push_str(&format!("{whose} gets {}: {}\n", answer.status, answer.body));
    }
    for assumed in &explanation.assumed {
        text.push_str(&format!("Assumed: {assumed}.\n"));
    }
    for fetched in &explanation.would_have_fetched {
        text.push_str(&format!("Would have fetched: {fetched}.\n"));
    }
    text
}

fn endpoint_text(endpoint: &EndpointView) -> String {
    let place = endpoint
        .address
        .as_deref()
        .or(endpoint.dns.as_deref())
        .unwrap_or("?");
    let mut text = format!(
        "Forwarded to {place} ({}, {}) over {}: {} {} with Host {}\n",
        endpoint.pool,
        endpoint.region,
        if endpoint.tls { "TLS" } else { "plaintext" },
        endpoint.method,
        endpoint.target,
        endpoint.host
    );
    for (name, value) in &endpoint.headers {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text
}

/// One object as `name  value` lines; nested objects are indented.
pub(super) fn object_text(value: &Value) -> String {
    fn write(value: &Value, indent: usize, text: &mut String) {
        let Some(object) = value.as_object() else { return };
        let width = object.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in object {
            let shown = match value {
                Value::Null => "-".to_owned(),
                Value::String(string) => string.clone(),
                Value::Array(items) if items.is_empty() => "-".to_owned(),
                Value::Array(items) => {
                    let words = items
                        .iter()
                        .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                    words.collect::<Vec<_>>().join(", ")
                }
                Value::Object(_) => {
                    text.push_str(&format!("{:indent$}{name}\n", ""));
                    write(value, indent + 2, text);
                    continue;
                }
                Value::Bool(_) | Value::Number(_) => value.to_string(),
            };
            text.push_str(&format!("{:indent$}{name:<width$}  {shown}\n", ""));
        }
    }
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}
