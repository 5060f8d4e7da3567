//! What is shown of fetched key sets: how old they are and until when they may be used.

use std::time::{Duration, SystemTime};

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::key_set::KeySet;

/// Seconds since an issuer's keys were last fetched.
pub const KEY_AGE: &str = "portcullis_identity_key_set_age_seconds";
/// When an issuer's keys were last fetched, in seconds since the epoch.
pub const KEY_SUCCESS: &str = "portcullis_identity_key_set_last_success_timestamp_seconds";
/// When an issuer's keys may no longer be used unless a fetch succeeds before, in seconds since the epoch.
pub const KEY_EXPIRY: &str = "portcullis_identity_key_set_expiry_timestamp_seconds";
/// Keys of an issuer's key set by state: `used`, or `skipped`.
pub const KEYS: &str = "portcullis_identity_keys";

/// Gauges of fetched key sets; an issuer that is gone is shown no longer.
#[derive(Debug)]
pub(crate) struct KeyGauges {
    age: GaugeVec,
    last_success: IntGaugeVec,
    expiry: IntGaugeVec,
    keys: IntGaugeVec,
}

impl KeyGauges {
    /// Gauges that show nothing yet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let seconds = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["issuer"]);
        Ok(Self {
            age: GaugeVec::new(
                Opts::new(KEY_AGE, "Seconds since the last good fetch."),
                &["issuer"],
            )?,
            last_success: seconds(KEY_SUCCESS, "When the keys were last fetched.")?,
            expiry: seconds(KEY_EXPIRY, "When the keys may no longer be used.")?,
            keys: IntGaugeVec::new(Opts::new(KEYS, "Keys by state."), &["issuer", "state"])?,
        })
    }

    /// Makes them visible.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.age.clone()))?;
        registry.register(Box::new(self.last_success.clone()))?;
        registry.register(Box::new(self.expiry.clone()))?;
        registry.register(Box::new(self.keys.clone()))
    }

    /// Shows one issuer's keys, fetched `age` before `now` and used for `stale` after that.
    pub(crate) fn show(&self, issuer: &str, set: &KeySet, age: Duration, stale: Duration, now: SystemTime) {
        let fetched_at = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        self.age.with_label_values(&[issuer]).set(age.as_secs_f64());
        self.last_success
            .with_label_values(&[issuer])
            .set(seconds(fetched_at));
        self.expiry
            .with_label_values(&[issuer])
            .set(seconds(fetched_at + stale));
        for (state, count) in [("used", set.len()), ("skipped", set.skipped)] {
            self.keys
                .with_label_values(&[issuer, state])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Shows an issuer no longer.
    pub(crate) fn forget(&self, issuer: &str) {
        // What was never shown cannot be removed, and need not be.
        let _ = self.age.remove_label_values(&[issuer]);
        let _ = self.last_success.remove_label_values(&[issuer]);
        let _ = self.expiry.remove_label_values(&[issuer]);
        for state in ["used", "skipped"] {
            let _ = self.keys.remove_label_values(&[issuer, state]);
        }
    }
}

fn seconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
