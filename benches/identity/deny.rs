//! The deny list: what it adds to a remembered token while it is empty, small and large.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use portcullis_identity::Credentials;
use portcullis_identity::deny::{DenyEntry, DenyIndex, DenyKind, DenyName, DenySource, Side, TokenNames};

use crate::timing::cost;
use crate::tokens::Scene;

const ROUNDS: usize = 40;
const MANY: u32 = 2_000;
/// Entries of the list, none of which names the token.
const SIZES: [u32; 3] = [0, 1_000, 1_000_000];

fn index(count: u32) -> DenyIndex {
    let entry = |number: u32| DenyEntry {
        name: DenyName::parse(DenyKind::Jti, &format!("denied-{number}"), None).unwrap(),
        until: None,
        reason: None,
        source: DenySource::File {
            file: Arc::from("deny.yaml"),
            line: number,
            column: 1,
        },
    };
    DenyIndex::new((0..count).map(entry).collect(), SystemTime::now())
}

/// Prints the table.
pub fn table() {
    let scene = Scene::set();
    let key = &scene.keys[1];
    let headers = key.request();
    let route = scene.house.snapshot.route(&key.name.into()).unwrap();
    let authenticator = route.authenticator.as_ref().unwrap();
    let authenticate = |headers: &HeaderMap| {
        let credentials = Credentials { headers, peer: None };
        let found = scene
            .house
            .wait_for(authenticator.authenticate(credentials, SystemTime::now()));
        std::hint::black_box(found.unwrap());
    };
    let names = TokenNames {
        issuer: key.name.into(),
        jti: Some("0".into()),
        sub: Some("alice".into()),
        sid: None,
        spiffe: None,
    };
    let target = format!("/{}/1", key.name);
    println!("| entries | look-up alone | a remembered ES256 token | the same in the pipeline |");
    println!("|---|---|---|---|");
    for size in SIZES {
        drop(scene.house.denied.publish(Side::File, index(size)));
        authenticate(&headers);
        let now = SystemTime::now();
        let alone = cost(ROUNDS, MANY, || {
            std::hint::black_box(scene.house.denied.denies_token(&names, now));
        });
        let whole = cost(ROUNDS, MANY, || authenticate(&headers));
        let journey = cost(ROUNDS, MANY, || scene.house.journey(&target, &headers));
        println!("| {size} | {alone} | {whole} | {journey} |");
    }
    println!();
}
