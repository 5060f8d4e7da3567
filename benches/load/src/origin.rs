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

use aws_lc_rs::digest;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Result;

/// The size of the common answer's body.
pub(crate) const ANSWER: usize = 512;
/// The size of a download.
pub(crate) const DOWNLOAD: usize = 1 << 20;
/// A target below this is answered with a download.
pub(crate) const DOWNLOAD_PATH: &str = "/download";
/// Heads beyond this are a proxy's mistake.
const MAX_HEAD: usize = 64 * 1024;
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

/// A request that arrived whole.
#[derive(Debug, Eq, PartialEq)]
struct Whole {
    body_bytes: u64,
    is_download: bool,
    /// Length and hash of the body, as JSON, when asked for.
    proof: Option<String>,
}

/// A request that is still arriving.
#[derive(Default)]
struct Incoming {
    head: Vec<u8>,
    body: Body,
    is_download: bool,
    seen: u64,
    hash: Option<digest::Context>,
    is_whole: bool,
}

#[derive(Debug, Default)]
enum Body {
    /// The head is not complete yet.
    #[default]
    NotYet,
    Counted(u64),
    /// The line with a chunk's size, or with a trailer after the last chunk, so far.
    ChunkSize(Vec<u8>),
    Chunk(u64),
    ChunkEnd(u8),
    Trailers(Vec<u8>),
}

impl Incoming {
    /// Takes bytes up to the end of this request; says how many.
    fn push(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while used < bytes.len() && !self.is_whole {
            used += self.step(&bytes[used..])?;
        }
        Ok(used)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize> {
        match &mut self.body {
            Body::NotYet => self.head(bytes),
            Body::Counted(left) => {
                let take = (bytes.len() as u64).min(*left);
                *left -= take;
                let is_last = *left == 0;
                self.eat(&bytes[..take as usize]);
                self.is_whole = is_last;
                Ok(take as usize)
            }
            Body::ChunkSize(line) => {
                line.push(bytes[0]);
                if line.ends_with(b"\r\n") {
                    let digits = line
                        .split(|byte| matches!(byte, b';' | b'\r'))
                        .next()
                        .unwrap_or_default();
                    let size = std::str::from_utf8(digits)
                        .ok()
                        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
                        .ok_or("a chunk without a size")?;
                    self.body = if size == 0 {
                        Body::Trailers(Vec::new())
                    } else {
                        Body::Chunk(size)
                    };
                }
                Ok(1)
            }
            Body::Chunk(left) => {
                let take = (bytes.len() as u64).min(*left);
                *left -= take;
                if *left == 0 {
                    self.body = Body::ChunkEnd(2);
                }
                self.eat(&bytes[..take as usize]);
                Ok(take as usize)
            }
            Body::ChunkEnd(left) => {
                *left -= 1;
                if *left == 0 {
                    self.body = Body::ChunkSize(Vec::new());
                }
                Ok(1)
            }
            Body::Trailers(line) => {
                line.push(bytes[0]);
                if line == b"\r\n" {
                    self.is_whole = true;
                } else if line.ends_with(b"\r\n") {
                    line.clear();
                }
                Ok(1)
            }
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<usize> {
        let before = self.head.len();
        // A handshake, or the rest of a body that was longer than it said.
        if before == 0 && !bytes[0].is_ascii_uppercase() {
            return Err("no request".to_owned());
        }
        self.head.extend_from_slice(bytes);
        // The end may straddle two reads.
        let from = before.saturating_sub(3);
        let Some(end) = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            if self.head.len() > MAX_HEAD {
                return Err("a head without an end".to_owned());
            }
            return Ok(bytes.len());
        };
        let end = from + end + 4;
        self.head.truncate(end);
        let target = self.head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        self.is_download = target.starts_with(DOWNLOAD_PATH.as_bytes());
        let mut length = 0;
        let mut is_chunked = false;
        for line in self.head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or("a length that is no number")?;
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if name.eq_ignore_ascii_case(b"x-bench-proof") {
                self.hash = Some(digest::Context::new(&digest::SHA256));
            }
        }
        self.body = if is_chunked {
            Body::ChunkSize(Vec::new())
        } else {
            Body::Counted(length)
        };
        self.is_whole = !is_chunked && length == 0;
        Ok(end - before)
    }

    fn eat(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// The request, when it is whole; the next one begins.
    fn take_whole(&mut self) -> Option<Whole> {
        if !self.is_whole {
            return None;
        }
        let proof = self.hash.take().map(|hash| proof_of(self.seen, &hash.finish()));
        let whole = Whole {
            body_bytes: self.seen,
            is_download: self.is_download,
            proof,
        };
        self.head.clear();
        (self.body, self.seen, self.is_whole) = (Body::NotYet, 0, false);
        Some(whole)
    }
}

fn proof_of(length: u64, hash: &digest::Digest) -> String {
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r#"{{"bytes":{length},"sha256":"{hex}"}}"#)
}

/// What the origin must say about a body that arrived whole.
pub(crate) fn expected_proof(body: &[u8]) -> String {
    proof_of(body.len() as u64, &digest::digest(&digest::SHA256, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pieces: &[&[u8]]) -> Vec<Whole> {
        let mut incoming = Incoming::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut bytes = *piece;
            while !bytes.is_empty() {
                let used = incoming.push(bytes).unwrap();
                bytes = &bytes[used..];
                found.extend(incoming.take_whole());
            }
        }
        found
    }

    #[test]
    fn the_fixed_answers_have_their_sizes() {
        assert_eq!(answer().len(), ANSWER);
        assert!(serde_json::from_slice::<serde_json::Value>(&answer()).is_ok());
        assert_eq!(download().len(), DOWNLOAD);
    }

    #[test]
    fn two_requests_in_one_read_are_two() {
        let found = whole(&[b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /download HTTP/1.1\r\n\r\n"]);

        assert_eq!(found.len(), 2);
        assert!(!found[0].is_download && found[1].is_download);
    }

    #[test]
    fn a_body_is_counted_however_it_is_cut() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nx-bench-proof: 1\r\n\r\nhello";
        for cut in 1..request.len() {
            let found = whole(&[&request[..cut], &request[cut..]]);

            assert_eq!(found.len(), 1, "cut at {cut}");
            assert_eq!(found[0].body_bytes, 5);
            assert_eq!(found[0].proof.as_deref(), Some(expected_proof(b"hello").as_str()));
        }
    }

    #[test]
    fn a_chunked_body_is_joined() {
        let request =
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nt: v\r\n\r\n";
        for cut in 1..request.len() {
            let found = whole(&[&request[..cut], &request[cut..]]);

            assert_eq!(found.len(), 1, "cut at {cut}");
            assert_eq!(found[0].body_bytes, 5);
        }
    }
}
