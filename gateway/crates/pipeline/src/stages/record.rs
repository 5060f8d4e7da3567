//! `record`: a record begins empty with the exchange and is written exactly once, whatever happened.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};
use smallvec::SmallVec;

use crate::connection::ConnectionFacts;
use crate::context::Now;
use crate::inline_text::InlineText;
use crate::record::{DecisionRecord, Ending, TraceId};
use crate::snapshot::Snapshot;
use crate::trace::TraceContext;

/// What is known before the request was looked at.
pub(crate) fn blank(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    begun: Now,
    trace: &TraceContext,
) -> DecisionRecord {
    DecisionRecord {
        time: begun.wall,
        request_id: InlineText::new(trace.trace_id()).unwrap_or_default(),
        trace_id: trace_id(trace),
        revision: Arc::clone(&snapshot.revision),
        listener: connection.listener.clone(),
        peer: connection.peer,
        client: connection.peer.ip(),
        protocol: "",
        tls: connection.tls.as_ref().map(|tls| tls.version),
        method: Method::GET,
        host: Arc::default(),
        path: Arc::default(),
        route: None,
        class: None,
        operation: None,
        principal: None,
        tenant: None,
        stage: None,
        reason: None,
        private: None,
        decided_by: None,
        observed: Vec::new(),
        attempts: SmallVec::new(),
        status: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        first_byte: None,
        ending: Ending::Complete,
    }
}

/// The id of a trace, for the record.
pub(crate) fn trace_id(trace: &TraceContext) -> TraceId {
    InlineText::new(trace.trace_id()).unwrap_or_default()
}

/// The protocol's name in records.
pub(crate) const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
