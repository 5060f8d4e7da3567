//! What the protocol engine is told: every bound of h2's builder, each chosen.
//!
//! Together with the meter they keep a connection under 64 MiB whatever it sends. The largest parts are bodies
//! ([`CONNECTION_WINDOW`]; small frames are taken out of the engine as they come, so that they do not hold the read
//! buffers they came in: [`super::waiting`]), the decoded heads in flight ([`MAX_HEADS`]), trailers that nobody has
//! read yet ([`MAX_STREAMS`] of [`MAX_HEAD`]) and answers that the client does not read ([`MAX_STREAMS`] of
//! [`SEND_BUFFER`]).

use std::time::Duration;

use h2::server::Builder;
use portcullis_pipeline::plan::ConnectionLimits;

/// Streams of one connection at a time.
pub(crate) const MAX_STREAMS: u32 = 100;
/// Receive window of a stream, in octets: how much of one body is held for an endpoint slower than the client.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Receive window of a connection, in octets.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Octets of an answer held per stream for a client that is slower than the endpoint: two full DATA frames; what is
/// under way is the kernel's to hold.
const SEND_BUFFER: usize = 32 * 1024;
/// Decoded size of a head in octets, whatever the listener says.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Decoded size of all heads in flight on a connection, in octets.
pub(crate) const MAX_HEADS: usize = 256 * 1024;
/// Octets of a frame that we take: the least that RFC 9113 section 4.2 allows. Larger ones only cost buffers.
pub(crate) const MAX_FRAME: usize = 16 * 1024;
/// Octets of the client's HPACK table that we keep, the protocol's own default (RFC 9113 section 6.5.2).
const HEADER_TABLE: u32 = 4096;
/// Streams that we reset and whose late frames are still ignored, and for how long: every stream may be answered
/// early while its body is on the way. After that, late frames are the client's error.
const RESET_STREAMS: usize = MAX_STREAMS as usize;
const RESET_MEMORY: Duration = Duration::from_secs(5);
/// Streams in all that the client made us reset (CVE-2025-8671); the meter's allowance ends most floods earlier.
const PROVOKED_RESETS: usize = 1024;
/// Streams opened and reset within one read, before anybody saw them (CVE-2023-44487).
const UNSEEN_RESETS: usize = 20;
/// What DATA frames under 256 octets that nobody has taken out of the engine may lack of that size, in sum: some 2000,
/// the half of the connection's window that is h2's own choice too. Larger frames fill it up again.
const DATA_OVERHEAD: usize = CONNECTION_WINDOW as usize / 2;

/// The engine of a connection with these limits.
pub(crate) fn builder(limits: &ConnectionLimits) -> Builder {
    let max_head = u32::try_from(limits.max_header_bytes.min(MAX_HEAD)).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME as u32)
        .header_table_size(HEADER_TABLE)
        // At this size h2 answers 431, at four times of it it ends the connection.
        .max_header_list_size(max_head)
        .max_concurrent_streams(MAX_STREAMS)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(Some(PROVOKED_RESETS))
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .data_frame_budget(DATA_OVERHEAD)
        // Extended CONNECT (RFC 8441) stays off: without it h2 refuses `:protocol`.
        .max_send_buffer_size(SEND_BUFFER);
    builder
}
