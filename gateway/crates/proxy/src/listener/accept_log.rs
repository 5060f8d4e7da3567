//! What the accept loop below us has to say: it writes to the `log` facade, where nobody would see that a listener cannot
//! accept.
//!
//! Only its errors pass; other libraries write to the facade what they handle, and a token must not come into a log.

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing::error;

/// The crate whose errors pass.
const ACCEPT_LOOP: &str = "pingora_core";
/// How its message begins when `accept` failed. It tries again, after a second where descriptors are lacking.
const CANNOT_ACCEPT: &str = "Accept() failed";

/// Brings the accept loop's errors into our log, once for the process.
pub(crate) fn heed() {
    // Whoever embeds us and has a logger of its own keeps it.
    if log::set_logger(&AcceptLoop).is_ok() {
        log::set_max_level(LevelFilter::Error);
    }
}

/// The errors of the accept loop, as lines of ours.
struct AcceptLoop;

impl Log for AcceptLoop {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let rest = metadata.target().strip_prefix(ACCEPT_LOOP);
        metadata.level() == Level::Error && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let said = record.args().to_string();
            error!(cause = said, "{}", meaning(&said));
        }
    }

    fn flush(&self) {}
}

/// What a message of the accept loop means for an operator.
fn meaning(said: &str) -> &'static str {
    if said.starts_with(CANNOT_ACCEPT) {
        "a listener cannot accept connections and tries again; if descriptors are lacking, raise the limit of open files"
    } else {
        "the accept loop failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_heard(target: &str, level: Level) -> bool {
        AcceptLoop.enabled(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn a_listener_that_cannot_accept_is_told_with_what_to_do() {
        assert!(is_heard("pingora_core::services::listening", Level::Error));
        assert!(
            meaning("Accept() failed Too many open files (os error 24)")
                .contains("raise the limit of open files")
        );
        assert_eq!(meaning("something else"), "the accept loop failed");
    }

    #[test]
    fn what_other_libraries_write_to_the_facade_stays_out() {
        assert!(is_heard("pingora_core", Level::Error));
        for (target, level) in [
            ("pingora_core::services", Level::Warn),
            ("pingora_corelike", Level::Error),
            ("hyper", Level::Error),
        ] {
            assert!(!is_heard(target, level), "{target}");
        }
    }
}
