use std::time::Duration;

use portcullis_model::{ListenerId, Origin, TrustDomain};
use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::boards::Boards;
use crate::compile::{IdentityRuntime, compile};
use crate::fault::IdentityFault;
use crate::mtls::WorkloadIdentity;
use crate::plan::{ClientCertificatesPlan, IdentityPlan, ListenerTlsPlan, ShownPlan};
use crate::testing::{Dialled, TestCa, TestClock, TestLeaf, boards, client_config, dial};
use crate::tls::{ListenerTls, NoCertificate};

const US: &str = "spiffe://corp.example/gateway";

struct Setup {
    boards: Boards,
    clock: TestClock,
    plan: IdentityPlan,
    runtime: IdentityRuntime,
    ca: TestCa,
}

fn svid(names: &[&str]) -> ShownPlan {
    ShownPlan::Svid {
        origin: Origin::of("svid"),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

impl Setup {
    /// A listener with a certificate for `api.example.com`, before or after our SVID.
    fn new(shown: ShownPlan, is_first: bool) -> Self {
        let (boards, clock, _) = boards();
        let ca = TestCa::new("ca");
        let mut certificates = vec![ca.leaf(&["api.example.com"]).plan().into(), shown];
        if is_first {
            certificates.reverse();
        }
        let plan = IdentityPlan {
            listeners: vec![ListenerTlsPlan {
                listener: ListenerId::new("public"),
                origin: Origin::of("listeners.public.tls"),
                certificates,
                client: ClientCertificatesPlan::default(),
                hosts: Default::default(),
                alpn: vec!["h2", "http/1.1"],
            }],
            workload_api: true,
            ..IdentityPlan::default()
        };
        let (runtime, _) = compile(&plan, None, &boards).unwrap();
        Self {
            boards,
            clock,
            plan,
            runtime,
            ca,
        }
    }

    fn listener(&self) -> std::sync::Arc<ListenerTls> {
        self.runtime.listener_tls(&ListenerId::new("public")).unwrap()
    }

    /// Delivers an SVID that clients of the tests accept for any of these names, and gives its leaf.
    fn deliver(&self, leaf: &TestLeaf) -> CertificateDer<'static> {
        let domain = TrustDomain::new("corp.example").unwrap();
        let delivery = WorkloadIdentity {
            svid: Some(leaf.svid(US)),
            bundles: [(domain, self.ca.anchors())].into(),
            ..WorkloadIdentity::default()
        };
        self.boards.workload.publish(delivery).unwrap();
        leaf.chain[0].clone()
    }

    fn leaf(&self) -> TestLeaf {
        self.ca
            .leaf(&[US, "mesh.internal", "a.mesh.internal", "other.example.com"])
    }

    fn dial(&self, name: &'static str) -> Dialled {
        let client = client_config(&self.ca, None, &["h2"]);
        let server = self.listener().server_config(Some(name)).unwrap();
        dial(&client, ServerName::try_from(name).unwrap(), server).unwrap()
    }

    /// The leaf that a client of this name is shown.
    fn shown(&self, name: &'static str) -> CertificateDer<'static> {
        self.dial(name).client.peer_certificates().unwrap()[0].clone()
    }

    fn refusal(&self, name: Option<&str>) -> NoCertificate {
        self.listener().server_config(name).unwrap_err()
    }
}

#[test]
fn the_svid_is_shown_for_the_names_it_was_given_and_for_no_other() {
    let setup = Setup::new(svid(&["mesh.internal", "*.mesh.internal"]), false);
    let delivered = setup.deliver(&setup.leaf());

    assert_eq!(setup.shown("mesh.internal"), delivered);
    assert_eq!(setup.shown("a.mesh.internal"), delivered);
    assert_ne!(setup.shown("api.example.com"), delivered);
    assert!(matches!(
        setup.refusal(Some("other.example.com")),
        NoCertificate::UnknownName(_)
    ));
    let listener = setup.listener();
    assert!(
        listener
            .directed(Some("mesh.internal"), "b.mesh.internal")
            .is_some()
    );
    assert!(
        listener
            .directed(Some("mesh.internal"), "api.example.com")
            .is_none()
    );
}

#[test]
fn an_svid_without_names_is_shown_for_whatever_no_other_certificate_covers() {
    let setup = Setup::new(svid(&[]), true);
    let delivered = setup.deliver(&setup.leaf());

    assert_eq!(setup.shown("other.example.com"), delivered);
    assert_ne!(setup.shown("api.example.com"), delivered);
    let listener = setup.listener();
    assert!(
        listener.server_config(None).is_ok(),
        "the first serves clients without a name"
    );
    assert!(listener.directed(None, "anything.internal").is_some());
    assert!(
        listener
            .directed(Some("other.example.com"), "anything.internal")
            .is_some()
    );
    assert!(
        listener
            .directed(Some("other.example.com"), "api.example.com")
            .is_none()
    );
}

#[test]
fn a_listener_that_shows_our_svid_waits_for_it_and_serves_its_other_names() {
    let setup = Setup::new(svid(&["mesh.internal"]), false);

    assert!(matches!(
        setup.refusal(Some("mesh.internal")),
        NoCertificate::Unusable {
            cause: IdentityFault::NoSvid,
            ..
        }
    ));
    setup.shown("api.example.com");
    let delivered = setup.deliver(&setup.leaf());

    assert_eq!(setup.shown("mesh.internal"), delivered);
}

#[test]
fn another_svid_is_shown_at_once_and_no_session_of_the_old_one_comes_back() {
    let setup = Setup::new(svid(&["mesh.internal"]), false);
    setup.deliver(&setup.leaf());
    let client = client_config(&setup.ca, None, &["h2"]);
    let dial_again = || {
        let server = setup.listener().server_config(Some("mesh.internal")).unwrap();
        dial(&client, ServerName::try_from("mesh.internal").unwrap(), server).unwrap()
    };
    dial_again();
    assert_eq!(dial_again().server.handshake_kind(), Some(HandshakeKind::Resumed));
    let generation = setup.runtime.generation();

    let rotated = setup.deliver(&setup.leaf());

    let after = dial_again();
    assert_ne!(after.server.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(after.client.peer_certificates().unwrap()[0], rotated);
    assert_ne!(setup.runtime.generation(), generation);
}

#[test]
fn an_svid_that_is_over_is_shown_to_nobody_until_another_one_comes() {
    let setup = Setup::new(svid(&["mesh.internal"]), false);
    let short = setup.ca.shaped(&[US, "mesh.internal"], |params| {
        params.not_after = rcgen::date_time_ymd(2027, 1, 16);
    });
    setup.deliver(&short);
    setup.shown("mesh.internal");

    setup.clock.advance(Duration::from_secs(2 * 24 * 3600));

    assert!(matches!(
        setup.refusal(Some("mesh.internal")),
        NoCertificate::Unusable {
            cause: IdentityFault::SvidExpired { .. },
            ..
        }
    ));
    let rotated = setup.deliver(&setup.leaf());
    assert_eq!(setup.shown("mesh.internal"), rotated);
}

#[test]
fn an_svid_from_files_is_shown_and_another_file_makes_another_generation() {
    let mut setup = Setup::new(svid(&["mesh.internal"]), false);
    setup.plan.workload_api = false;
    let with = |setup: &Setup, leaf: &TestLeaf| IdentityPlan {
        svid: Some(leaf.plan()),
        ..setup.plan.clone()
    };
    let (one, other) = (setup.leaf(), setup.leaf());
    let previous = compile(&with(&setup, &one), None, &setup.boards).unwrap().0;
    setup.runtime = previous.clone();
    assert_eq!(setup.shown("mesh.internal"), one.chain[0]);

    let (next, _) = compile(&with(&setup, &other), Some(&previous), &setup.boards).unwrap();
    assert_ne!(next.generation(), previous.generation());
    setup.runtime = next;

    assert_eq!(setup.shown("mesh.internal"), other.chain[0]);
}

#[test]
fn an_svid_that_comes_from_nowhere_is_a_problem() {
    let setup = Setup::new(svid(&["mesh.internal"]), false);
    let plan = IdentityPlan {
        workload_api: false,
        ..setup.plan.clone()
    };

    let problems = compile(&plan, None, &setup.boards).unwrap_err();

    assert!(
        problems
            .iter()
            .any(|problem| problem.code == "workload-api-missing")
    );
}
