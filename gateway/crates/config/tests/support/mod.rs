//! What the tests of this room share: a folder with a throw-away PKI and the documents that cases name.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_admission::limit::LimitTable;
use portcullis_config::{LoadOptions, Loaded, Refused, load};
use portcullis_identity::{Clock, FetchFault, KeyFetch};
use portcullis_pipeline::{Boards, HeldBodies};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// A folder that is gone when the test ends.
pub struct Folder(tempfile::TempDir);

/// The bundle of a trust domain: one authority for certificates, one for tokens, and one of a use to come.
const BUNDLE: &str = r#"{
  "spiffe_sequence": 1,
  "keys": [
    { "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "x", "y": "y", "x5c": ["AAAA"] },
    { "use": "jwt-svid", "kty": "EC", "kid": "one", "crv": "P-256", "x": "x", "y": "y" },
    { "use": "wit-svid", "kty": "EC", "kid": "two", "crv": "P-256", "x": "x", "y": "y" }
  ]
}"#;

impl Folder {
    /// An empty one.
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with certificates, keys, a contract, policies and a key set.
    pub fn with_everything() -> Self {
        let folder = Self::empty();
        folder.add_pki("");
        folder.write("jwks.json", r#"{"keys":[]}"#);
        folder.write(
            "openapi.yaml",
            "openapi: 3.1.0\ninfo: { title: t, version: '1' }\npaths: {}\n",
        );
        folder.write(
            "policies/authz.rego",
            "package portcullis.authz\n\ndecision := false\n",
        );
        folder.write("policies/authz_test.rego", "package portcullis.authz_test\n");
        folder.write("policies/data.json", r#"{"roles":{}}"#);
        folder.write("policy.wasm", "\0asm");
        folder.write("ca.crl", "a revocation list");
        folder.write("bundle.json", BUNDLE);
        folder.write("open/file", "others can see it");
        fs::set_permissions(folder.path().join("open"), fs::Permissions::from_mode(0o755)).unwrap();
        folder.write("secret.txt", "s3cret\n");
        folder
    }

    /// A CA, and a certificate with its key, below a prefix.
    pub fn add_pki(&self, prefix: &str) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(&format!("{prefix}ca.pem"), &ca.pem());
        let mut params =
            CertificateParams::new(["localhost", "api.example.com", "admin.example.com"].map(str::to_owned))
                .unwrap();
        params
            .subject_alt_names
            .push(SanType::URI("spiffe://corp.example/gateway".try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        self.write(&format!("{prefix}server.pem"), &certificate.pem());
        self.write(&format!("{prefix}server.key"), &key.serialize_pem());
    }

    /// Writes a file below it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads a configuration below it.
    pub fn load(&self, name: &str) -> Result<Loaded, Box<Refused>> {
        load(&self.path().join(name), &options()).map_err(Box::new)
    }
}

/// Nothing from outside but one variable.
pub fn options() -> LoadOptions<'static> {
    LoadOptions {
        offline: false,
        region: None,
        env: &|name| (name == "API_KEY").then(|| "k3y".to_owned()),
    }
}

/// Fetches nothing.
struct NoFetch;

#[async_trait]
impl KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, FetchFault> {
        Err(FetchFault::Refused("nothing is fetched here".to_owned()))
    }
}

/// Empty boards.
pub fn boards() -> Boards {
    Boards {
        identity: portcullis_identity::Boards::new(
            Arc::new(NoFetch),
            Clock::new(Instant::now, SystemTime::now),
        ),
        routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
        limits: Arc::new(LimitTable::new()),
        held: Arc::new(HeldBodies::new()),
    }
}

/// The smallest file of the documentation.
pub const SMALLEST: &str = r#"version: 1
listeners:
  public: { listen: "127.0.0.1:8443", tls: { certificates: [{ chain: server.pem, key: server.key }] } }
issuers:
  idp: { issuer: "https://login.example.com", jwks: { discovery: true }, audiences: [api] }
pools:
  orders: { endpoints: [{ address: "127.0.0.1:3000" }] }      # one region: no sites needed
routes:
  - name: orders
    match: { path: "/orders/**" }
    authenticate: [{ jwt: idp }]
    authorize: [{ scope: orders }]       # a built-in rule; policies go here by name
    pool: orders
"#;
