//! One JSON line per request, whatever happened to it.
//!
//! A line has no query (it may carry secrets), no header, no body and no claim. Everything in it that came from the
//! client goes through JSON's escaping, so that a control byte in a path cannot forge a second line.

use portcullis_model::{Reason, Stage};
use portcullis_pipeline::record::{AttemptRecord, DecisionRecord, RecordSink};
use prometheus::{IntCounter, Registry};
use serde::{Serialize, Serializer};

use crate::line_writer::{LineFault, LineTarget, LineWriter};
use crate::names;
use crate::timestamp;

/// Writes every record as a line.
pub struct AccessLog {
    writer: Option<LineWriter>,
}

impl AccessLog {
    /// Opens the target; lines that could not be written are counted in `registry`.
    ///
    /// # Errors
    /// Fails when a file cannot be opened.
    pub fn open(target: &LineTarget, registry: &Registry) -> Result<Self, LineFault> {
        let dropped = IntCounter::new(
            names::ACCESS_LOG_DROPPED,
            "Access log lines that could not be written",
        )
        .map_err(LineFault::Metric)?;
        registry
            .register(Box::new(dropped.clone()))
            .map_err(LineFault::Metric)?;
        Ok(Self {
            writer: LineWriter::open(target, dropped)?,
        })
    }

    /// Writes what is queued; nothing is written afterwards.
    pub fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close();
        }
    }
}

impl RecordSink for AccessLog {
    fn record(&self, record: &DecisionRecord) {
        let Some(writer) = &self.writer else { return };
        writer.write(line(record));
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    trace_id: &'a str,
    listener: &'a str,
    client: std::net::IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<std::net::SocketAddr>,
    protocol: &'a str,
    tls: Option<&'a str>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    route: Option<&'a str>,
    class: Option<&'a str>,
    operation: Option<&'a str>,
    principal: Option<&'a str>,
    tenant: Option<&'a str>,
    status: Option<u16>,
    stage: Option<Stage>,
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<ObservedLine<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptLine<'a>>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(serialize_with = "milliseconds")]
    duration_ms: std::time::Duration,
    #[serde(serialize_with = "optional_milliseconds")]
    first_byte_ms: Option<std::time::Duration>,
    ending: &'a str,
    revision: &'a str,
}

#[derive(Serialize)]
struct ObservedLine<'a> {
    guard: &'a str,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    pool: &'a str,
    region: &'a str,
    address: std::net::SocketAddr,
    outcome: &'a str,
}

fn line(record: &DecisionRecord) -> Vec<u8> {
    let is_proxied = record.peer.ip() != record.client;
    let line = Line {
        time: timestamp::rfc3339(record.time),
        request_id: &record.request_id,
        trace_id: &record.trace_id,
        listener: record.listener.as_str(),
        client: record.client,
        peer: is_proxied.then_some(record.peer),
        protocol: record.protocol,
        tls: record.tls,
        method: record.method.as_str(),
        host: &record.host,
        path: &record.path,
        route: record.route.as_ref().map(|route| route.as_str()),
        class: record.class.map(|class| class.as_str()),
        operation: record.operation.as_deref(),
        principal: record.principal.as_deref(),
        tenant: record.tenant.as_deref(),
        status: record.status.map(|status| status.as_u16()),
        stage: record.stage,
        reason: record.reason,
        detail: record.private.as_deref(),
        decided_by: record.decided_by.as_ref().map(ToString::to_string),
        observed: record.observed.iter().map(observed_line).collect(),
        attempts: record.attempts.iter().map(attempt_line).collect(),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        duration_ms: record.duration,
        first_byte_ms: record.first_byte,
        ending: record.ending.as_str(),
        revision: &record.revision,
    };
    let mut bytes = Vec::with_capacity(512);
    // Only a failing writer or a map with odd keys can fail here; there is neither.
    let _ = serde_json::to_writer(&mut bytes, &line);
    bytes.push(b'\n');
    bytes
}

fn observed_line(observed: &portcullis_admission::Observed) -> ObservedLine<'_> {
    ObservedLine {
        guard: &observed.guard,
        reason: observed.reason,
        text: observed.text.as_deref(),
    }
}

fn attempt_line(attempt: &AttemptRecord) -> AttemptLine<'_> {
    AttemptLine {
        pool: attempt.endpoint.pool.as_str(),
        region: attempt.endpoint.region.as_str(),
        address: attempt.endpoint.address,
        outcome: attempt.outcome,
    }
}

/// Three decimals are microseconds: more is noise that costs bytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration in microseconds stays far below 2^52"
)]
fn milliseconds<S: Serializer>(duration: &std::time::Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1_000.0)
}

fn optional_milliseconds<S: Serializer>(
    duration: &Option<std::time::Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, refused};

    #[test]
    fn a_line_says_who_what_and_how_it_ended() {
        let line: serde_json::Value = serde_json::from_slice(&line(&record())).unwrap();

        assert_eq!(line["route"], "appointments");
        assert_eq!(line["status"], 200);
        assert_eq!(line["attempts"][0]["region"], "eu-west");
        assert_eq!(line["duration_ms"], 12.5);
        assert_eq!(line["time"], "2026-01-02T03:04:05.006Z");
    }

    #[test]
    fn a_refusal_has_its_stage_and_reason_and_the_line_that_decided() {
        let line: serde_json::Value = serde_json::from_slice(&line(&refused())).unwrap();

        assert_eq!(line["decided_by"], "portcullis.yaml:60:17 routes[0].authorize[0]");

        assert_eq!(line["stage"], "authorize");
        assert_eq!(line["reason"], "policy-denied");
    }

    #[test]
    fn control_bytes_cannot_forge_a_second_line() {
        let mut record = record();
        record.path = "/a\n{\"forged\":true}\u{1b}[31m".to_owned();

        let line = line(&record);

        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line[..line.len() - 1].iter().all(|byte| !byte.is_ascii_control()));
    }

    #[test]
    fn an_aborted_request_without_an_answer_has_a_line_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&LineTarget::File(path.clone()), &Registry::new()).unwrap();
        let mut aborted = record();
        aborted.status = None;
        aborted.ending = portcullis_pipeline::record::Ending::ClientClosed;

        log.record(&aborted);
        log.close();

        let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(line["ending"], "client-closed");
        assert_eq!(line["status"], serde_json::Value::Null);
    }
}
