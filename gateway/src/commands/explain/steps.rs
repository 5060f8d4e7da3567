//! Every stage of a rehearsal: what was reported, and the stages that had nothing to report.

use portcullis_model::Stage;
use portcullis_pipeline::{Exchange, StageReport};
use serde::Serialize;

use crate::admin::views::place;

/// The stages that a request walks before its endpoint answers, in order.
const WALKED: &[Stage] = &[
    Stage::Begin,
    Stage::Normalize,
    Stage::Shed,
    Stage::MatchRoute,
    Stage::Authenticate,
    Stage::Limit,
    Stage::ValidateHead,
    Stage::Authorize,
    Stage::ValidateBody,
    Stage::SelectEndpoint,
    Stage::PrepareUpstream,
];

/// One stage's verdict.
#[derive(Serialize)]
pub(super) struct Step {
    #[serde(serialize_with = "stage_name")]
    pub(super) stage: Stage,
    pub(super) verdict: &'static str,
    pub(super) detail: String,
    pub(super) decided_by: Option<String>,
    /// For a policy: whether its decisions are remembered for the traffic. Here it was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remembered: Option<bool>,
}

fn stage_name<S: serde::Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}

/// What the exchange reported, in its order, with the silent stages in their places.
pub(super) fn complete(exchange: &Exchange, is_forwarded: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = exchange.steps().iter().map(step).collect();
    let last = steps.iter().map(|step| step.stage).max();
    // A certificate that the handshake would refuse today is refused before anything of the request is looked at.
    let is_of_connection = last == Some(Stage::Authenticate) && exchange.record().route.is_none();
    for &stage in WALKED {
        if steps.iter().any(|step| step.stage == stage) {
            continue;
        }
        let is_passed_over = is_of_connection && stage != Stage::Begin;
        let is_reached = is_forwarded || (!is_passed_over && last.is_some_and(|last| stage < last));
        let at = steps
            .iter()
            .position(|step| step.stage > stage)
            .unwrap_or(steps.len());
        steps.insert(at, silent(stage, is_reached, exchange));
    }
    steps
}

fn silent(stage: Stage, is_reached: bool, exchange: &Exchange) -> Step {
    let (verdict, detail) = match (is_reached, stage) {
        (false, _) => ("-", "not reached".to_owned()),
        (true, Stage::Begin) => (
            "passed",
            format!("configuration revision {}", exchange.snapshot().revision),
        ),
        (true, Stage::Shed) => ("passed", "the listener has no limits of its own".to_owned()),
        (true, Stage::ValidateBody) => ("passed", "no body to check against a contract".to_owned()),
        (true, Stage::PrepareUpstream) => ("passed", "the outgoing head was built, see below".to_owned()),
        (true, _) => ("passed", "nothing is asked of this request here".to_owned()),
    };
    Step {
        stage,
        verdict,
        detail,
        decided_by: None,
        remembered: None,
    }
}

fn step(report: &StageReport) -> Step {
    Step {
        stage: report.stage,
        verdict: report.verdict,
        detail: report.detail.trim_end().to_owned(),
        decided_by: report.decided_by.as_ref().and_then(place),
        remembered: report.remembered,
    }
}
