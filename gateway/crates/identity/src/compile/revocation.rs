//! What a trust or a pool is told about revocation, with its lists read.

use std::sync::Arc;

use portcullis_model::Problem;

use super::Compiler;
use crate::mtls::{Anchors, MAX_LISTS, Revocation, RevocationParts};
use crate::plan::{CrlSource, OnStaleCrl, RevocationPlan};

impl Compiler<'_> {
    /// Reads every named list. `Err` when one cannot be used, which is a problem by then; `Ok(None)` when nothing is
    /// asked about.
    pub(super) fn revocation(
        &mut self,
        owner: String,
        plan: Option<&RevocationPlan>,
    ) -> Result<Option<Revocation>, ()> {
        let Some(plan) = plan else {
            return Ok(None);
        };
        if let Some(beyond) = plan.lists.get(MAX_LISTS) {
            let message = format!("more than {MAX_LISTS} revocation lists");
            self.problems
                .push(Problem::error("crl-too-many", &beyond.origin, message));
            return Err(());
        }
        let mut slots = Vec::with_capacity(plan.lists.len());
        for list in &plan.lists {
            match self.boards.crls.slot(&list.source) {
                Ok(slot) => slots.push(slot),
                Err(fault) => {
                    let name = match &list.source {
                        CrlSource::Document { name, .. } => name,
                        CrlSource::Url(url) => url,
                    };
                    let message = format!("cannot use the revocation list {:?}: {fault}", name.as_ref());
                    self.problems.push(
                        Problem::error("crl-unusable", &list.origin, message).with_hint(fault.advice()),
                    );
                }
            }
        }
        if slots.len() != plan.lists.len() {
            return Err(());
        }
        // What is behind a URL is not part of a configuration: it counts as one, and what arrives finds the room that
        // is left.
        let lists: usize = (plan.lists.iter().zip(&slots))
            .map(|(list, slot)| match list.source {
                CrlSource::Document { .. } => slot.len(),
                CrlSource::Url(_) => 1,
            })
            .sum();
        if lists > MAX_LISTS
            && let Some(last) = plan.lists.last()
        {
            let message = format!("{lists} revocation lists in files and behind URLs, more than {MAX_LISTS}");
            self.problems
                .push(Problem::error("crl-too-many", &last.origin, message));
            return Err(());
        }
        Ok(Some(Revocation::new(RevocationParts {
            owner,
            slots: slots.into(),
            board: Arc::clone(&self.boards.crls),
            follows_points: plan.distribution_points,
            depth: plan.depth,
            on_stale: plan.on_stale,
        })))
    }

    /// Lists in the name of an anchor that its key did not sign: they would count as none, and with `deny` refuse
    /// everybody, which is worth a word before it happens.
    pub(super) fn warn_of_forged(
        &mut self,
        plan: &RevocationPlan,
        revocation: &Revocation,
        anchors: Option<&Anchors>,
    ) {
        let Some(anchors) = anchors else { return };
        for (list, slot) in plan.lists.iter().zip(revocation.parts.slots.iter()) {
            let loaded = slot.loaded();
            let mut lists = loaded.iter().flat_map(|loaded| &loaded.lists);
            if lists.any(|list| anchors.disown(list)) {
                let message = "the revocation list bears the name of an anchor that did not sign it, and counts as none";
                let hint = "is it of another authority with the same name, or of one whose key was renewed?";
                self.problems
                    .push(Problem::warning("crl-signature", &list.origin, message).with_hint(hint));
            }
        }
    }

    /// A file whose next list is overdue may stand: the one before it said even less.
    pub(super) fn warn_of_stale(&mut self, plan: &RevocationPlan, revocation: &Revocation) {
        let now = self.boards.clock.wall();
        let meaning = match plan.on_stale {
            OnStaleCrl::Deny => "so certificates of its issuer are refused until the next list is here",
            OnStaleCrl::Warn | OnStaleCrl::Allow => "so only those on it are refused",
        };
        for (list, slot) in plan.lists.iter().zip(revocation.parts.slots.iter()) {
            let is_file = matches!(list.source, CrlSource::Document { .. });
            if is_file && slot.ends().is_some_and(|end| end <= now) {
                let message = format!("the revocation list is past its next update, {meaning}");
                self.problems
                    .push(Problem::warning("crl-stale", &list.origin, message));
            }
        }
    }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
