//! The operator's door: file to snapshot.
