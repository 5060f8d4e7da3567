//! Commands and flags, nothing else.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use portcullis_telemetry::log::LogFormat;
use portcullis_telemetry::timestamp::parse_rfc3339;

use crate::version;

mod deny;

pub use deny::{AskedGateway, DenyAddArgs, DenyCommand, DenyNameArgs};

/// Where a configuration is looked for when none is named.
pub const DEFAULT_CONFIG: &[&str] = &["portcullis.yaml", "/etc/portcullis"];

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version = version::LONG,
    about = "A multi-region edge API gateway and zero-trust proxy",
    after_help = "Examples:\n  \
        portcullis demo                          see everything work, nothing to set up\n  \
        portcullis check --config edge/          is this configuration sound?\n  \
        portcullis run --config edge/            serve it\n  \
        portcullis explain request GET https://api.example.com/orders/7 --token token.jwt\n  \
        portcullis token token.jwt               which check of this token fails, and what would pass\n  \
        portcullis cert list                     what ends next",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What is logged on standard error: a level, or a list of target=level
    #[arg(long = "log", env = "PORTCULLIS_LOG", global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look: human or json
    #[arg(
        long,
        env = "PORTCULLIS_LOG_FORMAT",
        global = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a configuration until told to stop
    Run(RunArgs),
    /// Say whether a configuration is sound: exit 0 clean, 1 problems, 2 usage
    Check(CheckArgs),
    /// Show the whole gateway at work on this machine: nothing to install, nothing to set up
    Demo(DemoArgs),
    /// Say what would happen to a request, or what an object means, and which line of the configuration decides it
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        portcullis explain request GET https://api.example.com/orders/7 --token token.jwt\n  \
        portcullis explain route orders --config edge/\n  \
        portcullis explain endpoint 10.1.0.7:8443 --admin http://127.0.0.1:9901"
    )]
    Explain(ExplainCommand),
    /// Say of a token which check it fails, what would pass, and who it proves: exit 0 accepted, 1 refused, 2 not judged or usage
    Token(TokenArgs),
    /// Say what a certificate is and which trust, listener and route would accept it; or list what ends when
    Cert(CertArgs),
    /// Refuse a token, a user, a session, a certificate or a workload now, on a running gateway
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        portcullis deny add --sub alice --issuer corp --reason 'laptop stolen'\n  \
        portcullis deny list\n  \
        portcullis deny remove 3f9a1c04d2b7"
    )]
    Deny(DenyCommand),
    /// List the routes of a configuration, in the order they are tried
    Routes(ListArgs),
    /// List the pools of a configuration, with live health when a gateway's admin port is named
    Pools(ListArgs),
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  portcullis schema > portcullis.schema.json\n  \
        # then, as the first line of portcullis.yaml:\n  \
        # yaml-language-server: $schema=portcullis.schema.json")]
    Schema,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// A file, or a folder whose files are merged [default: ./portcullis.yaml, then /etc/portcullis]
    #[arg(short, long, env = "PORTCULLIS_CONFIG", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub config: Option<PathBuf>,
    /// The region this gateway stands in; overrides gateway.region
    #[arg(long, env = "PORTCULLIS_REGION", value_name = "REGION")]
    pub region: Option<String>,
}

/// `run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis run                                   ./portcullis.yaml, then /etc/portcullis\n  \
    portcullis run --config edge/ --region eu-west   a folder, for one region\n\n\
    Signals: SIGHUP reload, SIGTERM drain and exit, SIGINT exit at once.")]
pub struct RunArgs {
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// How long requests in flight may take after SIGTERM
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "TIME")]
    pub drain_timeout: Duration,
    /// Do not reload when a file changes; SIGHUP still does, and the deny list is followed all the same
    #[arg(long)]
    pub no_watch: bool,
}

/// `check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis check --config edge/\n  \
    portcullis check --offline --format json    no secrets needed; for an editor or a pipeline\n  \
    portcullis check --verbose                  and which policies' decisions are remembered")]
pub struct CheckArgs {
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// Do without secrets: do not read ${file:…}, ${env:…} or private keys
    #[arg(long)]
    pub offline: bool,
    /// Say of every policy whether its decisions are remembered: under which facts, or why not
    #[arg(short, long)]
    pub verbose: bool,
    /// How the problems are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `routes` and `pools`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis routes --config edge/\n  \
    portcullis pools --admin http://127.0.0.1:9901    with live health")]
pub struct ListArgs {
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// Ask this gateway's admin port instead of reading a configuration
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "region"])]
    pub admin: Option<String>,
    /// How the list is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis demo                     serve, and print a guided tour of curl commands\n  \
    portcullis demo --once              run the tour itself; exit 1 when an answer differs from its promise\n  \
    portcullis demo --dir ./my-demo     keep the configuration it writes, to copy from")]
pub struct DemoArgs {
    /// Run the tour, print what came back, and exit
    #[arg(long)]
    pub once: bool,
    /// The gateway's port, the next two for its admin port and the light switches; 0 takes free ports throughout
    /// [default: 8443, 9901 and 9902, with --once 0]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Where the configuration, keys and tokens are written [default: ./portcullis-demo, with --once a folder that is removed]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// `explain`.
#[derive(Debug, Subcommand)]
pub enum ExplainCommand {
    /// Say what would happen to a request: every stage, its verdict, and the line that decides
    Request(Box<ExplainRequestArgs>),
    /// Say what a route asks of a request and where it leads
    #[command(after_help = "Example:\n  portcullis explain route orders --config edge/")]
    Route {
        /// Its name
        name: String,
        #[command(flatten)]
        /// Which configuration
        config: ConfigArgs,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Say how an endpoint is doing, and why
    #[command(
        after_help = "Example:\n  portcullis explain endpoint 10.1.0.7:8443 --admin http://127.0.0.1:9901"
    )]
    Endpoint {
        /// Its address, as in 10.1.0.7:8443
        address: String,
        /// The admin port of the gateway to ask
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
        admin: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// `explain request`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis explain request GET https://api.example.com/orders/7 --token token.jwt\n  \
    portcullis explain request POST https://api.example.com/orders -H 'content-type: application/json' \\\n      \
    --claims alice.json --body order.json --format json\n  \
    portcullis explain request GET https://api.example.com/admin --cert client.pem --region eu-west\n\n\
    Nothing is sent and nothing is fetched: endpoints are assumed healthy, and what would have been fetched is said.")]
pub struct ExplainRequestArgs {
    /// The method
    pub method: String,
    /// The absolute URL
    pub url: String,
    /// A field, as in 'x-tenant: a'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
    /// A file with a bearer token; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "claims")]
    pub token: Option<PathBuf>,
    /// A file with claims as JSON, taken as proven: no signature is checked
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// A PEM file with the client's certificate, leaf first
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// A file with the body; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.7")]
    pub client: std::net::IpAddr,
    /// The listener the request comes in by [default: the first that fits the URL's scheme]
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// How the explanation is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `token`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis token token.jwt\n  \
    pbpaste | portcullis token -                     a token that was copied\n  \
    portcullis token old.jwt --at 2026-11-20T08:00:00Z --offline --format json\n\n\
    The issuer's keys are fetched as `run` fetches them, under the same egress rules. Neither the token nor its\n\
    signature is ever printed; single claims are.")]
pub struct TokenArgs {
    /// A file with the token; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Judge it by this issuer alone [default: the one that its `iss` names]
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// Judge it as of this moment [default: now]
    #[arg(long, value_parser = parse_moment, value_name = "RFC3339")]
    pub at: Option<SystemTime>,
    /// Fetch nothing, and say what would have been fetched
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `cert`.
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        portcullis cert client.pem                 what it is, and who would accept it\n  \
        portcullis cert client.pem --at 2027-03-01T00:00:00Z\n  \
        portcullis cert list                       everything the configuration uses, by what ends first\n  \
        portcullis cert list --admin http://127.0.0.1:9901 --warn-within 14d"
)]
pub struct CertArgs {
    /// What else than one file
    #[command(subcommand)]
    pub command: Option<CertCommand>,
    /// A certificate, leaf first with its chain: PEM, or one in DER; - reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub file: Option<PathBuf>,
    /// Judge it as of this moment [default: now]
    #[arg(long, value_parser = parse_moment, value_name = "RFC3339")]
    pub at: Option<SystemTime>,
    /// Fetch no revocation list, and say what would have been fetched
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `cert` without a file.
#[derive(Clone, Debug, Subcommand)]
pub enum CertCommand {
    /// List everything that ends, sorted by what ends first: exit 1 when something has ended or is about to, or is missing on a running gateway
    List(CertListArgs),
}

/// `cert list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    portcullis cert list --config edge/\n  \
    portcullis cert list --admin http://127.0.0.1:9901 --warn-within 14d --format json")]
pub struct CertListArgs {
    /// How long before its end something is worth a warning
    #[arg(long, default_value = "30d", value_parser = parse_duration, value_name = "TIME")]
    pub warn_within: Duration,
    #[command(flatten)]
    /// Which configuration
    pub config: ConfigArgs,
    /// Ask this gateway's admin port what it holds instead of reading a configuration
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "region"])]
    pub admin: Option<String>,
    /// How the list is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("\"{text}\" is not a time, as in 30s"))?;
    let seconds = match text.get(digits.len()..) {
        Some("ms") => return Ok(Duration::from_millis(number)),
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        Some("") => return Err(format!("\"{text}\" has no unit (did you mean \"{text}s\"?)")),
        Some(_) | None => return Err(format!("\"{text}\" has an unknown unit (ms, s, m, h or d)")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

fn parse_moment(text: &str) -> Result<SystemTime, String> {
    parse_rfc3339(text).ok_or_else(|| format!("\"{text}\" is not a moment, as in 2026-11-21T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.get_subcommands().next().is_none() {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(help.contains("Example"), "{path} has no example");
            }
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn a_time_without_a_unit_is_refused_with_a_suggestion() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("30").unwrap_err().contains("\"30s\""));
        assert!(parse_duration("30q").is_err());
    }

    #[test]
    fn a_token_and_claims_exclude_each_other() {
        let both = [
            "portcullis",
            "explain",
            "request",
            "GET",
            "https://a/",
            "--token",
            "t",
            "--claims",
            "c",
        ];

        assert!(Cli::try_parse_from(both).is_err());
        assert!(Cli::try_parse_from(&both[..7]).is_ok());
    }

    #[test]
    fn cert_takes_a_file_or_lists() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["portcullis", "cert"], arguments].concat());

        assert!(parse(&["client.pem"]).is_ok());
        assert!(parse(&["list", "--warn-within", "14d"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["client.pem", "list"]).is_err());
        assert!(parse(&["client.pem", "--at", "tomorrow"]).is_err());
    }

    #[test]
    fn an_unknown_command_is_refused() {
        assert!(Cli::try_parse_from(["portcullis", "serve"]).is_err());
    }
}
