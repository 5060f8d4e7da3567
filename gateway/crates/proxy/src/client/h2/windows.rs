//! Send windows of streams that are over, as far as a client widens them beyond what there is.
//!
//! The protocol engine forgets a stream when it is answered and both sides closed it, and ignores what comes for it
//! later. A WINDOW_UPDATE that takes such a window beyond 2^31-1 is still an error that must be told (RFC 9113
//! section 6.9.1; h2spec 6.9.1/3 sends it while the answer is on its way).

/// The largest window.
const MAX_WINDOW: i64 = (1 << 31) - 1;
/// Streams looked after: those whose window was widened last. More would only cost memory: a client that wants to
/// hide an error from us gains nothing by it.
const MAX_STREAMS: usize = 16;

/// What was given to streams beyond what was used since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    /// Stream and credit, the one widened last at the end.
    credits: Vec<(u32, i64)>,
}

impl Windows {
    /// The client widens a window; false when it cannot be that wide, whatever it was before: the octets that a
    /// stream used before its first update are never more than its window was.
    pub(crate) fn widen(&mut self, stream: u32, increment: u32) -> bool {
        if stream == 0 {
            // The engine never forgets the connection's window.
            return true;
        }
        let mut credit = 0;
        if let Some(at) = self.position(stream) {
            (_, credit) = self.credits.remove(at);
        } else if self.credits.len() == MAX_STREAMS {
            self.credits.remove(0);
        }
        credit += i64::from(increment);
        if credit > MAX_WINDOW {
            return false;
        }
        self.credits.push((stream, credit));
        true
    }

    /// We used some of a window.
    pub(crate) fn narrow(&mut self, stream: u32, octets: usize) {
        if let Some((_, credit)) = self.credits.iter_mut().find(|(id, _)| *id == stream) {
            *credit -= i64::try_from(octets).unwrap_or(0);
        }
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.credits.iter().position(|(id, _)| *id == stream)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u32 = (1 << 31) - 1;

    #[test]
    fn a_window_beyond_its_end_is_refused_and_the_widest_is_not() {
        let mut windows = Windows::default();

        assert!(windows.widen(1, MAX));
        assert!(!windows.widen(1, 1));
        assert!(windows.widen(1, MAX), "the error was told");
        assert!(windows.widen(3, MAX));
    }

    #[test]
    fn what_was_used_may_be_given_again() {
        let mut windows = Windows::default();

        assert!(windows.widen(1, MAX));
        windows.narrow(1, 1000);
        assert!(windows.widen(1, 1000));
        assert!(!windows.widen(1, 1));
    }

    #[test]
    fn the_connection_and_other_streams_are_not_mixed_up() {
        let mut windows = Windows::default();

        assert!((0..100).all(|_| windows.widen(0, MAX)));
        assert!((0..100).all(|stream| windows.widen(stream * 2 + 1, MAX)));
        assert!(windows.credits.len() <= MAX_STREAMS);
    }

    proptest! {
        /// A client that gives back what it received, whatever its first window, is never refused.
        #[test]
        fn a_client_that_keeps_count_is_never_refused(
            initial in 0_i64..=MAX_WINDOW,
            moves in prop::collection::vec((any::<bool>(), 1_u32..=MAX), 1..100),
        ) {
            let mut windows = Windows::default();
            let mut window = initial;
            for (is_data, amount) in moves {
                let amount = i64::from(amount);
                if is_data {
                    let octets = amount.min(window);
                    window -= octets;
                    windows.narrow(1, usize::try_from(octets).unwrap_or(0));
                } else {
                    let increment = amount.min(MAX_WINDOW - window);
                    window += increment;
                    prop_assert!(windows.widen(1, u32::try_from(increment).unwrap_or(0)));
                }
            }
        }
    }
}
