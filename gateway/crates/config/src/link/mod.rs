//! The only place that looks across sections: names exist, nothing is open or weak without saying so, nothing
//! asks for what could never be.
//!
//! It works on the file as read, so that a section that is broken in one key is still linked in the others; what
//! a broken key would have said is never complained about twice.

mod forwarding;
mod listeners;
mod names;
mod pools;
mod regions;
mod routes;
mod without_effect;

use portcullis_model::{Problems, RegionId};

use crate::file::GatewayFile;
use crate::file::listeners::{Listener, Redirection};
use crate::file::routes::{Demand, Route};
use crate::file::section::{At, Key, entries, items};

pub(crate) use self::regions::{local_region, region_names};

/// Finds every problem that needs more than one section to be seen.
pub(crate) fn check(file: &GatewayFile, local: Option<&RegionId>, problems: &mut Problems) {
    names::check(file, problems);
    listeners::check(file, problems);
    regions::check(file, local, problems);
    pools::check(file, local, problems);
    forwarding::check(file, problems);
    routes::check(file, problems);
    without_effect::check(file, problems);
}

/// The listeners that serve routes.
pub(crate) fn serving_listeners(file: &GatewayFile) -> impl Iterator<Item = &At<String>> {
    entries(&file.listeners)
        .filter(|entry| !entry.value.get().is_some_and(redirects))
        .map(|entry| &entry.name)
}

fn redirects(listener: &Listener) -> bool {
    matches!(listener.redirect_to_https.get(), Some(Redirection::To(_)))
}

/// The name of the first policy of a route that reads the body.
pub(crate) fn policy_reading_body<'a>(file: &GatewayFile, route: &'a Route) -> Option<&'a str> {
    items(&route.authorize).find_map(|rule| match &rule.value.demand {
        Demand::Policy(name) => {
            let policy = entries(&file.policies)
                .find(|entry| entry.name.value == name.value)?
                .value
                .get()?;
            policy.body.or(false).then_some(name.value.as_str())
        }
        Demand::Authenticated | Demand::Scope(_) | Demand::Role(_) | Demand::Spiffe(_) => None,
    })
}

/// True when a Workload API hands out identities.
fn has_workload_api(file: &GatewayFile) -> bool {
    file.gateway
        .get()
        .is_some_and(|gateway| !gateway.workload_api.is_absent())
}

/// True when something is written under a key, readable or not.
const fn is_written<T>(key: &Key<T>) -> bool {
    !key.is_absent()
}
