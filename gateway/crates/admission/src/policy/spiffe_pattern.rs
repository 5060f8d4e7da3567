//! Patterns over SPIFFE IDs: exact, `*` for one path segment, a last `**` for the rest.

use std::sync::Arc;

use portcullis_model::{SpiffeId, TrustDomain};

/// A pattern that SPIFFE IDs match or do not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpiffePattern {
    trust_domain: TrustDomain,
    segments: Vec<Segment>,
    rest: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    Exact(Arc<str>),
    Any,
}

/// Why a pattern is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpiffePatternFault {
    /// It is not a SPIFFE ID.
    #[error("does not start with spiffe:// and a trust domain")]
    NotSpiffe,
    /// The trust domain is not a valid one; it may not have a wildcard.
    #[error("has an invalid trust domain")]
    TrustDomain,
    /// `**` stands somewhere else than at the end.
    #[error("may have ** only as its last segment")]
    RestNotLast,
    /// A wildcard is part of a longer segment.
    #[error("may have * only as a whole segment")]
    PartialWildcard,
    /// A segment is empty, a dot segment, or has a forbidden character.
    #[error("has an invalid path segment")]
    Segment,
}

impl SpiffePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Returns why it is not one.
    pub fn parse(text: &str) -> Result<Self, SpiffePatternFault> {
        let rest = text
            .strip_prefix("spiffe://")
            .ok_or(SpiffePatternFault::NotSpiffe)?;
        let (domain, path) = rest
            .split_once('/')
            .map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let trust_domain = TrustDomain::new(domain).map_err(|_| SpiffePatternFault::TrustDomain)?;
        let mut pattern = Self {
            trust_domain,
            segments: Vec::new(),
            rest: false,
        };
        for segment in path.iter().flat_map(|path| path.split('/')) {
            if pattern.rest {
                return Err(SpiffePatternFault::RestNotLast);
            }
            match segment {
                "**" => pattern.rest = true,
                "*" => pattern.segments.push(Segment::Any),
                _ if segment.contains('*') => return Err(SpiffePatternFault::PartialWildcard),
                _ if !is_valid_segment(segment) => return Err(SpiffePatternFault::Segment),
                _ => pattern.segments.push(Segment::Exact(segment.into())),
            }
        }
        Ok(pattern)
    }

    /// True when the ID matches. `**` stands for one segment or more: `spiffe://a/x/**` does not match `spiffe://a/x`.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        if *id.trust_domain() != self.trust_domain {
            return false;
        }
        let path = id.path();
        let mut actual = path
            .split('/')
            .skip(usize::from(path.starts_with('/')))
            .filter(|_| !path.is_empty());
        for expected in &self.segments {
            let fits = match (expected, actual.next()) {
                (_, None) => false,
                (Segment::Any, Some(_)) => true,
                (Segment::Exact(text), Some(segment)) => **text == *segment,
            };
            if !fits {
                return false;
            }
        }
        actual.next().is_some() == self.rest
    }
}

/// The characters that the SPIFFE specification (SPIFFE-ID section 2.2) allows.
fn is_valid_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        SpiffePattern::parse(pattern)
            .unwrap()
            .matches(&SpiffeId::new(id).unwrap())
    }

    #[test]
    fn an_exact_pattern_matches_that_id_only() {
        assert!(matches(
            "spiffe://corp.example/billing",
            "spiffe://corp.example/billing"
        ));
        assert!(!matches(
            "spiffe://corp.example/billing",
            "spiffe://corp.example/billing/eu"
        ));
        assert!(!matches(
            "spiffe://corp.example/billing",
            "spiffe://other.example/billing"
        ));
        assert!(matches("spiffe://corp.example", "spiffe://corp.example"));
        assert!(!matches("spiffe://corp.example", "spiffe://corp.example/billing"));
    }

    #[test]
    fn a_star_stands_for_exactly_one_segment() {
        assert!(matches(
            "spiffe://corp.example/ns/*/api",
            "spiffe://corp.example/ns/prod/api"
        ));
        assert!(!matches(
            "spiffe://corp.example/ns/*/api",
            "spiffe://corp.example/ns/prod/x/api"
        ));
        assert!(!matches("spiffe://corp.example/ns/*", "spiffe://corp.example/ns"));
    }

    #[test]
    fn two_stars_stand_for_the_rest_and_at_least_one_segment() {
        assert!(matches(
            "spiffe://corp.example/ns/**",
            "spiffe://corp.example/ns/a/b/c"
        ));
        assert!(!matches(
            "spiffe://corp.example/ns/**",
            "spiffe://corp.example/ns"
        ));
        assert!(matches("spiffe://corp.example/**", "spiffe://corp.example/a"));
        assert!(!matches("spiffe://corp.example/**", "spiffe://corp.example"));
    }

    #[test]
    fn a_pattern_that_promises_what_it_does_not_keep_is_refused() {
        assert_eq!(
            SpiffePattern::parse("https://corp.example/a"),
            Err(SpiffePatternFault::NotSpiffe)
        );
        assert_eq!(
            SpiffePattern::parse("spiffe://*/a"),
            Err(SpiffePatternFault::TrustDomain)
        );
        assert_eq!(
            SpiffePattern::parse("spiffe://corp.example/**/a"),
            Err(SpiffePatternFault::RestNotLast)
        );
        assert_eq!(
            SpiffePattern::parse("spiffe://corp.example/a*"),
            Err(SpiffePatternFault::PartialWildcard)
        );
        assert_eq!(
            SpiffePattern::parse("spiffe://corp.example/a//b"),
            Err(SpiffePatternFault::Segment)
        );
        assert_eq!(
            SpiffePattern::parse("spiffe://corp.example/../b"),
            Err(SpiffePatternFault::Segment)
        );
    }
}
