//! May this request in: contracts, limits, policies.
