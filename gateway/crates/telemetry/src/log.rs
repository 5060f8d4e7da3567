//! The gateway's own log: human lines or JSON on standard error, never a request's secrets.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged when the operator says nothing: life events, and warnings of the libraries we stand on.
pub const DEFAULT_FILTER: &str = "warn,portcullis=info,portcullis_identity=info,portcullis_admission=info,\
     portcullis_routing=info,portcullis_pipeline=info,portcullis_config=info,portcullis_proxy=info,\
     portcullis_telemetry=info";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogFault;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(LogFault::UnknownFormat(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum LogFault {
    /// Neither `human` nor `json`.
    #[error("unknown log format \"{0}\" (human or json)")]
    UnknownFormat(String),
    /// The filter does not parse.
    #[error("log filter \"{filter}\" is not understood")]
    Filter {
        /// As given.
        filter: String,
        /// What the parser says.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process already logs.
    #[error("the log is already set up")]
    AlreadySet(#[source] TryInitError),
}

/// Starts logging to standard error.
///
/// `filter` is a level (`debug`) or a list of `target=level`; a level alone is for our own rooms, so that
/// `--log debug` does not drown them in the libraries' lines.
///
/// # Errors
/// Fails when the filter does not parse or a log was set up before.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), LogFault> {
    let filter = parse_filter(filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Human => registry
            .with(layer.with_ansi(false).with_target(false))
            .try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    outcome.map_err(LogFault::AlreadySet)
}

/// Libraries that write what they handle: arguments of built-ins, header fields. Nobody can turn these on, so that no
/// filter, however wide, brings a token into the log.
const NEVER_LOGGED: [&str; 4] = ["opa_wasm=off", "h2=info", "hyper=info", "hyper_util=info"];

fn parse_filter(filter: Option<&str>) -> Result<EnvFilter, LogFault> {
    let text = match filter {
        None => DEFAULT_FILTER.to_owned(),
        Some(level) if is_level(level) => DEFAULT_FILTER.replace("info", level),
        Some(list) => list.to_owned(),
    };
    let filter = EnvFilter::try_new(&text).map_err(|cause| LogFault::Filter { filter: text, cause })?;
    Ok(NEVER_LOGGED
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive))
}

fn is_level(word: &str) -> bool {
    matches!(word, "trace" | "debug" | "info" | "warn" | "error" | "off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_our_own_rooms() {
        let filter = parse_filter(Some("debug")).unwrap().to_string();

        assert!(filter.contains("portcullis_proxy=debug"), "{filter}");
        assert!(
            !filter.split(',').any(|directive| directive == "debug"),
            "{filter}"
        );
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_and_named() {
        let fault = parse_filter(Some("portcullis=loud")).unwrap_err();

        assert!(fault.to_string().contains("portcullis=loud"));
    }

    #[test]
    fn no_filter_turns_on_what_writes_secrets() {
        for text in [
            "trace",
            "opa_wasm=trace,h2=trace",
            "portcullis=debug,opa_wasm=info",
        ] {
            let filter = parse_filter(Some(text)).unwrap().to_string();

            assert!(
                filter.contains("opa_wasm=off") && filter.contains("h2=info"),
                "{filter}"
            );
            assert!(
                !filter.contains("opa_wasm=trace") && !filter.contains("opa_wasm=info"),
                "{filter}"
            );
        }
    }

    #[test]
    fn only_two_formats_exist() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
