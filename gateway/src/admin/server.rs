//! A small HTTP/1.1 server for ports that only this machine talks to: the admin port and the demo's controls.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

use super::guard;

/// A head that takes longer is not from a tool on this machine.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A scraper, a few people and their tools.
const MAX_CONNECTIONS: usize = 64;
/// Longest head.
const MAX_HEAD: usize = 16 * 1024;
/// Longest body: one entry of a list, not a list.
const MAX_BODY: usize = 16 * 1024;
/// A body that takes longer is not from a tool on this machine either.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What such a port answers with.
pub type Answer = Response<Full<Bytes>>;

/// Serves until the task is dropped. Bodies of requests are the answerer's: [`body`] reads one.
pub async fn serve<F, A>(listener: TcpListener, bound: SocketAddr, answer: Arc<F>)
where
    F: Fn(Parts, Incoming) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let answer = Arc::clone(&answer);
            async move {
                let (head, body) = request.into_parts();
                let response = match guard::check(&head, bound.ip()) {
                    Ok(()) => answer(head, body).await,
                    Err(refusal) => problem(StatusCode::FORBIDDEN, refusal.text()),
                };
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            let _place = place;
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                debug!(%error, "admin connection ended");
            }
        });
    }
}

/// The text of a short body.
///
/// # Errors
/// The answer to one that is too long, too slow or not text.
pub async fn body(body: Incoming) -> Result<String, Answer> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let Ok(read) = read else {
        return Err(problem(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        ));
    };
    let Ok(collected) = read else {
        let title = format!("the body is longer than {MAX_BODY} bytes, or broke off");
        return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &title));
    };
    String::from_utf8(collected.to_bytes().into())
        .map_err(|_| problem(StatusCode::BAD_REQUEST, "the body is not UTF-8 text"))
}

/// A JSON answer that nobody stores.
#[must_use]
pub fn json_answer(status: StatusCode, body: &Value) -> Answer {
    bytes_answer(status, "application/json", format!("{body:#}\n"))
}

/// Any other answer that nobody stores.
pub fn bytes_answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A refusal in the form the gateway itself uses.
#[must_use]
pub fn problem(status: StatusCode, title: &str) -> Answer {
    let body = json!({ "title": title, "status": status.as_u16() });
    bytes_answer(status, "application/problem+json", format!("{body:#}\n"))
}

/// 405 with what would be allowed.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "that method is not allowed here");
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
