//! Bearer tokens by algorithm: seen for the first time and remembered, by the authenticator and in the pipeline.

use std::cell::Cell;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_identity::Credentials;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use serde_json::{Value, json};

use crate::house::House;
use crate::timing::{Cost, cost, cost_of_each};

const ROUNDS: usize = 40;
/// Remembered tokens of a round.
const MANY: u32 = 2_000;
/// Tokens of a round that were never seen.
const NEW: u32 = 50;

/// An issuer's key.
pub struct Key {
    /// Names the issuer and its route.
    pub name: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
    minted: Cell<u64>,
}

impl Key {
    fn all() -> [Self; 3] {
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let rsa = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
        let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let ecdsa = EncodingKey::from_ec_pem(ecdsa.serialize_pem().as_bytes()).unwrap();
        let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let point = URL_SAFE_NO_PAD.encode(edwards.der_bytes());
        let edwards = EncodingKey::from_ed_der(&edwards.serialize_der());
        let of = |key: &EncodingKey, algorithm| {
            serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap()
        };
        let (rsa_jwk, ecdsa_jwk) = (of(&rsa, Algorithm::RS256), of(&ecdsa, Algorithm::ES256));
        [
            Self::new("rs256", Algorithm::RS256, rsa, rsa_jwk),
            Self::new("es256", Algorithm::ES256, ecdsa, ecdsa_jwk),
            Self::new(
                "eddsa",
                Algorithm::EdDSA,
                edwards,
                json!({ "kty": "OKP", "crv": "Ed25519", "x": point }),
            ),
        ]
    }

    fn new(name: &'static str, algorithm: Algorithm, key: EncodingKey, mut jwk: Value) -> Self {
        let members = jwk.as_object_mut().unwrap();
        members.insert("kid".to_owned(), json!(name));
        Self {
            name,
            algorithm,
            key,
            jwk,
            minted: Cell::new(0),
        }
    }

    /// The fields of a request with a token that nobody has seen.
    pub fn request(&self) -> HeaderMap {
        let jti = self.minted.get();
        self.minted.set(jti + 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "iss": format!("https://{}.example.com", self.name), "sub": "alice", "aud": "api",
            "jti": jti.to_string(), "iat": now, "exp": now + 3_600, "scope": "orders:read orders:write",
            "roles": ["editor"], "tenant": "acme", "region": "EU" });
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.name.to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &self.key).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("api.example.com"));
        headers.insert("user-agent", HeaderValue::from_static("bench/1"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert(
            "authorization",
            HeaderValue::from_str(&format!("Bearer {token}")).unwrap(),
        );
        headers
    }
}

fn configuration(keys: &[Key]) -> String {
    let mut text = r#"
version: 1
listeners: { plain: { listen: "127.0.0.1:0" } }
pools: { orders: { endpoints: [{ address: "127.0.0.1:3001" }] } }
"#
    .to_owned();
    text.push_str("issuers:\n");
    for Key { name, .. } in keys {
        text.push_str(&format!(
            "  {name}: {{ issuer: \"https://{name}.example.com\", jwks: {{ file: {name}.json }}, audiences: [api], \
             claims: {{ tenant: tenant, roles: roles, region: region }} }}\n"
        ));
    }
    text.push_str(
        "routes:\n  - { name: public, match: { path: \"/public/{id}\" }, public: true, pool: orders }\n",
    );
    for Key { name, .. } in keys {
        text.push_str(&format!(
            "  - {{ name: {name}, match: {{ path: \"/{name}/{{id}}\" }}, authenticate: [{{ jwt: {name} }}], \
             authorize: [authenticated], pool: orders }}\n"
        ));
    }
    text
}

/// A gateway with a route for the tokens of each key, and a public one.
pub struct Scene {
    pub keys: [Key; 3],
    pub house: House,
}

impl Scene {
    pub fn set() -> Self {
        let keys = Key::all();
        let house = House::open(&configuration(&keys), |folder| {
            for key in &keys {
                let set = json!({ "keys": [key.jwk] });
                fs::write(folder.join(format!("{}.json", key.name)), set.to_string()).unwrap();
            }
        });
        Self { keys, house }
    }
}

/// Costs of one algorithm.
struct Row {
    alone: (Cost, Cost),
    pipeline: (Cost, Cost),
}

impl Row {
    fn measure(house: &House, key: &Key) -> Self {
        let route = house.snapshot.route(&key.name.into()).unwrap();
        let authenticator = route.authenticator.as_ref().unwrap();
        let authenticate = |headers: &HeaderMap| {
            let credentials = Credentials { headers, peer: None };
            let found = house.wait_for(authenticator.authenticate(credentials, SystemTime::now()));
            std::hint::black_box(found.unwrap());
        };
        let target = format!("/{}/1", key.name);
        let journey = |headers: &HeaderMap| house.journey(&target, headers);
        let known = key.request();
        authenticate(&known);
        Self {
            alone: (
                cost_of_each(ROUNDS, NEW, || key.request(), authenticate),
                cost(ROUNDS, MANY, || authenticate(&known)),
            ),
            pipeline: (
                cost_of_each(ROUNDS, NEW, || key.request(), journey),
                cost(ROUNDS, MANY, || journey(&known)),
            ),
        }
    }
}

/// Prints both tables.
pub fn table() {
    let Scene { keys, house } = Scene::set();
    let headers = keys[0].request();
    let public = || cost(ROUNDS, MANY, || house.journey("/public/1", &headers));
    // Once for the caches and the processor's clock.
    public();
    println!("| token | cold | a second | remembered | a second |");
    println!("|---|---|---|---|---|");
    let rows: Vec<Row> = keys.iter().map(|key| Row::measure(&house, key)).collect();
    for (key, Row { alone, .. }) in keys.iter().zip(&rows) {
        println!(
            "| {:?} | {} | {:.0} | {} | {:.0} |",
            key.algorithm,
            alone.0,
            alone.0.per_second(),
            alone.1,
            alone.1.per_second()
        );
    }
    let public = public();
    println!("\na public route in the pipeline: {public}\n");
    println!("| in the pipeline | cold | remembered | the remembered bearer's share |");
    println!("|---|---|---|---|");
    for (key, Row { pipeline, .. }) in keys.iter().zip(&rows) {
        println!(
            "| {:?} | {} | {} | {:.2} µs |",
            key.algorithm,
            pipeline.0,
            pipeline.1,
            pipeline.1.micros() - public.micros()
        );
    }
    println!();
}
