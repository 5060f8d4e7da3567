//! `deny`: the deny list of a running gateway, by its admin port.

use std::time::SystemTime;

use http::Method;
use portcullis_telemetry::timestamp::rfc3339;
use serde_json::{Map, Value, json};

use super::admin_client::{self, AdminFault, send};
use super::{Exit, fail};
use crate::cli::{AskedGateway, DenyAddArgs, DenyCommand, DenyNameArgs, Format};
use crate::output::{Output, chain};

/// Kinds of entries, by their keys.
const KINDS: [&str; 5] = ["jti", "sub", "sid", "serial", "spiffe"];

/// Does what was asked of a running gateway.
pub(super) fn deny(command: &DenyCommand, output: &mut Output) -> Exit {
    match command {
        DenyCommand::List { value, limit, asked } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            if let Some(value) = value {
                query.append_pair("value", value);
            }
            let answer = admin_client::get(&asked.admin, &format!("/deny?{}", query.finish()));
            print(answer, asked, output, print_list)
        }
        DenyCommand::Add(args) => {
            let entry = entry(args, SystemTime::now());
            let answer = send(Method::POST, &args.asked.admin, "/deny", Some(&entry));
            print(answer, &args.asked, output, |entry, output| {
                let (name, id) = (name(entry), text(entry, "id"));
                output.line(format!(
                    "denied from now on: {name} (id {id}, kept {})",
                    text(entry, "kept")
                ));
            })
        }
        DenyCommand::Remove { id, asked } => {
            // An id is hex; anything else is escaped so that it stays one segment.
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            let answer = send(Method::DELETE, &asked.admin, &format!("/deny/{id}"), None);
            print(answer, asked, output, |entry, output| {
                output.line(format!("no longer denied by the admin port: {}", name(entry)));
            })
        }
    }
}

/// The entry as it would stand in the file.
fn entry(args: &DenyAddArgs, now: SystemTime) -> Value {
    let DenyNameArgs {
        jti,
        sub,
        sid,
        serial,
        spiffe,
    } = &args.name;
    let until = args
        .until
        .or_else(|| args.lasting.and_then(|lasting| now.checked_add(lasting)))
        .map(|until| rfc3339(until).to_string());
    let keys = [
        ("jti", jti),
        ("sub", sub),
        ("sid", sid),
        ("serial", serial),
        ("spiffe", spiffe),
        ("issuer", &args.issuer),
        ("trust", &args.trust),
        ("until", &until),
        ("reason", &args.reason),
    ];
    let written = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))));
    Value::Object(written.collect::<Map<_, _>>())
}

fn print(
    answer: Result<Value, AdminFault>,
    asked: &AskedGateway,
    output: &mut Output,
    say: impl FnOnce(&Value, &mut Output),
) -> Exit {
    match answer {
        Ok(view) => {
            match asked.format {
                Format::Json => output.json(&view),
                Format::Text => say(&view, output),
            }
            Exit::Clean
        }
        Err(fault) => {
            fail("admin", &chain(&fault), asked.format, output);
            match fault.is_refusal() {
                true => Exit::Problems,
                false => Exit::Usage,
            }
        }
    }
}

fn print_list(view: &Value, output: &mut Output) {
    let mut rows = vec![
        ["ID", "KIND", "VALUE", "WITHIN", "UNTIL", "WHY", "WRITTEN AT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in view
        .get("entries")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let kind = kind(entry);
        let within = [text(entry, "issuer"), text(entry, "trust")].concat();
        let written = match text(entry, "written") {
            written if written.is_empty() => "admin port".to_owned(),
            written => written,
        };
        rows.push(vec![
            text(entry, "id"),
            kind.to_owned(),
            text(entry, kind),
            or_dash(within),
            or_dash(text(entry, "until")),
            or_dash(text(entry, "reason")),
            written,
        ]);
    }
    output.table(&rows);
    if let Some(left_out @ 1..) = view.get("left_out").and_then(Value::as_u64) {
        output.line(format!("and {left_out} more (see --limit)"));
    }
    if view.pointer("/file/is_current") == Some(&Value::Bool(false)) {
        let path = view.pointer("/file/path").and_then(Value::as_str).unwrap_or("");
        output.error(format!(
            "{path} cannot be used as it is now; its last good content holds"
        ));
    }
}

/// `sub alice`.
fn name(entry: &Value) -> String {
    let kind = kind(entry);
    format!("{kind} {}", text(entry, kind))
}

fn kind(entry: &Value) -> &'static str {
    let written = |kind: &&str| entry.get(*kind).is_some();
    KINDS.into_iter().find(written).unwrap_or_default()
}

fn text(entry: &Value, key: &str) -> String {
    entry
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(arguments: &[&str]) -> Result<DenyAddArgs, clap::Error> {
        let all = [&["portcullis", "deny", "add"], arguments].concat();
        match Cli::try_parse_from(all)?.command {
            Command::Deny(DenyCommand::Add(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_is_what_the_flags_say() {
        let args = parse(&[
            "--sub", "alice", "--issuer", "corp", "--for", "2h", "--reason", "left",
        ])
        .unwrap();

        let entry = entry(&args, SystemTime::UNIX_EPOCH + Duration::from_secs(3_600));

        let expected = json!({ "sub": "alice", "issuer": "corp", "until": "1970-01-01T03:00:00.000Z", "reason": "left" });
        assert_eq!(entry, expected);
    }

    #[test]
    fn an_entry_names_one_thing_and_what_goes_with_it() {
        for wrong in [
            &[][..],
            &["--sub", "a", "--jti", "b"],
            &["--sub", "a", "--trust", "partners"],
            &["--serial", "0a", "--issuer", "corp"],
            &["--spiffe", "spiffe://a/b", "--issuer", "corp"],
            &["--sub", "a", "--for", "2h", "--until", "2026-12-31T00:00:00Z"],
            &["--sub", "a", "--until", "tomorrow"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(&["--serial", "0a", "--trust", "partners"]).is_ok());
    }
}
