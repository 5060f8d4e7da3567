//! `routes` and `pools`: tables from a configuration, or live from a gateway's admin port.

use std::time::Instant;

use serde_json::Value;

use super::check::print;
use super::{Exit, admin_client, fail};
use crate::admin::views;
use crate::cli::{ConfigArgs, Format, ListArgs};
use crate::configuration::{Rehearsal, Selection};
use crate::output::{Output, chain};

/// `routes`.
pub(super) fn routes(args: &ListArgs, output: &mut Output) -> Exit {
    list(
        args,
        output,
        "/routes",
        |rehearsal| views::routes(&rehearsal.snapshot),
        routes_table,
    )
}

/// `pools`.
pub(super) fn pools(args: &ListArgs, output: &mut Output) -> Exit {
    list(
        args,
        output,
        "/pools",
        |rehearsal| views::pools(&rehearsal.snapshot, Instant::now()),
        |view| pools_table(view, args.admin.is_some()),
    )
}

/// A configuration compiled for looking at, without secrets; its problems are printed.
pub(super) fn rehearse(config: &ConfigArgs, format: Format, output: &mut Output) -> Result<Rehearsal, Exit> {
    let selection = Selection::from_args(config, true).map_err(|fault| {
        fail("not-judged", &fault.to_string(), format, output);
        Exit::Usage
    })?;
    selection.rehearse().map_err(|refused| {
        print(&refused.problems, &refused.sources, format, output);
        Exit::Problems
    })
}

fn list(
    args: &ListArgs,
    output: &mut Output,
    path: &str,
    offline: impl FnOnce(&Rehearsal) -> Value,
    table: impl FnOnce(&Value) -> Vec<Vec<String>>,
) -> Exit {
    let view = match &args.admin {
        Some(admin) => match admin_client::get(admin, path) {
            Ok(view) => view,
            Err(fault) => {
                fail("admin", &chain(&fault), args.format, output);
                return Exit::Usage;
            }
        },
        None => match rehearse(&args.config, args.format, output) {
            Ok(rehearsal) => offline(&rehearsal),
            Err(exit) => return exit,
        },
    };
    match args.format {
        Format::Json => output.json(&view),
        Format::Text => output.table(&table(&view)),
    }
    Exit::Clean
}

fn routes_table(view: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(&[
        "ROUTE",
        "HOSTS",
        "METHODS",
        "PATH",
        "WHO",
        "MAY",
        "LEADS TO",
        "WRITTEN AT",
    ])];
    for route in items(view, "routes") {
        let who = if route.get("public") == Some(&Value::Bool(true)) {
            "public".to_owned()
        } else {
            cell(route, "authenticate")
        };
        rows.push(vec![
            cell(route, "name"),
            or(cell(route, "hosts"), "any"),
            or(cell(route, "methods"), "any"),
            cell(route, "path"),
            who,
            or(cell(route, "authorize"), "-"),
            cell(route, "action"),
            or(cell(route, "written"), "-"),
        ]);
    }
    rows
}

fn pools_table(view: &Value, is_live: bool) -> Vec<Vec<String>> {
    let mut head = row(&["POOL", "REGION", "ENDPOINT", "DNS", "WEIGHT"]);
    if is_live {
        head.extend(row(&["STATE", "WHY"]));
    }
    let mut rows = vec![head];
    for pool in items(view, "pools") {
        for endpoint in items(pool, "endpoints") {
            let mut row: Vec<String> = ["pool", "region", "address", "dns", "weight"]
                .iter()
                .map(|name| or(cell(endpoint, name), "-"))
                .collect();
            if is_live {
                row.extend([cell(endpoint, "state"), cell(endpoint, "why")]);
            }
            rows.push(row);
        }
        // Live, every address that a name leads to has its own row above.
        for name in items(pool, "names").filter(|name| !is_live || !is_resolved(pool, name)) {
            let mut row = vec![
                cell(pool, "name"),
                cell(name, "region"),
                "-".to_owned(),
                cell(name, "dns"),
                cell(name, "weight"),
            ];
            if is_live {
                row.extend([
                    "unresolved".to_owned(),
                    "the name gave no address so far".to_owned(),
                ]);
            }
            rows.push(row);
        }
    }
    rows
}

/// True when the pool has an endpoint that this name led to.
fn is_resolved(pool: &Value, name: &Value) -> bool {
    let named = cell(name, "dns");
    let host = named.rsplit_once(':').map_or(&*named, |(host, _)| host);
    items(pool, "endpoints").any(|endpoint| {
        endpoint.get("region") == name.get("region")
            && endpoint.get("dns").and_then(Value::as_str) == Some(host)
    })
}

fn items<'a>(view: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    view.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

fn cell(object: &Value, name: &str) -> String {
    match object.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}

fn or(text: String, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_live_list_shows_a_name_that_leads_nowhere_and_no_other_twice() {
        let endpoint = json!({ "pool": "a", "region": "local", "address": "127.0.0.1:80", "dns": "found.example",
            "weight": 100, "state": "up", "why": "usable" });
        let names = json!([{ "region": "local", "dns": "found.example:80", "weight": 100 },
            { "region": "local", "dns": "lost.example:80", "weight": 100 }]);
        let view = json!({ "pools": [{ "name": "a", "endpoints": [endpoint], "names": names }] });

        let rows = pools_table(&view, true);

        assert_eq!(rows.len(), 3, "{rows:?}");
        assert_eq!(rows[2][3..6], ["lost.example:80", "100", "unresolved"]);
    }
}
