//! A weighted pick from one roll: without state, so that gateways and threads need not agree on anything.

/// The index picked from the weights, each with a chance of its share in the sum; `None` when the sum is zero.
#[must_use]
pub fn pick(weights: impl Iterator<Item = u32> + Clone, roll: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    if total == 0 {
        return None;
    }
    // The roll as a fraction of 2^64, times the sum: no modulo, so no bias toward the first entries.
    let point = (u128::from(roll) * u128::from(total)) >> 64;
    let mut passed = 0_u128;
    for (index, weight) in weights.enumerate() {
        passed += u128::from(weight);
        if point < passed {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_picked_from_nothing() {
        assert_eq!(pick([].into_iter(), 7), None);
        assert_eq!(pick([0, 0].into_iter(), 7), None);
    }

    #[test]
    fn shares_follow_the_weights() {
        let rolls = 10_000_u64;
        let mut picked = [0_u32; 3];
        for step in 0..rolls {
            let roll = step * (u64::MAX / rolls);
            picked[pick([100, 300, 600].into_iter(), roll).unwrap()] += 1;
        }

        assert!((990..=1_010).contains(&picked[0]), "{picked:?}");
        assert!((2_990..=3_010).contains(&picked[1]), "{picked:?}");
    }

    proptest! {
        #[test]
        fn a_weight_of_zero_is_never_picked(weights in prop::collection::vec(0_u32..3, 1..8), roll: u64) {
            let picked = pick(weights.iter().copied(), roll);

            prop_assert_eq!(picked.is_some(), weights.iter().any(|weight| *weight > 0));
            prop_assert!(picked.is_none_or(|index| weights[index] > 0));
        }
    }
}
