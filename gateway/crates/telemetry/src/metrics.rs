//! Counters and histograms of requests. Labels come from the configuration or from closed enums, never from request
//! text: nobody outside can grow a family.

use std::time::Duration;

use portcullis_pipeline::record::{DecisionRecord, RecordSink};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::names;

/// From half a millisecond (a refusal) to a minute (a slow stream).
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The label of what does not apply, as the route of a request that matched none.
const NONE: &str = "-";

/// Counts every record.
pub struct RequestMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    bytes_in: IntCounterVec,
    bytes_out: IntCounterVec,
    attempts: IntCounterVec,
    observed: IntCounterVec,
    endings: IntCounterVec,
}

impl RequestMetrics {
    /// Registers the families.
    ///
    /// # Errors
    /// Fails when a family of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            let family = HistogramVec::new(options, &["route"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Self {
            requests: counter(
                names::REQUESTS,
                "Requests; stage and reason are - when an endpoint's or a configured answer was sent",
                &["route", "stage", "reason", "status"],
            )?,
            duration: histogram(
                names::DURATION,
                "From the request's head to the end of its answer",
            )?,
            first_byte: histogram(
                names::FIRST_BYTE,
                "From the request's head to the endpoint's response head",
            )?,
            bytes_in: counter(names::BYTES_IN, "Request body bytes read", &["route"])?,
            bytes_out: counter(names::BYTES_OUT, "Response body bytes written", &["route"])?,
            attempts: counter(
                names::ATTEMPTS,
                "Attempts at endpoints by what they proved",
                &["pool", "region", "outcome"],
            )?,
            observed: counter(
                names::OBSERVED,
                "What guards in observe mode would have refused",
                &["route", "guard", "reason"],
            )?,
            endings: counter(names::ENDINGS, "How requests ended on the wire", &["ending"])?,
        })
    }
}

impl RecordSink for RequestMetrics {
    fn record(&self, record: &DecisionRecord) {
        let route = record.route.as_ref().map_or(NONE, |route| route.as_str());
        let stage = record.stage.map_or(NONE, |stage| stage.as_str());
        let reason = record.reason.map_or(NONE, |reason| reason.code());
        let status = record.status.map_or(NONE, |status| status_class(status.as_u16()));
        self.requests
            .with_label_values(&[route, stage, reason, status])
            .inc();
        self.duration
            .with_label_values(&[route])
            .observe(seconds(record.duration));
        if let Some(first_byte) = record.first_byte {
            self.first_byte
                .with_label_values(&[route])
                .observe(seconds(first_byte));
        }
        self.bytes_in.with_label_values(&[route]).inc_by(record.bytes_in);
        self.bytes_out
            .with_label_values(&[route])
            .inc_by(record.bytes_out);
        self.endings.with_label_values(&[record.ending.as_str()]).inc();
        for attempt in &record.attempts {
            let endpoint = &attempt.endpoint;
            self.attempts
                .with_label_values(&[endpoint.pool.as_str(), endpoint.region.as_str(), attempt.outcome])
                .inc();
        }
        for observed in &record.observed {
            self.observed
                .with_label_values(&[route, observed.guard.as_str(), observed.reason.code()])
                .inc();
        }
    }
}

/// Registers a gauge that is always 1 and says what this binary is.
///
/// # Errors
/// Fails when it is registered already.
pub fn register_build_info(
    registry: &Registry,
    version: &str,
    commit: &str,
) -> Result<(), prometheus::Error> {
    let family = IntGaugeVec::new(
        Opts::new(names::BUILD_INFO, "What this binary is"),
        &["version", "commit"],
    )?;
    family.with_label_values(&[version, commit]).set(1);
    registry.register(Box::new(family))
}

/// Registers what the operating system says of this process: descriptors, memory, CPU time. Linux alone says it.
///
/// # Errors
/// Fails when it is registered already.
pub fn register_process(registry: &Registry) -> Result<(), prometheus::Error> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
    Ok(())
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

const fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export;
    use crate::fixture::{record, refused};

    fn exported(records: &[DecisionRecord]) -> String {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry).unwrap();
        records.iter().for_each(|record| metrics.record(record));
        String::from_utf8(export::text(&registry).unwrap()).unwrap()
    }

    #[test]
    fn a_request_is_counted_by_route_stage_reason_and_status_class() {
        let text = exported(&[record(), refused()]);

        let served =
            "portcullis_requests_total{reason=\"-\",route=\"appointments\",stage=\"-\",status=\"2xx\"} 1";
        let denied = "portcullis_requests_total{reason=\"policy-denied\",route=\"appointments\",stage=\"authorize\",status=\"4xx\"} 1";
        assert!(text.contains(served), "{text}");
        assert!(text.contains(denied), "{text}");
    }

    #[test]
    fn every_attempt_is_counted_by_region() {
        let text = exported(&[record()]);

        let attempt =
            "portcullis_upstream_attempts_total{outcome=\"ok\",pool=\"appointments\",region=\"eu-west\"} 1";
        assert!(text.contains(attempt), "{text}");
    }

    #[test]
    fn request_text_never_becomes_a_label() {
        let mut odd = record();
        odd.route = None;
        odd.host = "made-up.example".into();
        odd.path = "/made-up".into();

        assert!(!exported(&[odd]).contains("made-up"));
    }

    #[test]
    fn build_info_names_version_and_commit() {
        let registry = Registry::new();

        register_build_info(&registry, "0.1.0", "abc").unwrap();

        let text = String::from_utf8(export::text(&registry).unwrap()).unwrap();
        assert!(
            text.contains("portcullis_build_info{commit=\"abc\",version=\"0.1.0\"} 1"),
            "{text}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_shown_under_the_names_that_are_told() {
        let registry = Registry::new();

        register_process(&registry).unwrap();

        let families = registry.gather();
        let shown: Vec<&str> = families.iter().map(|family| family.name()).collect();
        assert_eq!(shown, names::PROCESS);
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        assert!(value("process_open_fds") >= 1.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_resident_memory_bytes") > 0.0);
    }
}
