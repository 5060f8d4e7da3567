//! Health probes over the same connections that requests use: the same TLS, the same expected identity.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::client::Builder;
use http::{Method, Request, StatusCode, Uri, Version};
use pingora_core::protocols::http::v1::client::{HttpSession, http_req_header_to_wire};
use pingora_http::RequestHeader;
use portcullis_identity::UpstreamTls;
use portcullis_model::EndpointId;
use portcullis_routing::plan::{ProbePlan, Protocol};
use tokio::time::timeout;

use crate::upstream::{Destination, DialFault, Offer, ReadSide, SharedStream, UpstreamStream, dial};

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
    let is_identity = matches!(fault, DialFault::Identity(_));
    let cause = std::error::Error::source(&fault).map(ToString::to_string);
    ProbeFault::Connection {
        what: fault.to_string(),
        cause,
        is_identity,
    }
}

async fn get_h1(stream: UpstreamStream, host: &str, path: &str) -> Result<StatusCode, String> {
    let mut stream = SharedStream::new(stream);
    let mut head = RequestHeader::build_no_case(Method::GET, path.as_bytes(), Some(3)).map_err(text)?;
    head.set_version(Version::HTTP_11);
    head.insert_header("host", host).map_err(text)?;
    head.insert_header("user-agent", "portcullis-probe")
        .map_err(text)?;
    head.insert_header("connection", "close").map_err(text)?;
    let bytes = http_req_header_to_wire(&head).ok_or("the probe's path cannot be written")?;
    let mut parser = HttpSession::new(Box::new(ReadSide(stream.clone())));
    stream.send(&bytes).await.map_err(text::<io::Error>)?;
    parser.read_response().await.map_err(text)?;
    parser
        .resp_header()
        .map(|head| head.status)
        .ok_or_else(|| "no status".to_owned())
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
