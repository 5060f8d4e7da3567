//! `explain`: what would happen to a request, and what an object means; by the functions that serve the traffic.

mod authentication;
mod claims;
mod report;
mod request;
mod steps;
mod text;
mod url;

use serde_json::Value;

use super::admin_client;
use super::check::print;
use super::{Exit, fail, lists};
use crate::admin::views;
use crate::cli::{ConfigArgs, ExplainRequestArgs, Format};
use crate::configuration::{Rehearsal, Selection};
use crate::output::{Output, chain};

/// `explain request`: exit 0 when the request would be served, 1 when it would be refused, 2 when that is not
/// known here.
pub(super) fn request(args: &ExplainRequestArgs, output: &mut Output) -> Exit {
    let selection = match Selection::from_args(&args.config, true) {
        Ok(selection) => selection,
        Err(fault) => return usage(&fault.to_string(), args.format, output),
    };
    let asked = match request::Asked::read(args) {
        Ok(asked) => asked,
        Err(fault) => return usage(&chain(&fault), args.format, output),
    };
    match request::explain(&selection, &asked) {
        Ok(explanation) => {
            match args.format {
                Format::Json => output.json(&explanation),
                Format::Text => output.text(text::text(&explanation)),
            }
            explanation.exit()
        }
        Err(request::ExplainFault::Configuration(refused)) => {
            print(&refused.problems, &refused.sources, args.format, output);
            Exit::Usage
        }
        Err(fault) => usage(&chain(&fault), args.format, output),
    }
}

/// `explain route`: what a route asks of a request and where it leads.
pub(super) fn route(name: &str, config: &ConfigArgs, format: Format, output: &mut Output) -> Exit {
    let rehearsal = match lists::rehearse(config, format, output) {
        Ok(rehearsal) => rehearsal,
        Err(exit) => return exit,
    };
    let found = rehearsal
        .snapshot
        .routes
        .iter()
        .find(|route| route.plan.id.as_str() == name);
    let Some(found) = found else {
        let known: Vec<&str> = rehearsal
            .snapshot
            .routes
            .iter()
            .map(|route| route.plan.id.as_str())
            .collect();
        output.error(format!("no route \"{name}\" (there are {})", known.join(", ")));
        return Exit::Problems;
    };
    let view = with_places(views::route_view(&found.plan), &rehearsal, &found.plan);
    match format {
        Format::Json => output.json(&view),
        Format::Text => output.text(text::object_text(&view)),
    }
    Exit::Clean
}

/// `explain endpoint`: how an endpoint is doing, from a running gateway.
pub(super) fn endpoint(address: &str, admin: &str, format: Format, output: &mut Output) -> Exit {
    let pools = match admin_client::get(admin, "/pools") {
        Ok(pools) => pools,
        Err(fault) => {
            fail("admin", &chain(&fault), format, output);
            return Exit::Usage;
        }
    };
    let matching: Vec<&Value> = endpoints(&pools)
        .filter(|endpoint| endpoint.get("address").and_then(Value::as_str) == Some(address))
        .collect();
    if matching.is_empty() {
        let known: Vec<&str> = endpoints(&pools)
            .filter_map(|endpoint| endpoint.get("address").and_then(Value::as_str))
            .collect();
        output.error(format!("no endpoint {address} (there are {})", known.join(", ")));
        return Exit::Problems;
    }
    match format {
        Format::Json => output.json(&matching),
        Format::Text => matching
            .iter()
            .for_each(|endpoint| output.text(text::object_text(endpoint))),
    }
    Exit::Clean
}

fn endpoints(pools: &Value) -> impl Iterator<Item = &Value> {
    let pools = pools.get("pools").and_then(Value::as_array).into_iter().flatten();
    pools
        .filter_map(|pool| pool.get("endpoints").and_then(Value::as_array))
        .flatten()
}

/// Adds the line of every object that the route refers to.
fn with_places(mut view: Value, rehearsal: &Rehearsal, plan: &portcullis_pipeline::plan::RoutePlan) -> Value {
    let gateway = &rehearsal.snapshot.plan;
    let mut places = serde_json::Map::new();
    for limit in &plan.rate_limits {
        if let Some(found) = gateway.admission.limits.iter().find(|one| one.id == limit.id) {
            places.insert(
                format!("rate limit {}", found.id),
                views::place(&found.origin).into(),
            );
        }
    }
    if let Some(contract) = &plan.contract
        && let Some(found) = gateway
            .admission
            .contracts
            .iter()
            .find(|one| one.id == contract.id)
    {
        places.insert(
            format!("contract {}", found.id),
            views::place(&found.origin).into(),
        );
    }
    for rule in &plan.authorize {
        places.insert(
            format!("rule {}", rule.origin.path),
            views::place(&rule.origin).into(),
        );
    }
    if let portcullis_pipeline::plan::ActionPlan::Pool(pool) = &plan.action
        && let Some(found) = gateway.routing.pools.iter().find(|one| one.id == *pool)
    {
        places.insert(format!("pool {pool}"), views::place(&found.origin).into());
    }
    if let Some(object) = view.as_object_mut() {
        object.insert("objects".to_owned(), Value::Object(places));
    }
    view
}

fn usage(text: &str, format: Format, output: &mut Output) -> Exit {
    fail("not-judged", text, format, output);
    Exit::Usage
}
