//! What the origin reads of a request: as little as it must, however the bytes are cut.

use aws_lc_rs::digest;

use super::DOWNLOAD_PATH;
use crate::Result;

/// Heads beyond this are a proxy's mistake.
const MAX_HEAD: usize = 64 * 1024;

/// A request that arrived whole.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Whole {
    /// Bytes of its body.
    pub(super) body_bytes: u64,
    /// True when a download is asked for.
    pub(super) is_download: bool,
    /// Length and hash of the body, as JSON, when asked for.
    pub(super) proof: Option<String>,
}

/// A request that is still arriving.
#[derive(Default)]
pub(super) struct Incoming {
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
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<usize> {
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
    pub(super) fn take_whole(&mut self) -> Option<Whole> {
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
