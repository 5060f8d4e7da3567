//! Pingora's callbacks: translate, call one function of the journey, translate back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::tls::{ALPN, CustomALPN};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use portcullis_pipeline::Gateway;

use crate::http10::Http10;
use crate::journey::Journey;
use crate::link;

/// The adapter between Pingora and the hall.
pub(crate) struct EdgeProxy {
    gateway: Arc<Gateway>,
}

impl EdgeProxy {
    /// An adapter to this hall.
    pub(crate) const fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }
}

/// The journey of the request; missing only when Pingora runs one that no connection loop gave it.
fn journey(context: &mut Option<Journey>) -> Result<&mut Journey> {
    context
        .as_mut()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a connection"))
}

/// What makes Pingora ask our connector.
const OUR_CONNECTOR: &[u8] = b"portcullis";

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Option<Journey>;

    fn new_ctx(&self) -> Self::CTX {
        link::current().map(|link| Journey::begin(&self.gateway, link))
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(Http10));
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Self::CTX) -> Result<bool> {
        journey(context)?.admit(session).await
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let address = journey(context)?.start_attempt(session)?;
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.alpn = ALPN::Custom(CustomALPN::new(OUR_CONNECTOR.to_vec()));
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> Result<()> {
        *request = journey(context)?.outgoing_head()?;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> Result<()> {
        journey(context)?.body_piece(body, end_of_stream)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> Result<()> {
        journey(context)?.response_head(session, response)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        // Trailers may say nothing about framing or routing (RFC 9110 section 6.5.1).
        for name in [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING] {
            trailers.remove(name);
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        context: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        match context {
            Some(journey) => journey.attempt_broke(session, error),
            None => error,
        }
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Self::CTX,
        _: bool,
    ) -> Box<Error> {
        match context {
            Some(journey) => journey.attempt_broke(session, error),
            None => error,
        }
    }

    async fn fail_to_proxy(&self, session: &mut Session, _: &Error, context: &mut Self::CTX) -> FailToProxy {
        let error_code = match context {
            Some(journey) => journey.give_up(session).await,
            None => 0,
        };
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Self::CTX) {
        if let Some(journey) = context {
            journey.record(session, error);
            journey.linger(session).await;
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        // The record says it once, in our words.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
