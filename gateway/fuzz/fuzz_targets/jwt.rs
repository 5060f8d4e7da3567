//! A bearer token from the network: whatever it says, nobody without the key is authenticated, and nothing panics.

#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis_identity::plan::{Algorithm, ClaimPaths, IdentityPlan, IssuerPlan, KeySource};
use portcullis_identity::{Authenticator, Boards, Clock, Credentials, FetchFault, KeyFetch, Scheme, compile};
use portcullis_model::Origin;

/// The public half of a key pair whose private half was thrown away (RFC 7517, appendix A.1).
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"1",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

struct Nowhere;

#[async_trait::async_trait]
impl KeyFetch for Nowhere {
    async fn fetch(&self, _: &str) -> Result<Bytes, FetchFault> {
        unreachable!("offline checks fetch nothing")
    }
}

fn authenticator() -> &'static Authenticator {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| {
        let boards = Boards::new(Arc::new(Nowhere), Clock::new(Instant::now, SystemTime::now));
        let issuer = IssuerPlan {
            id: "idp".into(),
            origin: Origin::default(),
            issuer: "https://idp.example".into(),
            keys: KeySource::Document(KEYS.into()),
            audiences: vec!["api".into()],
            algorithms: Algorithm::DEFAULT.to_vec(),
            clock_skew: Duration::from_secs(30),
            claims: ClaimPaths::default(),
        };
        let plan = IdentityPlan { issuers: vec![issuer], ..IdentityPlan::default() };
        let (runtime, _) = compile(&plan, None, &boards).expect("the plan compiles");
        runtime.authenticator(&[Scheme::Jwt("idp".into(), Origin::default())]).expect("the issuer is there")
    })
}

fuzz_target!(|token: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", token].concat()) else { return };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let verdict = authenticator().authenticate_offline(Credentials { headers: &headers, peer: None }, SystemTime::now());
    assert!(verdict.is_err());
});
