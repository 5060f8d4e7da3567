//! Lists as authorities issue them, and lists as nobody should.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::board::{CrlBoard, CrlFetch, NamedBy};
use super::revocation::{Revocation, RevocationParts};
use crate::jwt::{FetchFault, KeyFetch};
use crate::plan::{CrlDepth, CrlSource, OnStaleCrl};
use crate::testing::{ScriptedFetch, TestCa};

#[async_trait]
impl CrlFetch for ScriptedFetch {
    async fn fetch_list(&self, url: &str, _: NamedBy) -> Result<Bytes, FetchFault> {
        self.fetch(url).await
    }
}

/// A list that is current in the tests' present, and revokes these certificates.
pub(crate) fn list(ca: &TestCa, revoked: &[&CertificateDer<'_>]) -> Bytes {
    shaped(ca, revoked, |_| {})
}

/// The same after `shape` had its way.
pub(crate) fn shaped(
    ca: &TestCa,
    revoked: &[&CertificateDer<'_>],
    shape: impl FnOnce(&mut CertificateRevocationListParams),
) -> Bytes {
    let mut params = CertificateRevocationListParams {
        this_update: date_time_ymd(2027, 1, 1),
        next_update: date_time_ymd(2027, 2, 1),
        crl_number: SerialNumber::from(7u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|certificate| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial(certificate)),
                revocation_time: date_time_ymd(2026, 12, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    shape(&mut params);
    let list = params.signed_by(&ca.issuer).unwrap();
    Bytes::copy_from_slice(list.der())
}

/// An empty list of any issuer, whatever its own certificate allows.
pub(crate) fn list_by(issuer: &rcgen::Issuer<'_, impl rcgen::SigningKey>) -> Bytes {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2027, 1, 1),
        next_update: date_time_ymd(2027, 2, 1),
        crl_number: SerialNumber::from(7u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Bytes::copy_from_slice(params.signed_by(issuer).unwrap().der())
}

/// Several lists in one document.
pub(crate) fn pem(lists: &[Bytes]) -> Bytes {
    let text = lists.iter().map(|list| {
        let text = STANDARD.encode(list);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    });
    Bytes::from(text.collect::<String>())
}

/// The octets of a serial number.
pub(crate) fn serial(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    certificate.raw_serial().to_vec()
}

/// A list from a file.
pub(crate) fn document(bytes: &Bytes) -> CrlSource {
    CrlSource::Document {
        name: "sample.crl".into(),
        bytes: bytes.clone(),
    }
}

/// Revocation by these lists.
pub(crate) fn revocation(
    board: &Arc<CrlBoard>,
    lists: &[&Bytes],
    (depth, on_stale): (CrlDepth, OnStaleCrl),
) -> Revocation {
    let slot = |list: &&Bytes| board.slot(&document(list)).unwrap();
    Revocation::new(RevocationParts {
        owner: "mesh".to_owned(),
        slots: lists.iter().map(slot).collect(),
        board: Arc::clone(board),
        follows_points: false,
        depth,
        on_stale,
    })
}

/// One element in DER.
pub(crate) fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => element.push(length),
        Ok(length) => element.extend([0x81, length]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    element.extend(content);
    element
}
