//! Revocation lists: what a look-up adds to a full handshake, and to a request whose chain is remembered.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use portcullis_identity::{Credentials, PeerIdentity};
use rustls::HandshakeKind;

use crate::handshakes::{Contender, race};
use crate::house::House;
use crate::pki::{Pki, STRICT};
use crate::timing::{Cost, cost};

/// Certificates on the lists.
const SIZES: [u32; 2] = [1_000, 100_000];

/// Prints the table.
pub fn table() {
    let pki = Pki::new();
    let lists = SIZES.map(|size| pki.list(size));
    let houses = [
        pki.house(None),
        pki.house(Some(&lists[0])),
        pki.house(Some(&lists[1])),
    ];
    let contenders = houses.each_ref().map(|house| {
        let listener = house.snapshot.identity.listener_tls(&"public".into()).unwrap();
        Contender::new(&pki, move || listener.server_config(Some(STRICT)).unwrap())
    });
    let shakes = race(contenders, |_, contender| {
        contender.shake(STRICT, HandshakeKind::Full, false);
    });
    let requests = houses.each_ref().map(|house| request(house, &pki));
    println!(
        "| revocation | list | full handshake, the server's part | more | a request, its chain remembered |"
    );
    println!("|---|---|---|---|---|");
    let bytes = [0, lists[0].len(), lists[1].len()];
    let names = [
        "not checked".to_owned(),
        SIZES[0].to_string(),
        SIZES[1].to_string(),
    ];
    for (index, name) in names.iter().enumerate() {
        println!(
            "| {name} | {} KiB | {} | {:+.2} µs | {} |",
            bytes[index] / 1024,
            shakes[index],
            shakes[index].micros() - shakes[0].micros(),
            requests[index]
        );
    }
    println!();
}

fn request(house: &House, pki: &Pki) -> Cost {
    let peer = Arc::new(PeerIdentity::from_chain(pki.chain()));
    let route = house.snapshot.route(&"orders".into()).unwrap();
    let authenticator = route.authenticator.as_ref().unwrap();
    let headers = HeaderMap::new();
    cost(40, 2_000, || {
        let credentials = Credentials {
            headers: &headers,
            peer: Some(&peer),
        };
        let found = house.wait_for(authenticator.authenticate(credentials, SystemTime::now()));
        std::hint::black_box(found.unwrap());
    })
}
