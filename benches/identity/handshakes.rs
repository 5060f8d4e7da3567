//! mTLS handshakes in memory: the gateway's listener beside rustls with its own verifier, one after the other, and only
//! the server's part is timed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_identity::PeerIdentity;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, ServerConfig, ServerConnection, SideData,
};
use rustls_pki_types::ServerName;

use crate::pki::{ASKING, Pki, STRICT};
use crate::timing::Cost;

/// Handshakes of each contender.
const HANDSHAKES: usize = 2_000;
/// Before anything is counted.
const WARM_UP: usize = 200;

/// Somebody to shake hands with: a client with sessions of its own, and how its server finds a configuration.
pub struct Contender<'a> {
    client: Arc<ClientConfig>,
    server: Box<dyn Fn() -> Arc<ServerConfig> + 'a>,
    times: Vec<Duration>,
}

impl<'a> Contender<'a> {
    pub fn new(pki: &Pki, server: impl Fn() -> Arc<ServerConfig> + 'a) -> Self {
        Self {
            client: pki.client(),
            server: Box::new(server),
            times: Vec::new(),
        }
    }

    /// One handshake, session tickets included, and what the door does with the chain.
    pub fn shake(&mut self, name: &str, kind: HandshakeKind, reads_chain: bool) {
        let fresh = match kind {
            HandshakeKind::Resumed => Arc::clone(&self.client),
            _ => {
                // Without what it remembers, it offers no session.
                let mut config = (*self.client).clone();
                config.resumption = rustls::client::Resumption::disabled();
                Arc::new(config)
            }
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(fresh, name).unwrap();
        let mut spent = Duration::ZERO;
        let start = Instant::now();
        let mut server = ServerConnection::new((self.server)()).unwrap();
        spent += start.elapsed();
        loop {
            let said = write(&mut client);
            let start = Instant::now();
            read(&mut server, &said);
            let answer = write(&mut server);
            spent += start.elapsed();
            read(&mut client, &answer);
            if said.is_empty() && answer.is_empty() {
                break;
            }
        }
        if reads_chain {
            let start = Instant::now();
            let peer = PeerIdentity::from_chain(server.peer_certificates().unwrap());
            spent += start.elapsed();
            assert!(peer.spiffe_id.is_ok());
        }
        assert_eq!(server.handshake_kind(), Some(kind));
        assert!(server.peer_certificates().is_some_and(|chain| chain.len() == 1));
        self.times.push(spent);
    }
}

fn write<S: SideData>(from: &mut impl std::ops::DerefMut<Target = ConnectionCommon<S>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn read<S: SideData>(to: &mut impl std::ops::DerefMut<Target = ConnectionCommon<S>>, bytes: &[u8]) {
    let mut unread = bytes;
    while !unread.is_empty() {
        to.read_tls(&mut unread).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// All contenders take turns.
pub fn race<const N: usize>(
    mut contenders: [Contender<'_>; N],
    mut shake: impl FnMut(usize, &mut Contender<'_>),
) -> [Cost; N] {
    for round in 0..WARM_UP + HANDSHAKES {
        for turn in 0..N {
            let index = (round + turn) % N;
            shake(index, &mut contenders[index]);
        }
    }
    contenders.map(|mut contender| Cost::of(contender.times.split_off(contender.times.len() - HANDSHAKES)))
}

/// Prints the table.
pub fn table() {
    let pki = Pki::new();
    let house = pki.house(None);
    let listener = house.snapshot.identity.listener_tls(&"public".into()).unwrap();
    let ours = |name: &'static str| {
        let listener = Arc::clone(&listener);
        move || listener.server_config(Some(name)).unwrap()
    };
    println!(
        "| mTLS handshake, the server's part | rustls alone | the gateway's | more | with the chain read |"
    );
    println!("|---|---|---|---|---|");
    let rows = [
        (
            "full, a name that requires a certificate",
            STRICT,
            HandshakeKind::Full,
        ),
        ("full, a name that asks for one", ASKING, HandshakeKind::Full),
        ("resumed", ASKING, HandshakeKind::Resumed),
    ];
    for (what, name, kind) in rows {
        let plain = pki.plain(name == ASKING);
        let contenders = [
            Contender::new(&pki, move || Arc::clone(&plain)),
            Contender::new(&pki, ours(name)),
            Contender::new(&pki, ours(name)),
        ];
        let mut contenders = contenders;
        if kind == HandshakeKind::Resumed {
            for contender in &mut contenders {
                remember(contender, name);
            }
        }
        let [plain, gateway, whole] = race(contenders, |index, contender| {
            contender.shake(name, kind, index == 2)
        });
        println!(
            "| {what} | {plain} | {gateway} | {:+.1} % | {whole} |",
            100.0 * (gateway.micros() / plain.micros() - 1.0)
        );
    }
    println!();
}

/// A full handshake whose session the client keeps.
fn remember(contender: &mut Contender<'_>, name: &str) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(&contender.client), name).unwrap();
    let mut server = ServerConnection::new((contender.server)()).unwrap();
    loop {
        let said = write(&mut client);
        read(&mut server, &said);
        let answer = write(&mut server);
        read(&mut client, &answer);
        if said.is_empty() && answer.is_empty() {
            return;
        }
    }
}
