use std::fs;

use portcullis_identity::{Svid, WorkloadIdentity};
use portcullis_model::{SpiffeId, TrustDomain};
use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::*;
use crate::configuration::{Rehearsal, Selection};

const US: &str = "spiffe://corp.example/gateway";

const CONFIGURATION: &str = r#"
version: 1
gateway: { workload_api: "unix:///run/agent.sock" }
listeners:
  plain: { listen: "127.0.0.1:0" }
trust:
  mesh: { spiffe: corp.example }
  files: { pem: ca.pem }
routes:
  - { name: ping, match: { path: /ping }, public: true, respond: { status: 200 } }
"#;

/// A configuration with an authority in a file, and the same authority.
fn rehearsal() -> (TempDir, Rehearsal, CertifiedIssuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let path = folder.path().join("portcullis.yaml");
    fs::write(&path, CONFIGURATION).unwrap();
    let selection = Selection {
        path,
        region: None,
        offline: true,
    };
    let rehearsal = selection
        .rehearse()
        .unwrap_or_else(|refused| panic!("{:?}", refused.problems));
    (folder, rehearsal, authority)
}

fn deliver(boards: &Boards, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(US.try_into().unwrap())];
    let leaf = params.signed_by(&key, authority).unwrap();
    let delivery = WorkloadIdentity {
        svid: Some(Svid {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            spiffe_id: SpiffeId::new(US).unwrap(),
        }),
        bundles: [(
            TrustDomain::new("corp.example").unwrap(),
            vec![authority.der().clone()],
        )]
        .into(),
        ..WorkloadIdentity::default()
    };
    boards.workload.publish(delivery).unwrap();
}

#[test]
fn what_the_agent_delivered_is_held_beside_what_stands_in_files() {
    let (_folder, rehearsal, authority) = rehearsal();
    let boards = &rehearsal.boards.identity;
    let kinds = |view: &Value| -> Vec<String> {
        let holdings = view["holdings"].as_array().unwrap().iter();
        let mut kinds: Vec<String> = holdings
            .map(|one| format!("{} {} {}", one["kind"], one["used_by"], one["renewed"]).replace('"', ""))
            .collect();
        kinds.sort();
        kinds
    };

    let before = identity(&rehearsal.snapshot, boards);
    deliver(boards, &authority);
    let after = identity(&rehearsal.snapshot, boards);

    assert_eq!(
        kinds(&before),
        ["anchor bundle corp.example true", "anchor trust files false"]
    );
    let held = |view: &Value| {
        let holdings = view["holdings"].as_array().unwrap().iter();
        holdings.filter(|one| one["held"] == true).count()
    };
    assert_eq!((held(&before), held(&after)), (1, 3));
    assert_eq!(
        kinds(&after),
        [
            "anchor bundle corp.example true",
            "anchor trust files false",
            "svid workload API true"
        ]
    );
    assert_eq!(before["workload"]["spiffe_id"], Value::Null);
    assert_eq!(after["workload"]["spiffe_id"], US);
    assert_eq!(after["workload"]["bundles"], json!(["corp.example"]));
}

#[test]
fn the_metric_shows_what_is_held_under_its_name() {
    let (_folder, rehearsal, authority) = rehearsal();
    let (boards, registry) = (&rehearsal.boards.identity, Registry::new());
    boards.metrics.register(&registry).unwrap();
    let shown = || {
        let families = registry.gather();
        let name = "portcullis_identity_certificate_expiry_timestamp_seconds";
        let family = families.iter().find(|family| family.name() == name);
        let samples = family.map(|family| family.get_metric()).unwrap_or_default();
        let mut labels: Vec<String> = samples
            .iter()
            .map(|sample| sample.get_label()[0].value().to_owned())
            .collect();
        labels.sort();
        labels
    };

    refresh_metrics(&rehearsal.snapshot, boards);
    assert_eq!(shown(), ["trust files"]);
    deliver(boards, &authority);
    refresh_metrics(&rehearsal.snapshot, boards);

    assert_eq!(shown(), ["bundle corp.example", "svid", "trust files"]);
}

#[test]
fn a_certificate_is_called_by_its_whole_name_before_a_wildcard() {
    let facts = |names: &[&str]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| SanType::DnsName((*name).try_into().unwrap()))
            .collect();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateFacts::read(certificate.der()).unwrap()
    };

    assert_eq!(
        first_name(&facts(&["*.example.com", "API.example.com"])).unwrap(),
        "api.example.com"
    );
    assert_eq!(first_name(&facts(&["*.example.com"])).unwrap(), "*.example.com");
    assert_eq!(first_name(&facts(&[])), None);
}
