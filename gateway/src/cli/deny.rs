//! `deny`: commands and flags of the deny list.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::{Format, parse_duration, parse_moment};

/// `deny`.
#[derive(Debug, Subcommand)]
pub enum DenyCommand {
    /// List who is refused now, and by whose word
    #[command(after_help = "Examples:\n  \
        portcullis deny list\n  \
        portcullis deny list alice --format json        only entries with this value")]
    List {
        /// Only entries with exactly this value
        value: Option<String>,
        /// How many entries are listed at most
        #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        /// Which gateway
        asked: AskedGateway,
    },
    /// Refuse a token, a subject, a session, a certificate or a workload from now on
    Add(DenyAddArgs),
    /// Take back an entry of the admin port, by its id
    #[command(after_help = "Example:\n  portcullis deny remove 3f9a1c04d2b7")]
    Remove {
        /// Its id, as `deny list` shows it
        id: String,
        #[command(flatten)]
        /// Which gateway
        asked: AskedGateway,
    },
}

/// Which gateway is asked, and how it is told.
#[derive(Args, Clone, Debug)]
pub struct AskedGateway {
    /// The admin port of the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    pub admin: String,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `deny add`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis deny add --sub alice --issuer corp --reason 'laptop stolen' --for 12h\n  \
    portcullis deny add --jti 6f1c2a\n  \
    portcullis deny add --serial 0A:1B:2C --trust partners\n  \
    portcullis deny add --spiffe 'spiffe://corp.example/ns/billing/**'\n\n\
    It holds at once on this gateway, and on this gateway alone: name every gateway, or write it into the file that\n\
    revocation.deny_list names.")]
pub struct DenyAddArgs {
    #[command(flatten)]
    /// Whom
    pub name: DenyNameArgs,
    /// With --jti, --sub or --sid: only tokens of this issuer
    #[arg(long, value_name = "NAME", conflicts_with_all = ["serial", "spiffe"])]
    pub issuer: Option<String>,
    /// With --serial: only certificates under this trust
    #[arg(long, value_name = "NAME", conflicts_with_all = ["jti", "sub", "sid", "spiffe"])]
    pub trust: Option<String>,
    /// Until this moment, as in 2026-12-31T00:00:00Z
    #[arg(long, value_parser = parse_moment, value_name = "RFC3339")]
    pub until: Option<SystemTime>,
    /// For so long from now on, as in 12h
    #[arg(long = "for", value_parser = parse_duration, value_name = "TIME", conflicts_with = "until")]
    pub lasting: Option<Duration>,
    /// Why, for whoever reads the list; no client is told
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    /// Which gateway
    pub asked: AskedGateway,
}

/// Whom an entry names; exactly one of these.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct DenyNameArgs {
    /// One token, by its jti claim
    #[arg(long, value_name = "TEXT")]
    pub jti: Option<String>,
    /// Every token of a subject
    #[arg(long, value_name = "TEXT")]
    pub sub: Option<String>,
    /// Every token of a session
    #[arg(long, value_name = "TEXT")]
    pub sid: Option<String>,
    /// A certificate, by its serial number in hex
    #[arg(long, value_name = "HEX")]
    pub serial: Option<String>,
    /// A workload; the last segment may be * (any one) or ** (one or more)
    #[arg(long, value_name = "SPIFFE ID")]
    pub spiffe: Option<String>,
}
