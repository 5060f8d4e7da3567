//! Chains of certificates that lead to an anchor, or seem to (RFC 5280 section 6): each flaw beside the same chain
//! without it.

use std::time::{Duration, Instant};

use portcullis_identity::plan::{IdentityPlan, TrustAnchors, TrustPlan};
use portcullis_identity::{Authenticator, Credentials, PeerIdentity, Scheme, compile};
use portcullis_model::{Identity, Origin, Reason};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::house;

const WEB: &str = "spiffe://corp.example/web";

type Authority = CertifiedIssuer<'static, KeyPair>;
type Shape<'a> = &'a dyn Fn(&mut CertificateParams);

/// Nothing but what every such certificate has.
const PLAIN: Shape<'static> = &|_| ();

fn authority_params(name: &str, shape: Shape<'_>) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    shape(&mut params);
    params
}

fn root(name: &str) -> Authority {
    let params = authority_params(name, PLAIN);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(by: &Authority, name: &str, shape: Shape<'_>) -> Authority {
    let params = authority_params(name, shape);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
}

fn leaf(by: &Authority, shape: Shape<'_>) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = vec![SanType::URI(WEB.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    shape(&mut params);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, by).unwrap().der().clone()
}

/// A route for holders of certificates under these anchors.
fn route(roots: &[&Authority]) -> Authenticator {
    let trust = TrustPlan {
        id: "mesh".into(),
        origin: Origin::default(),
        anchors: TrustAnchors::Pem(roots.iter().map(|root| root.der().clone()).collect()),
        revocation: None,
    };
    let plan = IdentityPlan {
        trust: vec![trust],
        ..IdentityPlan::default()
    };
    let (runtime, _) = compile(&plan, None, &house::boards()).unwrap();
    let scheme = Scheme::Mtls("mesh".into(), Origin::default());
    runtime.authenticator(&[scheme]).unwrap()
}

fn judge(route: &Authenticator, chain: &[CertificateDer<'_>]) -> Result<String, Reason> {
    let peer = PeerIdentity::from_chain(chain);
    let credentials = Credentials {
        headers: &http::HeaderMap::new(),
        peer: Some(&peer),
    };
    match route.authenticate_offline(credentials, house::now()) {
        Ok(found) => match found.principal.identity {
            Identity::Workload(id) => Ok(id.to_string()),
            other => panic!("{other:?}"),
        },
        Err(rejection) => Err(rejection.reason),
    }
}

/// A leaf under an intermediate under a root, one of them with a shape of its own.
fn three(middle: Shape<'_>, end: Shape<'_>) -> Result<String, Reason> {
    let root = root("root");
    let middle = intermediate(&root, "middle", middle);
    judge(&route(&[&root]), &[leaf(&middle, end), middle.der().clone()])
}

fn assert_accepted(found: Result<String, Reason>, what: &str) {
    assert_eq!(found.as_deref(), Ok(WEB), "{what}");
}

fn assert_untrusted(found: Result<String, Reason>, what: &str) {
    assert_eq!(found, Err(Reason::CertificateUntrusted), "{what}");
}

/// RFC 5280 section 4.2.1.9, CVE-2002-0862 and its many children: who may sign certificates says so.
#[test]
fn only_authorities_sign_certificates() {
    assert_accepted(three(PLAIN, PLAIN), "a chain of three");

    assert_untrusted(
        three(&|params| params.is_ca = IsCa::NoCa, PLAIN),
        "a leaf signed a leaf",
    );
    assert_untrusted(
        three(&|params| params.is_ca = IsCa::ExplicitNoCa, PLAIN),
        "a leaf that says so signed a leaf",
    );
}

/// RFC 5280 sections 4.2.1.3 and 6.1.4 (n).
#[test]
fn an_authority_whose_key_may_not_sign_certificates_signs_none() {
    assert_accepted(
        three(
            &|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign],
            PLAIN,
        ),
        "a key for certificates",
    );
    assert_accepted(
        three(&|params| params.key_usages.clear(), PLAIN),
        "a key for anything",
    );

    assert_untrusted(
        three(
            &|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
            PLAIN,
        ),
        "a key for signatures and lists",
    );
}

/// RFC 5280 sections 4.2.1.9 and 6.1.4 (m).
#[test]
fn a_chain_keeps_to_the_path_length_of_its_authorities() {
    for (most, below, is_good) in [(0, 0, true), (1, 1, true), (0, 1, false), (1, 2, false)] {
        let root = root("root");
        let limit: Shape<'_> = &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        let mut authorities = vec![intermediate(&root, "limited", limit)];
        for level in 0..below {
            let next = intermediate(authorities.last().unwrap(), &format!("level {level}"), PLAIN);
            authorities.push(next);
        }
        let mut chain = vec![leaf(authorities.last().unwrap(), PLAIN)];
        chain.extend(authorities.iter().rev().map(|authority| authority.der().clone()));

        let found = judge(&route(&[&root]), &chain);

        let what = format!("{below} authorities below one that allows {most}");
        if is_good {
            assert_accepted(found, &what);
        } else {
            assert_untrusted(found, &what);
        }
    }
}

/// RFC 5280 section 4.2.1.10, CVE-2020-1971's neighbours: names outside what an authority was given are not believed.
/// Constraints on URIs, which no library of ours can weigh, let no URI through.
#[test]
fn an_authority_vouches_for_the_names_it_was_given() {
    let permits = |subtree: GeneralSubtree| {
        move |params: &mut CertificateParams| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![subtree.clone()],
                excluded_subtrees: Vec::new(),
            });
        }
    };
    let with_dns = |name: &'static str| {
        move |params: &mut CertificateParams| {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.try_into().unwrap()));
        }
    };
    let corp = permits(GeneralSubtree::DnsName("corp.example".to_owned()));
    assert_accepted(three(&corp, PLAIN), "no name of the constrained kind");
    assert_accepted(three(&corp, &with_dns("web.corp.example")), "a name within");

    assert_untrusted(three(&corp, &with_dns("web.evil.example")), "a name without");
    let excludes = |params: &mut CertificateParams| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![GeneralSubtree::DnsName("web.corp.example".to_owned())],
        });
    };
    assert_untrusted(
        three(&excludes, &with_dns("a.web.corp.example")),
        "an excluded name",
    );
    // Permitted, and excluded, URIs of a host.
    for kind in [0xa0, 0xa1] {
        for host in ["corp.example", "evil.example"] {
            let uri = move |params: &mut CertificateParams| params.custom_extensions = vec![uris(kind, host)];
            assert_untrusted(three(&uri, PLAIN), "a constraint on URIs");
        }
    }
}

/// `nameConstraints` about the host of URIs, critical as it must be.
fn uris(kind: u8, host: &str) -> CustomExtension {
    let within = |tag: u8, content: &[u8]| [&[tag, content.len() as u8][..], content].concat();
    let subtrees = within(kind, &within(0x30, &within(0x86, host.as_bytes())));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], within(0x30, &subtrees));
    extension.set_criticality(true);
    extension
}

/// RFC 5280 section 4.2: what must be understood is refused, since we do not understand it.
#[test]
fn an_unknown_critical_extension_refuses_the_chain_wherever_it_is() {
    let extension = |is_critical: bool| {
        move |params: &mut CertificateParams| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            extension.set_criticality(is_critical);
            params.custom_extensions = vec![extension];
        }
    };

    assert_accepted(
        three(&extension(false), &extension(false)),
        "two that may be passed over",
    );
    assert_untrusted(three(PLAIN, &extension(true)), "of the leaf");
    assert_untrusted(three(&extension(true), PLAIN), "of the intermediate");
}

/// RFC 5280 section 4.2.1.12: a certificate for servers is none for clients, also by its authority's word.
#[test]
fn purposes_are_kept_along_the_chain() {
    let purposes = |purposes: &'static [ExtendedKeyUsagePurpose]| {
        move |params: &mut CertificateParams| params.extended_key_usages = purposes.to_vec()
    };
    let client = purposes(&[ExtendedKeyUsagePurpose::ClientAuth]);
    let server = purposes(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let both = purposes(&[
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ]);
    assert_accepted(three(&client, &client), "clients all along");
    assert_accepted(three(&both, &both), "both");
    assert_accepted(three(PLAIN, &purposes(&[])), "no purpose said");

    assert_untrusted(three(PLAIN, &server), "a leaf for servers");
    assert_untrusted(three(&server, &client), "an authority for servers");
    assert_untrusted(
        three(PLAIN, &purposes(&[ExtendedKeyUsagePurpose::CodeSigning])),
        "a leaf for code",
    );
}

/// RFC 5280 section 6.1.3 (a) (2): every certificate of the chain is valid now.
#[test]
fn an_intermediate_that_has_expired_or_is_not_yet_valid_refuses_the_chain() {
    let window = |from: i64, until: i64| {
        move |params: &mut CertificateParams| {
            let at = |offset: i64| {
                let seconds = i64::try_from(house::NOW).unwrap() + offset;
                rcgen::date_time_ymd(1970, 1, 1) + time_from(seconds)
            };
            params.not_before = at(from);
            params.not_after = at(until);
        }
    };
    assert_accepted(three(&window(-60, 60), &window(-60, 60)), "all of now");

    assert_eq!(
        three(&window(-120, -60), PLAIN),
        Err(Reason::CertificateExpired),
        "an expired intermediate"
    );
    assert_untrusted(three(&window(60, 120), PLAIN), "an intermediate of tomorrow");
    assert_untrusted(three(PLAIN, &window(60, 120)), "a leaf of tomorrow");
    assert_eq!(
        three(PLAIN, &window(-120, -60)),
        Err(Reason::CertificateExpired),
        "an expired leaf"
    );
}

fn time_from(seconds: i64) -> std::time::Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// Several anchors: each vouches for its own, and a name that two of them share makes no difference.
#[test]
fn a_chain_leads_to_one_of_several_roots_by_its_signatures() {
    let (one, other, stranger) = (root("root"), root("root"), root("root"));
    let route = route(&[&one, &other]);
    for trusted in [&one, &other] {
        let middle = intermediate(trusted, "middle", PLAIN);
        let end = leaf(&middle, PLAIN);
        assert_accepted(judge(&route, &[end.clone(), middle.der().clone()]), "a chain");
        let beside = [end.clone(), stranger.der().clone(), middle.der().clone()];
        assert_accepted(judge(&route, &beside), "a chain with a stranger in it");
        let with_root = [end, middle.der().clone(), trusted.der().clone()];
        assert_accepted(judge(&route, &with_root), "a chain with its root");
    }

    let middle = intermediate(&stranger, "middle", PLAIN);
    let end = leaf(&middle, PLAIN);
    let whole = [end.clone(), middle.der().clone(), stranger.der().clone()];
    assert_untrusted(judge(&route, &whole), "a chain that brings its own root");
    let namesake = intermediate(&one, "middle", PLAIN);
    assert_untrusted(
        judge(&route, &[end.clone(), namesake.der().clone()]),
        "a namesake's chain",
    );
    assert_untrusted(judge(&route, &[end]), "a chain without its middle");
    let mut own = CertificateParams::new(Vec::<String>::new()).unwrap();
    own.subject_alt_names = vec![SanType::URI(WEB.try_into().unwrap())];
    let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_untrusted(judge(&route, &[own.der().clone()]), "a leaf that signed itself");
}

/// CVE-2023-0464, CVE-2018-16875 and their like: intermediates that all could have signed each other cost a bounded time.
#[test]
fn a_maze_of_intermediates_is_not_walked_through() {
    let (root, stranger) = (root("root"), root("maze"));
    let mut chain = Vec::new();
    // Nine certificates of one name by one name: every one may be the issuer of every other.
    let mut authorities = vec![intermediate(&stranger, "maze", PLAIN)];
    for _ in 0..8 {
        let next = intermediate(authorities.last().unwrap(), "maze", PLAIN);
        authorities.push(next);
    }
    chain.push(leaf(authorities.last().unwrap(), PLAIN));
    chain.extend(authorities.iter().map(|authority| authority.der().clone()));
    let since = Instant::now();

    assert_untrusted(judge(&route(&[&root]), &chain), "a maze");

    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}
