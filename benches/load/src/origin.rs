//! The endpoint behind every proxy: one thread, one epoll loop, fixed answers, bodies eaten and counted.
//!
//! It must cost less than the cheapest proxy, so it reads no more of a request than it must: the target's first
//! bytes, the body's length, and whether proof is asked for. Proof, the length and hash of the body that arrived,
//! is only computed when the field `x-bench-proof` asks for it, which no measured request does.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

mod incoming;

use crate::Result;
use incoming::Incoming;
pub(crate) use incoming::expected_proof;

/// The size of the common answer's body.
pub(crate) const ANSWER: usize = 512;
/// The size of a download.
pub(crate) const DOWNLOAD: usize = 1 << 20;
/// A target below this is answered with a download.
pub(crate) const DOWNLOAD_PATH: &str = "/download";
/// Bytes read at once.
const READ: usize = 256 * 1024;

/// The common answer's body: 512 bytes of JSON.
pub(crate) fn answer() -> Vec<u8> {
    let mut body = br#"{"items":["#.to_vec();
    while body.len() < ANSWER - 24 {
        body.extend_from_slice(br#""0123456789","#);
    }
    body.pop();
    body.push(b']');
    while body.len() < ANSWER - 1 {
        body.push(b' ');
    }
    body.push(b'}');
    body
}

/// The download's body: no two blocks alike, so that a lost or doubled one shows.
pub(crate) fn download() -> Vec<u8> {
    (0..DOWNLOAD as u32 / 4)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// What arrived so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

impl Counts {
    /// Whole requests, and bytes of their bodies.
    pub(crate) fn read(&self) -> (u64, u64) {
        (
            self.requests.load(Ordering::Acquire),
            self.body_bytes.load(Ordering::Acquire),
        )
    }
}

/// The origin; its thread ends with the process.
pub(crate) struct Origin {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
}

impl Origin {
    /// Starts it on a free port of loopback, on the CPU of the thread that asks.
    pub(crate) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| format!("cannot start the origin: {error}");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let counts = Arc::new(Counts::default());
        let mut server = Server::new(TcpListener::from_std(listener), Arc::clone(&counts)).map_err(failed)?;
        std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || {
                if let Err(error) = server.serve() {
                    eprintln!("bench load: the origin stopped: {error}");
                }
            })
            .map_err(failed)?;
        Ok(Self { address, counts })
    }
}

const DOOR: Token = Token(usize::MAX);

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<usize, Connection>,
    next: usize,
    buffer: Vec<u8>,
    answers: Answers,
    counts: Arc<Counts>,
}

struct Answers {
    common: Vec<u8>,
    download: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    request: Incoming,
    /// What could not be sent at once.
    unsent: Vec<u8>,
    sent: usize,
}

impl Server {
    fn new(mut listener: TcpListener, counts: Arc<Counts>) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, DOOR, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: HashMap::new(),
            next: 0,
            buffer: vec![0; READ],
            answers: Answers {
                common: whole_answer("application/json", &answer()),
                download: whole_answer("application/octet-stream", &download()),
            },
            counts,
        })
    }

    fn serve(&mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == DOOR {
                    self.accept()?;
                    continue;
                }
                let id = event.token().0;
                let Some(connection) = self.connections.get_mut(&id) else {
                    continue;
                };
                let is_alive = connection.turn(&mut self.buffer, &self.answers, &self.counts);
                if !is_alive {
                    self.connections.remove(&id);
                }
            }
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A connection that is gone again, or no descriptor left: the proxy will notice.
                Err(_) => continue,
            };
            stream.set_nodelay(true)?;
            self.next += 1;
            // Edge-triggered for both directions: one registration for a connection's whole life.
            self.poll.registry().register(
                &mut stream,
                Token(self.next),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.connections.insert(
                self.next,
                Connection {
                    stream,
                    request: Incoming::default(),
                    unsent: Vec::new(),
                    sent: 0,
                },
            );
        }
    }
}

impl Connection {
    /// Sends what is owed, reads what is there, answers what is whole; false when the connection is over.
    fn turn(&mut self, buffer: &mut [u8], answers: &Answers, counts: &Counts) -> bool {
        if !self.flush() {
            return false;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let mut bytes = &buffer[..read];
            while !bytes.is_empty() {
                let Ok(used) = self.request.push(bytes) else {
                    return false;
                };
                bytes = &bytes[used..];
                let Some(whole) = self.request.take_whole() else {
                    continue;
                };
                counts.body_bytes.fetch_add(whole.body_bytes, Ordering::Release);
                counts.requests.fetch_add(1, Ordering::Release);
                let is_sent = match (&whole.proof, whole.is_download) {
                    (Some(proof), _) => self.send(&whole_answer("application/json", proof.as_bytes())),
                    (None, true) => self.send(&answers.download),
                    (None, false) => self.send(&answers.common),
                };
                if !is_sent {
                    return false;
                }
            }
            // A short read emptied the socket; the next edge will come.
            if read < buffer.len() {
                return true;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(rest);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.unsent.clear();
        self.sent = 0;
        true
    }
}

fn whole_answer(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_answers_have_their_sizes() {
        assert_eq!(answer().len(), ANSWER);
        assert!(serde_json::from_slice::<serde_json::Value>(&answer()).is_ok());
        assert_eq!(download().len(), DOWNLOAD);
    }
}
