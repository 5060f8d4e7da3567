//! A value that cannot be printed, logged or serialised by accident.

use std::fmt;

/// Holds a secret; only [`Redacted::expose`] gives it out.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Wraps a secret.
    pub const fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself: the call that a reviewer looks for.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_in_debug_or_display() {
        let secret = Redacted::new("hunter2");

        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    }
}
