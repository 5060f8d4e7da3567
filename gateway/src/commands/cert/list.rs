//! `cert list`: everything that ends, sorted by what ends first.

use std::time::{Duration, SystemTime};

use portcullis_telemetry::timestamp::parse_rfc3339;
use serde_json::{Value, json};

use crate::admin::holdings;
use crate::cli::{CertListArgs, Format};
use crate::commands::checks::printable;
use crate::commands::{Exit, admin_client, fail, lists, moments};
use crate::output::{Output, chain};

/// How something is doing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum State {
    /// It comes from elsewhere, and a command that only reads a configuration does not have it.
    NotLoaded,
    /// It ends later than anybody cares now, or never.
    Fine,
    /// It ends within the time that is worth a warning.
    Soon,
    /// A running gateway should have it and does not.
    Missing,
    /// It has ended.
    Ended,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotLoaded => "not loaded",
            Self::Fine => "fine",
            Self::Soon => "soon",
            Self::Missing => "missing",
            Self::Ended => "ended",
        }
    }
}

/// `cert list`: exit 1 when something has ended, ends soon, or is missing where a gateway runs.
pub(super) fn list(args: &CertListArgs, output: &mut Output) -> Exit {
    let now = SystemTime::now();
    let view = match &args.admin {
        Some(admin) => match admin_client::get(admin, "/identity") {
            Ok(view) => view,
            Err(fault) => {
                fail("admin", &chain(&fault), args.format, output);
                return Exit::Usage;
            }
        },
        None => match lists::rehearse(&args.config, args.format, output) {
            Ok(rehearsal) => {
                // What is missing from the list must not look as if it never ended.
                for left_out in rehearsal.warnings.iter().filter(|one| one.code == "offline") {
                    output.error(format!("not listed: {left_out}"));
                }
                holdings::identity(&rehearsal.snapshot, &rehearsal.boards.identity)
            }
            Err(_) => return Exit::Usage,
        },
    };
    let holdings = view
        .get("holdings")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let states: Vec<State> = holdings
        .iter()
        .map(|one| match is_held(one) {
            true => state(one, now, args.warn_within),
            false if args.admin.is_some() => State::Missing,
            false => State::NotLoaded,
        })
        .collect();
    let worst = states.iter().copied().max().unwrap_or(State::Fine);
    match args.format {
        Format::Json => output.json(&json_view(view, &states)),
        Format::Text => {
            output.table(&table(&holdings, &states, now));
            if worst > State::Fine {
                output.error(summary(&states, args.warn_within));
            }
        }
    }
    match worst {
        State::NotLoaded | State::Fine => Exit::Clean,
        State::Soon | State::Missing | State::Ended => Exit::Problems,
    }
}

fn moment(holding: &Value, name: &str) -> Option<SystemTime> {
    parse_rfc3339(holding.get(name)?.as_str()?)
}

fn is_held(holding: &Value) -> bool {
    holding.get("held").and_then(Value::as_bool).unwrap_or(true)
}

fn ends(holding: &Value) -> Option<SystemTime> {
    moment(holding, "ends")
}

fn state(holding: &Value, now: SystemTime, warn_within: Duration) -> State {
    let Some(ends) = ends(holding) else {
        return State::Fine;
    };
    let Ok(left) = ends.duration_since(now) else {
        return State::Ended;
    };
    let warn_within = match holding.get("renewed").and_then(Value::as_bool) {
        // What renews itself is always near its end; with a quarter of its time left, renewing has failed.
        Some(true) => {
            let lifetime = moment(holding, "begins").and_then(|begins| ends.duration_since(begins).ok());
            warn_within.min(lifetime.unwrap_or_default() / 4)
        }
        Some(false) | None => warn_within,
    };
    match left {
        Duration::ZERO => State::Ended,
        left if left <= warn_within => State::Soon,
        _ => State::Fine,
    }
}

fn json_view(mut view: Value, states: &[State]) -> Value {
    let holdings = view.get_mut("holdings").and_then(Value::as_array_mut);
    for (holding, state) in holdings.into_iter().flatten().zip(states) {
        if let Some(holding) = holding.as_object_mut() {
            holding.insert("state".to_owned(), json!(state.as_str()));
        }
    }
    view
}

fn summary(states: &[State], warn_within: Duration) -> String {
    let count = |wanted: State| states.iter().filter(|state| **state == wanted).count();
    let missing = match count(State::Missing) {
        0 => String::new(),
        missing => format!("{missing} missing, "),
    };
    format!(
        "{} ended, {missing}{} within {}",
        count(State::Ended),
        count(State::Soon),
        moments::length(warn_within)
    )
}

fn table(holdings: &[Value], states: &[State], now: SystemTime) -> Vec<Vec<String>> {
    let head = ["STATE", "ENDS", "", "KIND", "USED BY", "WHAT", "WRITTEN AT"];
    let mut rows = vec![head.iter().map(ToString::to_string).collect()];
    for (holding, state) in holdings.iter().zip(states) {
        let text = |name: &str| {
            let value = holding.get(name).and_then(Value::as_str);
            value.map_or_else(|| "-".to_owned(), printable)
        };
        let (on, left) = match ends(holding) {
            Some(ends) => (
                text("ends").get(..10).unwrap_or("-").to_owned(),
                moments::from_now(ends, now),
            ),
            None => ("-".to_owned(), "-".to_owned()),
        };
        rows.push(vec![
            state.as_str().to_owned(),
            on,
            left,
            text("kind"),
            text("used_by"),
            what(holding),
            text("written"),
        ]);
    }
    rows
}

/// By what somebody knows it: its first name, else whom it names.
fn what(holding: &Value) -> String {
    let names = holding.get("names").and_then(Value::as_array);
    let name = names.and_then(|names| names.first()).and_then(Value::as_str);
    let subject = holding.get("subject").and_then(Value::as_str);
    let detail = holding.get("detail").and_then(Value::as_str);
    name.or(subject)
        .or(detail)
        .map_or_else(|| "-".to_owned(), printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_within_the_given_time_is_worth_a_warning() {
        let now = parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        let month = Duration::from_secs(30 * 86_400);
        for (ends, expected) in [
            (json!("2026-11-20T23:59:59.000Z"), State::Ended),
            (json!("2026-11-21T00:00:00.000Z"), State::Ended),
            (json!("2026-12-20T00:00:00.000Z"), State::Soon),
            (json!("2026-12-22T00:00:00.000Z"), State::Fine),
            (Value::Null, State::Fine),
        ] {
            assert_eq!(state(&json!({ "ends": ends }), now, month), expected, "{ends}");
        }
    }

    #[test]
    fn what_renews_itself_is_worth_a_warning_when_renewing_has_failed() {
        let now = parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
        let month = Duration::from_secs(30 * 86_400);
        for (begins, ends, expected) in [
            ("2026-11-21T09:30:00Z", "2026-11-21T10:30:00Z", State::Fine),
            ("2026-11-21T09:10:00Z", "2026-11-21T10:10:00Z", State::Soon),
            ("2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z", State::Ended),
        ] {
            let holding = json!({ "renewed": true, "begins": begins, "ends": ends });
            assert_eq!(state(&holding, now, month), expected, "{ends}");
        }
    }

    #[test]
    fn a_row_says_when_and_what() {
        let now = parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        let holding = json!({ "kind": "certificate", "used_by": "listener public", "subject": "CN=a",
            "names": ["DNS:a.example"], "ends": "2026-12-03T00:00:00.000Z", "written": "a.yaml:3:4" });

        let rows = table(&[holding], &[State::Soon], now);

        assert_eq!(
            rows[1],
            [
                "soon",
                "2026-12-03",
                "in 12 d",
                "certificate",
                "listener public",
                "DNS:a.example",
                "a.yaml:3:4"
            ]
        );
    }
}
