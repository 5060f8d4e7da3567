//! The tour as data: what is asked, as whom, and what is promised. The printed curl commands and the calls of
//! `--once` both come from here.

use super::sample_api::{PROGRAM, appointment};

/// One stop of the tour.
pub(super) struct Step {
    /// What it shows.
    pub(super) title: &'static str,
    pub(super) action: Action,
}

/// What is done.
pub(super) enum Action {
    Call(Call),
    /// `explain` of Alice's request for another tenant.
    Explain,
    /// Stops or starts a region of the sample API.
    Region {
        name: &'static str,
        verb: &'static str,
    },
}

/// Who is asking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Nobody,
    /// With the token of this file.
    Token(&'static str),
    /// With the partner's certificate.
    Partner,
}

/// One request.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) caller: Caller,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: Option<String>,
    /// How often in a row; the promise is about the last.
    pub(super) times: u32,
    /// True when the promise may take a while to come true: health has to notice.
    pub(super) patient: bool,
    pub(super) promise: Promise,
}

/// What the answer will be.
#[derive(Default)]
pub(super) struct Promise {
    pub(super) status: u16,
    /// `code` of the problem.
    pub(super) code: Option<&'static str>,
    /// Fields that must be there, with this text in their value.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// Text in the body.
    pub(super) body: &'static [&'static str],
}

const APPOINTMENTS: &str = "/api/v1/appointments";
const ALICE: Caller = Caller::Token("alice");
const BOB: Caller = Caller::Token("bob");
const CAROL: Caller = Caller::Token("carol");

/// The whole tour, in order.
pub(super) fn steps() -> Vec<Step> {
    let mut steps = who();
    steps.extend(what());
    steps.extend(how_much());
    steps.extend(where_to());
    steps.push(Step {
        title: "Why was Alice refused at step 6? Ask, without sending anything",
        action: Action::Explain,
    });
    steps
}

fn who() -> Vec<Step> {
    vec![
        step(
            "Alice has a token: served by the nearest region, over mTLS with a verified SPIFFE ID",
            get(APPOINTMENTS, ALICE, served_by("eu-west")),
        ),
        step(
            "Nobody in particular: refused before anything else looks at the request",
            get(APPOINTMENTS, Caller::Nobody, refused(401, "credentials-missing")),
        ),
        step(
            "A token that somebody else signed: the claims are Alice's, the signature is not",
            get(
                APPOINTMENTS,
                Caller::Token("forged"),
                refused(401, "token-signature"),
            ),
        ),
        step(
            "A partner with a certificate instead of a token: a SPIFFE ID is a principal like any other",
            Call {
                headers: &[("x-tenant", "acme")],
                ..get("/api/v1/resources", Caller::Partner, served_by("eu-west"))
            },
        ),
    ]
}

fn what() -> Vec<Step> {
    vec![
        step(
            "Bob may look, not write: the policy says why",
            Call {
                promise: denied(403, &["no role of yours allows this"]),
                ..post(BOB, appointment().to_string())
            },
        ),
        step(
            "Alice may write, but not for another tenant",
            Call {
                headers: &[("x-tenant", "globex")],
                ..get(APPOINTMENTS, ALICE, denied(403, &["this is another tenant's"]))
            },
        ),
        step(
            "Dave's token says that his data stays in the US: this gateway stands in the EU",
            get(
                APPOINTMENTS,
                Caller::Token("dave"),
                denied(451, &["your data must stay elsewhere"]),
            ),
        ),
        step(
            "Alice may write, but this body breaks the contract: pointers, never the submitted values",
            Call {
                promise: Promise {
                    status: 422,
                    code: Some("body-invalid"),
                    body: &["/minutes", "/client/email"],
                    ..Promise::default()
                },
                ..post(ALICE, broken_appointment())
            },
        ),
        step(
            "The same with a body that fits: created",
            Call {
                promise: Promise {
                    status: 201,
                    body: &["\"region\""],
                    ..Promise::default()
                },
                ..post(ALICE, appointment().to_string())
            },
        ),
        step(
            "A path with a trick in it: one canonical path, or none",
            get(
                "/api/v1/programs/..%2fappointments",
                ALICE,
                Promise {
                    status: 400,
                    ..Promise::default()
                },
            ),
        ),
    ]
}

fn how_much() -> Vec<Step> {
    vec![step(
        "Six a minute, three at once: the fourth in a row is told when to come back",
        Call {
            times: 4,
            promise: Promise {
                status: 429,
                code: Some("rate-limited"),
                fields: &[("ratelimit", ""), ("ratelimit-policy", ""), ("retry-after", "")],
                ..Promise::default()
            },
            ..get("/api/v1/programs", BOB, Promise::default())
        },
    )]
}

fn where_to() -> Vec<Step> {
    vec![
        region("Now eu-west loses power", "eu-west", "stop"),
        step(
            "Alice is served by the next region of the EU, and notices nothing",
            get(APPOINTMENTS, ALICE, served_by("eu-central")),
        ),
        region("And eu-central too: the EU is gone", "eu-central", "stop"),
        step(
            "Carol is not pinned anywhere: us-east serves her",
            get(APPOINTMENTS, CAROL, served_by("us-east")),
        ),
        step(
            "Alice's data stays in the EU: refused rather than moved (a 502 until the probes have noticed)",
            Call {
                patient: true,
                ..get(APPOINTMENTS, ALICE, refused(503, "residency-unavailable"))
            },
        ),
        region("Power returns to eu-west", "eu-west", "start"),
        region("and to eu-central", "eu-central", "start"),
        step(
            "And Alice is served at home again, as soon as probes and a trial request say so (some seconds)",
            Call {
                patient: true,
                ..get(APPOINTMENTS, ALICE, served_by("eu-west"))
            },
        ),
    ]
}

fn step(title: &'static str, call: Call) -> Step {
    Step {
        title,
        action: Action::Call(call),
    }
}

fn region(title: &'static str, name: &'static str, verb: &'static str) -> Step {
    Step {
        title,
        action: Action::Region { name, verb },
    }
}

fn get(path: &'static str, caller: Caller, promise: Promise) -> Call {
    Call {
        method: "GET",
        path,
        caller,
        headers: &[],
        body: None,
        times: 1,
        patient: false,
        promise,
    }
}

fn post(caller: Caller, body: String) -> Call {
    Call {
        method: "POST",
        headers: &[("content-type", "application/json")],
        body: Some(body),
        ..get(APPOINTMENTS, caller, Promise::default())
    }
}

fn served_by(region: &'static str) -> Promise {
    let fields: &'static [(&'static str, &'static str)] = match region {
        "eu-west" => &[("x-served-by", "eu-west")],
        "eu-central" => &[("x-served-by", "eu-central")],
        _ => &[("x-served-by", "us-east")],
    };
    Promise {
        status: 200,
        fields,
        ..Promise::default()
    }
}

fn refused(status: u16, code: &'static str) -> Promise {
    Promise {
        status,
        code: Some(code),
        ..Promise::default()
    }
}

fn denied(status: u16, body: &'static [&'static str]) -> Promise {
    Promise {
        body,
        ..refused(status, "policy-denied")
    }
}

fn broken_appointment() -> String {
    serde_json::json!({
        "program": PROGRAM,
        "client": { "name": "Sam Field", "email": "not an address" },
        "starts_at": "2030-05-04T09:30:00Z",
        "minutes": 7,
    })
    .to_string()
}
