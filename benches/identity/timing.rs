//! Time of one thread that never waits, so that it is the processor's: the middle of many rounds, and its quartiles.

use std::fmt;
use std::time::{Duration, Instant};

/// What one operation takes.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub middle: Duration,
    quartiles: (Duration, Duration),
}

impl Cost {
    /// Of so many measurements; a neighbour's noise is in the upper ones.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 4];
        Self {
            middle: at(2),
            quartiles: (at(1), at(3)),
        }
    }

    pub fn micros(self) -> f64 {
        self.middle.as_secs_f64() * 1e6
    }

    /// How many a second one processor does.
    pub fn per_second(self) -> f64 {
        1.0 / self.middle.as_secs_f64()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (low, high) = self.quartiles;
        write!(
            f,
            "{:.2} µs ({:.2} – {:.2})",
            self.micros(),
            micros(low),
            micros(high)
        )
    }
}

/// What `one` takes, by rounds of so many.
pub fn cost(rounds: usize, many: u32, mut one: impl FnMut()) -> Cost {
    let round = |_| {
        let start = Instant::now();
        (0..many).for_each(|_| one());
        start.elapsed() / many
    };
    Cost::of((0..rounds).map(round).collect())
}

/// What `one` takes with something that is made anew for each, outside the time.
pub fn cost_of_each<T>(
    rounds: usize,
    many: u32,
    mut make: impl FnMut() -> T,
    mut one: impl FnMut(&T),
) -> Cost {
    let round = |_| {
        let made: Vec<T> = (0..many).map(|_| make()).collect();
        let start = Instant::now();
        made.iter().for_each(&mut one);
        start.elapsed() / many
    };
    Cost::of((0..rounds).map(round).collect())
}
