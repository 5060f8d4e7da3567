//! Answers of our own, written: the only place where a status leaves that no endpoint gave.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use portcullis_pipeline::LocalAnswer;

/// Writes an answer; `true` when nothing was written before it.
pub(crate) async fn answer(session: &mut Session, answer: &LocalAnswer) -> Result<()> {
    let has_no_body =
        session.req_header().method == http::Method::HEAD || answer.status == 204 || answer.status == 304;
    let mut head = response_head(answer.status, &answer.headers)?;
    if answer.status != 204 {
        head.insert_header(CONTENT_LENGTH, answer.body.len())?;
    }
    session
        .as_downstream_mut()
        .write_response_header(Box::new(head))
        .await?;
    let body = if has_no_body {
        Bytes::new()
    } else {
        answer.body.clone()
    };
    session.as_downstream_mut().write_response_body(body, true).await
}

/// A response head with these fields.
pub(crate) fn response_head(status: http::StatusCode, fields: &HeaderMap) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(status, Some(fields.len() + 2))?;
    for (name, value) in fields {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

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
