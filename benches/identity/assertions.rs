//! What it costs to tell an endpoint who asks: signed for a principal that comes first, and remembered.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use portcullis_identity::PeerIdentity;
use portcullis_model::{Attributes, Identity, Principal, Proof, Subject};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use crate::house::House;
use crate::timing::{cost, cost_of_each};

const ROUNDS: usize = 40;
/// Remembered assertions of a round.
const MANY: u32 = 2_000;
/// Principals of a round that were never seen.
const NEW: u32 = 50;

fn configuration(key: &str) -> String {
    format!(
        r#"
version: 1
listeners: {{ plain: {{ listen: "127.0.0.1:8080" }} }}
identity: {{ assertion: {{ issuer: https://gw.example.com, keys: [{key}] }} }}
pools:
  told: {{ endpoints: [{{ address: "127.0.0.1:3000" }}], forward_identity: {{ assertion: {{ audience: orders }} }} }}
  certified: {{ endpoints: [{{ address: "127.0.0.1:3000" }}], forward_identity: {{ client_certificate: true }} }}
routes:
  - {{ name: told, match: {{ path: /told }}, public: true, pool: told }}
  - {{ name: certified, match: {{ path: /certified }}, public: true, pool: certified }}
"#
    )
}

fn principal(name: &str) -> Principal {
    Principal {
        identity: Identity::User(Subject {
            issuer: "customers".into(),
            issuer_url: "https://login.example.com".into(),
            subject: name.into(),
        }),
        proof: Proof::Jwt,
        attributes: Arc::new(Attributes {
            tenant: Some("acme".into()),
            roles: vec!["editor".into()],
            scopes: vec!["orders:read".into(), "orders:write".into()],
            region: Some("EU".into()),
            claims: serde_json::Value::Null,
        }),
        expires_at: Some(SystemTime::now() + Duration::from_secs(3_600)),
    }
}

/// Prints the table.
pub fn table() {
    println!("| toward the endpoint | cold | remembered | bytes |");
    println!("|---|---|---|---|");
    for (name, algorithm) in [("ES256", &PKCS_ECDSA_P256_SHA256), ("EdDSA", &PKCS_ED25519)] {
        let pem = KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let house = House::open(&configuration("key.pem"), |folder| {
            fs::write(folder.join("key.pem"), pem).unwrap();
        });
        let told = house.snapshot.identity.forwarding(&"told".into()).unwrap();
        let write = |principal: &Principal| {
            let mut headers = HeaderMap::with_capacity(16);
            told.write(principal, None, SystemTime::now(), &mut headers)
                .unwrap();
            std::hint::black_box(headers)
        };
        let number = Cell::new(0_u64);
        let anew = || {
            number.set(number.get() + 1);
            principal(&number.get().to_string())
        };
        let cold = cost_of_each(ROUNDS, NEW, anew, |principal| {
            write(principal);
        });
        let known = principal("alice");
        let size = write(&known)["x-portcullis-identity"].len();
        let remembered = cost(ROUNDS, MANY, || {
            write(&known);
        });
        println!("| assertion, {name} | {cold} | {remembered} | {size} |");
    }
    certificate();
    println!();
}

fn certificate() {
    let house = House::open(&configuration("key.pem"), |folder| {
        fs::write(
            folder.join("key.pem"),
            KeyPair::generate().unwrap().serialize_pem(),
        )
        .unwrap();
    });
    let certified = house.snapshot.identity.forwarding(&"certified".into()).unwrap();
    let leaf = CertificateParams::new(["client.example.com".to_owned()]).unwrap();
    let leaf = leaf.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let anew = || PeerIdentity::from_chain(std::slice::from_ref(leaf.der()));
    let write = |peer: &PeerIdentity| {
        let mut headers = HeaderMap::with_capacity(16);
        let told = certified.write(
            &Principal::anonymous(),
            Some(peer),
            SystemTime::now(),
            &mut headers,
        );
        told.unwrap();
        std::hint::black_box(headers)
    };
    let cold = cost_of_each(ROUNDS, NEW, anew, |peer| {
        write(peer);
    });
    let known = anew();
    let size = write(&known)["x-forwarded-client-cert"].len();
    let remembered = cost(ROUNDS, MANY, || {
        write(&known);
    });
    println!(
        "| client certificate, first and later requests of a connection | {cold} | {remembered} | {size} |"
    );
}
