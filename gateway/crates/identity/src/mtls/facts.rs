//! What a certificate says of itself, for people; nothing here decides.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::peer::at;

/// One certificate, read for a list or a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The serial number in lower-case hex, as records and the deny list write it.
    pub serial: String,
    /// SHA-256 of the whole certificate.
    pub sha256: [u8; 32],
    /// When it starts to be valid.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// Its alternative names with their kind, as in `DNS:api.example.com`.
    pub names: Vec<String>,
    /// What it may be used for, by its extended key usage; empty when it does not say.
    pub purposes: Vec<String>,
    /// The kind of its public key, as in `P-256` or `RSA 2048`.
    pub key: String,
    /// True when it may sign certificates.
    pub is_authority: bool,
    /// Where it says that its revocation list is.
    pub distribution_points: Vec<String>,
}

impl CertificateFacts {
    /// Reads one certificate in DER; `None` when it is not one.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        // The parser promises not to panic; a mistake in it must cost an answer, not the process.
        catch_unwind(AssertUnwindSafe(|| read(der))).ok().flatten()
    }
}

fn read(der: &[u8]) -> Option<CertificateFacts> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    Some(CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: certificate.tbs_certificate.serial.to_str_radix(16),
        sha256: Sha256::digest(der).into(),
        not_before: at(certificate.validity().not_before.timestamp()),
        not_after: at(certificate.validity().not_after.timestamp()),
        names: names(&certificate),
        purposes: purposes(&certificate),
        key: key(certificate.public_key()),
        is_authority: certificate.is_ca(),
        distribution_points: distribution_points(&certificate),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let alternative = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    alternative.flatten().map(name).collect()
}

/// A name with its kind; control characters escaped, since whoever made the certificate chose the text.
fn name(name: &GeneralName<'_>) -> String {
    let plain = |text: &str| text.escape_debug().to_string();
    match name {
        GeneralName::DNSName(text) => format!("DNS:{}", plain(text)),
        GeneralName::URI(text) => format!("URI:{}", plain(text)),
        GeneralName::RFC822Name(text) => format!("email:{}", plain(text)),
        GeneralName::DirectoryName(name) => format!("directory:{}", plain(&name.to_string())),
        GeneralName::IPAddress(bytes) => match address(bytes) {
            Some(address) => format!("IP:{address}"),
            None => "IP:unreadable".to_owned(),
        },
        GeneralName::Invalid(..) => "unreadable".to_owned(),
        _ => "other".to_owned(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// In the names of RFC 5280 section 4.2.1.12.
fn purposes(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return Vec::new();
    };
    let usage = usage.value;
    let named = [
        (usage.any, "any"),
        (usage.client_auth, "clientAuth"),
        (usage.server_auth, "serverAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = named.into_iter().filter(|(is_set, _)| *is_set);
    let other = usage.other.iter().map(|oid| oid.to_id_string());
    known.map(|(_, name)| name.to_owned()).chain(other).collect()
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = info.algorithm.algorithm.to_id_string();
    let curve = || {
        let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
        Some(match curve.to_id_string().as_str() {
            "1.2.840.10045.3.1.7" => "P-256".to_owned(),
            "1.3.132.0.34" => "P-384".to_owned(),
            "1.3.132.0.35" => "P-521".to_owned(),
            other => format!("EC {other}"),
        })
    };
    match (info.parsed(), algorithm.as_str()) {
        (Ok(PublicKey::RSA(key)), _) => format!("RSA {}", key.key_size()),
        (Ok(PublicKey::EC(_)), _) => curve().unwrap_or_else(|| "EC".to_owned()),
        (_, "1.3.101.112") => "Ed25519".to_owned(),
        (_, other) => other.to_owned(),
    }
}

fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let points = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points.iter()),
        _ => None,
    });
    let names = points
        .flatten()
        .filter_map(|point| match &point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => None,
        });
    let urls = names.flatten().filter_map(|name| match name {
        GeneralName::URI(url) => Some(url.escape_debug().to_string()),
        _ => None,
    });
    urls.collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CrlDistributionPoint, ExtendedKeyUsagePurpose};

    use super::*;
    use crate::testing::TestCa;

    #[test]
    fn a_certificate_is_told_with_names_purposes_key_and_end() {
        let ca = TestCa::new("partners");
        let leaf = ca.shaped(&["spiffe://corp.example/web", "web.corp.example"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.crl_distribution_points = vec![CrlDistributionPoint {
                uris: vec!["http://pki.example/p.crl".to_owned()],
            }];
        });

        let facts = CertificateFacts::read(&leaf.chain[0]).unwrap();

        assert!(facts.issuer.contains("partners"), "{}", facts.issuer);
        assert!(
            facts.names.contains(&"URI:spiffe://corp.example/web".to_owned()),
            "{:?}",
            facts.names
        );
        assert!(facts.names.contains(&"DNS:web.corp.example".to_owned()));
        assert_eq!(facts.purposes, ["clientAuth"]);
        assert_eq!(facts.key, "P-256");
        assert!(!facts.is_authority && facts.not_before < facts.not_after);
        assert_eq!(facts.distribution_points, ["http://pki.example/p.crl"]);
        assert_eq!(
            facts.serial,
            *super::super::PeerIdentity::from_chain(&leaf.chain).serial
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        let ca = TestCa::new("ca");
        let mut trailing = ca.leaf(&["spiffe://corp.example/web"]).chain[0].to_vec();
        trailing.push(0);

        assert_eq!(CertificateFacts::read(b""), None);
        assert_eq!(CertificateFacts::read(b"-----BEGIN CERTIFICATE-----"), None);
        assert_eq!(CertificateFacts::read(&trailing), None);
        assert!(CertificateFacts::read(&ca.anchors()[0]).unwrap().is_authority);
    }
}
