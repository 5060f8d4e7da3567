//! Health probes over the same connections that requests use: the same TLS, the same expected identity.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use h2::client::Builder;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use portcullis_identity::UpstreamTls;
use portcullis_model::EndpointId;
use portcullis_pipeline::UpstreamHead;
use portcullis_routing::plan::{ProbePlan, Protocol};
use tokio::time::timeout;

use crate::endpoint::{Destination, DialFault, H1Exchange, Offer, UpstreamStream, dial};
use crate::message::Length;

/// What is probed.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The name it was resolved from.
    pub dns: Option<Arc<str>>,
    /// TLS toward it; `None` in plaintext.
    pub tls: Option<Arc<UpstreamTls>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// What a pass is.
    pub plan: ProbePlan,
    /// For all of it.
    pub timeout: Duration,
}

/// Why a probe did not pass.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFault {
    /// No connection; `cause` says more.
    #[error("{what}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Connection {
        /// What failed.
        what: String,
        /// Why.
        cause: Option<String>,
        /// True when the endpoint proved another identity than the expected one.
        is_identity: bool,
    },
    /// The gateway had no descriptor to ask with: the endpoint was not heard.
    #[error("the gateway has no descriptor left to probe with")]
    Unasked,
    /// It was not answered in time.
    #[error("no answer in time")]
    Late,
    /// The answer was not HTTP, or broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// The answer was not a 2xx.
    #[error("answered {0}")]
    Status(StatusCode),
}

/// Probes an endpoint once, on a connection of its own.
///
/// # Errors
/// Says why the endpoint does not pass; a wrong SPIFFE ID is told from any other failure.
pub async fn probe(probe: &Probe) -> Result<(), ProbeFault> {
    timeout(probe.timeout, attempt(probe))
        .await
        .map_err(|_| ProbeFault::Late)?
}

async fn attempt(probe: &Probe) -> Result<(), ProbeFault> {
    let to = Destination {
        address: probe.endpoint.address,
        dns: probe.dns.as_deref(),
        tls: probe.tls.as_ref(),
    };
    let offer = if probe.protocol == Protocol::H2 {
        Offer::H2
    } else {
        Offer::H1
    };
    let (stream, is_h2) = dial(&to, offer, probe.timeout).await.map_err(connection_fault)?;
    let ProbePlan::Http { path } = &probe.plan else {
        return Ok(());
    };
    let host = match &probe.dns {
        Some(name) => format!("{name}:{}", probe.endpoint.address.port()),
        None => probe.endpoint.address.to_string(),
    };
    let status = if is_h2 {
        get_h2(stream, &host, path, probe.tls.is_some()).await
    } else {
        get_h1(stream, &host, path).await
    };
    match status.map_err(ProbeFault::Broken)? {
        status if status.is_success() => Ok(()),
        status => Err(ProbeFault::Status(status)),
    }
}

fn connection_fault(fault: DialFault) -> ProbeFault {
    if fault.is_out_of_descriptors() {
        return ProbeFault::Unasked;
    }
    let is_identity = matches!(fault, DialFault::Identity(_));
    let cause = std::error::Error::source(&fault).map(ToString::to_string);
    ProbeFault::Connection {
        what: fault.to_string(),
        cause,
        is_identity,
    }
}

async fn get_h1(stream: UpstreamStream, host: &str, path: &str) -> Result<StatusCode, String> {
    let head = UpstreamHead {
        method: Method::GET,
        path_and_query: path.to_owned(),
        authority: HeaderValue::from_str(host).map_err(text)?,
        is_tls: false,
        headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static("portcullis-probe"))]),
        is_websocket: false,
    };
    let mut exchange = H1Exchange::alone(stream);
    let sent = exchange.send_head(&head, Length::None);
    sent.map_err(|fault| fault.why.to_owned())?;
    poll_fn(|context| {
        // A broken write is no verdict: the answer may be here already.
        let _ = exchange.poll_flush(context);
        loop {
            match ready!(exchange.poll_head(context)) {
                Ok(head) if head.status.is_informational() => {}
                Ok(head) => return Poll::Ready(Ok(head.status)),
                Err(fault) => return Poll::Ready(Err(fault.why.to_owned())),
            }
        }
    })
    .await
}

async fn get_h2(stream: UpstreamStream, host: &str, path: &str, is_tls: bool) -> Result<StatusCode, String> {
    let scheme = if is_tls { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host)
        .path_and_query(path)
        .build()
        .map_err(text)?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let (mut sender, connection) = Builder::new()
        .enable_push(false)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .map_err(text)?;
    let exchange = async move {
        sender = sender.ready().await.map_err(text)?;
        let (reply, _) = sender.send_request(request, true).map_err(text)?;
        reply.await.map(|response| response.status()).map_err(text)
    };
    tokio::select! {
        status = exchange => status,
        ended = connection => Err(ended.map_or_else(text, |()| "closed".to_owned())),
    }
}

fn text<E: ToString>(error: E) -> String {
    error.to_string()
}
