//! What happens to a connection when time passes, and when: pure.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::Cause;

/// How long the client has to close after the last GOAWAY.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long the client has to acknowledge our SETTINGS, beyond the time for its own.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// Silence on a connection with open streams after which the client is asked whether it still lives.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it has to say anything then.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// The connection ends with an error.
    End(Cause),
    /// GOAWAY: streams under way finish, new ones go elsewhere.
    Leave,
    /// Everything was said.
    Close,
    /// The client is asked for a sign of life.
    Ping,
}

/// What the deadlines depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// For the greeting, and for a head.
    pub(crate) header_timeout: Duration,
    /// Without a request.
    pub(crate) idle_timeout: Duration,
    /// When the connection came.
    pub(crate) opened: Instant,
    /// When it is too old.
    pub(crate) end_of_age: Instant,
    /// When the client last said anything.
    pub(crate) last_read: Instant,
    /// Since when it owes the rest of a head.
    pub(crate) amid_since: Option<Instant>,
    /// When it was asked for a sign of life.
    pub(crate) pinged: Option<Instant>,
    /// Since when no request is under way; `None` while one is.
    pub(crate) idle_since: Option<Instant>,
    /// Preface and SETTINGS came.
    pub(crate) is_greeted: bool,
    /// Our SETTINGS were acknowledged.
    pub(crate) is_acknowledged: bool,
    /// GOAWAY was sent.
    pub(crate) is_leaving: bool,
}

impl Clocks {
    /// What is due next, and when.
    pub(crate) fn next(&self) -> (Instant, Due) {
        let mut next = if self.is_leaving {
            match self.idle_since {
                Some(since) => (since + GOODBYE, Due::Close),
                None => self.life(),
            }
        } else {
            (self.end_of_age, Due::Leave)
        };
        let mut consider = |at: Instant, due: Due| {
            if at < next.0 {
                next = (at, due);
            }
        };
        match self.idle_since {
            Some(since) if !self.is_leaving => consider(since + self.idle_timeout, Due::Leave),
            Some(_) => {}
            None => {
                let (at, due) = self.life();
                consider(at, due);
            }
        }
        let greeting = self.opened + self.header_timeout;
        if !self.is_greeted {
            consider(greeting, Due::End(Cause::GreetingTimeout));
        } else if !self.is_acknowledged {
            consider(greeting + ACKNOWLEDGE, Due::End(Cause::SettingsTimeout));
        }
        if let Some(since) = self.amid_since {
            consider(since + self.header_timeout, Due::End(Cause::HeadTimeout));
        }
        next
    }

    /// Whether the client still lives.
    fn life(&self) -> (Instant, Due) {
        match self.pinged {
            Some(pinged) if pinged >= self.last_read => {
                (pinged + SIGN_OF_LIFE, Due::End(Cause::Unresponsive))
            }
            Some(_) | None => (self.last_read + SILENCE, Due::Ping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clocks() -> Clocks {
        let now = Instant::now();
        Clocks {
            header_timeout: 10 * SECOND,
            idle_timeout: 60 * SECOND,
            opened: now,
            end_of_age: now + 3600 * SECOND,
            last_read: now,
            amid_since: None,
            pinged: None,
            idle_since: Some(now),
            is_greeted: true,
            is_acknowledged: true,
            is_leaving: false,
        }
    }

    #[test]
    fn an_idle_connection_is_left_and_then_closed() {
        let mut clocks = clocks();
        assert_eq!(clocks.next(), (clocks.opened + 60 * SECOND, Due::Leave));

        clocks.is_leaving = true;

        assert_eq!(clocks.next(), (clocks.opened + GOODBYE, Due::Close));
    }

    #[test]
    fn a_busy_connection_ends_by_age_only_and_its_client_is_asked_for_a_sign_of_life() {
        let mut clocks = clocks();
        clocks.idle_since = None;
        assert_eq!(clocks.next(), (clocks.opened + SILENCE, Due::Ping));

        clocks.pinged = Some(clocks.opened + SILENCE);
        let end = clocks.opened + SILENCE + SIGN_OF_LIFE;
        assert_eq!(clocks.next(), (end, Due::End(Cause::Unresponsive)));

        clocks.last_read = clocks.opened + SILENCE + SECOND;
        assert_eq!(clocks.next(), (clocks.last_read + SILENCE, Due::Ping));

        clocks.end_of_age = clocks.opened + SECOND;
        assert_eq!(clocks.next(), (clocks.end_of_age, Due::Leave));
    }

    #[test]
    fn a_client_that_does_not_greet_acknowledge_or_finish_a_head_is_ended() {
        let mut clocks = clocks();
        clocks.is_acknowledged = false;
        let end = clocks.opened + 20 * SECOND;
        assert_eq!(clocks.next(), (end, Due::End(Cause::SettingsTimeout)));

        clocks.is_greeted = false;
        let end = clocks.opened + 10 * SECOND;
        assert_eq!(clocks.next(), (end, Due::End(Cause::GreetingTimeout)));

        clocks.is_greeted = true;
        clocks.amid_since = Some(clocks.opened + SECOND);
        let end = clocks.opened + 11 * SECOND;
        assert_eq!(clocks.next(), (end, Due::End(Cause::HeadTimeout)));
    }
}
