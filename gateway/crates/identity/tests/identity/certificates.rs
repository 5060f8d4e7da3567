//! Certificates that name a workload, or seem to (X509-SVID sections 2 to 5): the seeds of the fuzz target.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    SanType,
};

const WEB: &str = "spiffe://corp.example/web";

/// Names and bytes; what is accepted names one workload.
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |kind: &str, name: &str, bytes: Vec<u8>| seeds.push((format!("{kind}-{name}"), bytes));
    add("accepted", "one-name", leaf(&[WEB]));
    add(
        "accepted",
        "beside-dns-and-address",
        leaf(&["web.example", WEB, "10.0.0.1"]),
    );
    add("accepted", "longest", leaf(&[&id(2048)]));
    add("accepted", "odd-letters", leaf(&["spiffe://a-b_c.9/A.b-C_d/..."]));
    add(
        "accepted",
        "chain-of-two",
        chain(&[leaf(&[WEB]), shaped(&[], authority)]),
    );
    add("refused", "no-name", leaf(&[]));
    add("refused", "dns-only", leaf(&["web.example"]));
    add(
        "refused",
        "two-workloads",
        leaf(&[WEB, "spiffe://corp.example/admin"]),
    );
    add("refused", "the-same-twice", leaf(&[WEB, WEB]));
    add(
        "refused",
        "another-uri-beside",
        leaf(&["https://corp.example/", WEB]),
    );
    add("refused", "trust-domain-alone", leaf(&["spiffe://corp.example"]));
    add("refused", "too-long", leaf(&[&id(2049)]));
    for (name, uri) in SPELLINGS {
        add("refused", name, leaf(&[uri]));
    }
    add("refused", "authority", shaped(&[WEB], authority));
    add(
        "refused",
        "signs-certificates",
        shaped(&[WEB], |params| {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign]
        }),
    );
    add(
        "refused",
        "signs-lists",
        shaped(&[WEB], |params| {
            params.key_usages = vec![KeyUsagePurpose::CrlSign]
        }),
    );
    add(
        "refused",
        "two-lists-of-names",
        shaped(&[WEB], |params| {
            params.custom_extensions = vec![names(b"spiffe://corp.example/admin")]
        }),
    );
    add(
        "refused",
        "a-list-of-names-that-is-none",
        shaped(&[], |params| {
            params.custom_extensions = vec![CustomExtension::from_oid_content(SAN, b"\x30\x7f".to_vec())];
        }),
    );
    let whole = leaf(&[WEB]);
    add("refused", "half", whole[..whole.len() / 2].to_vec());
    add("refused", "bytes-behind", [&whole[..], b"\0"].concat());
    add("refused", "nothing", Vec::new());
    add("refused", "text", WEB.as_bytes().to_vec());
    add("refused", "chain-without-a-leaf", chain(&[Vec::new(), whole]));
    seeds
}

/// RFC 3986 knows these as the same or as something else; a SPIFFE ID has one spelling (SPIFFE-ID section 2).
const SPELLINGS: [(&str, &str); 18] = [
    ("scheme-in-capitals", "SPIFFE://corp.example/web"),
    ("domain-in-capitals", "spiffe://Corp.example/web"),
    ("nul-behind", "spiffe://corp.example/web\0"),
    ("nul-in-domain", "spiffe://corp.example\0.evil/web"),
    ("dots", "spiffe://corp.example/a/../web"),
    ("dot", "spiffe://corp.example/./web"),
    ("empty-segment", "spiffe://corp.example//web"),
    ("slash-behind", "spiffe://corp.example/web/"),
    ("percent", "spiffe://corp.example/%77eb"),
    ("percent-dots", "spiffe://corp.example/%2e%2e/web"),
    ("query", "spiffe://corp.example/web?x=1"),
    ("fragment", "spiffe://corp.example/web#x"),
    ("user", "spiffe://user@corp.example/web"),
    ("port", "spiffe://corp.example:443/web"),
    ("no-domain", "spiffe:///web"),
    ("one-slash", "spiffe:/corp.example/web"),
    ("backslash", "spiffe://corp.example\\web"),
    ("blank-before", " spiffe://corp.example/web"),
];

const SAN: &[u64] = &[2, 5, 29, 17];

fn id(length: usize) -> String {
    format!("spiffe://corp.example/{}", "a".repeat(length - 22))
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Another subject alternative name extension with one URI.
fn names(uri: &[u8]) -> CustomExtension {
    let name = [&[0x86, uri.len() as u8][..], uri].concat();
    CustomExtension::from_oid_content(SAN, [&[0x30, name.len() as u8][..], &name].concat())
}

fn leaf(names: &[&str]) -> Vec<u8> {
    shaped(names, |_| ())
}

fn shaped(names: &[&str], shape: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = names.iter().map(|name| san(name)).collect();
    shape(&mut params);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn san(name: &str) -> SanType {
    if name.contains(':') {
        return SanType::URI(name.try_into().unwrap());
    }
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }
}

/// Each behind its length.
fn chain(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for certificate in certificates {
        bytes.extend((certificate.len() as u16).to_be_bytes());
        bytes.extend(certificate);
    }
    bytes
}
