//! A throw-away PKI: one authority, the gateway's two faces, the endpoints' identity and a partner's.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use super::files::{write_public, write_secret};
use super::{DemoFault, TRUST_DOMAIN};

/// Long enough for a week of looking around, short enough that nobody builds on it.
const VALIDITY: Duration = Duration::from_secs(7 * 86_400);

/// A certificate chain and its key, in PEM.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Everything that was signed.
pub(super) struct Pki {
    pub(super) ca: String,
    pub(super) server: Credential,
    pub(super) gateway: Credential,
    pub(super) endpoint: Credential,
    pub(super) partner: Credential,
}

impl Pki {
    /// Makes new keys and certificates; nothing is kept from an earlier demo.
    pub(super) fn make() -> Result<Self, DemoFault> {
        let mut params = base("Portcullis demo authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{TRUST_DOMAIN}"))?];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self {
            server: server(&ca)?,
            gateway: workload(&ca, "gateway")?,
            endpoint: workload(&ca, "appointments")?,
            partner: workload(&ca, "scheduler")?,
            ca: ca.pem(),
        })
    }

    /// Writes what the configuration names, keys readable by their owner alone.
    pub(super) fn write(&self, folder: &Path) -> Result<(), DemoFault> {
        write_public(&folder.join("ca.pem"), &self.ca)?;
        let named = [
            ("server", &self.server),
            ("gateway", &self.gateway),
            ("partner", &self.partner),
        ];
        for (name, credential) in named {
            write_public(&folder.join(format!("{name}.pem")), &credential.chain)?;
            write_secret(&folder.join(format!("{name}.key")), &credential.key)?;
        }
        Ok(())
    }
}

fn server(ca: &CertifiedIssuer<'_, KeyPair>) -> Result<Credential, DemoFault> {
    let mut params = base("Portcullis demo gateway")?;
    params.subject_alt_names = vec![
        SanType::DnsName(Ia5String::try_from("localhost")?),
        SanType::IpAddress([127, 0, 0, 1].into()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(ca, &params)
}

/// An X.509-SVID: exactly one URI SAN, no DNS names, usable on both sides of a handshake.
fn workload(ca: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Result<Credential, DemoFault> {
    let mut params = base(&format!("Portcullis demo {name}"))?;
    params.subject_alt_names = vec![uri(&format!("spiffe://{TRUST_DOMAIN}/{name}"))?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    sign(ca, &params)
}

fn sign(ca: &CertifiedIssuer<'_, KeyPair>, params: &CertificateParams) -> Result<Credential, DemoFault> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    Ok(Credential {
        chain: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn base(name: &str) -> Result<CertificateParams, DemoFault> {
    let mut params = CertificateParams::new(Vec::new())?;
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // A minute back, for a client whose clock is a little behind.
    params.not_before = epoch + since_1970.saturating_sub(Duration::from_secs(60));
    params.not_after = epoch + since_1970 + VALIDITY;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn uri(text: &str) -> Result<SanType, DemoFault> {
    Ok(SanType::URI(Ia5String::try_from(text)?))
}
