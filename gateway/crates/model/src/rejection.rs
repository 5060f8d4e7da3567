//! A decision against a request: where, why, and what may be told.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::origin::Origin;
use crate::reason::{Reason, Stage};

/// One thing in the request that the contract does not allow; never the submitted value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Violation {
    /// `path`, `query`, `header`, `cookie` or `body`.
    #[serde(rename = "in")]
    pub location: &'static str,
    /// A JSON Pointer (RFC 6901) into the body, or the parameter's name after a slash.
    pub pointer: String,
    /// The keyword that failed, as in `maxLength`.
    pub keyword: String,
    /// What the contract asks for; built from the contract alone.
    pub expected: String,
}

/// What is told beyond the reason itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RejectionDetail {
    /// A policy's own public reason.
    pub public: Option<String>,
    /// For the log and `explain` of an operator; never sent.
    pub private: Option<String>,
    /// Contract violations.
    pub violations: Vec<Violation>,
    /// Fields of the answer: `Allow`, `WWW-Authenticate`, `RateLimit`, a policy's own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Written as `Retry-After` in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// A status that a policy's decision chose.
    pub status: Option<StatusCode>,
    /// The configured object that decided.
    pub decided_by: Option<Origin>,
}

/// A request was refused by decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Why; the stage and the status follow from it.
    pub reason: Reason,
    /// What else is known; most rejections need nothing.
    pub detail: Option<Box<RejectionDetail>>,
}

impl Rejection {
    /// A rejection that says no more than its reason.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, detail: None }
    }

    /// The stage that decided.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.reason.stage()
    }

    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.detail
            .as_ref()
            .and_then(|detail| detail.status)
            .unwrap_or_else(|| self.reason.status())
    }

    /// The detail, made on first use.
    pub fn detail_mut(&mut self) -> &mut RejectionDetail {
        self.detail.get_or_insert_with(Box::default)
    }

    /// Adds what only an operator may read.
    #[must_use]
    pub fn with_private(mut self, private: impl Into<String>) -> Self {
        self.detail_mut().private = Some(private.into());
        self
    }

    /// Adds a sentence that anybody may read.
    #[must_use]
    pub fn with_public(mut self, public: impl Into<String>) -> Self {
        self.detail_mut().public = Some(public.into());
        self
    }

    /// Adds a field of the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.detail_mut().headers.push((name, value));
        self
    }

    /// Adds contract violations.
    #[must_use]
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.detail_mut().violations = violations;
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.detail_mut().retry_after = Some(retry_after);
        self
    }

    /// Adds the configured object that decided.
    #[must_use]
    pub fn decided_by(mut self, origin: &Origin) -> Self {
        self.detail_mut().decided_by = Some(origin.clone());
        self
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}
