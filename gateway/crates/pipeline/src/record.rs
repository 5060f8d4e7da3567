//! What happened to one request, as data: access log, metrics and `explain` are views of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use portcullis_admission::Observed;
use portcullis_model::{EndpointId, Identity, ListenerId, Origin, Reason, RouteId, Stage};
use smallvec::SmallVec;

use crate::inline_text::InlineText;
use crate::plan::Class;

/// A request's id: 32 hexadecimal digits of ours, or what a trusted proxy chose.
pub type RequestId = InlineText<64>;

/// A W3C trace id.
pub type TraceId = InlineText<32>;

/// One request's journey, told exactly once.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    /// When it began.
    pub time: SystemTime,
    /// Its id; in every answer we give and on the way to the endpoint.
    pub request_id: RequestId,
    /// The W3C trace id, kept or started.
    pub trace_id: TraceId,
    /// The configuration's revision that decided.
    pub revision: Arc<str>,
    /// The listener.
    pub listener: ListenerId,
    /// The peer on the wire.
    pub peer: SocketAddr,
    /// The client, after trusted proxies.
    pub client: IpAddr,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The TLS version, or `None` in plaintext.
    pub tls: Option<&'static str>,
    /// The method.
    pub method: Method,
    /// The canonical host; empty when the request had none.
    pub host: Arc<str>,
    /// The canonical path, without the query; empty when it had none.
    pub path: Arc<str>,
    /// The route.
    pub route: Option<RouteId>,
    /// Its class.
    pub class: Option<Class>,
    /// The contract's operation.
    pub operation: Option<Arc<str>>,
    /// Who asked; written as `anonymous`, the SPIFFE ID, or `issuer:subject`.
    pub principal: Option<Identity>,
    /// The principal's tenant.
    pub tenant: Option<Arc<str>>,
    /// The stage that ended it, when the gateway did.
    pub stage: Option<Stage>,
    /// The reason, when the gateway ended it.
    pub reason: Option<Reason>,
    /// What only operators may read about the reason.
    pub private: Option<String>,
    /// The object and line of the configuration that refused it.
    pub decided_by: Option<Origin>,
    /// Guards in observe mode that would have refused.
    pub observed: Vec<Observed>,
    /// Every attempt in order: where, and how it ended.
    pub attempts: SmallVec<[AttemptRecord; 1]>,
    /// The answer's status; `None` when none was sent.
    pub status: Option<StatusCode>,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes written.
    pub bytes_out: u64,
    /// From the first byte of the head to the end.
    pub duration: Duration,
    /// To the endpoint's response head.
    pub first_byte: Option<Duration>,
    /// How it ended.
    pub ending: Ending,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// Where.
    pub endpoint: EndpointId,
    /// `ok`, or what the attempt proved about the endpoint.
    pub outcome: &'static str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ending {
    /// An answer was sent whole.
    #[default]
    Complete,
    /// The client went away.
    ClientClosed,
    /// The endpoint's answer broke off.
    EndpointBroke,
    /// A deadline of ours passed.
    DeadlinePassed,
    /// What it rested on ended while it was under way; the reason says what.
    LeaseEnded,
    /// It was dropped without an answer; a defect or a shutdown.
    Dropped,
}

impl Ending {
    /// The word used in the log and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientClosed => "client-closed",
            Self::EndpointBroke => "endpoint-broke",
            Self::DeadlinePassed => "deadline-passed",
            Self::LeaseEnded => "lease-ended",
            Self::Dropped => "dropped",
        }
    }
}

/// Where records go; called once per request, from the request's own task: it must not wait.
pub trait RecordSink: Send + Sync {
    /// Takes one record.
    fn record(&self, record: &DecisionRecord);
}
