//! The clients and the endpoints, in a process of their own: this test binary again, told by lines what to do.

use std::error::Error as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Client, Dial, House, wait_for};

/// Set where the process is the other one.
const TOLD: &str = "PORTCULLIS_LONG_LEASES";
/// Streams on one connection: as many as the gateway allows.
const PER_CONNECTION: usize = 100;
/// Handshakes under way at a time.
const AT_ONCE: usize = 64;
const NAME: &str = "api.example.com";

/// The other process.
pub struct Others {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where its WebSocket endpoint listens, and its HTTP/2 endpoint.
    pub sockets: SocketAddr,
    pub streams: SocketAddr,
}

/// How one of them ended.
#[derive(Clone, Debug)]
pub struct Told {
    pub kind: String,
    pub number: usize,
    /// Since the epoch.
    pub at: Duration,
    pub end: String,
}

/// Since the epoch: both processes read the same clock.
pub fn moment() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl Others {
    /// Starts it with as many descriptors as the system gives.
    pub fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "leases::others::the_other_process_holds_what_lives",
                "--nocapture",
            ])
            .env(TOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let sockets = said(&mut output, "sockets ").parse().unwrap();
        let streams = said(&mut output, "streams ").parse().unwrap();
        Self {
            child,
            input,
            output,
            sockets,
            streams,
        }
    }

    /// Opens so many of each kind, one for each line of the file `tokens`, and waits until all of them are open.
    pub fn gather(&mut self, house: &House, sockets: usize, streams: usize) {
        let address = house.gateway.address("public");
        let folder = house.gateway.folder.path().display();
        writeln!(self.input, "gather {sockets} {streams} {address} {folder}").unwrap();
        let held: usize = said(&mut self.output, "holding ").parse().unwrap();
        assert_eq!(held, sockets + streams);
    }

    /// Which have ended so far, and how.
    pub fn report(&mut self) -> Vec<Told> {
        writeln!(self.input, "report").unwrap();
        let count: usize = said(&mut self.output, "ended ").parse().unwrap();
        let lines = self.output.by_ref().lines().map_while(Result::ok);
        lines.take(count).map(|line| told(&line)).collect()
    }

    /// Lets them all go.
    pub fn leave(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        wait_for("the others to leave", || child.try_wait().unwrap());
    }
}

fn said(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    let mut lines = output.by_ref().lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split(word).nth(1).map(str::to_owned));
    line.expect("the others to answer").trim().to_owned()
}

fn told(line: &str) -> Told {
    let mut words = line.splitn(4, ' ');
    let mut next = || words.next().unwrap().to_owned();
    Told {
        kind: next(),
        number: next().parse().unwrap(),
        at: Duration::from_micros(next().parse().unwrap()),
        end: next(),
    }
}

type Ended = Arc<Mutex<Vec<Told>>>;

/// Not a test of its own: the test of leases starts this binary again for it. Without being told to, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_process_holds_what_lives() {
    if std::env::var_os(TOLD).is_none() {
        return;
    }
    let (sockets, streams) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    println!("sockets {}", sockets.local_addr().unwrap());
    println!("streams {}", streams.local_addr().unwrap());
    tokio::spawn(serve_sockets(sockets));
    tokio::spawn(serve_streams(streams));
    let (sender, mut orders) = tokio::sync::mpsc::channel::<String>(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let ended = Ended::default();
    let mut held = JoinSet::new();
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.splitn(5, ' ').collect();
        if let [_, sockets, streams, address, folder] = words[..] {
            let counts = (sockets.parse().unwrap(), streams.parse().unwrap());
            gather(&mut held, &ended, counts, (address.parse().unwrap(), folder)).await;
            println!("holding {}", held.len());
        } else {
            let ended = ended.lock().unwrap().clone();
            println!("ended {}", ended.len());
            for Told {
                kind,
                number,
                at,
                end,
            } in ended
            {
                println!("{kind} {number} {} {end}", at.as_micros());
            }
        }
    }
}

async fn gather(
    held: &mut JoinSet<()>,
    ended: &Ended,
    (sockets, streams): (usize, usize),
    (address, folder): (SocketAddr, &str),
) {
    let mut store = RootCertStore::empty();
    let roots = CertificateDer::from_pem_file(format!("{folder}/roots.pem")).unwrap();
    store.add(roots).unwrap();
    let store = Arc::new(store);
    let tokens = std::fs::read_to_string(format!("{folder}/tokens")).unwrap();
    let mut tokens = tokens.lines().map(str::to_owned).enumerate();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let h1 = Dial::tls(address, NAME, Arc::clone(&store), None);
    let h2 = Dial::h2(address, NAME, store, None);
    let (open, mut opened) = tokio::sync::mpsc::unbounded_channel::<()>();
    for (number, token) in tokens.by_ref().take(sockets) {
        let (dial, ended, turns, open) = (h1.clone(), Arc::clone(ended), Arc::clone(&turns), open.clone());
        held.spawn(async move {
            let turn = turns.acquire().await.unwrap();
            let mut request = format!("ws://{NAME}/socket").into_client_request().unwrap();
            let authorization = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", authorization);
            let wire = dial.wire().await.unwrap();
            let (mut socket, _) = tokio_tungstenite::client_async(request, wire).await.unwrap();
            drop(turn);
            open.send(()).unwrap();
            let end = match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    format!("{} {}", u16::from(frame.code), frame.reason)
                }
                other => format!("{other:?}"),
            };
            note(&ended, "socket", number, end);
        });
    }
    for _ in 0..streams.div_ceil(PER_CONNECTION) {
        let client = h2.connect().await.unwrap();
        for (number, token) in tokens.by_ref().take(PER_CONNECTION) {
            let stream = client.same_connection().unwrap();
            held.spawn(hold_stream(
                stream,
                (number, token),
                Arc::clone(ended),
                open.clone(),
            ));
        }
    }
    for _ in 0..sockets + streams {
        opened.recv().await.unwrap();
    }
}

async fn hold_stream(
    mut client: Client,
    (number, token): (usize, String),
    ended: Ended,
    open: tokio::sync::mpsc::UnboundedSender<()>,
) {
    let authorization = format!("Bearer {token}");
    let fields = [("authorization", authorization.as_str())];
    let answer = client.start(Method::GET, "/stream", &fields, b"").await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    open.send(()).unwrap();
    let end = match body.frame().await {
        Some(Err(error)) => {
            let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
            match cause.and_then(h2::Error::reason) {
                Some(h2::Reason::CANCEL) => "CANCEL".to_owned(),
                other => format!("{other:?}"),
            }
        }
        other => format!("{other:?}"),
    };
    note(&ended, "stream", number, end);
}

fn note(ended: &Ended, kind: &str, number: usize, end: String) {
    ended.lock().unwrap().push(Told {
        kind: kind.to_owned(),
        number,
        at: moment(),
        end,
    });
}

/// WebSockets on which nothing is said.
async fn serve_sockets(listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await {
                while let Some(Ok(_)) = socket.next().await {}
            }
        });
    }
}

/// Answers that say one thing and never end.
async fn serve_streams(listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        let service = service_fn(|_: Request<Incoming>| async {
            let first = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(
                Bytes::from_static(b"first"),
            ))]);
            let endless = first.chain(futures_util::stream::pending());
            Ok::<_, std::convert::Infallible>(Response::new(BodyExt::boxed(StreamBody::new(endless))))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(tcp), service));
    }
}
