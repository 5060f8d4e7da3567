//! What endpoints are told of a principal: `identity.assertion` and `pools.X.forward_identity`.

use super::scalars::{HttpUrl, KeySource};
use super::section::{List, section};
use super::units::Period;

section! {
    /// How principals are asserted toward endpoints: a short-lived JWT, signed by the gateway. Either `keys` or
    /// `generate`.
    struct Assertion {
        /// The `iss` claim; a URL of yours, the same for every gateway of a fleet.
        required issuer: HttpUrl,
        /// PEM files of private keys, P-256 or Ed25519: the first signs, all are published. Also `${file:…}` or `${env:…}`.
        optional keys: List<KeySource>,
        /// `true`: keys are made in memory, other ones by every gateway and at every start.
        optional generate: bool,
        /// How long one holds, 5s to 10m; 60s by default, and never longer than the proof of the principal.
        optional lifetime: Period,
        /// With `generate`: how long a key signs; 24h by default.
        optional rotate: Period,
    }
}

section! {
    /// What the endpoints of a pool are told of the principal; at least one of these.
    struct ForwardIdentity {
        /// A signed assertion, in `x-portcullis-identity`.
        optional assertion: ForwardAssertion,
        /// `true`: the client's certificate, in `x-forwarded-client-cert`.
        optional client_certificate: bool,
    }
}

section! {
    /// A signed assertion.
    struct ForwardAssertion {
        /// The `aud` claim: the name by which the endpoints know that it is for them.
        required audience: String,
    }
}
