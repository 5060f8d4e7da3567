//! `glob.match` with the meaning it has in OPA (Go), whatever the pattern and the text: linear in both.
//!
//! `*` is any run of characters that are no delimiter, `**` any run at all, `?` one character that is no delimiter,
//! `[abc]`, `[a-z]` and their `!` forms one character (delimiters too), `{a,b}` an alternative, `\` an escape.
//! The pattern becomes a small automaton that is stepped through the text, so that no pattern can make it slow.

use std::collections::HashMap;
use std::sync::Arc;

/// A longer pattern is a mistake, or an attempt to make matching slow.
const MAX_PATTERN_BYTES: usize = 1_024;

/// Alternatives nested more deeply than this are refused.
const MAX_NESTING: usize = 8;

/// Compiled patterns an evaluator keeps; when it is full it starts again.
const MAX_CACHED: usize = 1_024;

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum GlobFault {
    #[error("the pattern is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    #[error("alternatives are nested more than {MAX_NESTING} deep")]
    TooDeep,
    #[error("a character class is malformed")]
    Class,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    states: Vec<State>,
    /// For `start**end`, the two texts. As in OPA they may overlap: `/a/**/b` matches `/a/b`.
    ends: Option<(Box<str>, Box<str>)>,
}

#[derive(Clone, Debug)]
enum State {
    /// One character, then the next state.
    One(Class),
    /// Any number of characters, then the next state.
    Run(Class),
    /// Both this state and the next.
    Fork(usize),
    /// That state.
    Jump(usize),
    /// The text has to end here.
    End,
}

#[derive(Clone, Debug)]
enum Class {
    Is(char),
    Any,
    NoDelimiter(Arc<[char]>),
    List { chars: Box<[char]>, negated: bool },
    Range { low: char, high: char, negated: bool },
}

impl Class {
    fn has(&self, c: char) -> bool {
        match self {
            Self::Is(expected) => *expected == c,
            Self::Any => true,
            Self::NoDelimiter(delimiters) => !delimiters.contains(&c),
            Self::List { chars, negated } => chars.contains(&c) != *negated,
            Self::Range { low, high, negated } => (*low..=*high).contains(&c) != *negated,
        }
    }
}

impl Glob {
    /// Compiles a pattern. No delimiters means that `*` crosses everything.
    pub(super) fn compile(pattern: &str, delimiters: &[char]) -> Result<Self, GlobFault> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(GlobFault::TooLong);
        }
        let mut compiler = Compiler {
            rest: pattern.chars().peekable(),
            delimiters: delimiters.into(),
            states: Vec::new(),
        };
        compiler.sequence(0)?;
        compiler.states.push(State::End);
        Ok(Self {
            ends: plain_ends(&compiler.states),
            states: compiler.states,
        })
    }

    /// True when the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        if let Some((start, end)) = &self.ends {
            return text.starts_with(&**start) && text.ends_with(&**end);
        }
        let mut active = Active::new(self.states.len());
        let mut next = Active::new(self.states.len());
        self.enter(0, &mut active);
        for c in text.chars() {
            for &index in &active.list {
                match self.states.get(index) {
                    Some(State::One(class)) if class.has(c) => self.enter(index.saturating_add(1), &mut next),
                    Some(State::Run(class)) if class.has(c) => self.enter(index, &mut next),
                    Some(State::One(_) | State::Run(_) | State::Fork(_) | State::Jump(_) | State::End)
                    | None => {}
                }
            }
            std::mem::swap(&mut active, &mut next);
            next.clear();
            if active.list.is_empty() {
                return false;
            }
        }
        active
            .list
            .iter()
            .any(|index| matches!(self.states.get(*index), Some(State::End)))
    }

    /// Activates a state and all that are reached from it without a character.
    fn enter(&self, start: usize, active: &mut Active) {
        let mut pending = vec![start];
        while let Some(index) = pending.pop() {
            if !active.add(index) {
                continue;
            }
            match self.states.get(index) {
                Some(State::Fork(other)) => pending.extend([*other, index.saturating_add(1)]),
                Some(State::Jump(target)) => pending.push(*target),
                Some(State::Run(_)) => pending.push(index.saturating_add(1)),
                Some(State::One(_) | State::End) | None => {}
            }
        }
    }
}

/// The texts around the only wildcard of a pattern, when that wildcard is any run at all.
fn plain_ends(states: &[State]) -> Option<(Box<str>, Box<str>)> {
    let position = states
        .iter()
        .position(|state| !matches!(state, State::One(Class::Is(_))))?;
    let (start, rest) = states.split_at_checked(position)?;
    let (State::Run(class), end) = rest.split_first()? else {
        return None;
    };
    let crosses_all = match class {
        Class::Any => true,
        Class::NoDelimiter(delimiters) => delimiters.is_empty(),
        Class::Is(_) | Class::List { .. } | Class::Range { .. } => false,
    };
    let (State::End, end) = end.split_last()? else {
        return None;
    };
    if !crosses_all || start.is_empty() || end.is_empty() {
        return None;
    }
    Some((plain_text(start)?, plain_text(end)?))
}

fn plain_text(states: &[State]) -> Option<Box<str>> {
    states
        .iter()
        .map(|state| match state {
            State::One(Class::Is(c)) => Some(*c),
            State::One(_) | State::Run(_) | State::Fork(_) | State::Jump(_) | State::End => None,
        })
        .collect::<Option<String>>()
        .map(String::into_boxed_str)
}

/// The states the automaton is in.
struct Active {
    list: Vec<usize>,
    is_in: Vec<bool>,
}

impl Active {
    fn new(states: usize) -> Self {
        Self {
            list: Vec::with_capacity(states),
            is_in: vec![false; states],
        }
    }

    fn add(&mut self, index: usize) -> bool {
        match self.is_in.get_mut(index) {
            Some(is_in) if !*is_in => {
                *is_in = true;
                self.list.push(index);
                true
            }
            Some(_) | None => false,
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.is_in.fill(false);
    }
}

struct Compiler<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    delimiters: Arc<[char]>,
    states: Vec<State>,
}

impl Compiler<'_> {
    /// Compiles up to the end of the pattern, or inside braces up to the `,` or `}` that ends the alternative,
    /// which it leaves unread.
    fn sequence(&mut self, depth: usize) -> Result<(), GlobFault> {
        while let Some(&c) = self.rest.peek() {
            if depth > 0 && matches!(c, ',' | '}') {
                return Ok(());
            }
            self.rest.next();
            let state = match c {
                '*' if self.rest.next_if_eq(&'*').is_some() => State::Run(Class::Any),
                '*' => State::Run(Class::NoDelimiter(self.delimiters.clone())),
                '?' => State::One(Class::NoDelimiter(self.delimiters.clone())),
                '[' => State::One(self.class()?),
                '{' => {
                    self.alternatives(depth.saturating_add(1))?;
                    continue;
                }
                '\\' => match self.rest.next() {
                    Some(escaped) => State::One(Class::Is(escaped)),
                    None => continue,
                },
                _ => State::One(Class::Is(c)),
            };
            self.states.push(state);
        }
        Ok(())
    }

    /// `{a,b,c}`: a fork before every alternative but the last, a jump to the end after it.
    fn alternatives(&mut self, depth: usize) -> Result<(), GlobFault> {
        if depth > MAX_NESTING {
            return Err(GlobFault::TooDeep);
        }
        let mut jumps = Vec::new();
        loop {
            let fork = self.states.len();
            self.states.push(State::Fork(fork));
            self.sequence(depth)?;
            // As in OPA, the end of the pattern closes what is still open.
            let is_last = self.rest.next() != Some(',');
            if is_last {
                let after_fork = fork.saturating_add(1);
                self.set(fork, State::Jump(after_fork));
                break;
            }
            jumps.push(self.states.len());
            self.states.push(State::Jump(0));
            let next_alternative = self.states.len();
            self.set(fork, State::Fork(next_alternative));
        }
        let end = self.states.len();
        for jump in jumps {
            self.set(jump, State::Jump(end));
        }
        Ok(())
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(place) = self.states.get_mut(index) {
            *place = state;
        }
    }

    /// After `[`: `!` negates; `a-z` is a range and then has to be closed; anything else is a list up to `]`.
    fn class(&mut self) -> Result<Class, GlobFault> {
        let negated = self.rest.next_if_eq(&'!').is_some();
        let mut ahead = self.rest.clone();
        let (first, dash) = (ahead.next(), ahead.next());
        if let (Some(low), Some('-')) = (first, dash) {
            self.rest = ahead;
            let high = self.rest.next().ok_or(GlobFault::Class)?;
            if high < low || self.rest.next() != Some(']') {
                return Err(GlobFault::Class);
            }
            return Ok(Class::Range { low, high, negated });
        }
        let mut chars = Vec::new();
        loop {
            match self.rest.next().ok_or(GlobFault::Class)? {
                ']' if chars.is_empty() => return Err(GlobFault::Class),
                ']' => {
                    return Ok(Class::List {
                        chars: chars.into(),
                        negated,
                    });
                }
                '\\' => chars.push(self.rest.next().ok_or(GlobFault::Class)?),
                c => chars.push(c),
            }
        }
    }
}

type ByPattern = HashMap<Arc<str>, Arc<Glob>>;

/// Compiled patterns by delimiters and pattern; patterns may come from a request, so it is bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct GlobCache {
    by_delimiters: Vec<(Box<[char]>, ByPattern)>,
    size: usize,
}

impl GlobCache {
    /// The compiled pattern.
    pub(super) fn compiled(
        &mut self,
        pattern: &Arc<str>,
        delimiters: &[char],
    ) -> Result<Arc<Glob>, GlobFault> {
        if let Some((_, globs)) = self
            .by_delimiters
            .iter()
            .find(|(known, _)| **known == *delimiters)
            && let Some(glob) = globs.get(pattern)
        {
            return Ok(Arc::clone(glob));
        }
        let glob = Arc::new(Glob::compile(pattern, delimiters)?);
        if self.size >= MAX_CACHED {
            *self = Self::default();
        }
        self.size = self.size.saturating_add(1);
        let entry = (Arc::clone(pattern), Arc::clone(&glob));
        match self
            .by_delimiters
            .iter_mut()
            .find(|(known, _)| **known == *delimiters)
        {
            Some((_, globs)) => {
                globs.insert(entry.0, entry.1);
            }
            None => self
                .by_delimiters
                .push((delimiters.into(), HashMap::from([entry]))),
        }
        Ok(glob)
    }
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
