//! What is measured: which work the proxies do, which load they get, how much of it.

use crate::Result;
use crate::keys::Algorithm;

/// What a proxy checks before it forwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Guard {
    None,
    /// A token: signature, issuer, audience, expiry.
    Token(Algorithm),
    /// A token, a limit, and a role; with us also an OpenAPI contract and a Rego policy.
    Chain,
}

impl Guard {
    /// How the tokens of this guard are signed.
    pub(crate) fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::None => None,
            Self::Token(algorithm) => Some(algorithm),
            Self::Chain => Some(Algorithm::Es256),
        }
    }
}

/// How every proxy of a scenario is configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Setup {
    pub is_tls: bool,
    pub guard: Guard,
    /// Whether each request is written to a file.
    pub is_logged: bool,
}

/// The protocol that clients speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

/// What clients do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    /// The same request again and again, by h2load.
    Same(Protocol),
    /// The same request with a body of this size, by h2load.
    Post(usize),
    /// The same download, by h2load.
    Download,
    /// Tokens and paths drawn by Zipf, by a client of ours.
    Drawn(Protocol),
    /// One connection, one request, close.
    Handshake(Session),
    /// Connections that did one request and wait.
    Idle,
}

/// How a handshake begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Session {
    Full,
    /// Full, with the hybrid X25519MLKEM768.
    PostQuantum,
    Resumed,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub setup: Setup,
    pub load: Load,
    /// Requests of a round; connections, where those are counted.
    pub requests: usize,
    /// The ratio to the best peer that we want to reach.
    pub goal: Option<f64>,
}

const PLAIN: Setup = Setup {
    is_tls: false,
    guard: Guard::None,
    is_logged: false,
};
const TLS: Setup = Setup {
    is_tls: true,
    ..PLAIN
};

/// Every scenario, in the table's order.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "h1-plain",
        about: "GET, 512-byte JSON, HTTP/1.1 without TLS",
        setup: PLAIN,
        load: Load::Same(Protocol::H1),
        requests: 40_000,
        goal: Some(0.92),
    },
    Scenario {
        name: "h1-tls",
        about: "the same over TLS 1.3",
        setup: TLS,
        load: Load::Same(Protocol::H1),
        requests: 40_000,
        goal: Some(0.82),
    },
    Scenario {
        name: "h2-tls",
        about: "the same over HTTP/2 and TLS 1.3",
        setup: TLS,
        load: Load::Same(Protocol::H2),
        requests: 60_000,
        goal: Some(0.80),
    },
    Scenario {
        name: "h1-tls-log",
        about: "h1-tls with the access log on, to a file",
        setup: Setup {
            is_logged: true,
            ..TLS
        },
        load: Load::Same(Protocol::H1),
        requests: 40_000,
        goal: None,
    },
    Scenario {
        name: "h2-tls-log",
        about: "h2-tls with the access log on, to a file",
        setup: Setup {
            is_logged: true,
            ..TLS
        },
        load: Load::Same(Protocol::H2),
        requests: 60_000,
        goal: None,
    },
    Scenario {
        name: "handshake-full",
        about: "full handshake (P-256 certificate, X25519), one request, close",
        setup: TLS,
        load: Load::Handshake(Session::Full),
        requests: 3_000,
        goal: Some(0.62),
    },
    Scenario {
        name: "handshake-resumed",
        about: "resumed handshake, one request, close",
        setup: TLS,
        load: Load::Handshake(Session::Resumed),
        requests: 3_000,
        goal: Some(0.65),
    },
    Scenario {
        name: "handshake-pq",
        about: "full handshake with X25519MLKEM768, of those that speak it",
        setup: TLS,
        load: Load::Handshake(Session::PostQuantum),
        requests: 3_000,
        goal: None,
    },
    Scenario {
        name: "jwt-rs256",
        about: "h1-tls with one RS256 token that was seen before",
        setup: Setup {
            guard: Guard::Token(Algorithm::Rs256),
            ..TLS
        },
        load: Load::Same(Protocol::H1),
        requests: 30_000,
        goal: Some(0.45),
    },
    Scenario {
        name: "jwt-es256",
        about: "h1-tls with one ES256 token that was seen before",
        setup: Setup {
            guard: Guard::Token(Algorithm::Es256),
            ..TLS
        },
        load: Load::Same(Protocol::H1),
        requests: 30_000,
        goal: Some(0.50),
    },
    Scenario {
        name: "chain-h1",
        about: "h1-tls with token, limit and role, ours with contract and Rego too; 1,000 tokens, 10,000 paths",
        setup: Setup {
            guard: Guard::Chain,
            ..TLS
        },
        load: Load::Drawn(Protocol::H1),
        requests: 20_000,
        goal: Some(0.48),
    },
    Scenario {
        name: "chain-h2",
        about: "the same over HTTP/2",
        setup: Setup {
            guard: Guard::Chain,
            ..TLS
        },
        load: Load::Drawn(Protocol::H2),
        requests: 20_000,
        goal: Some(0.35),
    },
    Scenario {
        name: "post-1k",
        about: "POST of 1 KiB, HTTP/1.1 without TLS",
        setup: PLAIN,
        load: Load::Post(1 << 10),
        requests: 40_000,
        goal: Some(0.92),
    },
    Scenario {
        name: "post-64k",
        about: "POST of 64 KiB, HTTP/1.1 without TLS",
        setup: PLAIN,
        load: Load::Post(1 << 16),
        requests: 15_000,
        goal: Some(1.00),
    },
    Scenario {
        name: "download-1m",
        about: "GET of 1 MiB, HTTP/1.1 over TLS",
        setup: TLS,
        load: Load::Download,
        requests: 2_000,
        goal: Some(0.97),
    },
    Scenario {
        name: "idle-tls",
        about: "KiB of a TLS connection that did one request and waits",
        setup: TLS,
        load: Load::Idle,
        requests: 2_000,
        goal: Some(0.50),
    },
];

/// The scenarios with these names; all, when there are none.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            ALL.iter()
                .find(|scenario| scenario.name == *name)
                .ok_or_else(|| format!("there is no scenario \"{name}\"; --list names them"))
        })
        .collect()
}
