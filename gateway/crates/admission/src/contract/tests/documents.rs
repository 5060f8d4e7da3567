use super::*;

fn refused(document: Value) -> Vec<String> {
    let problems = problems(document);
    assert!(problems.has_errors(), "accepted with {:?}", lines(&problems));
    lines(&problems)
}

fn accepted(document: Value) -> Vec<String> {
    let problems = problems(document);
    assert!(!problems.has_errors(), "{:?}", lines(&problems));
    lines(&problems)
}

fn in_30(mut document: Value) -> Value {
    document["openapi"] = json!("3.0.3");
    document
}

/// The verdict on a body under a 3.0 schema.
fn fits_30(schema: Value, body: &str) -> bool {
    let contract = compiled(in_30(with_body(schema)));
    Request::post("application/json")
        .judge(&contract, body.as_bytes())
        .is_ok()
}

const SCHEMA: &str = "api.yaml#/paths/~1things~1{id}/post/requestBody/content/application~1json/schema";

#[test]
fn versions_3_0_and_3_1_are_read_and_others_refused() {
    for (version, is_known) in [
        ("3.0.0", true),
        ("3.0.4", true),
        ("3.1.1", true),
        ("3.2.0", false),
        ("2.0", false),
    ] {
        let mut document = document("get", json!({}));
        document["openapi"] = json!(version);
        assert_eq!(!problems(document).has_errors(), is_known, "{version}");
    }
    assert!(refused(json!({}))[0].starts_with("contract-version api.yaml#/openapi"));
}

#[test]
fn a_problem_names_its_place_in_the_document() {
    let lines = refused(with_body(json!({"properties": {"a/b": {"format": "florin"}}})));

    assert_eq!(
        lines,
        [format!(
            "contract-format {SCHEMA}/properties/a~1b/format: format \"florin\" is not checked by anybody"
        )]
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let lines = refused(with_body(
        json!({"format": "x", "pattern": "(", "unknownWord": 1, "$ref": "other.yaml"}),
    ));

    let codes: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "contract-format",
            "contract-pattern",
            "contract-keyword",
            "contract-reference"
        ]
    );
}

#[test]
fn references_within_the_document_are_followed_and_others_refused() {
    let mut document = with_body(json!({"$ref": "#/components/schemas/A~1b%20c"}));
    document["components"] =
        json!({"schemas": {"A/b c": {"$ref": "#/components/schemas/D"}, "D": {"type": "integer"}}});
    let contract = compiled(document);

    assert!(Request::post("application/json").judge(&contract, b"1").is_ok());
    assert!(
        Request::post("application/json")
            .judge(&contract, b"\"1\"")
            .is_err()
    );
    for reference in [
        "other.yaml#/A",
        "https://example.com/a.json",
        "#anchor",
        "#/components/schemas/Missing",
    ] {
        assert!(
            refused(with_body(json!({"$ref": reference})))[0].starts_with("contract-reference"),
            "{reference}"
        );
    }
}

#[test]
fn parameters_bodies_and_paths_may_be_references() {
    let contract = compiled(json!({
        "openapi": "3.1.0",
        "info": {},
        "paths": {
            "/a": {"$ref": "#/components/pathItems/A"},
        },
        "components": {
            "pathItems": {"A": {"post": {
                "parameters": [{"$ref": "#/components/parameters/N"}],
                "requestBody": {"$ref": "#/components/requestBodies/B"},
            }}},
            "parameters": {"N": {"name": "n", "in": "query", "schema": {"type": "integer"}}},
            "requestBodies": {"B": {"content": {"application/json": {"schema": {"type": "array"}}}}},
        },
    }));

    let good = Request::new(Method::POST, "/a?n=1").header("content-type", "application/json");
    assert!(good.judge(&contract, b"[]").is_ok());
    assert_eq!(reason(good.judge(&contract, b"{}")), Reason::BodyInvalid);
    let bad = Request::new(Method::POST, "/a?n=x").header("content-type", "application/json");
    assert_eq!(reason(bad.judge_head(&contract, true)), Reason::ParametersInvalid);
}

#[test]
fn a_recursive_schema_is_fine_and_one_that_goes_in_a_circle_is_not() {
    let with = |schemas: Value| {
        let mut document = with_body(json!({"$ref": "#/components/schemas/A"}));
        document["components"] = json!({ "schemas": schemas });
        document
    };

    accepted(with(
        json!({"A": {"properties": {"a": {"$ref": "#/components/schemas/A"}}}}),
    ));
    accepted(with(
        json!({"A": {"items": {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "string"}]}}}),
    ));
    for schemas in [
        json!({"A": {"$ref": "#/components/schemas/A"}}),
        json!({"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}}),
        json!({"A": {"anyOf": [{"$ref": "#/components/schemas/B"}]}, "B": {"not": {"$ref": "#/components/schemas/A"}}}),
        json!({"A": {"properties": {"x": {"$ref": "#/components/schemas/B"}}},
               "B": {"oneOf": [{"$ref": "#/components/schemas/B"}]}}),
    ] {
        let lines = refused(with(schemas.clone()));
        assert!(
            lines[0].contains("circle") || lines[0].contains("without going any deeper"),
            "{schemas}: {lines:?}"
        );
    }
}

#[test]
fn words_that_are_not_enforced_are_problems() {
    for schema in [
        json!({"$id": "https://example.com/a"}),
        json!({"$dynamicRef": "#a"}),
        json!({"$anchor": "a"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
        json!({"additionalItems": false}),
        json!({"dependencies": {}}),
        json!({"nullable": true}),
        json!({"maxlength": 3}),
        json!({"pattern": "(?=a)"}),
        json!({"pattern": "(a)\\1"}),
        json!({"patternProperties": {"(?<!a)b": {}}}),
        json!({"format": "phone"}),
    ] {
        refused(with_body(schema));
    }
    accepted(with_body(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "t", "description": "d", "default": 1, "examples": [], "deprecated": true, "readOnly": true,
        "x-own": 1, "xml": {}, "externalDocs": {}, "$comment": "c", "$defs": {"unused": {"format": "phone"}},
    })));
}

#[test]
fn a_schema_that_is_not_one_is_a_problem_at_its_place() {
    let lines = refused(with_body(json!({"properties": {"a": {"maxLength": -1}}})));

    assert!(
        lines[0].starts_with(&format!("contract-schema {SCHEMA}/properties/a/maxLength")),
        "{lines:?}"
    );
    refused(with_body(json!({"type": "strnig"})));
    refused(with_body(json!({"required": "name"})));
    refused(with_body(json!({"properties": []})));
    refused(with_body(json!("string")));
}

#[test]
fn annotations_that_read_like_assertions_are_warned_about() {
    assert_eq!(accepted(with_body(json!({"contentEncoding": "base64"}))).len(), 1);
    assert_eq!(
        accepted(with_body(json!({"type": "string", "format": "binary"}))).len(),
        1
    );
    let read_only = json!({"required": ["id"], "properties": {"id": {"readOnly": true}}});
    assert_eq!(accepted(with_body(read_only)).len(), 1);
    assert!(accepted(with_body(json!({"type": "string", "format": "password"}))).is_empty());
}

#[test]
fn a_discriminator_is_accepted_only_where_its_alternatives_exclude_one_another() {
    let pinned = |name: &str| json!({"required": ["kind"], "properties": {"kind": {"const": name}}});
    let discriminator = json!({"propertyName": "kind"});

    accepted(with_body(
        json!({"oneOf": [pinned("a"), pinned("b")], "discriminator": discriminator}),
    ));
    for schema in [
        json!({"oneOf": [pinned("a"), {"type": "object"}], "discriminator": discriminator}),
        json!({"oneOf": [pinned("a"), {"properties": {"kind": {"const": "b"}}}], "discriminator": discriminator}),
        json!({"type": "object", "discriminator": discriminator}),
    ] {
        assert!(refused(with_body(schema))[0].starts_with("contract-discriminator"));
    }
}

#[test]
fn constructs_of_parameters_that_are_not_enforced_are_problems() {
    let text = json!({"type": "string"});
    let list = json!({"type": "array", "items": {"type": "string"}});
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    for parameter in [
        json!({"name": "p", "in": "query", "style": "spaceDelimited", "schema": list}),
        json!({"name": "p", "in": "query", "style": "pipeDelimited", "schema": list}),
        json!({"name": "p", "in": "query", "allowReserved": true, "schema": text}),
        json!({"name": "p", "in": "query", "content": {"application/json": {}}}),
        json!({"name": "p", "in": "query"}),
        json!({"name": "p", "in": "body", "schema": text}),
        json!({"in": "query", "schema": text}),
        json!({"name": "p", "in": "query", "collectionFormat": "csv", "schema": text}),
        json!({"name": "p", "in": "query", "style": "deepObject", "schema": list}),
        json!({"name": "p", "in": "query", "schema": {"type": "array", "items": list}}),
        json!({"name": "p", "in": "query", "schema": {"type": "array", "prefixItems": [text]}}),
        json!({"name": "p", "in": "query", "schema": {"type": ["string", "array"]}}),
        json!({"name": "p", "in": "query", "schema": {"type": "object", "additionalProperties": false}}),
        json!({"name": "p", "in": "query", "schema": {"type": "object", "properties": {"o": object}}}),
        json!({"name": "p", "in": "cookie", "schema": list}),
        json!({"name": "p", "in": "cookie", "schema": object}),
        json!({"name": "p p", "in": "header", "schema": text}),
        json!({"name": "x", "in": "path", "required": true, "schema": text}),
    ] {
        let lines = refused(with_parameter(parameter.clone()));
        assert_eq!(lines.len(), 1, "{parameter}: {lines:?}");
        assert!(
            lines[0].contains("api.yaml#/paths/~1things~1{id}/get/parameters/0"),
            "{lines:?}"
        );
    }
    accepted(with_parameter(
        json!({"name": "p", "in": "query", "style": "form", "explode": true, "schema": object,
        "description": "d", "deprecated": true, "example": "e", "allowReserved": false}),
    ));
}

#[test]
fn header_parameters_that_openapi_ignores_are_warned_about() {
    for name in ["Accept", "Content-Type", "Authorization"] {
        let lines = accepted(with_parameter(
            json!({"name": name, "in": "header", "schema": {"type": "string"}}),
        ));
        assert_eq!(lines.len(), 1, "{name}");
    }
}

#[test]
fn path_parameters_and_templates_must_agree() {
    let with = |path: &str, parameters: Value| json!({"openapi": "3.1.0", "info": {}, "paths": {path: {"get": {"parameters": parameters}}}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    let mut optional = id.clone();
    optional["required"] = json!(false);

    accepted(with("/a/{id}", json!([id])));
    refused(with("/a/{id}", json!([])));
    refused(with("/a", json!([id])));
    refused(with("/a/{id}", json!([optional])));
    refused(with("/a/{id}", json!([id, id])));
    refused(with("/a/{id}{x}", json!([id])));
    refused(with("a/{id}", json!([id])));
}

#[test]
fn two_paths_that_match_the_same_are_a_problem() {
    let get = |name: &str| json!({"get": {"parameters": [{"name": name, "in": "path", "required": true, "schema": {"type": "string"}}]}});
    let lines =
        refused(json!({"openapi": "3.1.0", "info": {}, "paths": {"/a/{x}": get("x"), "/a/{y}": get("y")}}));

    assert_eq!(
        lines,
        ["contract-path api.yaml#/paths/~1a~1{y}: another path matches exactly the same"]
    );
}

#[test]
fn operation_ids_are_unique_and_unknown_fields_are_refused() {
    let paths =
        |second: &str| json!({"/a": {"get": {"operationId": "x"}}, "/b": {"get": {"operationId": second}}});

    accepted(json!({"openapi": "3.1.0", "info": {}, "paths": paths("y")}));
    refused(json!({"openapi": "3.1.0", "info": {}, "paths": paths("x")}));
    refused(json!({"openapi": "3.1.0", "info": {}, "paths": {"/a": {"get": {"parametres": []}}}}));
    refused(json!({"openapi": "3.1.0", "info": {}, "paths": {"/a": {"gett": {}}}}));
    refused(json!({"openapi": "3.1.0", "info": {}, "paths": {}}));
    accepted(
        json!({"openapi": "3.1.0", "info": {}, "x-a": 1, "webhooks": {}, "tags": [], "security": [],
        "paths": {"x-p": 1, "/a": {"x-i": 1, "get": {"x-o": 1, "callbacks": {}, "security": [], "responses": {}}}}}),
    );
}

#[test]
fn servers_with_a_variable_path_are_refused() {
    let with = |url: &str| {
        let mut document = document("get", json!({}));
        document["servers"] = json!([{ "url": url }]);
        document
    };

    for url in [
        "/",
        "/api",
        "https://{tenant}.example.com/api",
        "https://example.com",
    ] {
        accepted(with(url));
    }
    for url in ["/{version}", "api", "https://example.com/a?b=c"] {
        refused(with(url));
    }
}

#[test]
fn bodies_that_cannot_be_enforced_are_problems() {
    let with =
        |media: &str, entry: Value| document("post", json!({"requestBody": {"content": {media: entry}}}));
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});

    refused(with("multipart/form-data", json!({"schema": object})));
    refused(with("application/xml", json!({"schema": object})));
    refused(with("*/*", json!({"schema": object})));
    refused(with(
        "text/plain",
        json!({"schema": {"type": "string", "maxLength": 3}}),
    ));
    refused(with(
        "application/x-www-form-urlencoded",
        json!({"schema": {"type": "array"}}),
    ));
    refused(with(
        "application/x-www-form-urlencoded",
        json!({"schema": object, "encoding": {"a": {}}}),
    ));
    refused(with("not a type", json!({})));
    refused(document("post", json!({"requestBody": {"content": {}}})));
    accepted(with("multipart/form-data", json!({})));
    accepted(with(
        "application/octet-stream",
        json!({"schema": {"type": "string", "format": "binary"}}),
    ));
    accepted(with(
        "text/plain",
        json!({"schema": {"type": "string"}, "example": "x"}),
    ));
    accepted(with(
        "application/x-www-form-urlencoded",
        json!({"schema": object}),
    ));
    assert_eq!(
        accepted(document(
            "get",
            json!({"requestBody": {"content": {"text/plain": {}}}})
        ))
        .len(),
        1
    );
}

#[test]
fn nullable_in_3_0_allows_null_beside_its_type() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "nullable": true}, "b": {"type": "string"}}});

    assert!(fits_30(schema.clone(), r#"{"a": null, "b": "x"}"#));
    assert!(!fits_30(schema, r#"{"b": null}"#));
}

#[test]
fn exclusive_bounds_in_3_0_are_flags() {
    let schema = json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false});

    assert!(fits_30(schema.clone(), "2") && fits_30(schema.clone(), "9"));
    assert!(!fits_30(schema.clone(), "1") && !fits_30(schema, "10"));
    refused(in_30(with_body(json!({"exclusiveMinimum": 1}))));
}

#[test]
fn what_stands_beside_a_reference_counts_in_3_1_alone() {
    let with = || {
        let mut document = with_body(json!({"$ref": "#/components/schemas/A", "maxLength": 1}));
        document["components"] = json!({"schemas": {"A": {"type": "string"}}});
        document
    };
    let judge = |contract: &Contract| Request::post("application/json").judge(contract, br#""long""#);

    assert!(judge(&compiled(in_30(with()))).is_ok());
    assert!(judge(&compiled(with())).is_err());
}

#[test]
fn read_only_properties_are_required_of_responses_alone_in_3_0() {
    let schema = json!({"type": "object", "required": ["id", "name"], "properties": {
        "id": {"type": "integer", "readOnly": true}, "name": {"type": "string"}}});

    assert!(fits_30(schema.clone(), r#"{"name": "a"}"#));
    assert!(!fits_30(schema, r#"{"id": 1}"#));
}

#[test]
fn words_of_json_schema_that_3_0_does_not_have_are_refused_there() {
    for schema in [
        json!({"const": 1}),
        json!({"if": {}}),
        json!({"patternProperties": {}}),
        json!({"type": ["string"]}),
    ] {
        refused(in_30(with_body(schema.clone())));
        accepted(with_body(schema));
    }
}

#[test]
fn an_equal_document_is_taken_over_and_a_changed_one_is_not() {
    let before = compiled(document("get", json!({"operationId": "a"})));
    let same = ContractPlan {
        guard: Guard {
            mode: portcullis_model::Mode::Observe,
            share: 5,
        },
        ..plan(document("get", json!({"operationId": "a"})))
    };
    let (reused, _) = Contract::compile_reusing(&same, Some(&before)).unwrap();
    let (changed, _) =
        Contract::compile_reusing(&plan(document("get", json!({"operationId": "b"}))), Some(&before))
            .unwrap();
    let operation = |contract: &Contract| match contract.operation(&Method::GET, "/things/1") {
        Lookup::Found(found) => Arc::clone(found.operation),
        Lookup::MethodNotAllowed(_) | Lookup::Unknown => panic!("not found"),
    };

    assert!(Arc::ptr_eq(&operation(&before), &operation(&reused)));
    assert_eq!(reused.guard().share, 5);
    assert_eq!(operation(&changed).id(), "b");
}
