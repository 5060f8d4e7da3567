//! The gateway's own log: human lines or JSON on standard error, never a request's secrets.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tracing::error;
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
    outcome.map_err(LogFault::AlreadySet)?;
    heed_the_accept_loop();
    Ok(())
}

/// Brings what the accept loop below us has to say into this log: it writes to the `log` facade, and nobody would see
/// that a listener cannot accept. Only its errors pass; other libraries write what they handle there.
fn heed_the_accept_loop() {
    // Whoever embeds us and has a logger of its own keeps it.
    if log::set_logger(&AcceptLoop).is_ok() {
        log::set_max_level(log::LevelFilter::Error);
    }
}

/// The errors of the accept loop, as lines of ours.
struct AcceptLoop;

/// The crate whose errors pass.
const ACCEPT_LOOP: &str = "pingora_core";
/// How its message begins when `accept` failed. It tries again, after a second where descriptors are lacking.
const CANNOT_ACCEPT: &str = "Accept() failed";

impl log::Log for AcceptLoop {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let rest = metadata.target().strip_prefix(ACCEPT_LOOP);
        metadata.level() == log::Level::Error
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let said = record.args().to_string();
        if said.starts_with(CANNOT_ACCEPT) {
            error!(
                cause = said,
                "a listener cannot accept connections and tries again; if descriptors are lacking, raise the limit of \
                 open files"
            );
        } else {
            error!(cause = said, "the accept loop failed");
        }
    }

    fn flush(&self) {}
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

    /// What is written while `log` is called, and nothing else in this thread.
    fn written(record: &log::Record<'_>) -> String {
        use log::Log as _;
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(parse_filter(None).unwrap());
        tracing::subscriber::with_default(subscriber.with(layer.with_ansi(false)), || AcceptLoop.log(record));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_listener_that_cannot_accept_says_so_with_what_to_do() {
        let line = written(
            &log::Record::builder()
                .level(log::Level::Error)
                .target("pingora_core::services::listening")
                .args(format_args!("Accept() failed Too many open files (os error 24)"))
                .build(),
        );

        assert!(line.contains("ERROR") && line.contains("os error 24"), "{line}");
        assert!(line.contains("raise the limit of open files"), "{line}");
    }

    #[test]
    fn what_other_libraries_write_to_the_facade_stays_out() {
        let line = |target: &'static str, level| {
            written(
                &log::Record::builder()
                    .level(level)
                    .target(target)
                    .args(format_args!("authorization: Bearer x"))
                    .build(),
            )
        };

        assert!(!line("pingora_core", log::Level::Error).is_empty());
        for (target, level) in [
            ("pingora_core::services", log::Level::Warn),
            ("pingora_corelike", log::Level::Error),
            ("hyper", log::Level::Error),
        ] {
            assert_eq!(line(target, level), "", "{target}");
        }
    }

    #[test]
    fn only_two_formats_exist() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
