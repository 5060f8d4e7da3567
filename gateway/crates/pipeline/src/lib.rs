//! The order of a request.
