//! Regions: which there are, and in which of them this gateway stands.

use std::collections::BTreeMap;

use portcullis_model::{Origin, Problem, Problems, RegionId};

use crate::file::GatewayFile;
use crate::file::section::{At, did_you_mean, entries, items};

/// The name of the only region when nobody names one.
const UNNAMED: &str = "local";

/// Where a region is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mention {
    /// Under `regions`: that alone makes it exist.
    Definition,
    Jurisdiction,
    Failover,
    Site,
}

fn mentions(file: &GatewayFile) -> impl Iterator<Item = (Mention, &At<String>)> {
    let defined = entries(&file.regions).map(|entry| (Mention::Definition, &entry.name));
    let failover = entries(&file.regions)
        .filter_map(|entry| entry.value.get())
        .flat_map(|region| items(&region.failover))
        .map(|at| (Mention::Failover, at));
    let jurisdictions = entries(&file.jurisdictions)
        .filter_map(|entry| entry.value.get())
        .flat_map(|regions| regions.iter())
        .map(|at| (Mention::Jurisdiction, at));
    let sites = entries(&file.pools)
        .filter_map(|entry| entry.value.get())
        .flat_map(|pool| entries(&pool.sites))
        .map(|site| (Mention::Site, &site.name));
    defined.chain(jurisdictions).chain(failover).chain(sites)
}

/// Every place where a region is named.
pub(crate) fn region_names(file: &GatewayFile) -> impl Iterator<Item = &At<String>> {
    mentions(file).map(|(_, at)| at)
}

/// The region of this gateway: given from outside, stated in the file, or the only one there is.
pub(crate) fn local_region(
    file: &GatewayFile,
    given: Option<&str>,
    problems: &mut Problems,
) -> Option<RegionId> {
    let mut names: BTreeMap<&str, &Origin> = BTreeMap::new();
    for at in region_names(file) {
        names.entry(&at.value).or_insert(&at.origin);
    }
    let stated = file.gateway.get().and_then(|gateway| gateway.region.at());
    let (name, origin) = match (given, stated) {
        (Some(name), _) => (name, Origin::of("--region")),
        (None, Some(at)) => (at.value.as_str(), at.origin.clone()),
        (None, None) => {
            let mut all = names.keys();
            return match (all.next(), all.next()) {
                (None, _) => Some(RegionId::from(UNNAMED)),
                (Some(only), None) => Some(RegionId::from(*only)),
                (Some(_), Some(_)) => {
                    let origin = names
                        .values()
                        .next()
                        .map(|origin| (*origin).clone())
                        .unwrap_or_default();
                    let list: Vec<_> = names.keys().map(|name| format!("`{name}`")).collect();
                    let message = "several regions are named, but not the one this gateway stands in";
                    let hint = format!(
                        "set `gateway: {{ region: … }}`, --region or PORTCULLIS_REGION to one of {}",
                        list.join(", ")
                    );
                    problems.push(Problem::error("missing-region", &origin, message).with_hint(hint));
                    None
                }
            };
        }
    };
    if !names.is_empty() && !names.contains_key(name) {
        let problem = Problem::error("unknown-reference", &origin, format!("unknown region {name:?}"));
        problems.push(with_names(problem, name, names.keys().copied()));
    }
    Some(RegionId::from(name))
}

fn with_names<'a>(problem: Problem, wrong: &str, names: impl Iterator<Item = &'a str> + Clone) -> Problem {
    let hint = did_you_mean(wrong, names.clone()).unwrap_or_else(|| {
        let list: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        format!("regions: {}", list.join(", "))
    });
    problem.with_hint(hint)
}

/// A region exists when it is defined, when it is this gateway's, or when two different places name it: a name
/// that stands in one place only is a slip of the pen.
pub(super) fn check(file: &GatewayFile, local: Option<&RegionId>, problems: &mut Problems) {
    let mut known: BTreeMap<&str, Vec<Mention>> = BTreeMap::new();
    for (mention, at) in mentions(file) {
        known.entry(&at.value).or_default().push(mention);
    }
    let exists = |name: &str| {
        let places = known.get(name).map(Vec::as_slice).unwrap_or_default();
        local.is_some_and(|local| local.as_str() == name)
            || places.contains(&Mention::Definition)
            || places.iter().any(|place| Some(place) != places.first())
    };
    // With one region and nothing said about it, its sites are all there is.
    if file.regions.is_absent() && file.jurisdictions.is_absent() {
        return;
    }
    for (mention, at) in mentions(file) {
        if mention == Mention::Definition || exists(&at.value) {
            continue;
        }
        let problem = Problem::error(
            "unknown-reference",
            &at.origin,
            format!("unknown region {:?}", at.value),
        );
        let names = known.keys().copied().filter(|name| exists(name));
        problems.push(with_names(problem, &at.value, names));
    }
    for entry in entries(&file.regions) {
        let Some(region) = entry.value.get() else { continue };
        let mut seen: Vec<&str> = Vec::new();
        for at in items(&region.failover) {
            if at.value == entry.name.value {
                let message = format!("region {:?} fails over to itself", at.value);
                problems.push(Problem::error("bad-value", &at.origin, message));
            } else if seen.contains(&at.value.as_str()) {
                let message = format!("region {:?} stands here twice", at.value);
                problems.push(Problem::error("bad-value", &at.origin, message));
            }
            seen.push(&at.value);
        }
    }
}
