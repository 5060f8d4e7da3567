//! Many clients in a process of their own: this test binary again, told by lines what to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::support::client;
use crate::support::wait_for;

/// Set where the process is the crowd.
const TOLD: &str = "PORTCULLIS_LONG_CROWD";
/// Between two bytes of a slow client.
const PACE: Duration = Duration::from_secs(10);
/// Handshakes under way at a time.
const AT_ONCE: usize = 64;

/// What the members of a crowd do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One request, then nothing.
    Idle,
    /// A head by the byte.
    Head,
    /// A body by the byte.
    Body,
    /// A large answer, read by the byte.
    Reader,
}

/// The other process.
pub struct Crowd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where its endpoint listens, which gives a mebibyte to every GET and waits for every other body.
    pub endpoint: SocketAddr,
}

impl Crowd {
    /// Starts it with as many descriptors as the system gives.
    pub fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "crowd::the_other_process_is_a_crowd", "--nocapture"])
            .env(TOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let endpoint = said(&mut output, "endpoint ").parse().unwrap();
        Self {
            child,
            input,
            output,
            endpoint,
        }
    }

    /// Lets so many clients come, and waits until they are there.
    pub fn gather(&mut self, kind: Kind, count: usize, address: SocketAddr, roots: &str) {
        writeln!(self.input, "{kind:?} {count} {address} {roots}").unwrap();
        let held: usize = said(&mut self.output, "holding ").parse().unwrap();
        assert_eq!(held, count);
    }

    /// Lets them all go.
    pub fn leave(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        wait_for("the crowd to leave", || child.try_wait().unwrap());
    }
}

fn said(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    let mut lines = output.by_ref().lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split(word).nth(1).map(str::to_owned));
    line.expect("the crowd to answer").trim().to_owned()
}

type Held = Arc<Mutex<Vec<(Kind, TlsStream<TcpStream>)>>>;

/// Not a test of its own: the tests of crowds start this binary again for it. Without being told to, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_process_is_a_crowd() {
    if std::env::var_os(TOLD).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("endpoint {}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener));
    let held: Held = Arc::default();
    tokio::spawn(drip(Arc::clone(&held)));
    let (sender, mut orders) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.splitn(4, ' ').collect();
        let kinds = [Kind::Idle, Kind::Head, Kind::Body, Kind::Reader];
        let kind = kinds
            .into_iter()
            .find(|kind| format!("{kind:?}") == words[0])
            .unwrap();
        gather(
            &held,
            kind,
            words[1].parse().unwrap(),
            words[2].parse().unwrap(),
            words[3],
        )
        .await;
        println!("holding {}", words[1]);
    }
}

async fn gather(held: &Held, kind: Kind, count: usize, address: SocketAddr, roots: &str) {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots).unwrap()).unwrap();
    let config = client::client_config(Arc::new(store), None, b"http/1.1");
    let mut coming = JoinSet::new();
    for _ in 0..count {
        while coming.len() >= AT_ONCE {
            held.lock().await.push(coming.join_next().await.unwrap().unwrap());
        }
        let config = Arc::clone(&config);
        coming.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            if kind == Kind::Reader {
                socket.set_recv_buffer_size(4096).unwrap();
            }
            let tcp = socket.connect(address).await.unwrap();
            let mut tls = client::handshake(tcp, &config, "api.example.com").await.unwrap();
            tls.write_all(kind.opening().as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while kind == Kind::Idle && !answer.ends_with(b"pong") {
                assert!(
                    tls.read_buf(&mut answer).await.unwrap() > 0,
                    "closed before the answer"
                );
            }
            (kind, tls)
        });
    }
    held.lock().await.extend(coming.join_all().await);
}

impl Kind {
    /// What is said at once.
    const fn opening(self) -> &'static str {
        match self {
            Self::Idle => "GET /ping HTTP/1.1\r\nhost: api.example.com\r\n\r\n",
            Self::Head => "GET /ping HTTP/1.1\r\nhost: api.example.com\r\nx-slow: ",
            Self::Body => "POST /slow HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 100000\r\n\r\n",
            Self::Reader => "GET /slow HTTP/1.1\r\nhost: api.example.com\r\n\r\n",
        }
    }
}

/// A byte of every slow client at its pace.
async fn drip(held: Held) {
    let mut ticks = tokio::time::interval(PACE);
    loop {
        ticks.tick().await;
        for (kind, tls) in held.lock().await.iter_mut() {
            match kind {
                Kind::Idle => {}
                Kind::Head | Kind::Body => {
                    let _ = tls.write_all(b"x").await;
                    let _ = tls.flush().await;
                }
                Kind::Reader => {
                    let mut byte = [0];
                    let _ = tokio::time::timeout(Duration::from_millis(1), tls.read(&mut byte)).await;
                }
            }
        }
    }
}

/// Gives a mebibyte to every GET; waits for the rest of everything else.
async fn serve(listener: TcpListener) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = vec![0; 1024];
            let is_get = matches!(tcp.read(&mut head).await, Ok(4..)) && head.starts_with(b"GET ");
            if is_get {
                let _ = tcp
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n")
                    .await;
                let _ = tcp.write_all(&vec![b'x'; 1 << 20]).await;
            }
            while matches!(tcp.read(&mut head).await, Ok(1..)) {}
        });
    }
}
