//! What DNS answered, kept over reloads and over failing resolvers.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Addresses kept of one name; more is an error of whoever runs the zone, and each would be probed.
const MOST_ADDRESSES: usize = 64;
/// Names on the board; far more than configurations have, so that no caller can grow it without end.
const MOST_NAMES: usize = 4_096;
/// A resolver's error is kept up to this many bytes.
const LONGEST_ERROR: usize = 200;

type Name = (Arc<str>, u16);

/// The addresses of every name that stands for endpoints.
#[derive(Debug, Default)]
pub struct AddressBoard {
    generation: AtomicU64,
    names: RwLock<HashMap<Name, NameState>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NameState {
    /// The last answer that had an address.
    pub addresses: Arc<[SocketAddr]>,
    /// Why the last question had no answer; `None` when it had one.
    pub error: Option<Arc<str>>,
}

impl AddressBoard {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps an answer. The first 64 addresses in order are used; what no endpoint can have (unspecified, multicast
    /// and broadcast addresses) is left out. An answer without a usable address counts as a failure, and the last
    /// good one stays.
    pub fn publish(&self, host: &str, port: u16, answer: &[IpAddr]) {
        let usable: BTreeSet<SocketAddr> = answer
            .iter()
            .map(IpAddr::to_canonical)
            .filter(|address| is_endpoint(*address))
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if usable.is_empty() {
            self.record_failure(host, port, "the answer has no usable address");
            return;
        }
        let addresses: Arc<[SocketAddr]> = usable.into_iter().take(MOST_ADDRESSES).collect();
        self.change(host, port, |state| {
            state.error = None;
            let is_new = state.addresses != addresses;
            state.addresses = addresses;
            is_new
        });
    }

    /// Keeps that a name could not be resolved; the last good answer stays.
    pub fn record_failure(&self, host: &str, port: u16, error: &str) {
        let kept = error
            .get(..error.floor_char_boundary(LONGEST_ERROR))
            .unwrap_or(error);
        self.change(host, port, |state| {
            state.error = Some(kept.into());
            false
        });
    }

    /// The addresses of a name; none before its first answer.
    #[must_use]
    pub fn addresses(&self, host: &str, port: u16) -> Arc<[SocketAddr]> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names
            .get(&(Arc::from(host), port))
            .map(|state| Arc::clone(&state.addresses))
            .unwrap_or_default()
    }

    /// Every name with its state, for listings.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Arc<str>, u16, NameState)> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = names
            .iter()
            .map(|((host, port), state)| (Arc::clone(host), *port, state.clone()))
            .collect();
        all.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        all
    }

    /// Forgets the names that are not live.
    pub fn sweep(&self, live: &BTreeSet<(Arc<str>, u16)>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.retain(|name, _| live.contains(name));
    }

    /// Rises with every answer that changed something.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn was_asked(&self, host: &str, port: u16) -> bool {
        self.names
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&(Arc::from(host), port))
    }

    fn change(&self, host: &str, port: u16, change: impl FnOnce(&mut NameState) -> bool) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let name = (Arc::from(host), port);
        if names.len() >= MOST_NAMES && !names.contains_key(&name) {
            return;
        }
        if change(names.entry(name).or_default()) {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

fn is_endpoint(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_is_kept_in_order_without_repetition() {
        let board = AddressBoard::new();

        board.publish(
            "a.internal",
            80,
            &[
                ip("10.0.0.2"),
                ip("10.0.0.1"),
                ip("10.0.0.2"),
                ip("::ffff:10.0.0.1"),
            ],
        );

        let expected = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        assert_eq!(*board.addresses("a.internal", 80), expected);
    }

    #[test]
    fn the_last_good_answer_survives_failures_and_empty_answers() {
        let board = AddressBoard::new();
        board.publish("a.internal", 80, &[ip("10.0.0.1")]);
        let generation = board.generation();

        board.record_failure("a.internal", 80, "timed out");
        board.publish("a.internal", 80, &[]);
        board.publish(
            "a.internal",
            80,
            &[ip("0.0.0.0"), ip("224.0.0.1"), ip("255.255.255.255")],
        );

        assert_eq!(board.addresses("a.internal", 80).len(), 1);
        assert_eq!(board.generation(), generation);
        assert!(board.snapshot()[0].2.error.is_some());
    }

    #[test]
    fn an_answer_is_bounded() {
        let board = AddressBoard::new();
        let many: Vec<IpAddr> = (0..=255).map(|last| IpAddr::from([10, 0, 0, last])).collect();

        board.publish("a.internal", 80, &many);

        assert_eq!(board.addresses("a.internal", 80).len(), MOST_ADDRESSES);
    }

    #[test]
    fn the_board_is_bounded_and_known_names_are_still_updated() {
        let board = AddressBoard::new();
        for name in 0..MOST_NAMES + 10 {
            board.publish(&format!("n{name}.internal"), 80, &[ip("10.0.0.1")]);
        }

        board.publish("n0.internal", 80, &[ip("10.0.0.9")]);

        assert_eq!(board.snapshot().len(), MOST_NAMES);
        assert_eq!(
            *board.addresses("n0.internal", 80),
            ["10.0.0.9:80".parse().unwrap()]
        );
    }

    #[test]
    fn only_a_changed_answer_is_a_new_generation() {
        let board = AddressBoard::new();
        board.publish("a.internal", 80, &[ip("10.0.0.1"), ip("10.0.0.2")]);
        let generation = board.generation();

        board.publish("a.internal", 80, &[ip("10.0.0.2"), ip("10.0.0.1")]);
        assert_eq!(board.generation(), generation);

        board.publish("a.internal", 80, &[ip("10.0.0.2")]);
        assert!(board.generation() > generation);
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let board = AddressBoard::new();
        board.publish("a.internal", 80, &[ip("10.0.0.1")]);
        board.publish("b.internal", 80, &[ip("10.0.0.1")]);

        board.sweep(&BTreeSet::from([(Arc::from("a.internal"), 80)]));

        assert!(board.was_asked("a.internal", 80));
        assert!(!board.was_asked("b.internal", 80));
    }
}
