//! What endpoints are told: the signer, and what each pool asks of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{PoolId, Problem};

use super::Compiler;
use crate::assertion::{Forwarding, Keys, OwnName, Signer, SigningKey};
use crate::mtls::PeerIdentity;
use crate::plan::{AssertionKeyPlan, AssertionKeys, AssertionPlan};
use crate::runtime::OwnSvid;

/// A principal is named `issuer:subject`, and a workload `spiffe://…`: an issuer of this name could name workloads.
const NO_ISSUER: &str = "spiffe";

impl Compiler<'_> {
    /// The signer; the previous one goes on where it would say the same, with what it remembers.
    pub(super) fn signer(&mut self) -> Option<Arc<Signer>> {
        if self.plan.assertion.is_some() {
            self.check_issuer_names();
        }
        let previous = self.previous.and_then(|previous| previous.signer.as_ref());
        let signer = match &self.plan.assertion {
            None => None,
            Some(plan) => match previous.filter(|signer| signer.plan.means_the_same(plan)) {
                Some(signer) => return Some(Arc::clone(signer)),
                None => self.new_signer(plan),
            },
        };
        if let Some(previous) = previous {
            previous.retire();
        }
        signer
    }

    /// Issuers come and go while the signer stays, so they are looked at each time.
    fn check_issuer_names(&mut self) {
        for issuer in &self.plan.issuers {
            if issuer.id.as_str().eq_ignore_ascii_case(NO_ISSUER) {
                let message = "an issuer of this name could have its subjects taken for workloads: \
                               assertions name both in one claim";
                let problem = Problem::error("issuer-name", &issuer.origin, message);
                self.problems.push(problem.with_hint("give it another name"));
            }
        }
    }

    fn new_signer(&mut self, plan: &AssertionPlan) -> Option<Arc<Signer>> {
        let keys = match &plan.keys {
            AssertionKeys::Given(plans) => Keys::Given(self.signing_keys(plans)?),
            AssertionKeys::Made(rotate) => Keys::Made(*rotate),
        };
        Some(Arc::new(Signer::new(plan.clone(), keys, self.boards)))
    }

    fn signing_keys(&mut self, plans: &[AssertionKeyPlan]) -> Option<Vec<Arc<SigningKey>>> {
        let mut keys: Vec<Arc<SigningKey>> = Vec::new();
        for plan in plans {
            match SigningKey::read(plan.pem.expose()) {
                Ok(key) if keys.iter().any(|known| known.kid() == key.kid()) => {
                    let message = "the same key stands here twice";
                    self.problems
                        .push(Problem::error("assertion-key", &plan.origin, message));
                }
                Ok(key) => keys.push(Arc::new(key)),
                Err(refusal) => {
                    let message = format!("the key cannot sign assertions: {refusal}");
                    let problem = Problem::error("assertion-key", &plan.origin, message);
                    self.problems.push(problem.with_hint(
                        "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
                    ));
                }
            }
        }
        (keys.len() == plans.len() && !keys.is_empty()).then_some(keys)
    }

    pub(super) fn forwards(
        &mut self,
        signer: Option<&Arc<Signer>>,
        svid: Option<&Arc<OwnSvid>>,
    ) -> BTreeMap<PoolId, Arc<Forwarding>> {
        let own = match svid.map(|svid| PeerIdentity::from_chain(&svid.plan.chain).spiffe_id) {
            Some(Ok(id)) => OwnName::Given(Arc::new(id)),
            Some(Err(_)) => OwnName::None,
            None if self.plan.workload_api => OwnName::Delivered(Arc::clone(&self.boards.workload)),
            None => OwnName::None,
        };
        let mut forwards = BTreeMap::new();
        for plan in &self.plan.forwards {
            if plan.audience.is_some() && self.plan.assertion.is_none() {
                let message = "nothing says how assertions are signed";
                let problem = Problem::error("missing-assertion", &plan.origin, message);
                self.problems.push(
                    problem.with_hint("add `identity: { assertion: { issuer: https://…, keys: [ … ] } }`"),
                );
            }
            let forwarding = Forwarding::new(plan.clone(), signer.cloned(), own.clone());
            forwards.insert(plan.pool.clone(), Arc::new(forwarding));
        }
        forwards
    }
}
