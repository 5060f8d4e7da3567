//! Answers of our own, written: the only place where a status leaves that no endpoint gave.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName};
use portcullis_pipeline::LocalAnswer;

/// A whole HTTP/1.1 answer after which the connection closes, for what never became a request.
pub(crate) fn closing_answer(answer: &LocalAnswer) -> Bytes {
    let mut bytes = BytesMut::with_capacity(512 + answer.body.len());
    bytes.put_slice(b"HTTP/1.1 ");
    bytes.put_slice(answer.status.as_str().as_bytes());
    bytes.put_slice(b" ");
    bytes.put_slice(answer.status.canonical_reason().unwrap_or("").as_bytes());
    for (name, value) in &answer.headers {
        put_field(&mut bytes, name, value.as_bytes());
    }
    put_field(
        &mut bytes,
        &CONTENT_LENGTH,
        answer.body.len().to_string().as_bytes(),
    );
    put_field(&mut bytes, &http::header::CONNECTION, b"close");
    bytes.put_slice(b"\r\n\r\n");
    bytes.put_slice(&answer.body);
    bytes.freeze()
}

fn put_field(bytes: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    bytes.put_slice(b"\r\n");
    bytes.put_slice(name.as_str().as_bytes());
    bytes.put_slice(b": ");
    bytes.put_slice(value);
}
