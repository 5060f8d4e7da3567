//! Revocation lists (RFC 5280 section 5), and what is none: the seeds of the fuzz target.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// Names and bytes; what is accepted is a list that may be used.
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |kind: &str, name: &str, bytes: Vec<u8>| seeds.push((format!("{kind}-{name}"), bytes));
    let one = list(vec![revoked(&[7])], None);
    add("accepted", "nobody", list(Vec::new(), None));
    add("accepted", "one", one.clone());
    add(
        "accepted",
        "many",
        list((0..60).map(|number| revoked(&[1, number])).collect(), None),
    );
    add(
        "accepted",
        "longest-serial",
        list(vec![revoked(&[0x7f; 20]), revoked(&[0, 0, 7])], None),
    );
    add(
        "accepted",
        "same-twice",
        list(vec![revoked(&[7]), revoked(&[7])], None),
    );
    let scope = |scope| {
        Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec!["http://pki.example/a.crl".to_owned()],
            },
            scope,
        })
    };
    add("accepted", "of-a-point", list(vec![revoked(&[7])], scope(None)));
    add(
        "accepted",
        "for-leaves",
        list(vec![revoked(&[7])], scope(Some(CrlScope::UserCertsOnly))),
    );
    add("accepted", "pem", pem(&one));
    add(
        "accepted",
        "two-in-pem",
        [pem(&one), pem(&list(Vec::new(), None))].concat(),
    );
    add("refused", "nothing", Vec::new());
    add("refused", "half", one[..one.len() / 2].to_vec());
    add("refused", "bytes-behind", [&one[..], b"\0"].concat());
    add("refused", "half-pem", pem(&one)[..80].to_vec());
    add("refused", "pem-of-something-else", pem_of("CERTIFICATE", &one));
    add("refused", "page", b"<html>502 Bad Gateway</html>".to_vec());
    add("refused", "sequence-of-nothing", vec![0x30, 0]);
    add(
        "refused",
        "length-beyond",
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    );
    add("refused", "endless", vec![0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0]);
    add("refused", "certificate", crate::certificates::seeds().remove(0).1);
    // The version, one octet behind its head: 1 says version 2.
    let version = one.windows(3).position(|octets| octets == [2, 1, 1]).unwrap();
    let mut third = one.clone();
    third[version + 2] = 2;
    add("refused", "version-3", third);
    seeds
}

fn revoked(serial: &[u8]) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    }
}

fn list(
    revoked_certs: Vec<RevokedCertParams>,
    issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2027, 1, 1),
        next_update: date_time_ymd(2027, 2, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().der().to_vec()
}

fn pem(der: &[u8]) -> Vec<u8> {
    pem_of("X509 CRL", der)
}

fn pem_of(label: &str, der: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
    .into_bytes()
}
