//! What attackers send: by class, each case with its RFC section or CVE, each refusal beside what is accepted, a
//! request following on the same connection, and a look at what reached the endpoint.

mod answers;
mod answers_h2;
mod authority;
mod chains;
mod early;
mod fields;
mod framing;
mod paths;
mod sessions;
