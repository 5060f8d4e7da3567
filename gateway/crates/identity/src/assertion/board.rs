//! Signing keys that outlive a reload: those made in memory, and those that signed what has not ended yet.
//!
//! Turns are taken by time that passes, because whoever verifies fetches by it; a clock that is put forward brings no
//! key forward. What was signed ends by the wall's clock, which is not the same elsewhere: a key is told until both
//! say that it may go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::key::{KeyRefusal, SigningKey};
use crate::boards::Clock;

/// The media type of a key set (RFC 7517 section 8.5.2).
pub const KEY_SET_MEDIA_TYPE: &str = "application/jwk-set+json";
/// How long whoever verifies may remember a key set.
pub const KEY_SET_MAX_AGE: Duration = Duration::from_secs(60);

/// How far the clock of an endpoint may be behind ours before it refuses what has just ended for us.
pub(super) const LEEWAY: Duration = Duration::from_secs(60);
/// Keys that wait for the end of what they signed; more were never in one configuration.
const MAX_RETIRED: usize = 64;

/// The keys of assertions; made once, by the app's boards.
pub struct AssertionBoard {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: Option<Made>,
    retired: Vec<Retired>,
}

/// Keys that were made here.
struct Made {
    signing: Arc<SigningKey>,
    since: Instant,
    /// The next one and since when it is published.
    next: Option<(Arc<SigningKey>, Instant)>,
}

/// A key that signs no more.
struct Retired {
    key: Arc<SigningKey>,
    since: Instant,
    /// For how long after that the last of what it signed may hold somewhere.
    told_for: Duration,
}

/// When keys made here take turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// How long an assertion holds.
    pub(crate) lifetime: Duration,
    /// How long a key signs.
    pub(crate) rotate: Duration,
}

impl Turns {
    /// How long a key is published before it signs: whoever remembers a key set has asked again by then.
    pub(crate) const fn lead(self) -> Duration {
        self.lifetime.saturating_add(KEY_SET_MAX_AGE)
    }
}

impl AssertionBoard {
    /// A board without keys.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// The key that signs now among those made here; the first one is made when it is first asked for.
    ///
    /// Turns are taken when somebody asks. Late is never too early: a key signs once it has been published for long
    /// enough, whenever that began.
    pub(crate) fn signing(&self, turns: Turns) -> Result<Arc<SigningKey>, KeyRefusal> {
        self.state().take_turns(turns, &self.clock)
    }

    /// Keeps a key published until the last assertion that it signed has ended.
    pub(crate) fn retire(&self, key: &Arc<SigningKey>, lifetime: Duration) {
        self.state().retire(Arc::clone(key), lifetime, &self.clock);
    }

    /// The same for the key that signs among those made here. The next one is published anew when it is needed: in the
    /// meantime nobody is told of it.
    pub(crate) fn retire_made(&self, lifetime: Duration) {
        let mut state = self.state();
        if let Some(made) = &mut state.made {
            made.next = None;
            let signing = Arc::clone(&made.signing);
            state.retire(signing, lifetime, &self.clock);
        }
    }

    /// The key set of these keys, and of all whose assertions may not have ended.
    pub(crate) fn key_set(&self, given: &[Arc<SigningKey>]) -> Value {
        let mut state = self.state();
        state.forget_ended(&self.clock);
        set_of(given.iter().chain(state.retired()))
    }

    /// The same for keys that are made here.
    pub(crate) fn made_key_set(&self) -> Value {
        let mut state = self.state();
        state.forget_ended(&self.clock);
        let made = state.made.iter().flat_map(|made| {
            let next = made.next.iter().map(|(key, _)| key);
            std::iter::once(&made.signing).chain(next)
        });
        set_of(made.chain(state.retired()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn retired(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.retired.iter().map(|retired| &retired.key)
    }

    fn take_turns(&mut self, turns: Turns, clock: &Clock) -> Result<Arc<SigningKey>, KeyRefusal> {
        let now = clock.instant();
        let Some(made) = &mut self.made else {
            let signing = Arc::new(SigningKey::generate()?);
            self.made = Some(Made {
                signing: Arc::clone(&signing),
                since: now,
                next: None,
            });
            return Ok(signing);
        };
        let age = now.saturating_duration_since(made.since);
        if made.next.is_none() && age.saturating_add(turns.lead()) >= turns.rotate {
            made.next = Some((Arc::new(SigningKey::generate()?), now));
        }
        let is_due = |(_, published): &mut (Arc<SigningKey>, Instant)| {
            age >= turns.rotate && now.saturating_duration_since(*published) >= turns.lead()
        };
        let Some((next, _)) = made.next.take_if(is_due) else {
            return Ok(Arc::clone(&made.signing));
        };
        let previous = std::mem::replace(&mut made.signing, Arc::clone(&next));
        made.since = now;
        self.retire(previous, turns.lifetime, clock);
        Ok(next)
    }

    fn retire(&mut self, key: Arc<SigningKey>, lifetime: Duration, clock: &Clock) {
        // A reload that is refused in the end retires what goes on, so the same one may come again and again.
        self.retired.retain(|retired| retired.key.kid() != key.kid());
        self.forget_ended(clock);
        if self.retired.len() >= MAX_RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(Retired {
            key,
            since: clock.instant(),
            told_for: lifetime.saturating_add(LEEWAY),
        });
    }

    fn forget_ended(&mut self, clock: &Clock) {
        let (now, wall) = (clock.instant(), clock.wall());
        self.retired.retain(|retired| {
            now.saturating_duration_since(retired.since) <= retired.told_for || !has_ended(&retired.key, wall)
        });
    }
}

/// True when nothing that the key signed can be verified any more.
fn has_ended(key: &SigningKey, now: SystemTime) -> bool {
    let end = Duration::from_secs(key.last_end()).saturating_add(LEEWAY);
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() > end
}

/// Each once, in this order.
fn set_of<'a>(keys: impl Iterator<Item = &'a Arc<SigningKey>>) -> Value {
    let mut told: Vec<&Arc<SigningKey>> = Vec::new();
    for key in keys {
        if !told.iter().any(|known| known.kid() == key.kid()) {
            told.push(key);
        }
    }
    let keys: Vec<&Value> = told.iter().map(|key| key.public()).collect();
    json!({ "keys": keys })
}

impl fmt::Debug for AssertionBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("AssertionBoard")
            .field("made", &state.made.is_some())
            .field("retired", &state.retired.len())
            .finish()
    }
}
