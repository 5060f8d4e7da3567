//! What the process is told from outside.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// SIGHUP.
    Reload,
    /// SIGTERM, SIGQUIT.
    Drain,
    /// SIGINT.
    StopAtOnce,
}

/// Every signal that means something.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over; until then they do what the system does by default.
    ///
    /// # Errors
    /// Fails when the system refuses a signal.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGINT alone.
    pub(crate) async fn interrupted(mut self) {
        self.interrupt.recv().await;
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::Drain,
            _ = self.quit.recv() => Told::Drain,
            _ = self.interrupt.recv() => Told::StopAtOnce,
        }
    }
}
