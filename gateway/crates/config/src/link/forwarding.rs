//! What endpoints are told: whoever asks for an assertion needs somebody who signs.

use portcullis_model::{Origin, Problem, Problems};

use super::is_written;
use crate::file::GatewayFile;
use crate::file::section::{At, entries, items};

pub(super) fn check(file: &GatewayFile, problems: &mut Problems) {
    if let Some(own) = file.identity.at()
        && !is_written(&own.value.svid)
        && !is_written(&own.value.assertion)
        && !own.value.has_refused_keys
    {
        let problem = Problem::error("missing-key", &own.origin, "`identity` says nothing");
        problems.push(
            problem.with_hint("write `svid: { chain: …, key: … }`, `assertion: { … }`, or leave it out"),
        );
    }
    let own = file.identity.get();
    let signs = matches!(&file.identity, crate::file::section::Key::Broken)
        || own.is_some_and(|own| is_written(&own.assertion) || own.has_refused_keys);
    let mut is_sent = false;
    for entry in entries(&file.pools) {
        let asked = entry.value.get().and_then(|pool| pool.forward_identity.get());
        let Some(at) = asked.and_then(|forward| forward.assertion.at()) else {
            continue;
        };
        is_sent = true;
        if !signs {
            nobody_signs(&at.origin, "an assertion is to be sent", problems);
        }
    }
    for route in items(&file.routes) {
        let asked = route.value.respond.get().and_then(|respond| respond.jwks.at());
        if let Some(At { value: true, origin }) = asked
            && !signs
        {
            nobody_signs(origin, "the keys of assertions are to be told", problems);
        }
    }
    if let (false, Some(at)) = (is_sent, own.and_then(|own| own.assertion.at())) {
        let message = "nothing is signed: no pool forwards an assertion";
        let problem = Problem::warning("unused", &at.origin, message);
        problems
            .push(problem.with_hint("write `forward_identity: { assertion: { audience: … } }` at a pool"));
    }
}

fn nobody_signs(origin: &Origin, what: &str, problems: &mut Problems) {
    let message = format!("{what}, and nothing says how assertions are signed");
    let problem = Problem::error("missing-assertion", origin, message);
    problems.push(problem.with_hint("add `identity: { assertion: { issuer: https://…, keys: [ … ] } }`"));
}
