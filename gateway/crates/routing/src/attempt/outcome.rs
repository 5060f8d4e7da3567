//! How an attempt ended: exactly one kind of evidence each, because mixing them sheds what could be served.

use http::{HeaderMap, StatusCode};

/// How an attempt ended, as evidence about the endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An answer that speaks for the endpoint.
    Ok,
    /// The application failed: a 5xx other than the ones below.
    Correctness,
    /// The endpoint said that it is full: 503, 429 or gRPC's `RESOURCE_EXHAUSTED` and `UNAVAILABLE`.
    Capacity,
    /// The connection failed.
    Transport(TransportKind),
    /// Nothing came back in time.
    Silence,
    /// The client left first: no evidence.
    Abandoned,
}

/// How a connection failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransportKind {
    /// It was refused, or not made in time.
    Refused,
    /// It was closed before the answer was complete.
    Reset,
    /// The TLS handshake failed.
    Tls,
    /// The endpoint proved another identity than the expected one.
    Identity,
    /// What came back is not HTTP.
    Protocol,
}

impl Outcome {
    /// The evidence in the head of an endpoint's answer.
    ///
    /// 501 and 505 speak about the request, not the endpoint: a client that asks for nonsense must not be able to
    /// have an endpoint ejected. For gRPC the status stands in the head only when there is no body.
    #[must_use]
    pub fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Self::Capacity,
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Ok,
            status if status.is_server_error() => Self::Correctness,
            StatusCode::OK => Self::of_grpc(headers),
            _ => Self::Ok,
        }
    }

    fn of_grpc(headers: &HeaderMap) -> Self {
        let is_grpc = headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            return Self::Ok;
        }
        match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            // RESOURCE_EXHAUSTED, UNAVAILABLE
            Some(b"8" | b"14") => Self::Capacity,
            // UNKNOWN, INTERNAL, DATA_LOSS
            Some(b"2" | b"13" | b"15") => Self::Correctness,
            _ => Self::Ok,
        }
    }

    /// The word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Correctness => "correctness",
            Self::Capacity => "capacity",
            Self::Transport(TransportKind::Refused) => "refused",
            Self::Transport(TransportKind::Reset) => "reset",
            Self::Transport(TransportKind::Tls) => "tls",
            Self::Transport(TransportKind::Identity) => "identity",
            Self::Transport(TransportKind::Protocol) => "protocol",
            Self::Silence => "silence",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The evidence.
    pub outcome: Outcome,
    /// True when the endpoint certainly did not act on the request: `REFUSED_STREAM`, a stream beyond a `GOAWAY`,
    /// a reset before the head was taken. What never connected counts as such without being marked.
    pub not_processed: bool,
    /// The status of the endpoint's answer, when there was one.
    pub status: Option<StatusCode>,
}

impl Failure {
    /// A failure without an answer.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            not_processed: false,
            status: None,
        }
    }

    /// A failure without an answer, of which the endpoint certainly took nothing.
    #[must_use]
    pub const fn unprocessed(outcome: Outcome) -> Self {
        Self {
            outcome,
            not_processed: true,
            status: None,
        }
    }

    /// The failure that an answer's head shows; its outcome may be `Ok`.
    #[must_use]
    pub fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            outcome: Outcome::of_answer(status, headers),
            not_processed: false,
            status: Some(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16) -> Outcome {
        Outcome::of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new())
    }

    fn grpc(status: &'static str) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            http::HeaderValue::from_static("application/grpc+proto"),
        );
        headers.insert("grpc-status", http::HeaderValue::from_static(status));
        Outcome::of_answer(StatusCode::OK, &headers)
    }

    #[test]
    fn every_status_is_one_kind_of_evidence() {
        assert_eq!([200, 204, 301, 404, 422].map(outcome), [Outcome::Ok; 5]);
        assert_eq!([500, 502, 504, 507].map(outcome), [Outcome::Correctness; 4]);
        assert_eq!([503, 429].map(outcome), [Outcome::Capacity; 2]);
    }

    #[test]
    fn what_speaks_about_the_request_is_no_evidence_against_the_endpoint() {
        assert_eq!([501, 505].map(outcome), [Outcome::Ok; 2]);
    }

    #[test]
    fn grpc_answers_are_read_by_their_own_status() {
        assert_eq!(["0", "5"].map(grpc), [Outcome::Ok; 2]);
        assert_eq!(["8", "14"].map(grpc), [Outcome::Capacity; 2]);
        assert_eq!(["2", "13", "15"].map(grpc), [Outcome::Correctness; 3]);
    }
}
