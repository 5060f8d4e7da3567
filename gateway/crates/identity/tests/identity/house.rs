//! One issuer with a key of each family, by the room's door alone: what tests and fuzz targets share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as Alg, EncodingKey};
use portcullis_identity::plan::{
    Algorithm, ClaimPaths, CrlPlan, CrlSource, IdentityPlan, IssuerKind, IssuerPlan, KeySource, KeyTimes,
    RevocationPlan, TokenTypes, TrustAnchors, TrustPlan,
};
use portcullis_identity::{
    Authenticator, Boards, Clock, Credentials, CrlStatus, FetchFault, IdentityRuntime, KeyFetch, Scheme,
    compile,
};
use portcullis_model::{Origin, Principal, Problems, Rejection};

pub(crate) const ISSUER: &str = "https://idp.example";

/// The present of these tests: 15 January 2027.
pub(crate) const NOW: u64 = 1_800_000_000;
/// How far the issuer's clock may be from ours, in seconds.
pub(crate) const SKEW: u64 = 30;

/// The keys that standards print: RFC 8037 appendix A.2, RFC 7515 appendices A.3 and A.2.
pub(crate) const KEYS: &str = r#"{"keys":[
{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
{"kid":"ec","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
{"kid":"rsa","kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;

/// The private half of `ed` (RFC 8037 appendix A.1) in PKCS#8.
const ED_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v_VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

/// A clock that stands still, and nothing to fetch.
pub(crate) fn boards() -> Boards {
    struct Nowhere;
    #[async_trait::async_trait]
    impl KeyFetch for Nowhere {
        async fn fetch(&self, _: &str) -> Result<Bytes, FetchFault> {
            unreachable!("keys from a document are never fetched")
        }
    }
    let start = Instant::now();
    Boards::new(Arc::new(Nowhere), Clock::new(move || start, now))
}

pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The room with one issuer that has these keys.
pub(crate) fn runtime(keys: &str) -> Result<(IdentityRuntime, Problems), Problems> {
    let issuer = IssuerPlan {
        id: "idp".into(),
        origin: Origin::default(),
        kind: IssuerKind::Url(ISSUER.into()),
        keys: KeySource::Document(keys.into()),
        key_times: KeyTimes::default(),
        audiences: vec!["api".into()],
        algorithms: Algorithm::DEFAULT.to_vec(),
        token_types: TokenTypes::access_tokens(),
        clock_skew: Duration::from_secs(SKEW),
        max_lifetime: Duration::from_secs(24 * 60 * 60),
        required: Vec::new(),
        claims: ClaimPaths::default(),
    };
    let plan = IdentityPlan {
        issuers: vec![issuer],
        ..IdentityPlan::default()
    };
    compile(&plan, None, &boards())
}

/// What the room makes of a revocation list beside an authority; `None` when it is refused.
pub(crate) fn revocation_lists(document: &[u8]) -> Option<Vec<CrlStatus>> {
    const AUTHORITY: &[u8] = include_bytes!("../../../../fuzz/seeds/spiffe_id/refused-authority");
    let source = CrlSource::Document {
        name: "list".into(),
        bytes: Bytes::copy_from_slice(document),
    };
    let trust = TrustPlan {
        id: "mesh".into(),
        origin: Origin::default(),
        anchors: TrustAnchors::Pem(vec![AUTHORITY.into()]),
        revocation: Some(RevocationPlan {
            lists: vec![CrlPlan {
                origin: Origin::default(),
                source,
            }],
            ..RevocationPlan::default()
        }),
    };
    let plan = IdentityPlan {
        trust: vec![trust],
        ..IdentityPlan::default()
    };
    let boards = boards();
    let _compiled = compile(&plan, None, &boards).ok()?;
    Some(boards.crls.status())
}

/// The schemes of a route that takes that issuer's tokens.
pub(crate) fn authenticator_of(runtime: &IdentityRuntime) -> Authenticator {
    let scheme = Scheme::Jwt("idp".into(), Origin::default());
    runtime.authenticator(&[scheme]).expect("the issuer is there")
}

/// The same with the standards' keys, made once.
pub(crate) fn authenticator() -> &'static Authenticator {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| authenticator_of(&runtime(KEYS).expect("the keys are usable").0))
}

/// What a route says to a token; `None` when no field can hold it.
pub(crate) fn ask(authenticator: &Authenticator, token: &[u8]) -> Option<Result<Principal, Rejection>> {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let credentials = Credentials {
        headers: &headers,
        peer: None,
    };
    let verdict = authenticator.authenticate_offline(credentials, now());
    Some(verdict.map(|authenticated| authenticated.principal))
}

/// A token with any header and claims, signed by the issuer's key `ed`.
pub(crate) fn sign(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let der = URL_SAFE_NO_PAD.decode(ED_KEY).expect("a key");
    sign_by(Alg::EdDSA, &EncodingKey::from_ed_der(&der), header, claims)
}

/// The same by any key.
pub(crate) fn sign_by(algorithm: Alg, key: &EncodingKey, header: &[u8], claims: &[u8]) -> Vec<u8> {
    let message = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)].join(".");
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("a signing key");
    let signature = signer.try_sign(message.as_bytes()).expect("a signature");
    [message, URL_SAFE_NO_PAD.encode(signature)]
        .join(".")
        .into_bytes()
}
