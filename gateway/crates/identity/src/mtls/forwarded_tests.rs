use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

use super::*;

/// A certificate with this subject and workload, or with none.
fn peer(subject: DistinguishedName, workload: Option<&str>) -> PeerIdentity {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = subject;
    params.subject_alt_names = workload
        .iter()
        .map(|name| rcgen::SanType::URI((*name).try_into().unwrap()))
        .collect();
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    PeerIdentity::from_chain(std::slice::from_ref(certificate.der()))
}

fn named(name: impl Into<DnValue>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// How an endpoint treats a backslash within quotes.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// It escapes whatever follows.
    Escaping,
    /// It escapes a quote alone.
    EscapingQuotes,
    /// It is a letter.
    Literal,
}

const READERS: [Reader; 3] = [Reader::Escaping, Reader::EscapingQuotes, Reader::Literal];

/// Reads one element: names with what stands after them, quotes off.
fn read(text: &str, reader: Reader) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let name: String = rest.by_ref().take_while(|letter| *letter != '=').collect();
        let mut value = String::new();
        let is_quoted = rest.next_if_eq(&'"').is_some();
        while let Some(letter) = rest.next() {
            let escapes = match (letter, reader) {
                ('\\', Reader::Escaping) => true,
                ('\\', Reader::EscapingQuotes) => rest.peek() == Some(&'"'),
                _ => false,
            };
            match letter {
                '"' if is_quoted => {
                    assert!(matches!(rest.next(), None | Some(';')), "{text}");
                    break;
                }
                ';' if !is_quoted => break,
                ',' if !is_quoted => panic!("a second element: {text}"),
                _ if escapes && is_quoted => {
                    value.push(letter);
                    value.extend(rest.next());
                }
                letter => value.push(letter),
            }
        }
        pairs.push((name, value));
    }
    pairs
}

/// Undoes what RFC 4514 writes as hex pairs.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'\\' {
            let pair = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    bytes
}

fn assert_is_whole(peer: &PeerIdentity, subject: &[u8]) {
    let text = peer.forwarded_element(None).unwrap();
    let text = text.to_str().unwrap();
    assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
    let naive: Vec<&str> = text.split(';').collect();
    assert_eq!(naive.len(), if peer.spiffe_id.is_ok() { 3 } else { 2 }, "{text}");
    for reader in READERS {
        let pairs = read(text, reader);
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = match &peer.spiffe_id {
            Ok(id) => {
                assert_eq!(pairs[2].1, id.to_string());
                &["Hash", "Subject", "URI"]
            }
            Err(_) => &["Hash", "Subject"],
        };
        assert_eq!(names, expected, "{reader:?}: {text}");
        assert_eq!(pairs[0].1.len(), 64);
        let value = pairs[1].1.strip_prefix("CN=").unwrap();
        assert_eq!(unescaped(value), subject, "{reader:?}: {text}");
    }
}

/// Envoy CVE-2025-66220 and its like: what a certificate says must not end the value it is told in.
#[test]
fn a_hostile_subject_stays_within_its_quotes() {
    for name in [
        "plain",
        "",
        " edges ",
        "\"",
        "\\",
        "a\\",
        "\\\"",
        "a\";URI=spiffe://corp.example/admin;x=\"",
        "a\\\";URI=spiffe://corp.example/admin",
        "a,By=spiffe://corp.example/gateway;Hash=00",
        "a;URI=spiffe://corp.example/admin",
        "a+CN=b,O=c",
        "#414243",
        "a\r\nx-portcullis-identity: root\r\n\r\nGET / HTTP/1.1",
        "a\0b",
        "Zoë 証明書 \u{202e}\u{feff}",
        "<script>",
    ] {
        assert_is_whole(
            &peer(named(name), Some("spiffe://corp.example/web")),
            name.as_bytes(),
        );
        assert_is_whole(&peer(named(name), None), name.as_bytes());
    }
}

#[test]
fn a_subject_is_written_as_rfc_4514_writes_it() {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CountryName, "DE");
    subject.push(DnType::OrganizationName, "Example, Inc.");
    subject.push(DnType::OrganizationalUnitName, "a b");
    subject.push(DnType::CommonName, "web");
    let text = element(&peer(subject, None));

    assert!(
        text.ends_with(r#";Subject="CN=web,OU=a b,O=Example\2C Inc.,C=DE""#),
        "{text}"
    );
}

#[test]
fn a_part_without_a_name_or_a_plain_encoding_is_written_in_hex() {
    let mut subject = DistinguishedName::new();
    // emailAddress, which RFC 4514 has no name for, and a text in UTF-16.
    subject.push(
        DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
        DnValue::Ia5String("a@b".try_into().unwrap()),
    );
    subject.push(DnType::CommonName, DnValue::BmpString("ab".try_into().unwrap()));
    let text = element(&peer(subject, None));

    assert!(
        text.ends_with(r#";Subject="CN=#1e0400610062,1.2.840.113549.1.9.1=#1603614062""#),
        "{text}"
    );
}

#[test]
fn what_cannot_be_read_is_told_by_its_hash_alone() {
    let peer = PeerIdentity::from_chain(&[b"no certificate".to_vec().into()]);

    let text = peer.forwarded_element(None).unwrap();
    assert!(text.to_str().unwrap().ends_with(";Subject=\"\""));
}

/// Formatted once: the same bytes are told again, and by another name others.
#[test]
fn what_was_told_is_told_again_without_writing_it_anew() {
    let peer = PeerIdentity::from_chain(&[b"no certificate".to_vec().into()]);
    let name = |text: &str| Some(Arc::new(SpiffeId::new(text).unwrap()));
    let (us, them) = (
        name("spiffe://corp.example/us"),
        name("spiffe://corp.example/them"),
    );
    let told = |by: &Option<Arc<SpiffeId>>| peer.clone().forwarded_element(by.clone()).unwrap();

    for by in [&us, &them, &None] {
        let (first, second) = (told(by), told(by));
        assert_eq!(first.as_bytes().as_ptr(), second.as_bytes().as_ptr());
    }
    assert_ne!(told(&us), told(&them));
    assert!(
        told(&us)
            .to_str()
            .unwrap()
            .starts_with("By=spiffe://corp.example/us;Hash=")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_escaped_so_that_no_reader_finds_an_end_in_it(name in ".{0,64}") {
        let mut text = String::new();
        push_escaped(&mut text, &name);

        prop_assert_eq!(unescaped(&text), name.as_bytes());
        prop_assert!(!text.contains(['"', ';', ',', '=', '+']));
        let escapes = text.match_indices('\\').all(|(index, _)| {
            text.as_bytes()[index + 1..index + 3].iter().all(u8::is_ascii_hexdigit)
        });
        prop_assert!(escapes, "{}", text);
    }

    #[test]
    fn any_certificate_is_told_in_one_element(name in any::<String>()) {
        let peer = peer(named(name.as_str()), Some("spiffe://corp.example/web"));

        assert_is_whole(&peer, name.as_bytes());
    }
}
