//! In which order regions are asked.
//!
//! Today the order is the configured one: the local region, then its failover list. A plan that weighs capacity,
//! demand and class replaces [`Preference::of`] and nothing else: selection only ever walks the list it is given.

use std::collections::BTreeMap;

use portcullis_model::RegionId;

use crate::plan::RegionPlan;
use crate::residency::AllowedRegions;

/// The regions a gateway may send to, best first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Preference {
    order: Vec<RegionId>,
}

impl Preference {
    /// The order for a gateway in `local`: that region, then its failover list as written. A region without a
    /// failover list has only itself, and a region that is not listed is never used: failing over to a place
    /// nobody named would be a surprise, and the lists of other regions do not add to it.
    #[must_use]
    pub fn of(regions: &BTreeMap<RegionId, RegionPlan>, local: &RegionId) -> Self {
        let mut order = vec![local.clone()];
        for region in regions.get(local).iter().flat_map(|plan| &plan.failover) {
            if !order.contains(region) {
                order.push(region.clone());
            }
        }
        Self { order }
    }

    /// Every region of the order, allowed or not.
    #[must_use]
    pub fn regions(&self) -> &[RegionId] {
        &self.order
    }

    /// The regions of the order in which the request may be processed.
    pub fn among<'a>(&'a self, allowed: &'a AllowedRegions) -> impl Iterator<Item = &'a RegionId> {
        self.order.iter().filter(|region| allowed.contains(region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(local: &str, failover: &[&str]) -> BTreeMap<RegionId, RegionPlan> {
        let failover = failover.iter().copied().map(RegionId::from).collect();
        BTreeMap::from([(
            RegionId::from(local),
            RegionPlan {
                failover,
                ..RegionPlan::default()
            },
        )])
    }

    #[test]
    fn the_local_region_comes_first_and_then_its_failover_list() {
        let preference = Preference::of(&regions("eu", &["us", "eu", "us", "ap"]), &RegionId::from("eu"));

        assert_eq!(preference.regions(), ["eu", "us", "ap"].map(RegionId::from));
    }

    #[test]
    fn a_region_without_a_failover_list_has_only_itself() {
        assert_eq!(
            Preference::of(&BTreeMap::new(), &RegionId::from("eu")).regions(),
            [RegionId::from("eu")]
        );
    }

    #[test]
    fn only_allowed_regions_are_among_the_preference() {
        let preference = Preference::of(&regions("eu", &["us", "ap"]), &RegionId::from("eu"));
        let allowed = AllowedRegions::Only(std::sync::Arc::new([RegionId::from("ap")].into()));

        assert_eq!(
            preference.among(&allowed).collect::<Vec<_>>(),
            [&RegionId::from("ap")]
        );
        assert_eq!(preference.among(&AllowedRegions::All).count(), 3);
    }
}
