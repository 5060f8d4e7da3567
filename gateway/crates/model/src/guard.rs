//! One mode on every guard: the same words with the same meaning for contracts, limits and policies.

use serde::{Deserialize, Serialize};

/// Whether a guard is evaluated and whether its verdict counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not evaluated.
    Off,
    /// Evaluated, counted, recorded and explained, but never obeyed.
    Observe,
    /// Obeyed.
    #[default]
    Enforce,
}

impl Mode {
    /// The word used in configuration, metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// A guard's mode with the share of requests it holds for.
///
/// `enforce` at 10 % obeys the verdict for a tenth of the requests and observes the rest; `observe` at 10 %
/// evaluates a tenth and leaves the rest alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Guard {
    /// The mode.
    pub mode: Mode,
    /// In hundredths of a percent: 10,000 is all of the traffic.
    pub share: u16,
}

impl Guard {
    /// All of the traffic.
    pub const FULL_SHARE: u16 = 10_000;
    /// Obeyed for every request.
    pub const ENFORCE: Self = Self {
        mode: Mode::Enforce,
        share: Self::FULL_SHARE,
    };

    /// The mode for one request, given a uniformly drawn `roll` (only its remainder by 10,000 counts).
    #[must_use]
    pub fn mode_for(self, roll: u64) -> Mode {
        let inside = roll % u64::from(Self::FULL_SHARE) < u64::from(self.share);
        match (self.mode, inside) {
            (Mode::Off, _) | (Mode::Observe, false) => Mode::Off,
            (Mode::Observe, true) | (Mode::Enforce, false) => Mode::Observe,
            (Mode::Enforce, true) => Mode::Enforce,
        }
    }

    /// The guard that results when a reference narrows a definition: the weaker mode and the smaller share.
    ///
    /// A reference can soften what the definition says, never sharpen it.
    #[must_use]
    pub fn narrowed_by(self, reference: Option<Self>) -> Self {
        match reference {
            None => self,
            Some(other) => {
                let share = if self.mode == other.mode {
                    self.share.min(other.share)
                } else if other.mode < self.mode {
                    other.share
                } else {
                    self.share
                };
                Self {
                    mode: self.mode.min(other.mode),
                    share,
                }
            }
        }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::ENFORCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partly_enforced_guard_observes_the_rest() {
        let guard = Guard {
            mode: Mode::Enforce,
            share: 1_000,
        };

        assert_eq!(guard.mode_for(999), Mode::Enforce);
        assert_eq!(guard.mode_for(1_000), Mode::Observe);
    }

    #[test]
    fn a_partly_observed_guard_is_off_for_the_rest() {
        let guard = Guard {
            mode: Mode::Observe,
            share: 1_000,
        };

        assert_eq!(guard.mode_for(10_999), Mode::Observe);
        assert_eq!(guard.mode_for(11_000), Mode::Off);
    }

    #[test]
    fn a_reference_can_soften_but_never_sharpen() {
        let observed = Guard {
            mode: Mode::Observe,
            share: 500,
        };

        assert_eq!(Guard::ENFORCE.narrowed_by(Some(observed)), observed);
        assert_eq!(observed.narrowed_by(Some(Guard::ENFORCE)), observed);
    }
}
