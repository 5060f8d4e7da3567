//! One JSON line per request, whatever happened to it.
//!
//! A line has no query (it may carry secrets), no header, no body and no claim. Everything in it that came from the
//! client goes through JSON's escaping, so that a control byte in a path cannot forge a second line.

use portcullis_pipeline::record::{DecisionRecord, RecordSink};
use prometheus::{IntCounter, Registry};
use smallvec::SmallVec;

use crate::json_line::JsonLine;
use crate::line_writer::{LineDestination, LineFault, LineWriter};
use crate::names;
use crate::timestamp;

/// Writes every record as a line.
pub struct AccessLog {
    writer: Option<LineWriter>,
}

impl AccessLog {
    /// Opens the destination; lines that could not be written are counted in `registry`.
    ///
    /// # Errors
    /// Fails when a file cannot be opened.
    pub fn open(destination: &LineDestination, registry: &Registry) -> Result<Self, LineFault> {
        let dropped = IntCounter::new(
            names::ACCESS_LOG_DROPPED,
            "Access log lines that could not be written",
        )
        .map_err(LineFault::Metric)?;
        registry
            .register(Box::new(dropped.clone()))
            .map_err(LineFault::Metric)?;
        Ok(Self {
            writer: LineWriter::open(destination, dropped)?,
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
        writer.write(&line(record));
    }
}

fn line(record: &DecisionRecord) -> SmallVec<[u8; 1024]> {
    let mut line = JsonLine::new();
    line.text("time", &timestamp::rfc3339(record.time));
    line.text("request_id", &record.request_id);
    line.text("trace_id", &record.trace_id);
    line.text("listener", record.listener.as_str());
    line.shown("client", &record.client);
    if record.peer.ip() != record.client {
        line.shown("peer", &record.peer);
    }
    line.text("protocol", record.protocol);
    line.optional_text("tls", record.tls);
    line.text("method", record.method.as_str());
    line.text("host", &record.host);
    line.text("path", &record.path);
    line.optional_text("route", record.route.as_ref().map(|route| route.as_str()));
    line.optional_text("class", record.class.map(|class| class.as_str()));
    line.optional_text("operation", record.operation.as_deref());
    match &record.principal {
        Some(principal) => line.shown("principal", principal),
        None => line.optional_text("principal", None),
    }
    line.optional_text("tenant", record.tenant.as_deref());
    line.number("status", record.status.map(|status| status.as_u16().into()));
    line.optional_text("stage", record.stage.map(|stage| stage.as_str()));
    line.optional_text("reason", record.reason.map(|reason| reason.code()));
    if let Some(private) = &record.private {
        line.text("detail", private);
    }
    if let Some(origin) = &record.decided_by {
        line.shown("decided_by", origin);
    }
    line.objects("observed", &record.observed, |line, observed| {
        line.text("guard", &observed.guard);
        line.text("reason", observed.reason.code());
        if let Some(text) = &observed.text {
            line.text("text", text);
        }
    });
    line.objects("attempts", &record.attempts, |line, attempt| {
        line.text("pool", attempt.endpoint.pool.as_str());
        line.text("region", attempt.endpoint.region.as_str());
        line.shown("address", &attempt.endpoint.address);
        line.text("outcome", attempt.outcome);
    });
    line.number("bytes_in", Some(record.bytes_in));
    line.number("bytes_out", Some(record.bytes_out));
    line.milliseconds("duration_ms", Some(record.duration));
    line.milliseconds("first_byte_ms", record.first_byte);
    line.text("ending", record.ending.as_str());
    line.text("revision", &record.revision);
    line.finish()
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
        record.path = "/a\n{\"forged\":true}\u{1b}[31m".into();

        let line = line(&record);

        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line[..line.len() - 1].iter().all(|byte| !byte.is_ascii_control()));
    }

    #[test]
    fn an_aborted_request_without_an_answer_has_a_line_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&LineDestination::File(path.clone()), &Registry::new()).unwrap();
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
