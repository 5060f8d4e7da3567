//! A live exchange as its client sees it: of any kind, and however it ends.

use std::error::Error as _;

use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use super::endpoint::Source;
use crate::support::client::Wire;
use crate::support::house::HOST;
use crate::support::{Client, Dial, PATIENCE};

/// A kind of live exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    WebSocket,
    /// Server-sent events over HTTP/1.1: chunks.
    Events,
    /// A download over HTTP/1.1: a length.
    Download,
    /// A download over HTTP/2.
    Stream,
    /// gRPC over HTTP/2, to an HTTP/2 endpoint.
    Grpc,
}

pub const KINDS: [Kind; 5] = [
    Kind::WebSocket,
    Kind::Events,
    Kind::Download,
    Kind::Stream,
    Kind::Grpc,
];

/// How it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// A close frame.
    Closed(u16, String),
    /// The connection ended before the answer did.
    Cut,
    /// The stream was reset.
    Reset(h2::Reason),
    /// Trailers of gRPC.
    Status(String),
    /// As a whole answer ends.
    Whole,
}

/// One of them, under way.
pub struct Live {
    pub kind: Kind,
    pub request_id: String,
    body: Body,
    /// The connection.
    _client: Option<Client>,
}

enum Body {
    Socket(Box<WebSocketStream<Box<dyn Wire>>>),
    Answer(Incoming),
}

impl Kind {
    pub const fn is_h2(self) -> bool {
        matches!(self, Self::Stream | Self::Grpc)
    }

    /// The part of the path that says the pool.
    const fn pool(self) -> &'static str {
        match self {
            Self::WebSocket => "socket",
            Self::Events | Self::Download | Self::Stream => "http",
            Self::Grpc => "grpc",
        }
    }

    pub fn path(self, who: &str) -> String {
        let what = match self {
            Self::WebSocket => "socket",
            Self::Events => "events",
            Self::Download | Self::Stream => "download",
            Self::Grpc => "call",
        };
        format!("/{}/{who}/{what}", self.pool())
    }

    pub fn route(self, who: &str) -> String {
        format!("{}-{who}", self.pool())
    }

    /// The end of a lease: by 401, 403, or anything else.
    pub fn ended(self, reason: &str, close: u16, status: &str) -> End {
        match self {
            Self::WebSocket => End::Closed(close, reason.to_owned()),
            Self::Events | Self::Download => End::Cut,
            Self::Stream => End::Reset(h2::Reason::CANCEL),
            Self::Grpc => End::Status(status.to_owned()),
        }
    }
}

impl Live {
    /// Opens one for `who`, over a connection of its own.
    pub async fn open(kind: Kind, dial: &Dial, who: &str, authorization: Option<&str>) -> Self {
        if kind == Kind::WebSocket {
            let mut request = format!("ws://{HOST}{}", kind.path(who))
                .into_client_request()
                .unwrap();
            if let Some(value) = authorization {
                request
                    .headers_mut()
                    .insert("authorization", value.parse().unwrap());
            }
            let wire = dial.wire().await.unwrap();
            let (socket, answer) = tokio_tungstenite::client_async(request, wire).await.unwrap();
            return Self {
                kind,
                request_id: answer.headers()["x-request-id"].to_str().unwrap().to_owned(),
                body: Body::Socket(Box::new(socket)),
                _client: None,
            };
        }
        Self::on(dial.connect().await.unwrap(), kind, who, authorization).await
    }

    /// The same on a connection that is there.
    pub async fn on(mut client: Client, kind: Kind, who: &str, authorization: Option<&str>) -> Self {
        let mut fields: Vec<(&str, &str)> = authorization
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        let method = if kind == Kind::Grpc {
            fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
            Method::POST
        } else {
            Method::GET
        };
        let answer = client.start(method, &kind.path(who), &fields, b"").await.unwrap();
        assert_eq!(answer.status(), 200, "{kind:?}");
        Self {
            kind,
            request_id: answer.headers()["x-request-id"].to_str().unwrap().to_owned(),
            body: Body::Answer(answer.into_body()),
            _client: Some(client),
        }
    }

    /// The number of the next piece, or how it ended.
    async fn next(&mut self) -> Result<u64, End> {
        match &mut self.body {
            Body::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => Ok(number(text.as_bytes())),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Err(End::Closed(frame.code.into(), frame.reason.as_str().to_owned()))
                }
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(tungstenite::Error::ConnectionClosed)) | None => Err(End::Whole),
                Some(Err(_)) => Err(End::Cut),
            },
            Body::Answer(body) => match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Ok(number(&data)),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap();
                        Err(End::Status(trailers["grpc-status"].to_str().unwrap().to_owned()))
                    }
                },
                Some(Err(error)) => {
                    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
                    Err(cause.and_then(h2::Error::reason).map_or(End::Cut, End::Reset))
                }
                None => Err(End::Whole),
            },
        }
    }

    /// Reads to the end.
    pub async fn end(mut self) -> End {
        let reading = async {
            loop {
                if let Err(end) = self.next().await {
                    return end;
                }
            }
        };
        timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("{:?} does not end", self.kind))
    }

    /// Reads until a piece comes that was sent after this was asked; fails when it ends before.
    pub async fn lives(&mut self, source: &Source) {
        let from = source.now() + 2;
        let reading = async {
            loop {
                match self.next().await {
                    Ok(number) if number >= from => return,
                    Ok(_) => {}
                    Err(end) => panic!("{:?} ended: {end:?}", self.kind),
                }
            }
        };
        timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("{:?} says nothing", self.kind));
    }
}

/// The last whole number of a piece.
fn number(piece: &[u8]) -> u64 {
    let text = std::str::from_utf8(piece).unwrap();
    text.trim_end().rsplit('\n').next().unwrap().parse().unwrap()
}
