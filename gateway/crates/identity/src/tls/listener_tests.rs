use portcullis_model::{ListenerId, Origin, TrustDomain, TrustId};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, HandshakeKind, NamedGroup, ProtocolVersion};

use super::*;
use crate::boards::Boards;
use crate::compile::{IdentityRuntime, compile};
use crate::mtls::WorkloadIdentity;
use crate::plan::{
    CertifiedKeyPlan, ClientCertificatesPlan, IdentityPlan, ListenerTlsPlan, ShownPlan, TrustAnchors,
    TrustPlan,
};
use crate::testing::{Dialled, TestCa, TestLeaf, boards, client_config, dial, now};

#[path = "judging_tests.rs"]
mod judging_tests;

const WEB: &str = "spiffe://corp.example/web";

struct Setup {
    boards: Boards,
    plan: IdentityPlan,
    runtime: IdentityRuntime,
    /// Signs what the listener shows.
    server_ca: TestCa,
    /// Signs what clients show.
    client_ca: TestCa,
}

fn asks(mode: ClientCertificates) -> ClientCertificatesPlan {
    let trust = if mode == ClientCertificates::Off {
        vec![]
    } else {
        vec![TrustId::new("mesh")]
    };
    ClientCertificatesPlan { mode, trust }
}

fn listener_plan(
    certificates: impl IntoIterator<Item = CertifiedKeyPlan>,
    client: ClientCertificates,
    hosts: &[(&str, ClientCertificates)],
) -> ListenerTlsPlan {
    ListenerTlsPlan {
        listener: ListenerId::new("public"),
        origin: Origin::of("listeners.public.tls"),
        certificates: certificates.into_iter().map(ShownPlan::from).collect(),
        client: asks(client),
        hosts: hosts
            .iter()
            .map(|(name, mode)| ((*name).to_owned(), asks(*mode)))
            .collect(),
        alpn: vec!["h2", "http/1.1"],
    }
}

impl Setup {
    fn new(names: &[&[&str]], client: ClientCertificates, hosts: &[(&str, ClientCertificates)]) -> Self {
        let client_ca = TestCa::new("clients");
        let anchors = TrustAnchors::TrustDomain(
            TrustDomain::new("corp.example").unwrap(),
            Some(client_ca.anchors()),
        );
        Self::with_anchors(names, client, hosts, client_ca, anchors)
    }

    fn with_anchors(
        names: &[&[&str]],
        client: ClientCertificates,
        hosts: &[(&str, ClientCertificates)],
        client_ca: TestCa,
        anchors: TrustAnchors,
    ) -> Self {
        let (boards, _, _) = boards();
        let server_ca = TestCa::new("servers");
        let certificates = names.iter().map(|names| server_ca.leaf(names).plan());
        let plan = IdentityPlan {
            trust: vec![TrustPlan {
                id: TrustId::new("mesh"),
                origin: Origin::of("trust.mesh"),
                anchors,
                revocation: None,
            }],
            listeners: vec![listener_plan(certificates, client, hosts)],
            workload_api: true,
            ..IdentityPlan::default()
        };
        let (runtime, _) = compile(&plan, None, &boards).unwrap();
        Self {
            boards,
            plan,
            runtime,
            server_ca,
            client_ca,
        }
    }

    fn listener(&self) -> Arc<ListenerTls> {
        self.runtime.listener_tls(&ListenerId::new("public")).unwrap()
    }

    fn client(&self, leaf: Option<&TestLeaf>) -> Arc<ClientConfig> {
        client_config(&self.server_ca, leaf, &["h2"])
    }

    /// A handshake with a fresh client; `Err` is what either side says.
    fn dial(&self, name: &str, leaf: Option<&TestLeaf>) -> Result<Dialled, Error> {
        self.dial_with(name, &self.client(leaf))
    }

    fn dial_with(&self, name: &str, client: &Arc<ClientConfig>) -> Result<Dialled, Error> {
        let server = self.listener().server_config(Some(name)).unwrap();
        dial(client, ServerName::try_from(name.to_owned()).unwrap(), server)
    }

    /// Whether the second of two handshakes of one client resumed the first.
    fn resumes(&self, first: &str, second: &str, client: &Arc<ClientConfig>) -> bool {
        self.dial_with(first, client).unwrap();
        let again = self.dial_with(second, client).unwrap();
        again.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

const API: &[&[&str]] = &[&["api.example.com", "admin.example.com"]];

#[test]
fn a_handshake_ends_in_tls13_post_quantum_and_the_preferred_protocol() {
    let setup = Setup::new(API, ClientCertificates::Off, &[]);

    let dialled = setup.dial("api.example.com", None).unwrap();

    assert_eq!(dialled.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(dialled.server.alpn_protocol(), Some(&b"h2"[..]));
    let group = dialled.server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn off_does_not_ask_for_a_certificate() {
    let setup = Setup::new(API, ClientCertificates::Off, &[]);

    let dialled = setup
        .dial("api.example.com", Some(&setup.client_ca.leaf(&[WEB])))
        .unwrap();

    assert!(dialled.server.peer_certificates().is_none());
}

#[test]
fn request_goes_on_without_a_certificate_and_refuses_a_bad_one() {
    let setup = Setup::new(API, ClientCertificates::Request, &[]);
    let (good, bad) = (setup.client_ca.leaf(&[WEB]), TestCa::new("other").leaf(&[WEB]));

    assert!(
        setup
            .dial("api.example.com", None)
            .unwrap()
            .server
            .peer_certificates()
            .is_none()
    );
    let dialled = setup.dial("api.example.com", Some(&good)).unwrap();
    assert_eq!(dialled.server.peer_certificates().unwrap(), good.chain);
    assert!(setup.dial("api.example.com", Some(&bad)).is_err());
}

#[test]
fn require_refuses_a_client_without_a_good_certificate() {
    let setup = Setup::new(API, ClientCertificates::Require, &[]);
    let other_domain = setup.client_ca.leaf(&["spiffe://other.example/web"]);
    let server_only = setup.client_ca.shaped(&[WEB], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let expired = setup.client_ca.shaped(&[WEB], |params| {
        params.not_after = rcgen::date_time_ymd(2026, 1, 1)
    });

    assert!(
        setup
            .dial("api.example.com", Some(&setup.client_ca.leaf(&[WEB])))
            .is_ok()
    );
    for leaf in [None, Some(&other_domain), Some(&server_only), Some(&expired)] {
        assert!(setup.dial("api.example.com", leaf).is_err());
    }
}

#[test]
fn a_single_name_may_be_stricter_than_its_listener() {
    let strict = [("Admin.example.com", ClientCertificates::Require)];
    let setup = Setup::new(API, ClientCertificates::Off, &strict);

    assert!(setup.dial("api.example.com", None).is_ok());
    assert!(setup.dial("admin.example.com", None).is_err());
    assert!(
        setup
            .dial("admin.example.com", Some(&setup.client_ca.leaf(&[WEB])))
            .is_ok()
    );
    assert!(
        setup
            .listener()
            .server_config(Some("ADMIN.example.com."))
            .unwrap()
            .session_storage
            .get(b"")
            .is_none()
    );
}

#[test]
fn a_session_comes_back_to_its_own_name() {
    let setup = Setup::new(API, ClientCertificates::Off, &[]);
    let client = setup.client(None);

    assert!(setup.resumes("api.example.com", "api.example.com", &client));
}

#[test]
fn a_strict_name_never_resumes() {
    let setup = Setup::new(API, ClientCertificates::Require, &[]);
    let client = setup.client(Some(&setup.client_ca.leaf(&[WEB])));

    assert!(!setup.resumes("api.example.com", "api.example.com", &client));
}

#[test]
fn a_session_does_not_cross_policies_or_certificates() {
    let strict = [("admin.example.com", ClientCertificates::Request)];
    let setup = Setup::new(
        &[API[0], &["other.example.com"]],
        ClientCertificates::Off,
        &strict,
    );
    let listener = setup.listener();
    // One client that believes both names are the same server offers its session to each of them.
    for other in ["admin.example.com", "other.example.com"] {
        let client = client_config(&setup.server_ca, None, &["h2"]);
        let name = || ServerName::try_from("api.example.com").unwrap();
        dial(
            &client,
            name(),
            listener.server_config(Some("api.example.com")).unwrap(),
        )
        .unwrap();

        let crossed = dial(&client, name(), listener.server_config(Some(other)).unwrap());

        assert!(crossed.is_err() || crossed.unwrap().server.handshake_kind() != Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_session_does_not_outlive_the_trust_that_made_it() {
    let (old, new) = (TestCa::new("old"), TestCa::new("new"));
    let domain = TrustDomain::new("corp.example").unwrap();
    let leaf = old.leaf(&[WEB]);
    let anchors = TrustAnchors::TrustDomain(domain.clone(), None);
    let setup = Setup::with_anchors(API, ClientCertificates::Request, &[], old, anchors);
    let deliver = |ca: &TestCa| {
        let bundles = [(domain.clone(), ca.anchors())].into();
        setup
            .boards
            .workload
            .publish(WorkloadIdentity {
                bundles,
                ..WorkloadIdentity::default()
            })
            .unwrap()
    };
    assert!(setup.dial("api.example.com", Some(&leaf)).is_err());
    deliver(&setup.client_ca);
    let client = setup.client(Some(&leaf));
    assert!(setup.resumes("api.example.com", "api.example.com", &client));
    let generation = setup.runtime.generation();

    deliver(&new);

    assert!(setup.dial_with("api.example.com", &client).is_err());
    assert_ne!(setup.runtime.generation(), generation);
}

#[test]
fn an_equal_plan_keeps_sessions_and_generation_and_a_new_certificate_does_not() {
    let setup = Setup::new(API, ClientCertificates::Off, &[]);
    let mut moved = setup.plan.clone();
    moved.listeners[0].origin = Origin::of("elsewhere");
    if let ShownPlan::Certificate(certificate) = &mut moved.listeners[0].certificates[0] {
        certificate.origin = Origin::of("elsewhere");
    }
    let mut swapped = setup.plan.clone();
    swapped.listeners[0].certificates = vec![setup.server_ca.leaf(API[0]).plan().into()];

    let (same, _) = compile(&moved, Some(&setup.runtime), &setup.boards).unwrap();
    let (other, _) = compile(&swapped, Some(&setup.runtime), &setup.boards).unwrap();

    let of = |runtime: &IdentityRuntime| runtime.listener_tls(&ListenerId::new("public")).unwrap();
    assert!(Arc::ptr_eq(&of(&same), &of(&setup.runtime)));
    assert_eq!(same.generation(), setup.runtime.generation());
    assert!(!Arc::ptr_eq(&of(&other), &of(&setup.runtime)));
    assert_ne!(other.generation(), setup.runtime.generation());
}

#[test]
fn the_certificate_is_chosen_by_a_whole_name_before_a_wildcard() {
    let names: &[&[&str]] = &[&["first.example.com"], &["*.example.com"], &["api.example.com"]];
    let setup = Setup::new(names, ClientCertificates::Off, &[]);
    let listener = setup.listener();
    let chosen = |name: Option<&str>| listener.certificate_for(name);

    assert_eq!(chosen(Some("api.example.com")), Some(2));
    assert_eq!(chosen(Some("www.example.com")), Some(1));
    assert_eq!(chosen(None), Some(0));
    assert_eq!(chosen(Some("a.b.example.com")), None);
    assert_eq!(chosen(Some("example.com")), None);
    assert_eq!(chosen(Some(".example.com")), None);
}

#[test]
fn an_unknown_name_is_refused_and_no_name_gets_the_first_certificate() {
    let setup = Setup::new(API, ClientCertificates::Off, &[]);
    let listener = setup.listener();

    assert!(matches!(
        listener.server_config(Some("Other.example.com")),
        Err(NoCertificate::UnknownName(name)) if name == "other.example.com"
    ));
    assert!(listener.server_config(None).is_ok());
}
