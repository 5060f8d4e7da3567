//! The JSON Schema: it is the committed one, and it says what the reader does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod support;

use std::fs;
use std::path::Path;

use portcullis_config::json_schema;
use serde_json::Value;
use support::Folder;

const COMMITTED: &str = "../../../schemas/portcullis.schema.json";

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    let generated = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &generated).unwrap();
    }

    assert!(
        fs::read_to_string(&path).unwrap() == generated,
        "UPDATE_GOLDEN=1 rewrites {}",
        path.display()
    );
}

#[test]
fn every_key_has_its_documentation() {
    let schema = json_schema();
    let mut count = 0;
    for (name, section) in schema["$defs"].as_object().unwrap() {
        assert_eq!(section["additionalProperties"], false, "{name}");
        assert!(!section["description"].as_str().unwrap().is_empty(), "{name}");
        for (key, value) in section["properties"].as_object().unwrap() {
            assert!(!value["description"].as_str().unwrap().is_empty(), "{name}.{key}");
            count += 1;
        }
    }
    assert!(count > 120, "only {count} keys");
}

/// What the reader accepts fits the schema, and a key or unit that the reader does not know does not.
#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let work = Folder::with_everything();
    let schema = json_schema();
    let mut refused_by_both = 0;
    for case in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if case.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&case).unwrap();
        work.write("portcullis.yaml", &text);
        let codes: Vec<&str> = match work.load("portcullis.yaml") {
            Ok(_) => Vec::new(),
            Err(refused) => refused.problems.iter().map(|problem| problem.code).collect(),
        };
        let Some(document) = as_json(&work, &text) else {
            continue;
        };
        let fits = fits(&schema, &schema, &document);
        if codes.is_empty() {
            assert!(fits.is_ok(), "{}: {:?}", case.display(), fits);
        }
        let is_wrong = |code: &&str| {
            matches!(
                *code,
                "unknown-key" | "not-supported-yet" | "missing-unit" | "wrong-type"
            )
        };
        if codes.iter().any(is_wrong) && fits.is_err() {
            refused_by_both += 1;
        }
        if codes.contains(&"unknown-key") || codes.contains(&"missing-unit") {
            assert!(
                fits.is_err(),
                "{} fits the schema but not the reader",
                case.display()
            );
        }
    }
    assert!(
        refused_by_both >= 5,
        "only {refused_by_both} cases are refused by both"
    );
}

/// The case as JSON, by the reader's own YAML: as the data of a policy, which is any object.
fn as_json(folder: &Folder, text: &str) -> Option<Value> {
    folder.write("data.yaml", text);
    folder.write(
        "probe.yaml",
        "version: 1\nlisteners: { a: { listen: '127.0.0.1:1' } }\npolicies: { p: { rego: policies, data: data.yaml } }\n",
    );
    let loaded = folder.load("probe.yaml").ok()?;
    let portcullis_admission::plan::PolicySource::Rego { data, .. } =
        &loaded.live.admission.policies[0].source
    else {
        return None;
    };
    Some((**data).clone())
}

/// The few keywords that the schema uses.
fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        fits(root, &root["$defs"][name.trim_start_matches("#/$defs/")], value)?;
    }
    if let Some(list) = schema["anyOf"].as_array()
        && !list.iter().any(|one| fits(root, one, value).is_ok())
    {
        return Err(format!("{value} fits none of {list:?}"));
    }
    if let Some(list) = schema["enum"].as_array()
        && !list.contains(value)
    {
        return Err(format!("{value} is not in {list:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of_type(name, value)) {
        return Err(format!("{value} is not a {types:?}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        return Err(format!("{text} does not match {pattern}"));
    }
    for item in value.as_array().into_iter().flatten() {
        if schema.get("items").is_some() {
            fits(root, &schema["items"], item)?;
        }
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(name).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(property), _) => fits(root, property, inner)?,
            (None, Value::Bool(false)) => return Err(format!("{key} is not known")),
            (None, Value::Null) => {}
            (None, other) => fits(root, other, inner)?,
        }
    }
    Ok(())
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema has grown a type: {other}"),
    }
}
