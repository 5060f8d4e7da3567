//! Where a request may be processed: a hard filter that wins over every preference and fails closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{JurisdictionId, Origin, Principal, Reason, RegionId, Rejection};

use crate::plan::{ResidencyPlan, ResidencySource};

/// The regions a request may be processed in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedRegions {
    /// The route states no residency.
    All,
    /// These and no others; an empty set allows nothing.
    Only(Arc<BTreeSet<RegionId>>),
}

impl AllowedRegions {
    /// True when the request may be processed there.
    #[must_use]
    pub fn contains(&self, region: &RegionId) -> bool {
        match self {
            Self::All => true,
            Self::Only(regions) => regions.contains(region),
        }
    }
}

/// The regions of every jurisdiction, shared by all routes of a runtime.
pub(crate) type Jurisdictions = Arc<BTreeMap<JurisdictionId, Arc<BTreeSet<RegionId>>>>;

/// A route's compiled residency rule.
#[derive(Clone, Debug)]
pub struct Residency {
    rule: Option<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    origin: Origin,
    from: Option<ResidencySource>,
    default: Option<AllowedRegions>,
    jurisdictions: Jurisdictions,
}

impl Residency {
    /// The rule of a route that states none: processed anywhere.
    #[must_use]
    pub const fn anywhere() -> Self {
        Self { rule: None }
    }

    pub(crate) fn compile(plan: &ResidencyPlan, jurisdictions: &Jurisdictions) -> Self {
        // A jurisdiction that nobody knows adds no region, so that a plan built by hand narrows and never widens.
        let default = (!plan.default.is_empty()).then(|| union(&plan.default, jurisdictions));
        Self {
            rule: Some(Rule {
                origin: plan.origin.clone(),
                from: plan.from.clone(),
                default,
                jurisdictions: Arc::clone(jurisdictions),
            }),
        }
    }

    /// The regions that the verified identity, or else the route's default, allows.
    ///
    /// A claim holds one jurisdiction's name or a list of them, all of which must be known.
    ///
    /// # Errors
    /// `residency-unknown` when the identity names no known jurisdiction: always for a value that is not one, and
    /// for a missing value when the route has no default.
    pub fn allowed(&self, principal: &Principal) -> Result<AllowedRegions, Rejection> {
        let Some(rule) = &self.rule else {
            return Ok(AllowedRegions::All);
        };
        match rule
            .from
            .as_ref()
            .map_or(Asserted::Nothing, |from| asserted(from, principal))
        {
            Asserted::Nothing => rule
                .default
                .clone()
                .ok_or_else(|| rule.refuse("the identity states no residency")),
            Asserted::Names(names) => rule.regions_of(&names),
            Asserted::Unreadable => {
                Err(rule.refuse("the residency claim is neither a name nor a list of names"))
            }
        }
    }
}

impl Rule {
    fn regions_of(&self, names: &[&str]) -> Result<AllowedRegions, Rejection> {
        let ids: Vec<JurisdictionId> = names.iter().map(|name| JurisdictionId::from(*name)).collect();
        if ids.is_empty() || !ids.iter().all(|id| self.jurisdictions.contains_key(id)) {
            return Err(self.refuse("the identity states a jurisdiction that is not configured"));
        }
        Ok(union(&ids, &self.jurisdictions))
    }

    fn refuse(&self, private: &str) -> Rejection {
        Rejection::new(Reason::ResidencyUnknown)
            .with_private(private)
            .decided_by(&self.origin)
    }
}

enum Asserted<'a> {
    Nothing,
    Names(Vec<&'a str>),
    Unreadable,
}

fn asserted<'a>(from: &ResidencySource, principal: &'a Principal) -> Asserted<'a> {
    match from {
        ResidencySource::Region => principal
            .attributes
            .region
            .as_deref()
            .map_or(Asserted::Nothing, |name| Asserted::Names(vec![name])),
        ResidencySource::Claim(path) => {
            let mut value = &principal.attributes.claims;
            for step in path {
                let Some(next) = value.get(step.as_ref()) else {
                    return Asserted::Nothing;
                };
                value = next;
            }
            names_in(value)
        }
    }
}

fn names_in(value: &serde_json::Value) -> Asserted<'_> {
    if value.is_null() {
        return Asserted::Nothing;
    }
    if let Some(name) = value.as_str() {
        return Asserted::Names(vec![name]);
    }
    let names = value
        .as_array()
        .and_then(|list| list.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>());
    names.map_or(Asserted::Unreadable, Asserted::Names)
}

fn union(ids: &[JurisdictionId], jurisdictions: &Jurisdictions) -> AllowedRegions {
    if let [only] = ids
        && let Some(regions) = jurisdictions.get(only)
    {
        return AllowedRegions::Only(Arc::clone(regions));
    }
    let regions = ids
        .iter()
        .filter_map(|id| jurisdictions.get(id))
        .flat_map(|set| set.iter().cloned());
    AllowedRegions::Only(Arc::new(regions.collect()))
}

#[cfg(test)]
mod tests;
