//! An endpoint that says byte for byte what a test tells it to, for paths under `/open/bad`; other requests get a
//! good answer on the same connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::recorder::is_whole;

/// One step of an answer.
#[derive(Clone)]
pub enum Act {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Writes these bytes so often, as fast as they are taken.
    Flood(Vec<u8>, usize),
    /// Waits until the test calls [`Scripted::go_on`].
    Wait,
    /// Closes.
    Close,
    /// Closes with a reset.
    Reset,
    /// Keeps the connection and says nothing more.
    Hang,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        match self {
            Self::Send(bytes) => write!(f, "{:?}", text(bytes)),
            Self::Flood(bytes, count) => write!(f, "{count} times {:?}", text(bytes)),
            Self::Wait => f.write_str("wait"),
            Self::Close => f.write_str("close"),
            Self::Reset => f.write_str("reset"),
            Self::Hang => f.write_str("hang"),
        }
    }
}

impl Act {
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }
}

/// A running endpoint.
pub struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Vec<Act>>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    go_on: Semaphore,
    played: Semaphore,
}

/// What the good answer says.
pub const GOOD: &str = "good";

impl Scripted {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            go_on: Semaphore::new(0),
            played: Semaphore::new(0),
        });
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                served.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&served);
                connections.spawn(async move {
                    let _ = tcp.set_nodelay(true);
                    let _ = shared.serve(tcp).await;
                });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// What it says to requests under `/open/bad` from now on.
    pub fn play(&self, script: &[Act]) {
        *self.shared.script.lock().unwrap() = script.to_vec();
    }

    /// Lets one [`Act::Wait`] go on.
    pub fn go_on(&self) {
        self.shared.go_on.add_permits(1);
    }

    /// Waits until a script was played to its end.
    pub async fn played(&self) {
        self.shared.played.acquire().await.unwrap().forget();
    }

    /// Every request's bytes.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        loop {
            if tcp.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            if !is_whole(&request) {
                continue;
            }
            let text = String::from_utf8_lossy(&std::mem::take(&mut request)).into_owned();
            let is_bad = text
                .split(' ')
                .nth(1)
                .is_some_and(|target| target.starts_with("/open/bad"));
            self.requests.lock().unwrap().push(text);
            if !is_bad {
                tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")
                    .await?;
                continue;
            }
            let script = self.script.lock().unwrap().clone();
            for act in script {
                if !self.act(&mut tcp, act).await? {
                    self.played.add_permits(1);
                    return Ok(());
                }
            }
            self.played.add_permits(1);
        }
    }

    /// True when the connection goes on.
    async fn act(&self, tcp: &mut TcpStream, act: Act) -> std::io::Result<bool> {
        match act {
            Act::Send(bytes) => tcp.write_all(&bytes).await?,
            Act::Flood(bytes, count) => {
                for _ in 0..count {
                    tcp.write_all(&bytes).await?;
                }
            }
            Act::Wait => self.go_on.acquire().await.unwrap().forget(),
            Act::Close => return Ok(false),
            Act::Reset => {
                tcp.set_zero_linger()?;
                return Ok(false);
            }
            Act::Hang => std::future::pending().await,
        }
        Ok(true)
    }
}
