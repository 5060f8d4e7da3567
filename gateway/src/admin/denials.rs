//! `/deny`: who is refused now, and by whose word; entries for what cannot wait for a file.

use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use portcullis_config::read_deny_entry;
use portcullis_identity::deny::{
    Added, DenyEntry, DenyIndex, DenyKind, DenyName, DenySource, MAX_ADMIN_ENTRIES, Removed, Side,
};
use portcullis_model::{Origin, Problems};
use portcullis_telemetry::timestamp::rfc3339;
use serde_json::{Map, Value, json};

use super::server::{self, Answer, json_answer, method_not_allowed, problem};
use super::views::place;
use crate::app::denials::{Denials, Keeping};

/// Entries that are shown when nobody asks for more.
const SHOWN: usize = 1_000;
/// Most entries in one answer.
const MOST_SHOWN: usize = 100_000;
/// Before the line of an entry of the file, in the place of an id.
const OF_FILE: &str = "line-";

/// What of the list is wanted.
#[derive(Debug, Eq, PartialEq)]
struct Wanted {
    /// Only entries with this value.
    value: Option<Arc<str>>,
    /// The same in the canonical spelling of a serial number, where it is one.
    serial: Option<Arc<str>>,
    limit: usize,
}

/// Answers what is asked at `/deny` and below; `None` for other paths.
pub async fn answer(denials: &Arc<Denials>, head: &Parts, body: Incoming) -> Option<Answer> {
    let rest = head.uri.path().strip_prefix("/deny")?;
    let answer = match (rest, &head.method) {
        ("", &Method::GET | &Method::HEAD) => match Wanted::read(head.uri.query().unwrap_or_default()) {
            Ok(wanted) => aside(denials, move |denials| list(denials, &wanted)).await,
            Err(text) => problem(StatusCode::BAD_REQUEST, &text),
        },
        ("", &Method::POST) => match server::body(body).await {
            Ok(text) => aside(denials, move |denials| add(denials, &text)).await,
            Err(refused) => refused,
        },
        ("", _) => method_not_allowed("GET, HEAD, POST"),
        (id, method) => {
            let id = id.strip_prefix('/')?.to_owned();
            if *method == Method::DELETE {
                aside(denials, move |denials| remove(denials, &id)).await
            } else {
                method_not_allowed("DELETE")
            }
        }
    };
    Some(answer)
}

/// On a thread that may block: a long list takes a while, and so does writing one down.
async fn aside(denials: &Arc<Denials>, work: impl FnOnce(&Denials) -> Answer + Send + 'static) -> Answer {
    let denials = Arc::clone(denials);
    let answer = tokio::task::spawn_blocking(move || work(&denials)).await;
    answer.unwrap_or_else(|fault| {
        tracing::error!(%fault, "the deny list cannot be answered for");
        problem(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed")
    })
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self {
            value: None,
            serial: None,
            limit: SHOWN,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "value" => {
                    let serial = DenyName::parse(DenyKind::Serial, &value, None);
                    wanted.serial = serial.ok().map(|name| Arc::clone(name.value()));
                    wanted.value = Some(Arc::from(&*value));
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit <= MOST_SHOWN);
                    wanted.limit = limit.ok_or_else(|| format!("limit is a number up to {MOST_SHOWN}"))?;
                }
                _ => return Err("ask with ?value=… or ?limit=…".to_owned()),
            }
        }
        Ok(wanted)
    }

    fn is_wanted(&self, entry: &DenyEntry) -> bool {
        let value = match entry.name.kind() {
            DenyKind::Serial => self.serial.as_ref().or(self.value.as_ref()),
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid | DenyKind::Spiffe => self.value.as_ref(),
        };
        value.is_none_or(|value| entry.name.value() == value)
    }
}

fn list(denials: &Denials, wanted: &Wanted) -> Answer {
    let (admin, file) = (
        denials.list().entries(Side::Admin),
        denials.list().entries(Side::File),
    );
    let now = SystemTime::now();
    let all = admin.entries().iter().chain(file.entries());
    let mut matching = all.filter(|entry| entry.holds(now) && wanted.is_wanted(entry));
    let shown: Vec<Value> = matching.by_ref().take(wanted.limit).map(entry_view).collect();
    let status = denials.status();
    let view = json!({
        "file": {
            "path": status.plan.as_ref().map(|plan| plan.path.display().to_string()),
            "named": status.plan.as_ref().map(|plan| place(&plan.origin)),
            "loaded_at": status.loaded_at.map(|at| rfc3339(at).to_string()),
            "is_current": !status.problems.has_errors(),
            "problems": problems_of(&status.problems),
            "entries": counts(&file, now),
        },
        "admin": {
            "kept": denials.keeping().as_str(),
            "entries": counts(&admin, now),
        },
        "entries": shown,
        "left_out": matching.count(),
    });
    json_answer(StatusCode::OK, &view)
}

fn add(denials: &Denials, text: &str) -> Answer {
    let entry = match read_deny_entry(text) {
        Ok(entry) => entry,
        Err(problems) => return refused_entry(&problems),
    };
    // A misspelt name would deny nobody, and nobody would notice; here somebody is there to correct it.
    let mut problems = Problems::new();
    for warning in denials.unknown_names(&entry) {
        let hint = warning.hint.unwrap_or_default();
        let problem = portcullis_model::Problem::error(warning.code, &Origin::default(), warning.message);
        problems.push(problem.with_hint(hint));
    }
    if problems.has_errors() {
        return refused_entry(&problems);
    }
    if !entry.holds(SystemTime::now()) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "the entry has ended already");
    }
    let shown = entry.clone();
    match denials.add(entry) {
        (Added::New(_), keeping) => json_answer(StatusCode::CREATED, &kept_view(&shown, keeping)),
        (Added::Replaced(_), keeping) => json_answer(StatusCode::OK, &kept_view(&shown, keeping)),
        (Added::Full, _) => problem(
            StatusCode::CONFLICT,
            &format!("there are {MAX_ADMIN_ENTRIES} entries already; what lasts belongs into the file"),
        ),
    }
}

fn remove(denials: &Denials, id: &str) -> Answer {
    if id.starts_with(OF_FILE) {
        return problem(
            StatusCode::CONFLICT,
            "that entry stands in the deny list's file; take it out there",
        );
    }
    match denials.remove(id) {
        (Removed::Gone(entry), keeping) => json_answer(StatusCode::OK, &kept_view(&entry, keeping)),
        (Removed::Unknown, _) => problem(StatusCode::NOT_FOUND, "the admin port has no entry with that id"),
    }
}

fn refused_entry(problems: &Problems) -> Answer {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let view = json!({
        "title": "that is not an entry of the deny list",
        "status": status.as_u16(),
        "problems": problems_of(problems),
    });
    server::bytes_answer(status, "application/problem+json", format!("{view:#}\n"))
}

fn problems_of(problems: &Problems) -> Value {
    json!(problems)
}

fn counts(index: &DenyIndex, now: SystemTime) -> Value {
    let held = index.count(now);
    let counts = DenyKind::ALL.map(|kind| (kind.as_str().to_owned(), json!(held.of(kind))));
    Value::Object(counts.into_iter().collect())
}

fn kept_view(entry: &DenyEntry, keeping: Keeping) -> Value {
    let mut view = entry_view(entry);
    if let Some(view) = view.as_object_mut() {
        view.insert("kept".to_owned(), keeping.as_str().into());
    }
    view
}

/// One entry with its id and where it is from.
fn entry_view(entry: &DenyEntry) -> Value {
    let mut view = Map::new();
    let (id, source, written) = match &entry.source {
        DenySource::Admin { id } => (id.to_string(), Side::Admin, None),
        DenySource::File { line, .. } => (format!("{OF_FILE}{line}"), Side::File, place(&entry.origin())),
    };
    view.insert("id".to_owned(), id.into());
    view.insert("source".to_owned(), source.as_str().into());
    view.extend(entry_keys(entry));
    if let Some(written) = written {
        view.insert("written".to_owned(), written.into());
    }
    Value::Object(view)
}

/// An entry by the keys that it has in the file.
#[must_use]
pub fn entry_keys(entry: &DenyEntry) -> Map<String, Value> {
    let kind = entry.name.kind();
    let mut keys = Map::new();
    keys.insert(kind.as_str().to_owned(), json!(entry.name.value()));
    if let Some(within) = entry.name.within() {
        let name = match kind {
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid => "issuer",
            DenyKind::Serial | DenyKind::Spiffe => "trust",
        };
        keys.insert(name.to_owned(), json!(within));
    }
    if let Some(until) = entry.until {
        keys.insert("until".to_owned(), rfc3339(until).to_string().into());
    }
    if let Some(reason) = &entry.reason {
        keys.insert("reason".to_owned(), json!(reason));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_shown_as_it_would_be_written() {
        let text = r#"{"sub":"alice","issuer":"corp","until":"2026-12-31T00:00:00.000Z","reason":"left"}"#;
        let entry = read_deny_entry(text).unwrap();

        assert_eq!(Value::Object(entry_keys(&entry)).to_string(), text);
    }

    #[test]
    fn a_query_is_understood_or_refused() {
        let wanted = Wanted::read("value=spiffe%3A%2F%2Fcorp.example%2Fa&limit=5").unwrap();

        assert_eq!(wanted.value.as_deref(), Some("spiffe://corp.example/a"));
        assert_eq!(wanted.limit, 5);
        assert_eq!(Wanted::read("").unwrap().limit, SHOWN);
        for query in ["limit=many", "limit=100001", "valve=a"] {
            assert!(Wanted::read(query).is_err(), "{query}");
        }
    }
}
