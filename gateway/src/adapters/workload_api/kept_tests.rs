use std::fs;
use std::time::Duration;

use portcullis_identity::WorkloadBoard;

use super::*;
use crate::adapters::workload_api::samples::{delivery, expected, present};

const AGENT: &str = "unix:///run/agent.sock";

struct Setup {
    folder: tempfile::TempDir,
    kept: Kept,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let kept = Kept::open(&state).unwrap();
        Self { folder, kept }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("state/trust/workload.json")
    }

    fn read(&self, domains: &[&str]) -> Result<Option<WorkloadIdentity>, KeptFault> {
        self.kept.read(AGENT, &expected(domains), present())
    }
}

#[test]
fn what_was_kept_is_what_was_delivered_and_serves() {
    let mut setup = Setup::new();
    let delivered = delivery();
    setup.kept.write(AGENT, &delivered).unwrap();

    let kept = setup.read(&["corp.example"]).unwrap().unwrap();

    assert_eq!(kept.bundles, delivered.bundles);
    assert_eq!(kept.jwt_bundles, delivered.jwt_bundles);
    assert_eq!(
        kept.svid.as_ref().unwrap().chain,
        delivered.svid.as_ref().unwrap().chain
    );
    let board = WorkloadBoard::new();
    board.publish_kept(kept, present()).unwrap();
    assert!(board.is_ready(present()));
}

#[test]
fn nothing_kept_is_no_fault() {
    assert!(Setup::new().read(&[]).unwrap().is_none());
}

#[test]
fn an_svid_that_is_over_is_not_used() {
    let mut setup = Setup::new();
    setup.kept.write(AGENT, &delivery()).unwrap();
    let later = present() + Duration::from_secs(200 * 24 * 3600);

    let read = setup.kept.read(AGENT, &expected(&[]), later);

    assert!(matches!(read, Err(KeptFault::Expired)));
}

#[test]
fn what_another_agent_delivered_or_another_trust_domain_is_not_used() {
    let mut setup = Setup::new();
    setup.kept.write(AGENT, &delivery()).unwrap();

    let other_agent = setup
        .kept
        .read("unix:///run/other.sock", &expected(&[]), present());
    assert!(matches!(other_agent, Err(KeptFault::OtherEndpoint(_))));
    assert!(matches!(
        setup.read(&["new.example"]),
        Err(KeptFault::OtherDomain(_))
    ));
    for fits in [
        &[][..],
        &["corp.example"],
        &["peer.example"],
        &["new.example", "corp.example"],
    ] {
        assert!(setup.read(fits).unwrap().is_some(), "{fits:?}");
    }
}

#[test]
fn a_file_that_was_tampered_with_or_cut_off_is_not_used() {
    let mut setup = Setup::new();
    setup.kept.write(AGENT, &delivery()).unwrap();
    let good = fs::read_to_string(setup.file()).unwrap();
    let cut = &good[..good.len() / 2];
    let without_chain = good.replacen("\"chain\":[\"MII", "\"chain\":[\"!II", 1);
    let other_version = good.replacen("\"version\":1", "\"version\":2", 1);
    let with_more = good.replacen('{', "{\"more\":1,", 1);

    for bad in [cut, "", "null", "[]", &without_chain, &other_version, &with_more] {
        assert_ne!(bad, good);
        fs::write(setup.file(), bad).unwrap();

        assert!(setup.read(&[]).is_err(), "{bad}");
    }
}

#[test]
fn a_key_of_another_svid_is_refused_by_the_board() {
    let mut setup = Setup::new();
    let (mut one, other) = (delivery(), delivery());
    if let (Some(svid), Some(other)) = (&mut one.svid, other.svid) {
        svid.key = other.key;
    }
    setup.kept.write(AGENT, &one).unwrap();

    let kept = setup.read(&[]).unwrap().unwrap();

    assert!(WorkloadBoard::new().publish_kept(kept, present()).is_err());
}

#[test]
fn an_equal_delivery_is_not_written_again_and_one_that_is_forgotten_is_gone() {
    let mut setup = Setup::new();
    let delivered = delivery();
    setup.kept.write(AGENT, &delivered).unwrap();
    fs::remove_file(setup.file()).unwrap();

    setup.kept.write(AGENT, &delivered).unwrap();
    assert!(!setup.file().exists());
    setup.kept.write(AGENT, &delivery()).unwrap();
    assert!(setup.file().exists());

    setup.kept.forget().unwrap();
    assert!(setup.read(&[]).unwrap().is_none());
    setup.kept.write(AGENT, &delivered).unwrap();
    assert!(setup.file().exists());
}
