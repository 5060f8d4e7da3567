//! Allowances that refill: so many at once, so many a second, and some for every useful thing the client did.

/// One allowance, in tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Budget {
    /// At once.
    pub(crate) burst: u32,
    /// Given back each second.
    pub(crate) per_second: u32,
    /// Given back for each request.
    pub(crate) per_stream: u32,
    /// Given back for each DATA frame that we send.
    pub(crate) per_data_sent: u32,
}

/// What was spent of an allowance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    spent_milli: u64,
    at_millis: u64,
}

const MILLI: u64 = 1000;

impl Bucket {
    /// Spends tokens; false when there are not enough left. Time that runs backwards gives nothing back.
    pub(crate) fn spend(&mut self, budget: &Budget, now_millis: u64, tokens: u32) -> bool {
        let elapsed = now_millis.saturating_sub(self.at_millis);
        self.at_millis = self.at_millis.max(now_millis);
        let refilled = elapsed.saturating_mul(u64::from(budget.per_second));
        self.spent_milli = self
            .spent_milli
            .saturating_sub(refilled)
            .saturating_add(u64::from(tokens) * MILLI);
        self.spent_milli <= u64::from(budget.burst) * MILLI
    }

    /// Gives tokens back.
    pub(crate) const fn earn(&mut self, tokens: u32) {
        self.spent_milli = self.spent_milli.saturating_sub(tokens as u64 * MILLI);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    const TEN: Budget = Budget {
        burst: 10,
        per_second: 2,
        per_stream: 0,
        per_data_sent: 0,
    };

    #[test]
    fn a_burst_is_allowed_and_one_more_is_not() {
        let mut bucket = Bucket::default();

        assert!((0..10).all(|_| bucket.spend(&TEN, 5, 1)));
        assert!(!bucket.spend(&TEN, 5, 1));
    }

    #[test]
    fn time_and_useful_work_give_tokens_back() {
        let mut bucket = Bucket::default();
        assert!(bucket.spend(&TEN, 0, 10));

        assert!(bucket.spend(&TEN, 1000, 2), "a second gives two");
        bucket.earn(1);
        assert!(bucket.spend(&TEN, 1000, 1));
        assert!(!bucket.spend(&TEN, 1000, 1));
    }

    proptest! {
        /// However the spending is spread, no more passes than the burst and the refill of the time that went by.
        #[test]
        fn never_more_passes_than_burst_and_refill(steps in prop::collection::vec((0_u64..400, 0_u32..4), 1..200)) {
            let mut bucket = Bucket::default();
            let (mut now, mut passed) = (0_u64, 0_u64);
            for (wait, tokens) in steps {
                now += wait;
                if !bucket.spend(&TEN, now, tokens) {
                    break;
                }
                passed += u64::from(tokens);
            }
            prop_assert!(passed * 1000 <= 10_000 + now * 2);
        }

        /// What stays below the rate never runs out.
        #[test]
        fn a_client_below_the_rate_is_never_cut(waits in prop::collection::vec(500_u64..5000, 1..300)) {
            let mut bucket = Bucket::default();
            let mut now = 0;
            for wait in waits {
                now += wait;
                prop_assert!(bucket.spend(&TEN, now, 1));
            }
        }
    }
}
