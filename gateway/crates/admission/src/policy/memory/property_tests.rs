//! A remembered decision is the one that would be made, and a read-set that lacks anything is found out.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::generated::{CHOICES, CONSTRUCTS, DIMENSIONS, FAMILIES, Request, Snippet, policy};
use super::*;
use crate::policy::fault::PolicyFault;
use crate::policy::test_facts::compiled;
use crate::policy::{Ask, Policy};

type Outcome = Result<Arc<Decision>, PolicyFault>;

fn snippet() -> impl Strategy<Value = Snippet> {
    (0..FAMILIES.len(), 0..8_usize, 0..CONSTRUCTS.len(), 0..24_usize).prop_map(
        |(family, leaf, construct, style)| Snippet {
            family,
            leaf,
            construct,
            style,
        },
    )
}

/// At most one reader of each family: two would cover for each other.
fn snippets() -> impl Strategy<Value = Vec<Snippet>> {
    vec(snippet(), 1..6).prop_map(|snippets| {
        let mut kept: Vec<Snippet> = Vec::new();
        for snippet in snippets {
            if kept.iter().all(|other| other.family != snippet.family) {
                kept.push(snippet);
            }
        }
        kept
    })
}

fn choices() -> impl Strategy<Value = [usize; DIMENSIONS]> {
    proptest::array::uniform(0..CHOICES)
}

/// A request, and all that differ from it in one thing.
fn neighbours(base: [usize; DIMENSIONS]) -> Vec<Request> {
    let mut requests = vec![Request::of(&base)];
    for dimension in 0..DIMENSIONS {
        for choice in (0..CHOICES).filter(|choice| *choice != base[dimension]) {
            let mut other = base;
            other[dimension] = choice;
            requests.push(Request::of(&other));
        }
    }
    requests
}

fn fresh(policy: &Policy, requests: &[Request]) -> Vec<Outcome> {
    requests
        .iter()
        .map(|request| policy.ask(&request.input(), Ask::Afresh).0)
        .collect()
}

/// Whether a memory with this read-set gives one of the requests what belongs to another.
fn is_found_out(reads: ReadSet, requests: &[Request], fresh: &[Outcome]) -> bool {
    let memory = Memory::new(reads);
    let headers = [http::HeaderName::from_static("x-tenant")];
    requests.iter().zip(fresh).any(|(request, expected)| {
        let input = request.input();
        let document = Document::new(&input, &headers, false);
        let decide = || {
            expected
                .as_ref()
                .map(|decision| (**decision).clone())
                .map_err(Clone::clone)
        };
        memory.recall(&document, decide).0 != *expected
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_remembered_decision_is_the_one_that_would_be_made(snippets in snippets(), base in choices()) {
        let policy = compiled(&policy(&snippets));
        let requests = neighbours(base);
        let fresh = fresh(&policy, &requests);

        for round in 0..2 {
            for (request, expected) in requests.iter().zip(&fresh) {
                let (decision, recall) = policy.ask(&request.input(), Ask::Remembering);
                prop_assert_eq!(&decision, expected);
                prop_assert!(round == 0 || recall == Recall::Hit || decision.is_err());
            }
        }
    }

    #[test]
    fn dropping_any_one_path_of_a_read_set_is_found_out(snippets in snippets(), base in choices()) {
        let policy = compiled(&policy(&snippets));
        let reads = policy.memory.as_ref().map_err(|obstacles| TestCaseError::fail(format!("{obstacles:?}")))?.reads();
        let requests = neighbours(base);
        let fresh = fresh(&policy, &requests);
        prop_assert!(fresh.iter().all(Result::is_ok), "{:?}", fresh.iter().find(|one| one.is_err()));
        prop_assert!(!is_found_out(reads.clone(), &requests, &fresh));

        // No request has what the generator's `with` puts there.
        let given = FactPath::of(&["given"]);
        for dropped in reads.paths().iter().filter(|path| !given.covers(path)) {
            let rest = reads.paths().iter().filter(|path| *path != dropped).cloned();
            prop_assert!(is_found_out(ReadSet::new(rest), &requests, &fresh), "{dropped} is not missed");
        }
    }
}
