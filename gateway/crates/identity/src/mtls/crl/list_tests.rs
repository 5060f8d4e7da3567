use proptest::prelude::*;
use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, date_time_ymd};

use super::super::samples::{der, list, serial, shaped};
use super::*;
use crate::testing::{TestCa, now};

const WEB: &str = "spiffe://corp.example/web";

fn read(bytes: &Bytes) -> RevocationList {
    RevocationList::read(bytes.clone()).unwrap()
}

fn key_of(ca: &TestCa) -> Vec<u8> {
    webpki::anchor_from_trusted_cert(&ca.anchors()[0])
        .unwrap()
        .subject_public_key_info
        .to_vec()
}

#[test]
fn a_list_names_whom_it_revokes_and_nobody_else() {
    let ca = TestCa::new("ca");
    let revoked: Vec<_> = (0..20).map(|_| ca.leaf(&[WEB]).chain.remove(0)).collect();
    let good = ca.leaf(&[WEB]).chain.remove(0);

    let list = read(&list(&ca, &revoked.iter().collect::<Vec<_>>()));

    assert_eq!(list.len(), 20);
    for certificate in &revoked {
        assert!(list.revokes(&serial(certificate)));
    }
    assert!(!list.revokes(&serial(&good)));
    assert!(!list.revokes(&[]));
    assert!(list.this_update() < now() && now() < list.next_update());
}

/// RFC 5280 section 4.1.2.2: a serial number is an integer, and zeros in front of it are nothing.
#[test]
fn a_serial_number_is_a_number_however_many_zeros_stand_before_it() {
    let ca = TestCa::new("ca");
    let leaf = ca.shaped(&[WEB], |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0xf0, 1]));
    });

    let list = read(&list(&ca, &[&leaf.chain[0]]));

    assert_eq!(serial(&leaf.chain[0]), [0, 0xf0, 1]);
    assert!(list.revokes(&[0, 0xf0, 1]) && list.revokes(&[0xf0, 1]) && list.revokes(&[0, 0, 0xf0, 1]));
    assert!(!list.revokes(&[1, 0xf0, 1]) && !list.revokes(&[0xf0]));
}

#[test]
fn a_signature_counts_for_the_key_that_made_it() {
    let (ours, theirs) = (TestCa::new("ca"), TestCa::new("ca"));
    let list = read(&list(&ours, &[]));

    for _ in 0..2 {
        assert!(list.is_signed_by(&key_of(&ours)));
        assert!(!list.is_signed_by(&key_of(&theirs)));
    }
    assert!(!list.is_signed_by(b"no key at all"));
    assert_eq!(list.proven_signers(), [Bytes::from(key_of(&ours))]);
}

#[test]
fn a_list_that_was_changed_is_signed_by_nobody() {
    let ca = TestCa::new("ca");
    let good = list(&ca, &[&ca.leaf(&[WEB]).chain[0]]);
    let mut spoilt = good.to_vec();
    // The last octet of the signed part: in front of algorithm and signature.
    let signed = read(&good).tbs.len();
    spoilt[signed - 1] ^= 1;

    let spoilt = RevocationList::read(Bytes::from(spoilt));

    assert!(spoilt.is_err() || !spoilt.unwrap().is_signed_by(&key_of(&ca)));
}

#[test]
fn a_document_may_hold_several_lists_in_pem() {
    let (one, other) = (TestCa::new("one"), TestCa::new("other"));
    let pem = [list(&one, &[]), list(&other, &[])].map(|list| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &list);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    });

    let lists = read_document(&Bytes::from(pem.concat())).unwrap();

    assert_eq!(lists.len(), 2);
    assert_ne!(lists[0].issuer(), lists[1].issuer());
    assert_eq!(
        read_document(&Bytes::from(pem[0].repeat(MAX_LISTS + 1))).unwrap_err(),
        CrlFault::TooMany
    );
}

#[test]
fn what_is_no_list_is_refused_and_says_so() {
    let certificate = TestCa::new("ca").leaf(&[WEB]).chain.remove(0);

    for nothing in [
        &b""[..],
        b"garbage",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let fault = read_document(&Bytes::copy_from_slice(nothing)).unwrap_err();
        assert_eq!(fault, CrlFault::NoList, "{nothing:?}");
        assert!(fault.advice().contains("BEGIN X509 CRL"));
    }
    assert!(RevocationList::read(Bytes::copy_from_slice(&certificate)).is_err());
}

/// A list made by hand, unsigned: version, what follows the times, extensions.
fn by_hand(version: &[u8], after_times: &[u8], extensions: Option<&[u8]>) -> Result<(), CrlFault> {
    let sample = list(&TestCa::new("ca"), &[]);
    let sample = read(&sample);
    let algorithm = der(SEQUENCE, &[&sample.algorithm]);
    let issuer = der(SEQUENCE, &[&sample.issuer]);
    let time = der(0x17, &[b"270101000000Z"]);
    let extensions =
        extensions.map_or_else(Vec::new, |extensions| der(0xa0, &[&der(SEQUENCE, &[extensions])]));
    let tbs = der(
        SEQUENCE,
        &[version, &algorithm, &issuer, &time, after_times, &extensions],
    );
    let whole = der(SEQUENCE, &[&tbs, &algorithm, &der(0x03, &[&[0, 1, 2, 3]])]);
    RevocationList::read(Bytes::from(whole)).map(|_| ())
}

const V2: &[u8] = &[INTEGER, 1, 1];

fn next_update() -> Vec<u8> {
    der(0x17, &[b"270201000000Z"])
}

fn extension(id: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if is_critical { &[0x01, 1, 0xff] } else { &[] };
    der(SEQUENCE, &[&der(0x06, &[id]), critical, &der(0x04, &[value])])
}

/// id-ce-cRLNumber with the number 1.
fn number() -> Vec<u8> {
    extension(&[0x55, 0x1d, 20], false, &[INTEGER, 1, 1])
}

#[test]
fn a_list_of_version_2_with_a_number_is_read() {
    assert_eq!(by_hand(V2, &next_update(), Some(&number())), Ok(()));
}

/// RFC 5280 section 5.1.2.1; `openssl ca -gencrl` without `crlnumber` makes such lists.
#[test]
fn a_version_1_list_is_refused_by_its_cause() {
    let fault = by_hand(&[], &next_update(), None).unwrap_err();

    assert_eq!(fault, CrlFault::Version1);
    assert!(fault.to_string().contains("version 1"));
    assert!(fault.advice().contains("crlnumber"));
    assert!(by_hand(&[INTEGER, 1, 2], &next_update(), Some(&number())).is_err());
}

/// RFC 5280 section 5.1.2.5: conforming issuers say when the next list comes; without it no list is ever stale.
#[test]
fn a_list_that_never_ends_is_refused() {
    assert_eq!(by_hand(V2, &[], Some(&number())), Err(CrlFault::NoNextUpdate));
}

/// RFC 5280 section 5.2.4.
#[test]
fn a_delta_list_is_refused() {
    let delta = extension(&[0x55, 0x1d, 27], true, &[INTEGER, 1, 1]);

    let fault = by_hand(V2, &next_update(), Some(&[number(), delta].concat()));

    assert_eq!(fault, Err(CrlFault::Delta));
}

/// RFC 5280 section 5.2: a critical extension that is not known makes the list unusable; any other is passed over.
#[test]
fn a_list_with_a_critical_extension_that_is_not_known_is_refused() {
    let with = |is_critical| {
        let strange = extension(&[0x2a, 3, 4], is_critical, &[0x05, 0]);
        by_hand(V2, &next_update(), Some(&[number(), strange].concat()))
    };

    assert_eq!(with(true), Err(CrlFault::CriticalExtension));
    assert_eq!(with(false), Ok(()));
}

/// RFC 5280 sections 5.2.5 and 5.3.3: such lists speak for other issuers, or for some reasons only.
#[test]
fn indirect_lists_and_those_for_some_reasons_are_refused() {
    let point = |flags: &[u8]| {
        let uri = der(0x86, &[b"http://pki.example/a.crl"]);
        let name = der(0xa0, &[&der(0xa0, &[&uri])]);
        let point = extension(&[0x55, 0x1d, 28], true, &der(SEQUENCE, &[&name, flags]));
        by_hand(V2, &next_update(), Some(&[number(), point].concat()))
    };
    let entry = {
        let name = der(SEQUENCE, &[&der(0xa4, &[&[SEQUENCE, 0]])]);
        let issuer = der(SEQUENCE, &[&extension(&[0x55, 0x1d, 29], true, &name)]);
        let entry = der(
            SEQUENCE,
            &[&[INTEGER, 1, 9], &der(0x17, &[b"261201000000Z"]), &issuer],
        );
        der(SEQUENCE, &[&entry])
    };

    assert_eq!(point(&[]), Ok(()));
    assert_eq!(point(&[0x84, 1, 0xff]), Err(CrlFault::Indirect));
    assert_eq!(point(&[0x83, 2, 1, 2]), Err(CrlFault::SomeReasons));
    assert_eq!(
        by_hand(V2, &[next_update(), entry].concat(), Some(&number())),
        Err(CrlFault::Indirect)
    );
}

fn scoped(ca: &TestCa, scope: Option<CrlScope>) -> RevocationList {
    read(&shaped(ca, &[], |params| {
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec!["http://pki.example/1.crl".to_owned()],
            },
            scope,
        });
    }))
}

/// RFC 5280 section 6.3.3 (b): a list speaks for the certificates within its scope.
#[test]
fn a_list_speaks_only_for_the_certificates_of_its_scope() {
    let ca = TestCa::new("ca");
    let here = ["http://pki.example/1.crl".to_owned()];
    let elsewhere = ["http://pki.example/2.crl".to_owned()];
    let (all, leaves, authorities) = (
        scoped(&ca, None),
        scoped(&ca, Some(CrlScope::UserCertsOnly)),
        scoped(&ca, Some(CrlScope::CaCertsOnly)),
    );

    assert!(all.covers(true, Some(&here)) && all.covers(false, Some(&here)));
    assert!(!all.covers(true, Some(&elsewhere)));
    assert!(
        !all.covers(true, Some(&[])),
        "a place that cannot be read is another one"
    );
    assert!(leaves.covers(true, Some(&here)) && !leaves.covers(false, Some(&here)));
    assert!(!authorities.covers(true, Some(&here)) && authorities.covers(false, Some(&here)));
    let whole = read(&list(&ca, &[]));
    assert!(whole.covers(true, Some(&elsewhere)) && whole.covers(false, None));
}

/// RFC 5280 section 6.3.3 (b) (2) (i): one part of an authority's list says nothing of a certificate that does not name
/// this part, and a certificate that names no place may stand in any of them.
#[test]
fn a_part_of_a_list_speaks_for_no_certificate_that_names_no_place() {
    let ca = TestCa::new("ca");
    for scope in [None, Some(CrlScope::UserCertsOnly), Some(CrlScope::CaCertsOnly)] {
        let part = scoped(&ca, scope);

        assert!(!part.covers(true, None) && !part.covers(false, None));
    }
}

/// The same: an issuing distribution point without a name leaves out no place.
#[test]
fn a_list_without_a_place_of_its_own_speaks_for_certificates_of_every_place() {
    let point = |fields: &[u8]| Scope::read(&der(SEQUENCE, &[fields])).unwrap();
    let directory = der(0xa4, &[&[SEQUENCE, 0]]);
    let here = ["http://pki.example/1.crl".to_owned()];

    let (nameless, elsewhere) = (
        point(&[0x81, 1, 0xff]),
        point(&der(0xa0, &[&der(0xa0, &[&directory])])),
    );

    assert!(nameless.has(Some(&here)) && nameless.has(Some(&[])) && nameless.has(None));
    assert!(
        !elsewhere.has(Some(&here)) && !elsewhere.has(None),
        "a place that is no URL"
    );
}

#[test]
fn lists_of_one_scope_are_compared_by_their_time() {
    let (ca, other) = (TestCa::new("ca"), TestCa::new("other"));
    let old = read(&list(&ca, &[]));
    let new = read(&shaped(&ca, &[], |params| {
        params.this_update = date_time_ymd(2027, 1, 9);
    }));

    assert_eq!(new.newer_than(&old), Some(Ordering::Greater));
    assert_eq!(old.newer_than(&new), Some(Ordering::Less));
    assert_eq!(old.newer_than(&scoped(&ca, None)), None);
    assert_eq!(old.newer_than(&read(&list(&other, &[]))), None);
}

thread_local! {
    static SAMPLE: Bytes = {
        let ca = TestCa::new("ca");
        let revoked = ca.leaf(&[WEB]).chain.remove(0);
        list(&ca, &[&revoked])
    };
}

#[test]
fn a_list_cut_anywhere_is_refused_and_no_panic() {
    SAMPLE.with(|sample| {
        for length in 0..sample.len() {
            assert!(RevocationList::read(sample.slice(..length)).is_err(), "{length}");
        }
    });
}

proptest! {
    /// Whatever stands in a document, reading it ends, and what was read can be asked.
    #[test]
    fn spoilt_lists_never_panic(position in 0usize..4096, octet: u8, garbage: Vec<u8>) {
        let mut spoilt = SAMPLE.with(|sample| sample.to_vec());
        let position = position % spoilt.len();
        spoilt[position] = octet;

        for document in [spoilt, garbage] {
            if let Ok(lists) = read_document(&Bytes::from(document)) {
                for list in lists {
                    list.revokes(&[1, 2, 3]);
                    list.covers(true, Some(&[]));
                    list.is_signed_by(&[SEQUENCE, 0]);
                }
            }
        }
    }
}
