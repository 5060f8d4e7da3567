//! Portcullis: one worker, the shortest configuration that does the work, and bounds that a bench needs.

use std::fmt::Write as _;

use super::Site;
use crate::keys::{AUDIENCE, ISSUER};
use crate::scenario::Guard;

/// The configuration's file and text, and the arguments.
pub(super) fn configuration(site: &Site<'_>) -> (&'static str, String, Vec<String>) {
    let words = [
        "run",
        "--config",
        "portcullis.yaml",
        "--no-watch",
        "--drain-timeout",
        "1s",
        "--log",
        "warn",
    ];
    ("portcullis.yaml", text(site), words.map(str::to_owned).to_vec())
}

fn text(site: &Site<'_>) -> String {
    let tls = if site.setup.is_tls {
        ", tls: { certificates: [{ chain: server.pem, key: server.key }] }"
    } else {
        ""
    };
    // One client that sends everything is what these bounds are there to refuse.
    let limits = "limits: { per_address: 100000, handshakes_per_address: 1000000/s, \
                  requests_per_connection: 4000000000 }";
    let log = if site.setup.is_logged {
        "access.log"
    } else {
        "none"
    };
    let tight = match site.setup.guard {
        Guard::Chain => format!(
            "  tight: {{ listen: \"127.0.0.1:{}\"{tls}, {limits} }}\n",
            site.tight_port
        ),
        Guard::None | Guard::Token(_) => String::new(),
    };
    let mut text = format!(
        r#"version: 1
gateway: {{ region: eu-west, workers: 1, admin: {{ listen: "127.0.0.1:{admin}" }} }}
listeners:
  main: {{ listen: "127.0.0.1:{port}"{tls}, {limits} }}
{tight}telemetry: {{ access_log: {{ to: {log} }} }}
pools:
  origin: {{ endpoints: [{{ address: "{origin}" }}] }}
"#,
        admin = site.admin_port,
        port = site.port,
        origin = site.origin,
    );
    // Writing into a string does not fail.
    let _ = match site.setup.guard {
        Guard::None => {
            text.push_str(
                "routes:\n  - { name: all, match: { path: \"/**\" }, public: true, pool: origin }\n",
            );
            Ok(())
        }
        Guard::Token(algorithm) => write!(
            text,
            r#"issuers:
  idp: {{ issuer: "{ISSUER}", jwks: {{ file: jwks.json }}, audiences: [{AUDIENCE}], algorithms: [{}] }}
routes:
  - name: all
    match: {{ path: "/**" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [authenticated]
    pool: origin
"#,
            algorithm.name()
        ),
        Guard::Chain => write!(text, "{}", chain(site)),
    };
    text
}

/// The contract and the policies are the ones that come with the gateway.
fn chain(site: &Site<'_>) -> String {
    let root = site.root.display();
    let remember = site.is_remembering;
    let route = |name: &str, listener: &str, rule: &str| {
        format!(
            r#"  - name: {name}
    listeners: [{listener}]
    match: {{ path: "/api/v1/appointments/**" }}
    authenticate: [{{ jwt: idp }}]
    rate_limits: [{listener}]
    contract: appointments
    authorize: [{rule}]
    pool: origin
    residency: {{ from: claim.region, default: [EU] }}
"#
        )
    };
    // What `appointments` may do stands in the policy's data under that name; the other route has a role instead.
    format!(
        r#"issuers:
  idp:
    issuer: "{ISSUER}"
    jwks: {{ file: jwks.json }}
    audiences: [{AUDIENCE}]
    algorithms: [ES256]
    claims: {{ tenant: tenant, roles: roles, region: region }}
contracts: {{ appointments: {{ openapi: "{root}/schemas/openapi/appointments.yaml" }} }}
policies:
  baseline: {{ rego: "{root}/policies", decision: data.portcullis.authz.decision, headers: [x-tenant], budget: 50ms, remember: {remember} }}
rate_limits:
  main: {{ key: principal, limit: 1000000000/s, burst: 1000000000 }}
  tight: {{ key: principal, limit: 5/h, burst: 5 }}
jurisdictions: {{ EU: [eu-west] }}
regions: {{ eu-west: {{}} }}
routes:
{}{}"#,
        route("appointments", "main", "baseline"),
        route("appointments-tight", "tight", "{ role: editor }"),
    )
}
