//! An HTTP/2 connection from its preface to its end: by agreement, or with an error that is said, counted and told.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason as Code;
use http::StatusCode;
use portcullis_model::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::warn;

use super::cause::Cause;
use super::wire::Wire;
use super::{settings, streams};
use crate::client::Client;
use crate::connection::Connection;
use crate::metrics::Metrics;

/// For the GOAWAY of a connection that ends by an error.
const LAST_WORD: Duration = Duration::from_secs(1);

/// h2, on our wire.
pub(crate) type Engine<S> = h2::server::Connection<Wire<S>, Bytes>;

/// What becomes of the requests of a connection.
pub(crate) trait Requests: Sync {
    /// Serves one request, to its record.
    fn run(&self, client: &mut Client) -> impl Future<Output = ()> + Send;

    /// Records a request that was refused before anybody could serve it, with the status it was answered with.
    fn refused(&self, reason: Reason, status: Option<StatusCode>);
}

/// Serves a connection to its end.
pub(crate) async fn serve<S, R>(socket: S, connection: &Connection, metrics: &Metrics, requests: &R)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    R: Requests,
{
    let (wire, engines) = Wire::pair(socket);
    let greeting = greet(&wire, engines, connection);
    let ended = match timeout(connection.limits.header_timeout, greeting).await {
        Ok(Ok(engine)) => {
            let (mut engine, ended) = streams::run(&wire, engine, (connection, metrics, requests)).await;
            if let Some(Ended::ByUs(cause)) = ended {
                say_why(&wire, &mut engine, cause).await;
            }
            ended
        }
        Ok(Err(error)) => Some(Ended::of(&error)),
        Err(_) => Some(Ended::ByUs(Cause::GreetingTimeout)),
    };
    match ended {
        Some(Ended::ByUs(cause) | Ended::ByEngine(cause)) => tell(metrics, connection, cause),
        Some(Ended::Lost) => return,
        None => {}
    }
    wire.close().await;
}

/// Why a connection ended otherwise than by agreement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    /// The loop or the meter ends it; GOAWAY is still to be said.
    ByUs(Cause),
    /// h2 ended it and said so.
    ByEngine(Cause),
    /// The client is gone.
    Lost,
}

impl Ended {
    /// What h2 says of it.
    pub(crate) fn of(error: &h2::Error) -> Self {
        if error.is_io() || error.is_remote() {
            return Self::Lost;
        }
        match error.reason() {
            Some(Code::ENHANCE_YOUR_CALM) => Self::ByEngine(Cause::Engine),
            Some(_) | None => Self::ByEngine(Cause::Protocol),
        }
    }
}

/// Sends our SETTINGS and reads the preface.
async fn greet<S>(wire: &Wire<S>, engines: Wire<S>, connection: &Connection) -> Result<Engine<S>, h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = pin!(settings::builder(&connection.limits).handshake(engines));
    std::future::poll_fn(|context| {
        wire.refresh();
        let greeted = handshake.as_mut().poll(context);
        // A client that does not read them is found out by its silence.
        let _ = wire.poll_drain(context);
        greeted
    })
    .await
}

/// GOAWAY with a reason.
async fn say_why<S>(wire: &Wire<S>, engine: &mut Engine<S>, cause: Cause)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    engine.abrupt_shutdown(cause.code());
    let saying = std::future::poll_fn(|context| {
        let said = engine.poll_closed(context);
        let drained = wire.poll_drain(context);
        if said.is_ready() {
            drained.map(drop)
        } else {
            Poll::Pending
        }
    });
    // A client that does not read it will not miss it.
    let _ = timeout(LAST_WORD, saying).await;
}

fn tell(metrics: &Metrics, connection: &Connection, cause: Cause) {
    metrics.h2_connection_ended(cause.as_str());
    if let Some(suppressed) = metrics.notices().take() {
        let (peer, cause) = (connection.facts.peer, cause.as_str());
        warn!(%peer, cause, suppressed, "HTTP/2 connection ended by the gateway");
    }
}
