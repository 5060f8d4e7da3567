#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::origin::Origin;
use crate::scenario::{Setup, chosen};

/// Examines the origin itself: a proxy that forwards everything and checks nothing.
async fn examined(scenario: &'static Scenario) -> Result<()> {
    let origin = Origin::start().unwrap();
    let keys = Keys::make().unwrap();
    let exam = Exam {
        proxy: Proxy::Portcullis,
        scenario,
        keys: &keys,
        address: origin.address,
        tight: origin.address,
        counts: &origin.counts,
    };
    exam.pass().await
}

fn named(name: &str) -> &'static Scenario {
    chosen(&[name.to_owned()]).unwrap()[0]
}

#[tokio::test]
async fn whoever_only_forwards_passes_where_only_forwarding_is_claimed() {
    examined(named("h1-plain")).await.unwrap();
    examined(named("post-64k")).await.unwrap();
}

#[tokio::test]
async fn whoever_speaks_no_tls_fails_where_tls_is_claimed() {
    let problem = examined(named("h2-tls")).await.unwrap_err();

    assert!(problem.contains("handshake failed"), "{problem}");
}

/// Guards without TLS, so that it is a guard that fails.
static TOKENS: Scenario = Scenario {
    name: "tokens",
    about: "",
    setup: Setup {
        is_tls: false,
        guard: Guard::Token(Algorithm::Es256),
        is_logged: false,
    },
    load: Load::Same(Protocol::H1),
    requests: 1,
    goal: None,
};
static CHAIN: Scenario = Scenario {
    name: "chain",
    about: "",
    setup: Setup {
        is_tls: false,
        guard: Guard::Chain,
        is_logged: false,
    },
    load: Load::Drawn(Protocol::H1),
    requests: 1,
    goal: None,
};

#[tokio::test]
async fn whoever_takes_every_token_fails() {
    for scenario in [&TOKENS, &CHAIN] {
        let problem = examined(scenario).await.unwrap_err();

        assert!(problem.contains("answered 200 to no token"), "{problem}");
    }
}
