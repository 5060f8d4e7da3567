//! Bodies in pieces so small that what holds a piece costs more than the piece: a frame of sixteen octets once kept the
//! whole read buffer alive that it came in, and one connection held 320 MB.

use crate::floods::Siege;
use crate::support::H2Scripted;
use crate::support::h2wire::{
    self, DATA, END_HEADERS, Frame, GOAWAY, H2Wire, HEADERS, RST_STREAM, WINDOW_UPDATE,
};
use crate::support::house::HOST;
use crate::support::process::resident_peak;

/// A rate that nobody falls short of: these clients are not slow.
const LISTENERS: &str = r#"
listeners:
  plain: { listen: "127.0.0.1:0" }
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { body_rate: 1B/s }
"#;

/// Small pieces in all.
const PIECES: u32 = 12_000;
/// The least that the frame budget takes for data, so that no allowance is spent.
const SMALL: usize = 16;
/// With a small piece's frame, one read buffer.
const BULK: usize = 8 * 1024 - 64;
/// What all of it may cost, in KiB: half of what the pieces' buffers would.
const BOUND: u64 = 48 * 1024;
/// A connection's window before the gateway enlarges it (RFC 9113 section 6.9.2), and a stream's, as documented.
const CONNECTION_WINDOW: usize = 65_535;
const STREAM_WINDOW: usize = 256 * 1024;

/// A client that keeps to its windows.
struct Sender {
    wire: H2Wire,
    /// So many carry small pieces; the stream 1 carries what fills the buffers.
    streams: u32,
    connection: usize,
    bulk: usize,
    ended: Option<Frame>,
}

impl Sender {
    /// Opens every stream; those of small pieces ask for this target.
    async fn open(siege: &Siege, target: &str, streams: u32) -> Self {
        let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
        for index in 0..=streams {
            let target = if index == 0 { "/open/bulk" } else { target };
            let block = h2wire::fields(&h2wire::request("POST", target, HOST));
            let head = h2wire::frame(HEADERS, END_HEADERS, 2 * index + 1, &block);
            assert!(wire.write(&head).await);
        }
        Self {
            wire,
            streams,
            connection: CONNECTION_WINDOW,
            bulk: STREAM_WINDOW,
            ended: None,
        }
    }

    /// Sends small pieces in turn, each beside a piece that the endpoint takes; false when the gateway has enough.
    async fn send(&mut self, pieces: u32) -> bool {
        for piece in 0..pieces {
            while self.connection < BULK + SMALL || self.bulk < BULK {
                let Some(frame) = self.wire.frame().await else {
                    return false;
                };
                if !self.take(frame) {
                    return false;
                }
            }
            self.connection -= BULK + SMALL;
            self.bulk -= BULK;
            let mut frames = h2wire::frame(DATA, 0, 2 * (piece % self.streams) + 3, &[b's'; SMALL]);
            frames.extend(h2wire::frame(DATA, 0, 1, &[b'b'; BULK]));
            if !self.wire.write(&frames).await {
                return false;
            }
        }
        true
    }

    fn take(&mut self, frame: Frame) -> bool {
        match (frame.kind, frame.stream) {
            (WINDOW_UPDATE, 0) => self.connection += increment(&frame),
            (WINDOW_UPDATE, 1) => self.bulk += increment(&frame),
            (HEADERS | RST_STREAM | GOAWAY, _) => {
                self.ended = Some(frame);
                return false;
            }
            _ => {}
        }
        true
    }
}

fn increment(frame: &Frame) -> usize {
    u32::from_be_bytes(frame.payload[..4].try_into().unwrap()) as usize
}

fn assert_cheap(siege: &Siege) {
    let peak = resident_peak(siege.house.gateway.pid());
    println!(
        "{PIECES} pieces of {SMALL} octets: {} KiB became {peak} KiB at the most",
        siege.resident
    );
    assert!(
        peak < siege.resident + BOUND,
        "{} KiB became {peak} KiB",
        siege.resident
    );
}

/// The endpoint takes every piece and answers nothing, so that each is remembered for another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn small_pieces_that_are_remembered_do_not_hold_their_read_buffers() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let mut sender = Sender::open(&siege, "/open/small", 10).await;

    let is_taken = sender.send(PIECES).await;

    assert!(
        is_taken,
        "an upload within its windows is taken: {:?}",
        sender.ended
    );
    assert_cheap(&siege);
    drop(sender);
    siege.assert_good_is_served().await;
}

/// The endpoint's window is shut, so that every piece waits in the gateway: on ten streams toward the endpoint, on one
/// also behind the client.
#[tokio::test(flavor = "multi_thread")]
async fn small_pieces_for_an_endpoint_that_takes_nothing_do_not_hold_their_read_buffers() {
    // SETTINGS_INITIAL_WINDOW_SIZE
    let shut = H2Scripted::start_with(&[(4, 0)]).await;
    let pool = format!(
        r#"shut: {{ protocol: h2, endpoints: [{{ address: "{}" }}] }}"#,
        shut.address
    );
    let route = r#"- { name: shut, match: { path: "/shut/**" }, public: true, pool: shut }"#;
    for streams in [10, 1] {
        let mut siege = Siege::begin_beside(LISTENERS, &pool, route).await;
        let mut sender = Sender::open(&siege, "/shut/small", streams).await;

        let is_taken = sender.send(PIECES).await;

        assert!(is_taken, "{streams} streams: {:?}", sender.ended);
        assert_cheap(&siege);
        drop(sender);
        siege.assert_good_is_served().await;
    }
}
