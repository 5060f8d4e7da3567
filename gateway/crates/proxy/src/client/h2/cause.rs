//! Why the gateway ends an HTTP/2 connection by itself.

use h2::Reason as Code;

/// A spent budget, a deadline or a breach that costs a client its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// PING frames (CVE-2019-9512).
    Pings,
    /// SETTINGS frames (CVE-2019-9515).
    Settings,
    /// PRIORITY and PRIORITY_UPDATE frames (CVE-2019-9513).
    Priorities,
    /// Streams the client reset (CVE-2023-44487, Rapid Reset; CVE-2019-9514).
    Resets,
    /// Streams the client made us reset (CVE-2025-8671, MadeYouReset).
    ProvokedResets,
    /// DATA frames without data that end nothing (CVE-2019-9518).
    EmptyData,
    /// WINDOW_UPDATE frames (CVE-2019-9511 and -9517 drip windows open).
    WindowUpdates,
    /// CONTINUATION frames (the CONTINUATION floods of 2024, CVE-2024-24549 and its kin).
    Continuations,
    /// HEADERS and CONTINUATION frames without a header block (CVE-2019-9516, CVE-2019-9518).
    EmptyHeaders,
    /// Frames of unknown types, by number or by size.
    UnknownFrames,
    /// All frames together, beside what they carried.
    Frames,
    /// The first frame was not SETTINGS (RFC 9113 section 3.4).
    FirstFrame,
    /// No preface and SETTINGS in time.
    GreetingTimeout,
    /// Our SETTINGS were not acknowledged in time (RFC 9113 section 6.5.3).
    SettingsTimeout,
    /// A head, or another frame that is not DATA, was begun and not finished in time.
    HeadTimeout,
    /// Nothing came from a client with open streams, not even the answer to a PING.
    Unresponsive,
    /// The protocol engine's own bounds were passed.
    Engine,
    /// The protocol engine found the connection broken beyond repair.
    Protocol,
}

impl Cause {
    /// The label of the metric and the field of the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Priorities => "priorities",
            Self::Resets => "resets",
            Self::ProvokedResets => "provoked-resets",
            Self::EmptyData => "empty-data",
            Self::WindowUpdates => "window-updates",
            Self::Continuations => "continuations",
            Self::EmptyHeaders => "empty-headers",
            Self::UnknownFrames => "unknown-frames",
            Self::Frames => "frames",
            Self::FirstFrame => "first-frame",
            Self::GreetingTimeout => "greeting-timeout",
            Self::SettingsTimeout => "settings-timeout",
            Self::HeadTimeout => "head-timeout",
            Self::Unresponsive => "unresponsive",
            Self::Engine => "engine-bound",
            Self::Protocol => "protocol",
        }
    }

    /// The code of the GOAWAY.
    pub(crate) const fn code(self) -> Code {
        match self {
            Self::FirstFrame | Self::Protocol => Code::PROTOCOL_ERROR,
            Self::SettingsTimeout => Code::SETTINGS_TIMEOUT,
            Self::Unresponsive => Code::NO_ERROR,
            Self::Pings
            | Self::Settings
            | Self::Priorities
            | Self::Resets
            | Self::ProvokedResets
            | Self::EmptyData
            | Self::WindowUpdates
            | Self::Continuations
            | Self::EmptyHeaders
            | Self::UnknownFrames
            | Self::Frames
            | Self::GreetingTimeout
            | Self::HeadTimeout
            | Self::Engine => Code::ENHANCE_YOUR_CALM,
        }
    }
}
