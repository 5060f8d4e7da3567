//! Small real parts for this room's tests: a clock that is set, a fetch that is scripted, keys, tokens and a CA.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Alg, EncodingKey};
use portcullis_model::{IssuerId, Origin, Redacted, SpiffeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::boards::{Boards, Clock};
use crate::jwt::{FetchFault, KeyFetch};
use crate::mtls::Svid;
use crate::plan::{
    Algorithm, CertifiedKeyPlan, ClaimPaths, IssuerKind, IssuerPlan, KeySource, KeyTimes, TokenTypes,
};
use crate::tls::provider;

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const KEYS_URL: &str = "https://login.example.com/jwks";

/// The tests' present: 15 January 2027.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The tests' present as a NumericDate, some seconds away.
pub(crate) fn at(offset: i64) -> i64 {
    1_800_000_000 + offset
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Instant,
    passed: Arc<Mutex<Duration>>,
    /// By how many seconds the wall's clock was put forward, or back.
    put: Arc<Mutex<i64>>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            passed: Arc::default(),
            put: Arc::default(),
        }
    }

    /// Puts the wall's clock forward or back, as whoever sets a machine's time does: no time passes.
    pub(crate) fn put_by(&self, seconds: i64) {
        *self.put.lock().unwrap() += seconds;
    }

    pub(crate) fn wall(&self) -> SystemTime {
        let put = *self.put.lock().unwrap();
        let by = Duration::from_secs(put.unsigned_abs());
        let passed = now() + self.passed();
        if put < 0 { passed - by } else { passed + by }
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap() += by;
    }

    pub(crate) fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + *self.passed.lock().unwrap()
    }

    pub(crate) fn clock(&self) -> Clock {
        let (monotonic, wall) = (self.clone(), self.clone());
        Clock::new(move || monotonic.instant(), move || wall.wall())
    }
}

/// Answers from a table, counts, and can be made to wait.
pub(crate) struct ScriptedFetch {
    answers: Mutex<BTreeMap<String, Result<Bytes, FetchFault>>>,
    fetches: AtomicUsize,
    gate: Semaphore,
    open_urls: Mutex<BTreeSet<String>>,
}

impl ScriptedFetch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            fetches: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            open_urls: Mutex::default(),
        })
    }

    pub(crate) fn answer(&self, url: &str, body: impl ToString) {
        self.answers
            .lock()
            .unwrap()
            .insert(url.to_owned(), Ok(Bytes::from(body.to_string())));
    }

    pub(crate) fn answer_bytes(&self, url: &str, body: Bytes) {
        self.answers.lock().unwrap().insert(url.to_owned(), Ok(body));
    }

    pub(crate) fn fail(&self, url: &str, fault: FetchFault) {
        self.answers.lock().unwrap().insert(url.to_owned(), Err(fault));
    }

    pub(crate) fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Every fetch waits until `open`.
    pub(crate) fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1000);
    }

    /// Fetches of this address wait for nothing.
    pub(crate) fn open_for(&self, url: &str) {
        self.open_urls.lock().unwrap().insert(url.to_owned());
    }
}

#[async_trait]
impl KeyFetch for ScriptedFetch {
    async fn fetch(&self, url: &str) -> Result<Bytes, FetchFault> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        assert!(!url.ends_with("/panic"), "the test asks for it");
        let is_open = self.open_urls.lock().unwrap().contains(url);
        let _open = if is_open {
            None
        } else {
            Some(self.gate.acquire().await.unwrap())
        };
        self.answers
            .lock()
            .unwrap()
            .get(url)
            .cloned()
            .unwrap_or(Err(FetchFault::Status(404)))
    }
}

/// Boards over a clock and a fetch that the test holds.
pub(crate) fn boards() -> (Boards, TestClock, Arc<ScriptedFetch>) {
    let (clock, fetch) = (TestClock::new(), ScriptedFetch::new());
    (
        Boards::new(Arc::clone(&fetch) as Arc<dyn KeyFetch>, clock.clock()),
        clock,
        fetch,
    )
}

/// A signing key of an issuer.
pub(crate) struct TestKey {
    pub(crate) id: String,
    alg: Alg,
    key: EncodingKey,
    /// The public point, where the JWK of the key cannot be computed from the private one.
    point: Option<Vec<u8>>,
}

impl TestKey {
    pub(crate) fn es256(id: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self {
            id: id.to_owned(),
            alg: Alg::ES256,
            key,
            point: None,
        }
    }

    pub(crate) fn es384(id: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self {
            id: id.to_owned(),
            alg: Alg::ES384,
            key,
            point: None,
        }
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = EncodingKey::from_ed_der(&pair.serialize_der());
        Self {
            id: id.to_owned(),
            alg: Alg::EdDSA,
            key,
            point: Some(pair.public_key_raw().to_vec()),
        }
    }

    /// One RSA key serves every test: making one is slow.
    pub(crate) fn rsa(id: &str, alg: Alg) -> Self {
        static PEM: OnceLock<String> = OnceLock::new();
        let pem = PEM.get_or_init(|| {
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
                .unwrap()
                .serialize_pem()
        });
        Self {
            id: id.to_owned(),
            alg,
            key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
            point: None,
        }
    }

    /// The public key, with its `kid` and without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        if let Some(point) = &self.point {
            return json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": URL_SAFE_NO_PAD.encode(point)});
        }
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.alg).unwrap()).unwrap();
        let members = jwk.as_object_mut().unwrap();
        members.remove("alg");
        members.insert("kid".to_owned(), json!(self.id));
        jwk
    }

    /// A token with any header and claims.
    pub(crate) fn sign_raw(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.alg, &self.key).unwrap();
        let signature = signer.try_sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// An honest token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_raw(
            &json!({"alg": self.alg_name(), "kid": self.id}).to_string(),
            &claims.to_string(),
        )
    }

    pub(crate) fn alg_name(&self) -> String {
        format!("{:?}", self.alg)
    }
}

/// A key set of these keys.
pub(crate) fn jwks(keys: &[&TestKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// Claims that pass, for the tests to spoil.
pub(crate) fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": at(600), "scope": "read write"})
}

/// Claims that pass but for one member; `Null` removes it.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    members.remove(name);
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
    claims
}

/// An issuer that accepts the honest tokens above.
pub(crate) fn issuer_plan(keys: KeySource) -> IssuerPlan {
    IssuerPlan {
        id: IssuerId::new("customers"),
        origin: Origin::of("issuers.customers"),
        kind: IssuerKind::Url(ISSUER.into()),
        keys,
        key_times: KeyTimes::default(),
        audiences: vec!["api".into()],
        algorithms: Algorithm::DEFAULT.to_vec(),
        token_types: TokenTypes::access_tokens(),
        clock_skew: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(24 * 60 * 60),
        required: Vec::new(),
        claims: ClaimPaths::default(),
    }
}

/// A throw-away certificate authority.
pub(crate) struct TestCa {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a leaf may be besides ordinary.
pub(crate) type Shape = fn(&mut CertificateParams);

/// A chain and its key.
pub(crate) struct TestLeaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    pub(crate) fn anchors(&self) -> Vec<CertificateDer<'static>> {
        vec![self.issuer.der().clone()]
    }

    /// An authority that this one signed; its leaves come with the certificate in between.
    pub(crate) fn authority(&self, name: &str, shape: Shape) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap(),
        }
    }

    /// The same authority, which has this name, under another root: its name and key, signed by that root.
    pub(crate) fn crossed_by(&self, name: &str, root: &Self) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.signed_by(self.issuer.key(), &root.issuer).unwrap();
        certificate.der().clone()
    }

    /// A leaf with these names: `spiffe://…` and other URIs, DNS names, addresses.
    pub(crate) fn leaf(&self, names: &[&str]) -> TestLeaf {
        self.shaped(names, |_| {})
    }

    pub(crate) fn shaped(&self, names: &[&str], shape: Shape) -> TestLeaf {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TestLeaf {
            chain: vec![certificate.der().clone()],
            key,
        }
    }
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

impl TestLeaf {
    pub(crate) fn plan(&self) -> CertifiedKeyPlan {
        CertifiedKeyPlan {
            origin: Origin::of("certificate"),
            chain: self.chain.clone(),
            key_pem: Redacted::new(self.key.serialize_pem().into()),
        }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub(crate) fn svid(&self, id: &str) -> Svid {
        Svid {
            chain: self.chain.clone(),
            key: self.key(),
            spiffe_id: SpiffeId::new(id).unwrap(),
        }
    }
}

/// Both ends of a handshake that succeeded.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

fn roots(ca: &TestCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(ca.anchors());
    Arc::new(roots)
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

/// An ordinary client that trusts the authority and may have a certificate.
pub(crate) fn client_config(ca: &TestCa, leaf: Option<&TestLeaf>, alpn: &[&str]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(TestClock::new().clock()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca));
    let mut config = match leaf {
        Some(leaf) => builder
            .with_client_auth_cert(leaf.chain.clone(), leaf.key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(alpn);
    Arc::new(config)
}

/// An ordinary endpoint that may ask for certificates of an authority.
pub(crate) fn server_config(leaf: &TestLeaf, asks: Option<&TestCa>, alpn: &[&str]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(TestClock::new().clock()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        Some(ca) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots(ca), provider())
                .build()
                .unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(leaf.chain.clone(), leaf.key()).unwrap();
    config.alpn_protocols = protocols(alpn);
    Arc::new(config)
}

/// A whole handshake in memory, session tickets included; the error is the first that either end reports.
pub(crate) fn dial(
    client: &Arc<ClientConfig>,
    name: ServerName<'static>,
    server: Arc<ServerConfig>,
) -> Result<Dialled, Error> {
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(server)?;
    loop {
        let sent = pass(&mut client, &mut server)?;
        let answered = pass(&mut server, &mut client)?;
        if !sent && !answered {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok(Dialled { client, server });
        }
    }
}

/// Passes what one end has to say to the other; true when it said anything.
fn pass<A, B>(
    from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<A>>,
    to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<B>>,
) -> Result<bool, Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut unread = bytes.as_slice();
    while !unread.is_empty() {
        to.read_tls(&mut unread).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}
