//! An endpoint over HTTP/2 with prior knowledge that sends the frames a test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::h2wire::{self, ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, fields, frame};

/// Frames for a request on this stream.
pub type Play = Arc<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

/// A running endpoint; its good answer is 200 with `good`.
pub struct H2Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The payload of its SETTINGS.
    settings: Vec<u8>,
    play: Mutex<Option<Play>>,
    requests: AtomicUsize,
}

/// A whole good answer.
pub fn good(stream: u32) -> Vec<u8> {
    let head = frame(
        HEADERS,
        END_HEADERS,
        stream,
        &fields(&[(":status", "200"), ("x-kind", "good")]),
    );
    [head, frame(DATA, END_STREAM, stream, b"good")].concat()
}

impl H2Scripted {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these settings, by their numbers.
    pub async fn start_with(settings: &[(u16, u32)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            settings: h2wire::settings(settings),
            ..Shared::default()
        });
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let shared = Arc::clone(&served);
                connections.spawn(async move { shared.serve(tcp).await });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// What it sends to every request from now on; `None` is the good answer.
    pub fn play(&self, play: Option<Play>) {
        *self.shared.play.lock().unwrap() = play;
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for H2Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(&self, mut tcp: TcpStream) -> Option<()> {
        let _ = tcp.set_nodelay(true);
        let mut preface = [0; 24];
        tcp.read_exact(&mut preface).await.ok()?;
        tcp.write_all(&frame(SETTINGS, 0, 0, &self.settings)).await.ok()?;
        loop {
            let mut head = [0; 9];
            tcp.read_exact(&mut head).await.ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            tcp.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let answer = match (head[3], head[4]) {
                (SETTINGS, flags) if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
                (PING, flags) if flags & ACK == 0 => frame(PING, ACK, 0, &payload),
                // Every test's request ends with its head.
                (HEADERS, flags) if flags & END_STREAM != 0 => {
                    self.requests.fetch_add(1, Ordering::SeqCst);
                    let play = self.play.lock().unwrap().clone();
                    play.map_or_else(|| good(stream), |play| play(stream))
                }
                _ => continue,
            };
            tcp.write_all(&answer).await.ok()?;
        }
    }
}
