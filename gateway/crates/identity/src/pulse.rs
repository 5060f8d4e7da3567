//! A beat whenever something that a proof rests on may have changed; what lives long listens to it.
//!
//! The beat says only that something changed, never what: a listener asks again what it had asked before, and most
//! beats change nothing for it. Whoever publishes beats after it has published, so that a listener that was woken
//! reads the new state.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// The beat that live exchanges follow.
///
/// Beats that come faster than a listener wakes are one beat to it, so that a burst of deliveries costs one judgement.
pub struct Pulse {
    /// Beside the channel, because every request reads it and must not take the channel's lock.
    count: AtomicU64,
    beats: watch::Sender<u64>,
}

impl Pulse {
    /// A pulse that has not beaten.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            beats: watch::Sender::new(0),
        }
    }

    /// Wakes every listener; called after what changed was published.
    pub fn beat(&self) {
        self.beats
            .send_modify(|told| *told = self.count.fetch_add(1, Ordering::AcqRel) + 1);
    }

    /// How often it has beaten; what was published before those beats is seen by whoever has read this.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// A listener that is woken by every beat from now on; one that proved something earlier compares
    /// [`Pulse::count`] then and now.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.beats.subscribe()
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.beats.receiver_count()
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse")
            .field("beats", &self.count())
            .field("listeners", &self.listeners())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beat_wakes_every_listener_once() {
        let pulse = Pulse::new();
        let mut listeners = [pulse.subscribe(), pulse.subscribe()];

        pulse.beat();
        pulse.beat();

        for listener in &mut listeners {
            listener.changed().await.unwrap();
            assert_eq!(*listener.borrow_and_update(), 2);
            assert!(!listener.has_changed().unwrap());
        }
    }

    #[test]
    fn a_beat_before_the_listener_came_shows_in_the_count() {
        let pulse = Pulse::new();
        let proven_at = pulse.count();

        pulse.beat();
        let listener = pulse.subscribe();

        assert_ne!(pulse.count(), proven_at);
        assert!(!listener.has_changed().unwrap());
    }

    #[test]
    fn nobody_listening_is_no_reason_not_to_beat() {
        let pulse = Pulse::new();

        pulse.beat();

        assert_eq!((pulse.count(), pulse.listeners()), (1, 0));
    }
}
