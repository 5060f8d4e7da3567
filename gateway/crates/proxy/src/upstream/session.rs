//! One exchange with an endpoint, as Pingora drives it: deadlines, aborts and evidence stand here, once for both
//! protocols.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use portcullis_routing::attempt::{Outcome, TransportKind};
use tokio::time::{Instant, sleep_until};

use super::Attempt;
use super::h1::H1Exchange;
use super::h2::H2Exchange;
use super::pool::PoolKey;
use crate::link::RequestLink;

/// Interim responses of one request that are read past.
const MAX_INTERIM: usize = 16;

/// One exchange with an endpoint.
pub(crate) struct UpstreamSession {
    pub(crate) exchange: Exchange,
    pub(crate) key: PoolKey,
    link: Arc<RequestLink>,
    attempt: Arc<Attempt>,
    digest: Digest,
}

/// What is spoken.
pub(crate) enum Exchange {
    /// HTTP/1.1.
    H1(Box<H1Exchange>),
    /// HTTP/2.
    H2(Box<H2Exchange>),
}

impl UpstreamSession {
    /// A session for this attempt.
    pub(crate) fn new(
        exchange: Exchange,
        key: PoolKey,
        link: Arc<RequestLink>,
        attempt: Arc<Attempt>,
    ) -> Self {
        Self {
            exchange,
            key,
            link,
            attempt,
            digest: Digest::default(),
        }
    }

    async fn read_head(&mut self) -> Result<()> {
        let Self {
            exchange,
            link,
            attempt,
            ..
        } = self;
        let deadline = attempt.facts.respond_by;
        match exchange {
            Exchange::H2(exchange) => watched(link, attempt, deadline, exchange.read_head(attempt)).await,
            Exchange::H1(exchange) => {
                for _ in 0..MAX_INTERIM {
                    let status = watched(link, attempt, deadline, exchange.read_head()).await?;
                    if status == StatusCode::SWITCHING_PROTOCOLS && !attempt.facts.is_upgrade {
                        break;
                    }
                    if status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational() {
                        return Ok(());
                    }
                }
                // Nobody asked for another protocol, or the interim responses never end.
                attempt.fail_transport(TransportKind::Protocol);
                Error::e_explain(ErrorType::InvalidHTTPHeader, "unsolicited interim response")
            }
        }
    }

    async fn read_piece(&mut self) -> Result<Option<Bytes>> {
        let Self {
            exchange,
            link,
            attempt,
            ..
        } = self;
        let idle = attempt.facts.target.idle_timeout;
        loop {
            let sent = link.body().bytes();
            let deadline = Instant::now() + idle;
            let piece = match exchange {
                Exchange::H1(exchange) => watched(link, attempt, deadline, exchange.read_body()).await,
                Exchange::H2(exchange) => watched(link, attempt, deadline, exchange.read_body(attempt)).await,
            };
            match piece {
                // In a tunnel, and while a body is still sent, either direction counts as life.
                Err(error) if *error.etype() == ErrorType::ReadTimedout && link.body().bytes() > sent => {}
                piece => return piece,
            }
        }
    }
}

/// Runs a read under its deadline, and ends it when the request has to end.
async fn watched<T>(
    link: &RequestLink,
    attempt: &Attempt,
    deadline: Instant,
    read: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        result = read => result.inspect_err(|error| attempt.fail(outcome_of(error))),
        () = link.ended() => Error::e_explain(ErrorType::InternalError, "the request was refused under way"),
        () = sleep_until(deadline) => {
            attempt.fail(Outcome::Silence);
            Error::e_explain(ErrorType::ReadTimedout, "the endpoint is silent")
        }
    }
}

/// The evidence in a failed read.
fn outcome_of(error: &Error) -> Outcome {
    match error.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error | ErrorType::WriteError => {
            Outcome::Transport(TransportKind::Reset)
        }
        _ => Outcome::Transport(TransportKind::Protocol),
    }
}

#[async_trait]
impl Session for UpstreamSession {
    async fn write_request_header(&mut self, head: Box<RequestHeader>, end: bool) -> Result<()> {
        let Self {
            exchange,
            link,
            attempt,
            ..
        } = self;
        let end = end || attempt.facts.is_empty;
        match exchange {
            Exchange::H1(exchange) => exchange.send_head(head, end, link, attempt).await,
            Exchange::H2(exchange) => exchange.send_head(&head, end, link, attempt),
        }
    }

    async fn write_request_body(&mut self, _: Bytes, _: bool) -> Result<()> {
        Error::e_explain(ErrorType::InternalError, "the body has its own writer")
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        Error::e_explain(ErrorType::InternalError, "the body has its own writer")
    }

    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn set_write_timeout(&mut self, _: Option<Duration>) {}

    async fn read_response_header(&mut self) -> Result<()> {
        self.read_head().await
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        let piece = self.read_piece().await;
        if self.link.is_tunnel() && !matches!(piece, Ok(Some(_))) {
            self.link.close_tunnel();
        }
        piece
    }

    fn response_finished(&self) -> bool {
        false
    }

    async fn shutdown(&mut self, _: u32, _: &str) {}

    fn response_header(&self) -> Option<&ResponseHeader> {
        match &self.exchange {
            Exchange::H1(exchange) => exchange.parser.resp_header(),
            Exchange::H2(exchange) => exchange.head.as_ref(),
        }
    }

    fn was_upgraded(&self) -> bool {
        match &self.exchange {
            Exchange::H1(exchange) => exchange.parser.was_upgraded(),
            Exchange::H2(_) => false,
        }
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        let Self {
            exchange,
            link,
            attempt,
            ..
        } = self;
        match exchange {
            // Pingora's HTTP/1.1 parser reads past trailers without giving them out.
            Exchange::H1(_) => Ok(None),
            Exchange::H2(exchange) => {
                let deadline = Instant::now() + attempt.facts.target.idle_timeout;
                watched(link, attempt, deadline, exchange.read_trailers(attempt)).await
            }
        }
    }

    fn fd(&self) -> UniqueIDType {
        0
    }

    async fn check_response_end_or_error(&mut self, _: bool) -> Result<bool> {
        let Self {
            exchange, attempt, ..
        } = self;
        match exchange {
            Exchange::H1(exchange) => Ok(exchange.is_over()),
            Exchange::H2(exchange) => exchange.is_over(attempt),
        }
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        match &mut self.exchange {
            Exchange::H1(exchange) => exchange.take_writer(),
            Exchange::H2(exchange) => exchange.take_writer(),
        }
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>> {
        Some(Box::new(futures_util::stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}
