//! Time: one timer for all the deadlines of a request, and the clock that runs while a client is waited for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for deadlines that move. It is armed again only for an earlier one: a later one is found out when it
/// fires, so that the usual request arms it once.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready when `due` has passed; otherwise the task is woken at or before it.
    pub(crate) fn poll_due(&mut self, due: Instant, now: Instant, context: &mut Context<'_>) -> Poll<()> {
        if due <= now {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// The least average rate of a request body: counts only the time in which the client is waited for, not the time an
/// endpoint takes to make room.
#[derive(Debug)]
pub(crate) struct BodyClock {
    patience: Duration,
    rate: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl BodyClock {
    /// A clock that stands still. `patience` is granted on top of what `rate` (bytes a second) earns.
    pub(crate) fn new(patience: Duration, rate: u64) -> Self {
        Self {
            patience,
            rate: rate.max(1),
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// Content arrived.
    pub(crate) const fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Content so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The client is waited for from now on.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// The client is not waited for: something else is.
    pub(crate) fn stand_still(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// When the body is too slow if nothing more of it arrives; `None` while the clock stands still.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        let earned = Duration::from_micros(self.bytes.saturating_mul(1_000_000) / self.rate);
        let granted = self.patience.saturating_add(earned);
        since.checked_add(granted.saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_body_earns_time_by_its_bytes() {
        let now = Instant::now();
        let mut clock = BodyClock::new(PATIENCE, 1000);

        assert_eq!(clock.due(), None);
        clock.wait(now);
        assert_eq!(clock.due(), Some(now + PATIENCE));
        clock.count(5000);
        assert_eq!(clock.due(), Some(now + PATIENCE + Duration::from_secs(5)));
    }

    #[test]
    fn the_time_an_endpoint_takes_is_not_the_clients() {
        let start = Instant::now();
        let later = start + Duration::from_secs(4);
        let mut clock = BodyClock::new(PATIENCE, 1000);

        clock.wait(start);
        clock.stand_still(later);
        assert_eq!(clock.due(), None);
        let much_later = later + Duration::from_secs(100);
        clock.wait(much_later);

        assert_eq!(clock.due(), Some(much_later + Duration::from_secs(6)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_away_is_found_out_when_the_timer_fires() {
        let mut timer = Timer::default();
        let start = Instant::now();
        let first = start + Duration::from_secs(5);
        let second = start + Duration::from_secs(9);

        poll_fn(|context| {
            assert!(timer.poll_due(first, Instant::now(), context).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|context| timer.poll_due(second, Instant::now(), context)).await;

        assert_eq!(Instant::now(), second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_closer_wakes_in_time() {
        let mut timer = Timer::default();
        let start = Instant::now();
        let far = start + Duration::from_secs(60);
        let near = start + Duration::from_secs(2);

        poll_fn(|context| {
            assert!(timer.poll_due(far, Instant::now(), context).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|context| timer.poll_due(near, Instant::now(), context)).await;

        assert_eq!(Instant::now(), near);
    }
}
