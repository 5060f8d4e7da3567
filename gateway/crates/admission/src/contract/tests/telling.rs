use super::*;

/// The violations of a body under a schema, as pointer, keyword, expected.
fn rows(schema: Value, body: &Value) -> Vec<(String, String, String)> {
    let contract = compiled(with_body(schema));
    let rejection = Request::post("application/json")
        .judge(&contract, body.to_string().as_bytes())
        .unwrap_err();
    let violations = rejection.detail.unwrap().violations;
    violations
        .into_iter()
        .map(|one| (one.pointer, one.keyword, one.expected))
        .collect()
}

fn row(pointer: &str, keyword: &str, expected: &str) -> (String, String, String) {
    (pointer.to_owned(), keyword.to_owned(), expected.to_owned())
}

#[test]
fn the_contract_speaks_and_the_submitted_value_does_not() {
    let schema = json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string", "maxLength": 3},
            "kind": {"enum": ["a", "b"]},
            "at": {"pattern": "^x$"},
            "gone": false,
        },
    });
    let sent =
        json!({"name": "hunter2", "kind": "hunter2", "at": "hunter2", "gone": 1, "hunter3": "hunter2"});

    let rows = rows(schema, &sent);

    assert_eq!(
        rows,
        [
            row("", "additionalProperties", "no additional properties"),
            row("", "required", "property \"id\""),
            row("/name", "maxLength", "at most 3 characters"),
            row("/kind", "enum", "one of \"a\", \"b\""),
            row("/at", "pattern", "pattern ^x$"),
            row("/gone", "falseSchema", "no value here"),
        ]
    );
}

#[test]
fn every_word_that_refuses_is_told_by_its_name() {
    let cases = [
        (json!({"type": ["string", "null"]}), json!(1), "type"),
        (json!({"const": 1}), json!(2), "const"),
        (json!({"exclusiveMinimum": 1}), json!(1), "exclusiveMinimum"),
        (json!({"exclusiveMaximum": 1}), json!(1), "exclusiveMaximum"),
        (json!({"multipleOf": 2}), json!(3), "multipleOf"),
        (json!({"maxItems": 1}), json!([1, 2]), "maxItems"),
        (json!({"uniqueItems": true}), json!([1, 1]), "uniqueItems"),
        (json!({"contains": {"const": 1}}), json!([2]), "contains"),
        (json!({"minProperties": 1}), json!({}), "minProperties"),
        (json!({"maxProperties": 0}), json!({"a": 1}), "maxProperties"),
        (json!({"not": {"type": "string"}}), json!("a"), "not"),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!(1),
            "anyOf",
        ),
        (
            json!({"oneOf": [{"type": "integer"}, {"minimum": 0}]}),
            json!(1),
            "oneOf",
        ),
        (
            json!({"if": {"type": "integer"}, "then": {"minimum": 3}}),
            json!(1),
            "if",
        ),
        (
            json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
            json!({"a": 1}),
            "dependentSchemas",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "required",
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            "propertyNames",
        ),
        (
            json!({"patternProperties": {"^a": {"type": "string"}}}),
            json!({"a": 1}),
            "patternProperties",
        ),
        (
            json!({"properties": {"a": {}}, "unevaluatedProperties": false}),
            json!({"b": 1}),
            "unevaluatedProperties",
        ),
    ];
    for (schema, value, keyword) in cases {
        let rows = rows(schema.clone(), &value);
        assert_eq!(rows.len(), 1, "{schema}: {rows:?}");
        assert_eq!(rows[0].1, keyword, "{schema}");
        assert_eq!(rows[0].0, "");
    }
}

#[test]
fn parts_are_pointed_at_through_every_kind_of_schema() {
    let text = json!({"type": "string"});
    for (schema, value, pointer) in [
        (json!({"properties": {"a": text}}), json!({"a": 1}), "/a"),
        (json!({"additionalProperties": text}), json!({"a": 1}), "/a"),
        (json!({"items": text}), json!(["", 1]), "/1"),
        (json!({"prefixItems": [text]}), json!([1, 2]), "/0"),
        (json!({"prefixItems": [{}], "items": text}), json!([1, 2]), "/1"),
        (
            json!({"allOf": [{"properties": {"a": text}}]}),
            json!({"a": 1}),
            "/a",
        ),
        (
            json!({"properties": {"a": {"properties": {"": text}}}}),
            json!({"a": {"": 1}}),
            "/a/",
        ),
    ] {
        assert_eq!(
            rows(schema.clone(), &value),
            [row(pointer, "type", "type string")],
            "{schema}"
        );
    }
}

#[test]
fn at_most_32_violations_are_told() {
    let rows = rows(json!({"items": {"type": "string"}}), &json!(vec![1; 1_000]));

    assert_eq!(rows.len(), 32);
    assert_eq!(rows[31].0, "/31");
}

#[test]
fn a_refused_value_has_a_violation_even_when_no_part_of_it_is_to_blame() {
    let rows = rows(
        json!({"oneOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"maxLength": 9}}}]}),
        &json!({"a": "b"}),
    );

    assert_eq!(
        rows,
        [row(
            "",
            "oneOf",
            "a value that fits exactly one of the alternatives"
        )]
    );
}
