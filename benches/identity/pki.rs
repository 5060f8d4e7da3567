//! An authority with a server and a client, and servers that trust it: rustls alone, and the gateway.

use std::fs;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::house::House;

/// Names whose clients must show a certificate, and whose clients are asked for one.
pub const STRICT: &str = "strict.example.com";
pub const ASKING: &str = "asking.example.com";

/// A leaf with its key.
struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
}

pub struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    server: Leaf,
    client: Leaf,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let workload = SanType::URI("spiffe://bench.example/client".try_into().unwrap());
        Self {
            server: leaf(
                &root,
                vec![dns(STRICT), dns(ASKING)],
                ExtendedKeyUsagePurpose::ServerAuth,
            ),
            client: leaf(&root, vec![workload], ExtendedKeyUsagePurpose::ClientAuth),
            root,
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        Arc::new(roots)
    }

    pub fn client(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(self.client.chain.clone(), self.client.key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// What anybody would write with rustls alone, keeping sessions as the gateway does for such a name.
    pub fn plain(&self, keeps_sessions: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(self.server.chain.clone(), self.server.key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if keeps_sessions {
            config.session_storage = ServerSessionMemoryCache::new(1024);
            config.ticketer = Ticketer::new().unwrap();
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Arc::new(config)
    }

    /// A list of this many certificates, none of which is the client's.
    pub fn list(&self, count: u32) -> Vec<u8> {
        let revoked = |number: u32| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[&[1][..], &number.to_be_bytes()].concat()),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: (0..count).map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.root).unwrap().der().to_vec()
    }

    /// What the client shows.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.client.chain
    }

    /// A gateway whose clients are looked up on a list, if there is one.
    pub fn house(&self, list: Option<&[u8]>) -> House {
        let crl = if list.is_some() { ", crl: [list.crl]" } else { "" };
        let configuration = format!(
            r#"
version: 1
listeners:
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: require, trust: [partners] }}
      hosts: {{ {ASKING}: {{ client_certificates: {{ mode: request, trust: [partners] }} }} }}
trust: {{ partners: {{ pem: ca.pem{crl} }} }}
pools: {{ orders: {{ endpoints: [{{ address: "127.0.0.1:3001" }}] }} }}
routes: [{{ name: orders, match: {{ path: "/**" }}, authenticate: [{{ mtls: partners }}], authorize: [authenticated], pool: orders }}]
"#
        );
        House::open(&configuration, |folder| {
            fs::write(folder.join("server.pem"), &self.server.pem).unwrap();
            fs::write(folder.join("server.key"), self.server.key.serialize_pem()).unwrap();
            fs::write(folder.join("ca.pem"), self.root.pem()).unwrap();
            if let Some(list) = list {
                fs::write(folder.join("list.crl"), list).unwrap();
            }
        })
    }
}

impl Leaf {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

fn leaf(
    root: &CertifiedIssuer<'static, KeyPair>,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
) -> Leaf {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, root).unwrap();
    Leaf {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    }
}
