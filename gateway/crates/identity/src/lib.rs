//! Who is on the other side: mTLS, SPIFFE and JWT.
pub mod plan;
