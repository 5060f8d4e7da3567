//! Signing keys that outlive a reload: those made in memory, and those that signed what has not ended yet.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::key::{KeyRefusal, SigningKey};

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
    since: SystemTime,
    /// The next one and since when it is published.
    next: Option<(Arc<SigningKey>, SystemTime)>,
}

/// Whether keys made here sign now; those that did before are told until what they signed has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Making {
    Now,
    Before,
}

/// A key that signs no more.
struct Retired {
    key: Arc<SigningKey>,
    /// When the last of what it may have signed ends.
    until: SystemTime,
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
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
        }
    }

    /// The key that signs now among those made here; the first one is made when it is first asked for.
    ///
    /// Turns are taken when somebody asks. Late is never too early: a key signs once it has been published for long
    /// enough, whenever that began.
    pub(crate) fn signing(&self, turns: Turns, now: SystemTime) -> Result<Arc<SigningKey>, KeyRefusal> {
        self.state().take_turns(turns, now)
    }

    /// Keeps a key published until the last assertion that it signed has ended.
    pub(crate) fn retire(&self, key: &Arc<SigningKey>, lifetime: Duration, now: SystemTime) {
        self.state().retire(Arc::clone(key), lifetime, now);
    }

    /// The key set of these keys, and of all whose assertions may not have ended.
    pub(crate) fn key_set(&self, given: &[Arc<SigningKey>], now: SystemTime) -> Value {
        self.state().key_set(given, Making::Before, now)
    }

    /// The same for keys that are made here.
    pub(crate) fn made_key_set(&self, now: SystemTime) -> Value {
        self.state().key_set(&[], Making::Now, now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn key_set(&mut self, given: &[Arc<SigningKey>], making: Making, now: SystemTime) -> Value {
        self.forget_ended(now);
        let is_told = |made: &&Made| making == Making::Now || !has_ended(&made.signing, now);
        let made = self.made.iter().filter(is_told).flat_map(|made| {
            let next = made.next.iter().map(|(key, _)| key);
            std::iter::once(&made.signing).chain(next)
        });
        let retired = self.retired.iter().map(|retired| &retired.key);
        let mut keys: Vec<&Arc<SigningKey>> = Vec::new();
        for key in given.iter().chain(made).chain(retired) {
            if !keys.iter().any(|known| known.kid() == key.kid()) {
                keys.push(key);
            }
        }
        let keys: Vec<&Value> = keys.iter().map(|key| key.public()).collect();
        json!({ "keys": keys })
    }

    fn take_turns(&mut self, turns: Turns, now: SystemTime) -> Result<Arc<SigningKey>, KeyRefusal> {
        let Some(made) = &mut self.made else {
            let signing = Arc::new(SigningKey::generate()?);
            self.made = Some(Made {
                signing: Arc::clone(&signing),
                since: now,
                next: None,
            });
            return Ok(signing);
        };
        let age = since(made.since, now);
        if made.next.is_none() && age.saturating_add(turns.lead()) >= turns.rotate {
            made.next = Some((Arc::new(SigningKey::generate()?), now));
        }
        let is_due = |(_, published): &mut (Arc<SigningKey>, SystemTime)| {
            age >= turns.rotate && since(*published, now) >= turns.lead()
        };
        let Some((next, _)) = made.next.take_if(is_due) else {
            return Ok(Arc::clone(&made.signing));
        };
        let previous = std::mem::replace(&mut made.signing, Arc::clone(&next));
        made.since = now;
        self.retire(previous, turns.lifetime, now);
        Ok(next)
    }

    fn retire(&mut self, key: Arc<SigningKey>, lifetime: Duration, now: SystemTime) {
        self.forget_ended(now);
        let until = now.checked_add(lifetime).unwrap_or(now);
        if self.retired.len() >= MAX_RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(Retired { key, until });
    }

    fn forget_ended(&mut self, now: SystemTime) {
        self.retired
            .retain(|retired| now <= retired.until + LEEWAY || !has_ended(&retired.key, now));
    }
}

/// True when nothing that the key signed can be verified any more.
fn has_ended(key: &SigningKey, now: SystemTime) -> bool {
    let end = Duration::from_secs(key.last_end()).saturating_add(LEEWAY);
    since(SystemTime::UNIX_EPOCH, now) > end
}

/// The time that has passed; none when the clock was put back.
fn since(past: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(past).unwrap_or_default()
}

impl Default for AssertionBoard {
    fn default() -> Self {
        Self::new()
    }
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
