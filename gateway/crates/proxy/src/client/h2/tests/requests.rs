//! Requests as h2's own client sends them.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::io::DuplexStream;
use tokio::time::timeout;

use super::house::{House, PATIENCE, until};

pub(super) async fn client(pipe: DuplexStream) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(pipe).await.unwrap();
    tokio::spawn(async move {
        // How it ends is seen by the streams.
        let _ = connection.await;
    });
    client
}

pub(super) fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("https://a{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// The whole body of an answer, or how it broke.
pub(super) async fn whole(
    answer: http::Response<h2::RecvStream>,
) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all.into(), body.trailers().await?))
}

#[tokio::test]
async fn body_and_trailers_pass_both_ways() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "17".parse().unwrap());

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/echo"), false)
        .unwrap();
    body.send_data(Bytes::from_static(b"some"), false).unwrap();
    body.send_data(Bytes::from_static(b"thing"), false).unwrap();
    body.send_trailers(trailers.clone()).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-length"], "9");
    assert!(
        answer.headers().get("keep-alive").is_none(),
        "RFC 9113 section 8.2.2"
    );
    let (body, came) = whole(answer).await.unwrap();
    assert_eq!((&*body, came), (&b"something"[..], Some(trailers)));
    assert!(house.service.faults.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_trailer_that_frames_routes_or_identifies_is_a_fault() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("content-length", "17".parse().unwrap());

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/echo"), false)
        .unwrap();
    body.send_trailers(trailers).unwrap();

    assert!(timeout(PATIENCE, answer).await.unwrap().is_err());
    assert!(house.service.faults.lock().unwrap()[0].starts_with("Frame("));
}

#[tokio::test]
async fn a_waiting_client_is_invited() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let mut head = request(Method::POST, "/echo");
    head.headers_mut()
        .insert("expect", "100-continue".parse().unwrap());

    let (mut answer, mut body) = client.send_request(head, false).unwrap();
    let invited = std::future::poll_fn(|context| answer.poll_informational(context));
    let invited = timeout(PATIENCE, invited).await.unwrap().unwrap().unwrap();
    assert_eq!(invited.status(), StatusCode::CONTINUE);

    body.send_data(Bytes::from_static(b"now"), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(&*whole(answer).await.unwrap().0, b"now");
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_gone_at_once() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/hang"), false)
        .unwrap();
    until(|| house.service.waiting.load(Ordering::SeqCst) == 1).await;
    body.send_reset(h2::Reason::CANCEL);

    until(|| house.service.served.load(Ordering::SeqCst) == 1).await;
    drop(answer);
}

#[tokio::test]
async fn a_panic_ends_its_stream_and_no_other() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let (other, _) = client.send_request(request(Method::GET, "/wait"), true).unwrap();
    let (panicked, _) = client.send_request(request(Method::GET, "/panic"), true).unwrap();
    let error = timeout(PATIENCE, panicked).await.unwrap().unwrap_err();
    house.service.gate.notify_one();

    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    let other = timeout(PATIENCE, other).await.unwrap().unwrap();
    assert_eq!(whole(other).await.unwrap().0.len(), 500);
    assert_eq!(house.ended("panicked"), 1);
}
