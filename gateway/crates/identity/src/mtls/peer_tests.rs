use proptest::prelude::*;
use rcgen::{BasicConstraints, CustomExtension, IsCa, KeyUsagePurpose};

use super::*;
use crate::testing::TestCa;

const WEB: &str = "spiffe://corp.example/web";

fn identity(names: &[&str]) -> Result<SpiffeId, PeerIdentityFault> {
    PeerIdentity::from_chain(&TestCa::new("ca").leaf(names).chain).spiffe_id
}

#[test]
fn one_spiffe_uri_names_the_workload() {
    assert_eq!(identity(&[WEB]).unwrap().to_string(), WEB);
}

#[test]
fn dns_names_beside_the_uri_do_not_matter() {
    assert_eq!(
        identity(&["web.corp.example", WEB, "10.0.0.1"])
            .unwrap()
            .to_string(),
        WEB
    );
}

#[test]
fn no_uri_is_refused() {
    assert_eq!(identity(&["web.corp.example"]), Err(PeerIdentityFault::NoUri));
    assert_eq!(identity(&[]), Err(PeerIdentityFault::NoUri));
}

#[test]
fn a_second_uri_is_refused_whatever_it_is() {
    assert_eq!(
        identity(&[WEB, "spiffe://corp.example/admin"]),
        Err(PeerIdentityFault::SeveralUris)
    );
    assert_eq!(
        identity(&[WEB, "https://corp.example/"]),
        Err(PeerIdentityFault::SeveralUris)
    );
    assert_eq!(identity(&[WEB, WEB]), Err(PeerIdentityFault::SeveralUris));
}

#[test]
fn other_spellings_of_a_spiffe_id_are_refused() {
    for uri in [
        "SPIFFE://corp.example/web",
        "spiffe://CORP.example/web",
        "spiffe://corp.example/web\0",
        "spiffe://corp.example\0.evil/web",
        "spiffe://corp.example/a/../web",
        "spiffe://corp.example/./web",
        "spiffe://corp.example//web",
        "spiffe://corp.example/web/",
        "spiffe://corp.example/%77eb",
        "spiffe://corp.example/web?x=1",
        "spiffe://corp.example/web#x",
        "spiffe://user@corp.example/web",
        "spiffe://corp.example:443/web",
        "spiffe:///web",
        "spiffe:/corp.example/web",
        "https://corp.example/web",
        " spiffe://corp.example/web",
    ] {
        assert_eq!(identity(&[uri]), Err(PeerIdentityFault::NotSpiffe), "{uri:?}");
    }
}

#[test]
fn an_id_that_names_only_a_trust_domain_is_refused() {
    assert_eq!(
        identity(&["spiffe://corp.example"]),
        Err(PeerIdentityFault::NoPath)
    );
}

#[test]
fn an_id_over_the_bound_is_refused() {
    let id = |length: usize| format!("spiffe://corp.example/{}", "a".repeat(length - 22));

    assert!(parse_workload(&id(MAX_SPIFFE_ID)).is_ok());
    assert_eq!(
        parse_workload(&id(MAX_SPIFFE_ID + 1)),
        Err(PeerIdentityFault::NotSpiffe)
    );
}

#[test]
fn a_signing_certificate_is_no_workload() {
    let ca = TestCa::new("ca");
    let authority = ca.shaped(&[WEB], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let signer = ca.shaped(&[WEB], |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign]
    });
    let honest = ca.shaped(&[WEB], |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature]
    });
    let of = |leaf: &crate::testing::TestLeaf| PeerIdentity::from_chain(&leaf.chain).spiffe_id;

    assert_eq!(of(&authority), Err(PeerIdentityFault::SigningCertificate));
    assert_eq!(of(&signer), Err(PeerIdentityFault::SigningCertificate));
    assert!(of(&honest).is_ok());
}

#[test]
fn a_second_extension_of_names_is_refused() {
    let leaf = TestCa::new("ca").shaped(&[WEB], |params| {
        // SEQUENCE { [6] "spiffe://b/c" }
        let mut names = vec![0x30, 14, 0x86, 12];
        names.extend_from_slice(b"spiffe://b/c");
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
    });

    assert_eq!(
        PeerIdentity::from_chain(&leaf.chain).spiffe_id,
        Err(PeerIdentityFault::Unreadable)
    );
}

#[test]
fn what_is_no_certificate_is_a_fault_and_no_panic() {
    let mut trailing = TestCa::new("ca").leaf(&[WEB]).chain;
    trailing[0] = CertificateDer::from([trailing[0].as_ref(), &[0]].concat());
    let garbage = [CertificateDer::from(b"not a certificate".to_vec())];

    assert_eq!(
        PeerIdentity::from_chain(&[]).spiffe_id,
        Err(PeerIdentityFault::Empty)
    );
    assert_eq!(
        PeerIdentity::from_chain(&garbage).spiffe_id,
        Err(PeerIdentityFault::Unreadable)
    );
    assert_eq!(
        PeerIdentity::from_chain(&trailing).spiffe_id,
        Err(PeerIdentityFault::Unreadable)
    );
}

#[test]
fn a_certificate_cut_anywhere_is_a_fault_and_no_panic() {
    let leaf = TestCa::new("ca").leaf(&[WEB]);

    for length in 1..leaf.chain[0].len() {
        let cut = [CertificateDer::from(leaf.chain[0][..length].to_vec())];
        assert!(PeerIdentity::from_chain(&cut).spiffe_id.is_err(), "{length}");
    }
}

#[test]
fn the_window_of_a_chain_is_that_of_its_shortest_certificate() {
    let ca = TestCa::new("ca");
    let long = ca.leaf(&[WEB]);
    let short = ca.shaped(&[WEB], |params| {
        params.not_after = rcgen::date_time_ymd(2030, 1, 1)
    });
    let chain = [long.chain[0].clone(), short.chain[0].clone()];

    let peer = PeerIdentity::from_chain(&chain);

    assert!(peer.valid_until() < peer.not_after);
    assert_eq!(
        peer.valid_until(),
        PeerIdentity::from_chain(&short.chain).not_after
    );
    let unreadable = [long.chain[0].clone(), CertificateDer::from(vec![1])];
    let peer = PeerIdentity::from_chain(&unreadable);
    assert_eq!(
        peer.valid_until(),
        peer.not_after,
        "what is never used never ends"
    );
}

/// The rules of SPIFFE-ID sections 2.1 and 2.2, written down a second time, for a workload in canonical form.
fn is_workload_by_the_rules(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://") else {
        return false;
    };
    let Some((domain, path)) = rest.split_once('/') else {
        return false;
    };
    let in_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let in_path = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    uri.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.chars().all(in_domain)
        && path
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.chars().all(in_path))
}

proptest! {
    /// The parser accepts exactly what the SPIFFE rules allow, and gives back the very same name.
    #[test]
    fn only_what_the_spiffe_rules_allow_is_accepted(
        uri in prop_oneof![
            "spiffe://[a-zA-Z0-9._@:-]{0,6}(/[a-zA-Z0-9._%-]{0,3}){0,4}",
            "(?i)spiffe:/{0,3}[a-z.]{0,4}/[a-z./]{0,6}[\\x00-\\x7f]?",
            ".*",
        ],
    ) {
        let parsed = parse_workload(&uri);

        prop_assert_eq!(parsed.is_ok(), is_workload_by_the_rules(&uri), "{:?}", uri);
        if let Ok(id) = parsed {
            prop_assert_eq!(id.to_string(), uri);
        }
    }

    /// No bytes make the reader panic, and none but a certificate's name a workload.
    #[test]
    fn spoilt_certificates_never_panic(position in 0usize..400, byte: u8) {
        let mut der = LEAF.with(|leaf| leaf.to_vec());
        let position = position % der.len();
        der[position] = byte;

        let peer = PeerIdentity::from_chain(&[CertificateDer::from(der)]);

        if let Ok(id) = peer.spiffe_id {
            prop_assert!(is_workload_by_the_rules(&id.to_string()));
        }
    }
}

thread_local! {
    static LEAF: CertificateDer<'static> = TestCa::new("ca").leaf(&[WEB]).chain[0].clone();
}
