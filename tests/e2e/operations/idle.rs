//! Ten thousand connections that do nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::Seen;
use crate::support::process::{descriptor_limit, resident};
use crate::support::tools::skip;
use crate::support::{Authority, Client, Dial, TestGateway, client, configure, folder, wait_for, wait_until};

/// How many are promised.
const WANTED: usize = 10_000;
/// Descriptors that a process needs beside its connections.
const SPARE: usize = 300;
/// What the client process is told: address, how many, and the file with its roots.
const TOLD: &str = "PORTCULLIS_E2E_IDLE_CLIENT";

const TEXT: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } }
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { idle_timeout: 10m, per_address: 20000, handshakes_per_address: 100000/s, max_connections: 30000 }
routes:
  - { name: ping, match: { path: /ping }, public: true, respond: { status: 200, body: pong } }
"#;

/// The client in its own process: this test binary again, told to hold connections.
struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(told: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#])
            .arg(own)
            .args([
                "--exact",
                "operations::idle::the_client_process_holds_connections",
                "--nocapture",
            ])
            .env(TOLD, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until it holds them all.
    fn wait_until_holding(&mut self) -> usize {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        let line = lines.find_map(|line| line.split("holding ").nth(1).map(str::to_owned));
        line.expect("the client process to hold its connections")
            .trim()
            .parse()
            .unwrap()
    }

    /// Lets it go.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        wait_for("the client process to end", || self.child.try_wait().unwrap());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The slowest but one in a hundred of some requests on a kept connection.
async fn p99(client: &mut Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..300 {
        let began = Instant::now();
        assert_eq!(
            client.send(Method::GET, "/ping", &[], b"").await.unwrap().body,
            "pong"
        );
        times.push(began.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_are_held_while_a_good_client_is_answered() {
    let fits = descriptor_limit().saturating_sub(SPARE);
    let count = WANTED.min(fits);
    if count < WANTED {
        let which = format!("the test with {WANTED} idle connections");
        let why = format!("the descriptor limit holds {count}");
        skip(1, &which, &why);
    }
    let (folder, authority) = (folder(), Authority::new("edge"));
    authority
        .leaf(&["api.example.com"], None)
        .write(folder.path(), "server");
    fs::write(folder.path().join("roots.pem"), &authority.pem).unwrap();
    configure(folder.path(), TEXT);
    let gateway = TestGateway::spawn_with_all_descriptors(folder);
    let (address, seen) = (gateway.address("public"), Seen::of(&gateway));
    let mut good = Dial::tls(address, "api.example.com", authority.roots(), None)
        .connect()
        .await
        .unwrap();
    let (quiet, empty) = (p99(&mut good).await, resident(gateway.pid()));

    let began = Instant::now();
    let told = format!("{address} {count} {}", gateway.path("roots.pem").display());
    let mut holder = Holder::start(&told);
    let held = tokio::task::block_in_place(|| holder.wait_until_holding());
    let (took, full) = (began.elapsed(), resident(gateway.pid()));

    assert_eq!(held, count);
    assert!(
        seen.metric("portcullis_connections", &["public"]).await >= count as f64,
        "held, not only accepted"
    );
    let busy = p99(&mut good).await;
    let fresh = Dial::h2(address, "api.example.com", authority.roots(), None)
        .get("/ping", &[])
        .await;
    assert_eq!(fresh.body, "pong");
    assert_eq!(
        seen.metric("portcullis_connections_refused_total", &[]).await,
        0.0
    );
    let each = full.saturating_sub(empty) as f64 / count as f64;
    println!(
        "{count} idle TLS connections, opened in {took:?}: {each:.1} KiB resident each ({empty} to {full} KiB); \
         a good client's p99 {quiet:?} before, {busy:?} beside them"
    );
    assert!(each < 64.0, "{each:.1} KiB for each idle connection");

    holder.finish();
    wait_until("the connections to be forgotten", || async {
        (seen.metric("portcullis_connections", &["public"]).await <= 2.0).then_some(())
    })
    .await;
    let after = resident(gateway.pid());
    let mut next = Holder::start(&told);
    tokio::task::block_in_place(|| next.wait_until_holding());
    let again = resident(gateway.pid());
    println!("resident after they left: {after} KiB; with as many new ones: {again} KiB");
    assert!(again <= full + full / 8, "what the first ones used is used again");
    assert_eq!(
        good.send(Method::GET, "/ping", &[], b"").await.unwrap().body,
        "pong"
    );
}

/// Not a test of its own: the test above starts this binary again for it. Without being told to, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_process_holds_connections() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let mut words = told.splitn(3, ' ');
    let address: std::net::SocketAddr = words.next().unwrap().parse().unwrap();
    let count: usize = words.next().unwrap().parse().unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(words.next().unwrap()).unwrap())
        .unwrap();
    let config = client::client_config(Arc::new(roots), None, b"http/1.1");

    let mut held = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for _ in 0..count {
        while opening.len() >= 64 {
            held.push(opening.join_next().await.unwrap().unwrap());
        }
        let config = Arc::clone(&config);
        opening.spawn(async move {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut stream = client::handshake(tcp, &config, "api.example.com").await.unwrap();
            stream
                .write_all(b"GET /ping HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"pong") {
                assert!(
                    stream.read_buf(&mut answer).await.unwrap() > 0,
                    "closed before the answer"
                );
            }
            stream
        });
    }
    held.extend(opening.join_all().await);
    println!("holding {}", held.len());
    tokio::task::block_in_place(|| std::io::stdin().read_to_end(&mut Vec::new())).unwrap();
}
