//! What every stage gets beside the previous stage's output.

use std::time::{Duration, Instant, SystemTime};

use portcullis_admission::Observed;
use portcullis_admission::policy::{Recall, RuleTrace};
use portcullis_model::{ContractId, Mode, Origin, Reason, Stage};
use serde::Serialize;

use crate::boards::Boards;
use crate::connection::ConnectionFacts;
use crate::record::DecisionRecord;
use crate::snapshot::Snapshot;
use crate::trace::TraceContext;

/// Both clocks, read together by whoever may read a clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what the world says: tokens, certificates, records.
    pub wall: SystemTime,
    /// For what we measure: deadlines, limits, health.
    pub mono: Instant,
}

/// One stage's verdict, for `explain`.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// The stage.
    pub stage: Stage,
    /// What it decided.
    pub verdict: &'static str,
    /// What it saw, in a sentence.
    pub detail: String,
    /// The configured object that decided, with its line.
    pub decided_by: Option<Origin>,
    /// For a policy: whether the traffic may be served with a remembered decision; a rehearsal never is.
    pub remembered: Option<bool>,
}

/// One request's surroundings.
pub(crate) struct Context<'a> {
    /// The configuration, loaded once.
    pub(crate) snapshot: &'a Snapshot,
    /// What outlives it.
    pub(crate) boards: &'a Boards,
    /// The connection.
    pub(crate) connection: &'a ConnectionFacts,
    /// Drawn once per request: percentages, weights and jitter all follow from it.
    pub(crate) roll: u64,
    /// When the stage runs.
    pub(crate) now: Now,
    /// True for `explain`: nothing is fetched, nothing is charged for good.
    pub(crate) is_offline: bool,
    /// Where the request stands in a trace.
    pub(crate) trace: &'a mut TraceContext,
    /// The record under way.
    pub(crate) record: &'a mut DecisionRecord,
    /// Filled only for `explain`.
    pub(crate) steps: Option<&'a mut Vec<StageReport>>,
}

impl Context<'_> {
    /// Notes for `explain` that a stage was passed; costs nothing otherwise.
    pub(crate) fn note(
        &mut self,
        stage: Stage,
        decided_by: Option<&Origin>,
        detail: impl FnOnce() -> String,
    ) {
        self.note_as("passed", stage, decided_by, detail);
    }

    /// Notes for `explain` any other verdict.
    pub(crate) fn note_as(
        &mut self,
        verdict: &'static str,
        stage: Stage,
        decided_by: Option<&Origin>,
        detail: impl FnOnce() -> String,
    ) {
        if let Some(steps) = self.steps.as_mut() {
            steps.push(StageReport {
                stage,
                verdict,
                detail: detail(),
                decided_by: decided_by.cloned(),
                remembered: None,
            });
        }
    }

    /// Notes for `explain` how a rule of `authorize` voted, where nothing else tells it: what a rule in observe mode
    /// would have refused is noted by [`Self::observe`], and a rejection where it is settled.
    pub(crate) fn note_rule(&mut self, rule: &RuleTrace) {
        if self.steps.is_none() || rule.mode != Mode::Enforce {
            return;
        }
        let (said, remembered) = match rule.recall {
            None => ("", None),
            Some(Recall::Never) => ("evaluated, as every time", Some(false)),
            Some(Recall::Fresh | Recall::Miss { .. }) => (
                "evaluated afresh; for requests with the same facts it is remembered",
                Some(true),
            ),
            Some(Recall::Hit) => ("remembered", Some(true)),
        };
        if !rule.allowed && remembered.is_none() {
            return;
        }
        let (verdict, vote) = match rule.allowed {
            true => ("passed", "allows"),
            false => ("asked", "refuses"),
        };
        let separator = if said.is_empty() { "" } else { ": " };
        let detail = format!("{} {vote}{separator}{said}", rule.name);
        self.note_as(verdict, Stage::Authorize, Some(&rule.origin), || detail);
        if let Some(step) = self.steps.as_mut().and_then(|steps| steps.last_mut()) {
            step.remembered = remembered;
        }
    }

    /// Counts a contract's verdict.
    pub(crate) fn count_contract(&self, contract: &ContractId, mode: Mode, verdict: Result<(), Reason>) {
        if let Some(metrics) = self.boards.limits.metrics()
            && !self.is_offline
        {
            metrics.count_contract(contract, mode, verdict);
        }
    }

    /// Counts the decisions of policies; built-in rules cost nothing worth counting.
    pub(crate) fn count_policies(&self, trace: &[RuleTrace]) {
        let Some(metrics) = self.boards.limits.metrics().filter(|_| !self.is_offline) else {
            return;
        };
        for rule in trace {
            if let Some(policy) = rule.name.strip_prefix("policy:") {
                let verdict = rule.reason.map_or(Ok(()), Err);
                metrics.count_policy(
                    policy,
                    rule.mode,
                    verdict,
                    Duration::from_micros(rule.micros).as_secs_f64(),
                );
                if let Some(recall) = rule.recall {
                    metrics.count_recall(policy, recall);
                }
            }
        }
    }

    /// Records what guards in observe mode would have refused.
    pub(crate) fn observe(&mut self, stage: Stage, observed: Vec<Observed>) {
        for one in observed {
            self.note_as("observed", stage, Some(&one.origin), || {
                let text = one.text.as_deref().unwrap_or_default();
                format!("{} would have refused with {} {text}", one.guard, one.reason)
            });
            self.record.observed.push(one);
        }
    }
}
