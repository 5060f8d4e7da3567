//! HTTP/2 streams over one connection, by the `h2` crate.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};

use super::Wire;
use super::h1::Answer;
use crate::Result;

/// A connection; clones share it, one stream at a time each.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
}

impl Connection {
    /// The preface; frames are moved by a task of this runtime until the connection ends.
    pub(crate) async fn new(wire: Box<dyn Wire>) -> Result<Self> {
        // Windows as large as h2load's, so that no answer waits for an update.
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30)
            .enable_push(false)
            .handshake(wire)
            .await
            .map_err(|error| format!("no HTTP/2: {error}"))?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// One request, one whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let failed = |error: h2::Error| format!("the stream broke: {error}");
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("user-agent", "bench/1");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| format!("no request: {error}"))?;
        let mut sender = self.sender.clone().ready().await.map_err(failed)?;
        let (answer, mut stream) = sender.send_request(request, body.is_empty()).map_err(failed)?;
        if !body.is_empty() {
            stream
                .send_data(Bytes::copy_from_slice(body), true)
                .map_err(failed)?;
        }
        let answer = answer.await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut incoming = answer.into_body();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece.map_err(failed)?;
            incoming
                .flow_control()
                .release_capacity(piece.len())
                .map_err(failed)?;
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, body })
    }
}
