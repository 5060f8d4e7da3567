//! Chains that should not verify, each for a reason of RFC 5280, beside the chain that should.

use portcullis_model::{Reason, TrustId};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, NameConstraints, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use super::anchors::{ChainFault, Usage};
use super::trust::{AnchorSource, Trust};
use super::{Anchors, PeerIdentity};
use crate::testing::{Shape, TestCa, now};

const WEB: &str = "spiffe://corp.example/web";

fn judge(roots: &[&TestCa], chain: &[CertificateDer<'static>]) -> Option<Reason> {
    let anchors: Vec<_> = roots.iter().flat_map(|root| root.anchors()).collect();
    let anchors = std::sync::Arc::new(Anchors::read(&anchors).unwrap());
    let trust = Trust::new(TrustId::new("mesh"), AnchorSource::AnyDomain(anchors), None);
    let refused = trust.judge(&PeerIdentity::from_chain(chain), now()).err();
    // Whatever a route would refuse for its chain, the handshake refuses too.
    let peer = PeerIdentity::from_chain(chain);
    assert_eq!(
        refused.is_none(),
        trust.accept(&peer, now()).is_ok() && peer.spiffe_id.is_ok()
    );
    refused.map(|refusal| refusal.reason)
}

/// A leaf and the authorities between it and the root, each shaped.
fn chain(root: &TestCa, names: &[&str], between: &[Shape]) -> Vec<CertificateDer<'static>> {
    let Some((first, rest)) = between.split_first() else {
        return root.leaf(names).chain;
    };
    let mut path = vec![root.authority("between 0", *first)];
    for (number, shape) in rest.iter().enumerate() {
        let above = &path[path.len() - 1];
        path.push(above.authority(&format!("between {}", number + 1), *shape));
    }
    let mut chain = path[path.len() - 1].leaf(names).chain;
    chain.extend(path.iter().rev().flat_map(|authority| authority.anchors()));
    chain
}

const PLAIN: Shape = |_| {};
const UNTRUSTED: Option<Reason> = Some(Reason::CertificateUntrusted);

#[test]
fn an_honest_chain_of_any_length_within_the_bound_is_accepted() {
    let root = TestCa::new("root");

    for length in 0..=5 {
        assert_eq!(
            judge(&[&root], &chain(&root, &[WEB], &vec![PLAIN; length])),
            None,
            "{length}"
        );
    }
}

/// RFC 5280 section 4.2.1.10; an authority that was given one domain does not speak for another (CVE-2021-44533 and
/// CVE-2022-27780 are readers that lost such a constraint).
#[test]
fn an_authority_with_name_constraints_signs_only_what_they_permit() {
    let root = TestCa::new("root");
    let permits: Shape = |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    let excludes: Shape = |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![GeneralSubtree::DnsName("corp.example".to_owned())],
        });
    };
    let (inside, outside) = (&[WEB, "web.corp.example"], &[WEB, "web.other.example"]);

    assert_eq!(judge(&[&root], &chain(&root, inside, &[permits])), None);
    assert_eq!(judge(&[&root], &chain(&root, outside, &[permits])), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, inside, &[excludes])), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, outside, &[excludes])), None);
    assert_eq!(
        judge(&[&root], &chain(&root, outside, &[permits, PLAIN])),
        UNTRUSTED,
        "a constraint holds for everything below"
    );
    assert_eq!(
        judge(
            &[&root],
            &chain(&root, &["web.corp.example.evil.example", WEB], &[permits])
        ),
        UNTRUSTED
    );
}

/// RFC 5280 section 4.2.1.10 for URIs, of which a SPIFFE ID is one: what we cannot compare is refused, not ignored.
#[test]
fn a_constraint_on_uris_is_never_passed_over() {
    let root = TestCa::new("root");
    let permits_other: Shape = |params| {
        // SEQUENCE { [0] SEQUENCE OF { SEQUENCE { [6] "other.example" } } }
        let mut content = vec![0x30, 19, 0xa0, 17, 0x30, 15, 0x86, 13];
        content.extend_from_slice(b"other.example");
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    };

    assert_eq!(
        judge(&[&root], &chain(&root, &[WEB], &[permits_other])),
        UNTRUSTED
    );
}

/// RFC 5280 section 4.2.1.12, for the leaf and, as every verifier of today reads it, for the authorities above.
#[test]
fn a_chain_for_another_purpose_is_refused() {
    let root = TestCa::new("root");
    let server_only: Shape = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let both: Shape = |params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
    };
    let code_signing: Shape =
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];

    assert_eq!(
        judge(&[&root], &root.shaped(&[WEB], server_only).chain),
        UNTRUSTED
    );
    assert_eq!(
        judge(&[&root], &root.shaped(&[WEB], code_signing).chain),
        UNTRUSTED
    );
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[server_only])), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[both])), None);
}

/// RFC 5280 section 4.2.1.9; CVE-2020-28935 and many before it: an authority that may sign leaves makes no authorities.
#[test]
fn a_path_longer_than_an_authority_allows_is_refused() {
    let root = TestCa::new("root");
    let leaves_only: Shape = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let one_below: Shape = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));

    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[leaves_only])), None);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[one_below, PLAIN])), None);
    assert_eq!(
        judge(&[&root], &chain(&root, &[WEB], &[leaves_only, PLAIN])),
        UNTRUSTED
    );
    assert_eq!(
        judge(&[&root], &chain(&root, &[WEB], &[one_below, PLAIN, PLAIN])),
        UNTRUSTED
    );
}

/// RFC 5280 section 4.2: a critical extension that is not understood makes a certificate unusable, wherever it stands.
#[test]
fn a_critical_extension_that_nobody_knows_is_refused() {
    let root = TestCa::new("root");
    fn strange(params: &mut CertificateParams, is_critical: bool) {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(is_critical);
        params.custom_extensions.push(extension);
    }
    let (critical, passed_over): (Shape, Shape) =
        (|params| strange(params, true), |params| strange(params, false));

    assert_eq!(judge(&[&root], &root.shaped(&[WEB], critical).chain), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[critical])), UNTRUSTED);
    assert_eq!(judge(&[&root], &root.shaped(&[WEB], passed_over).chain), None);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[passed_over])), None);
}

/// RFC 5280 section 6.1.3 (a)(2), for every certificate of the path.
#[test]
fn an_authority_that_ended_or_has_not_begun_vouches_for_nobody() {
    let root = TestCa::new("root");
    let ended: Shape = |params| params.not_after = date_time_ymd(2026, 1, 1);
    let to_come: Shape = |params| params.not_before = date_time_ymd(2028, 1, 1);

    assert_eq!(
        judge(&[&root], &chain(&root, &[WEB], &[ended])),
        Some(Reason::CertificateExpired)
    );
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[to_come])), UNTRUSTED);
    assert_eq!(
        judge(&[&root], &chain(&root, &[WEB], &[PLAIN, ended, PLAIN])),
        Some(Reason::CertificateExpired)
    );
}

/// CVE-2002-0862, CVE-2021-3450, CVE-2020-0601: whoever holds a leaf signs nobody.
#[test]
fn a_leaf_is_no_authority() {
    let root = TestCa::new("root");
    let leaf: Shape = |params| {
        params.is_ca = IsCa::NoCa;
        params.key_usages.clear();
    };
    let says_so: Shape = |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages.clear();
    };

    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[leaf])), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[says_so])), UNTRUSTED);
    assert_eq!(judge(&[&root], &chain(&root, &[WEB], &[PLAIN, leaf])), UNTRUSTED);
}

/// X509-SVID section 4.1: an authority's certificate names no workload, even where its URI does.
#[test]
fn an_authority_is_no_client() {
    let root = TestCa::new("root");
    let authority = root.shaped(&[WEB], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });

    assert_eq!(
        judge(&[&root], &authority.chain),
        Some(Reason::CertificateSpiffeId)
    );
    let peer = PeerIdentity::from_chain(&authority.chain);
    let anchors = Anchors::read(&root.anchors()).unwrap();
    let trust = Trust::new(
        TrustId::new("mesh"),
        AnchorSource::AnyDomain(std::sync::Arc::new(anchors)),
        None,
    );
    assert!(
        trust.accept(&peer, now()).is_err(),
        "nor does it pass a handshake"
    );
}

/// RFC 4158 section 2.2; the AddTrust root that ended in May 2020 broke verifiers that knew one path only.
#[test]
fn of_several_paths_one_that_holds_suffices() {
    let (known, other) = (TestCa::new("known"), TestCa::new("other"));
    let between = known.authority("between", PLAIN);
    let crossed = between.crossed_by("between", &other);
    let leaf = between.leaf(&[WEB]).chain.remove(0);
    let path = |certificates: &[&CertificateDer<'static>]| -> Vec<_> {
        std::iter::once(leaf.clone())
            .chain(certificates.iter().map(|certificate| (*certificate).clone()))
            .collect()
    };
    let straight = &between.anchors()[0];

    assert_eq!(judge(&[&known], &path(&[&crossed, straight])), None);
    assert_eq!(judge(&[&known], &path(&[straight, &crossed])), None);
    assert_eq!(judge(&[&other], &path(&[straight, &crossed])), None);
    assert_eq!(judge(&[&known, &other], &path(&[&crossed])), None);
    assert_eq!(judge(&[&known], &path(&[&crossed])), UNTRUSTED);
    assert_eq!(judge(&[&TestCa::new("known")], &path(&[straight])), UNTRUSTED);
    assert_eq!(
        judge(&[&known], &path(&[straight, &other.anchors()[0]])),
        None,
        "a root that is sent along is worth nothing and costs nothing"
    );
    assert_eq!(
        judge(&[&known], &path(&[&known.anchors()[0], &other.anchors()[0]])),
        UNTRUSTED
    );
}

#[test]
fn a_root_of_ones_own_is_nobodys_root() {
    let (root, own) = (TestCa::new("root"), TestCa::new("root"));
    let mut sent_along = own.leaf(&[WEB]).chain;
    sent_along.extend(own.anchors());
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(WEB.try_into().unwrap())];
    let self_signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();

    assert_eq!(judge(&[&root], &sent_along), UNTRUSTED);
    assert_eq!(judge(&[&root], &[self_signed.der().clone()]), UNTRUSTED);
}

/// CVE-2018-16875: certificates of one name that could all have signed each other make paths without number. Ten of
/// them cost a fifth of a second a handshake, twenty times what a signature does, before the first was checked.
#[test]
fn certificates_that_lead_everywhere_are_not_walked_through() {
    let root = TestCa::new("root");
    let maze: Vec<_> = (0..8)
        .map(|_| TestCa::new("maze").authority("maze", PLAIN))
        .collect();
    let leaf = maze[0].leaf(&[WEB]).chain;
    let along: Vec<_> = maze.iter().flat_map(|authority| authority.anchors()).collect();
    let anchors = Anchors::read(&root.anchors()).unwrap();
    let verify = |along: &[CertificateDer<'static>]| match anchors
        .verify(&leaf[0], along, Usage::Client, None, now())
        .unwrap_err()
    {
        ChainFault::Path(error) => error,
        ChainFault::Revocation(_) => panic!("no list is asked"),
    };
    let twice_sent = [&along[..2], &along[..2], &along[..1]].concat();

    assert_eq!(verify(&along), webpki::Error::MaximumPathBuildCallsExceeded);
    assert_eq!(verify(&along[..3]), webpki::Error::MaximumPathBuildCallsExceeded);
    assert_eq!(verify(&along[..2]), webpki::Error::UnknownIssuer);
    assert_eq!(verify(&twice_sent), webpki::Error::UnknownIssuer);
}
