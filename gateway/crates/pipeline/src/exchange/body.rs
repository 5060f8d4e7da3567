//! The body of a forwarded request: counted as it streams, or held until its contract lets it go.

use bytes::Bytes;
use portcullis_model::{ContractId, Mode, Origin, Reason, Rejection, Stage};

use super::Exchange;
use crate::body::BodyPlan;
use crate::stages;

/// The contract that judges a body.
struct Judging {
    id: ContractId,
    origin: Origin,
    mode: Mode,
}

impl Exchange {
    /// What the door has to do with the body of a forwarded request.
    #[must_use]
    pub fn body_plan(&self) -> BodyPlan {
        self.admitted()
            .map_or(BodyPlan::Stream, |admitted| admitted.body.plan())
    }

    /// Counts a piece of a streamed body.
    ///
    /// # Errors
    /// Returns the rejection when the route's limit is passed.
    pub fn stream_push(&mut self, len: usize) -> Result<(), Rejection> {
        let outcome = self
            .admitted_mut()
            .map_or(Ok(()), |admitted| admitted.body.stream(len));
        outcome.map_err(|rejection| self.refuse(rejection))
    }

    /// Takes a piece of a held body.
    ///
    /// # Errors
    /// Returns the rejection as soon as it is certain.
    pub fn gate_push(&mut self, piece: &[u8]) -> Result<(), Rejection> {
        let contract = self.judging();
        let outcome = self
            .admitted_mut()
            .map_or(Ok(()), |admitted| admitted.body.push(piece));
        outcome.map_err(|rejection| {
            self.count_body(contract.as_ref(), Err(rejection.reason));
            self.refuse(rejection)
        })
    }

    /// Judges the held body and gives it out, the same bytes at every attempt.
    ///
    /// # Errors
    /// Returns the rejection; nothing of the request may leave then.
    pub fn gate_finish(&mut self) -> Result<Bytes, Rejection> {
        let contract = self.judging();
        let Some(admitted) = self.admitted_mut() else {
            return Ok(Bytes::new());
        };
        match admitted.body.finish() {
            Ok((bytes, observed)) => {
                let verdict = observed
                    .as_ref()
                    .map_or(Ok(()), |rejection| Err(rejection.reason));
                self.count_body(contract.as_ref(), verdict);
                if let (Some(rejection), Some(judging)) = (observed, contract) {
                    let observed =
                        stages::validate_body::observed(judging.id.as_str(), &judging.origin, &rejection);
                    self.context().observe(Stage::ValidateBody, vec![observed]);
                }
                Ok(bytes)
            }
            Err(rejection) => {
                self.count_body(contract.as_ref(), Err(rejection.reason));
                Err(self.refuse(rejection))
            }
        }
    }

    /// The contract that a held body is under, until its verdict.
    fn judging(&self) -> Option<Judging> {
        let admitted = self.admitted()?;
        let mode = admitted.body.judged_in()?;
        let contract = admitted.route.contract.as_ref()?;
        Some(Judging {
            id: contract.id.clone(),
            origin: contract.origin.clone(),
            mode,
        })
    }

    fn count_body(&mut self, judging: Option<&Judging>, verdict: Result<(), Reason>) {
        if let Some(judging) = judging {
            self.context().count_contract(&judging.id, judging.mode, verdict);
        }
    }
}
