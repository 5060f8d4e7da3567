use super::*;

/// Whether requests for `/things/1?…` fit a query parameter.
fn query(parameter: Value) -> impl Fn(&str) -> Result<(), Rejection> {
    let contract = compiled(with_parameter(parameter));
    move |text| Request::get(&format!("/things/1?{text}")).judge_head(&contract, false)
}

#[test]
fn an_integer_in_the_query_is_checked_and_unknown_parameters_pass() {
    let limit = query(
        json!({"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}}),
    );

    assert!(limit("limit=20&other=x").is_ok());
    assert!(limit("").is_ok());
    assert_eq!(told(limit("limit=0")), ["query /limit minimum"]);
    assert_eq!(told(limit("limit=abc")), ["query /limit type"]);
    assert_eq!(told(limit("limit=")), ["query /limit type"]);
    assert_eq!(reason(limit("limit=101")), Reason::ParametersInvalid);
}

#[test]
fn a_parameter_that_stands_for_one_value_may_come_once() {
    let limit = query(json!({"name": "limit", "in": "query", "schema": {"type": "integer"}}));

    assert!(limit("limit=1").is_ok());
    assert_eq!(told(limit("limit=1&limit=1")), ["query /limit repeated"]);
    assert_eq!(told(limit("limit=1&%6Cimit=2")), ["query /limit repeated"]);
}

#[test]
fn a_required_parameter_must_be_there() {
    let needed = query(json!({"name": "q", "in": "query", "required": true, "schema": {"type": "string"}}));

    assert!(needed("q=").is_ok());
    assert_eq!(told(needed("p=1")), ["query /q required"]);
}

#[test]
fn an_empty_value_is_allowed_only_where_the_document_says_so() {
    let flag = json!({"name": "f", "in": "query", "allowEmptyValue": true, "schema": {"type": "integer"}});
    let plain = json!({"name": "f", "in": "query", "schema": {"type": "integer"}});

    assert!(query(flag)("f").is_ok());
    assert_eq!(told(query(plain)("f")), ["query /f type"]);
}

#[test]
fn an_exploded_list_is_repeated_and_a_packed_one_has_commas() {
    let items =
        json!({"type": "array", "maxItems": 2, "items": {"type": "string", "enum": ["a", "b", "a,b"]}});
    let exploded = query(json!({"name": "s", "in": "query", "schema": items}));
    let packed = query(json!({"name": "s", "in": "query", "explode": false, "schema": items}));

    assert!(exploded("s=a&s=b").is_ok());
    assert_eq!(told(exploded("s=a&s=c")), ["query /s/1 enum"]);
    assert_eq!(told(exploded("s=a&s=b&s=a")), ["query /s maxItems"]);
    assert!(packed("s=a,b").is_ok());
    assert!(packed("s=a%2Cb,a").is_ok());
    assert_eq!(told(packed("s=a,c")), ["query /s/1 enum"]);
    assert_eq!(told(packed("s=a&s=b")), ["query /s repeated"]);
}

#[test]
fn objects_are_read_in_every_style_of_the_query() {
    let schema =
        json!({"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "boolean"}}});
    let spread = query(json!({"name": "p", "in": "query", "schema": schema}));
    let packed = query(json!({"name": "p", "in": "query", "explode": false, "schema": schema}));
    let deep =
        query(json!({"name": "p", "in": "query", "style": "deepObject", "explode": true, "schema": schema}));

    assert!(spread("x=1&y=true&z=2").is_ok());
    assert_eq!(told(spread("x=a")), ["query /p/x type"]);
    assert!(packed("p=x,1,y,false").is_ok());
    assert_eq!(told(packed("p=x,1,y")), ["query /p style"]);
    assert_eq!(told(packed("p=x,1,x,2")), ["query /p/x repeated"]);
    assert!(deep("p[x]=1&p%5By%5D=true&pq=1").is_ok());
    assert_eq!(told(deep("p[x]=1&p[y]=2")), ["query /p/y type"]);
    for odd in ["p=1", "p[]=1", "p[x][y]=1", "p[x=1"] {
        assert_eq!(told(deep(odd)), ["query /p style"], "{odd}");
    }
}

#[test]
fn a_closed_deep_object_refuses_other_members() {
    let schema =
        json!({"type": "object", "additionalProperties": false, "properties": {"x": {"type": "integer"}}});
    let deep = query(json!({"name": "p", "in": "query", "style": "deepObject", "schema": schema}));

    assert!(deep("p[x]=1").is_ok());
    assert_eq!(told(deep("p[x]=1&p[admin]=1")), ["query /p additionalProperties"]);
}

#[test]
fn a_type_of_several_is_read_as_any_of_them() {
    let either = query(json!({"name": "v", "in": "query", "schema": {"anyOf": [
        {"type": "integer", "maximum": 9}, {"type": "string", "pattern": "^v[0-9]+$"}]}}));

    assert!(either("v=7").is_ok() && either("v=v77").is_ok());
    assert_eq!(told(either("v=77")), ["query /v anyOf"]);
}

#[test]
fn a_path_parameter_is_decoded_and_checked() {
    let mut document = document("get", json!({}));
    document["paths"]["/things/{id}"]["get"]["parameters"][0]["schema"] =
        json!({"type": "string", "maxLength": 4});
    let contract = compiled(document);

    assert!(
        Request::get("/things/caf%C3%A9")
            .judge_head(&contract, false)
            .is_ok()
    );
    assert_eq!(
        told(Request::get("/things/coffee").judge_head(&contract, false)),
        ["path /id maxLength"]
    );
}

#[test]
fn lists_and_objects_in_a_path_are_simple() {
    let contract = |explode: bool, schema: Value| {
        let id = json!({"name": "id", "in": "path", "required": true, "explode": explode, "schema": schema});
        let paths = json!({"/things/{id}": {"get": {"parameters": [id]}}});
        compiled(json!({"openapi": "3.1.0", "info": {}, "paths": paths}))
    };
    let list = contract(false, json!({"type": "array", "items": {"type": "integer"}}));
    let packed = contract(
        false,
        json!({"type": "object", "properties": {"x": {"type": "integer"}}}),
    );
    let exploded = contract(
        true,
        json!({"type": "object", "properties": {"x": {"type": "integer"}}}),
    );
    let judge = |contract: &Contract, path: &str| Request::get(path).judge_head(contract, false);

    assert!(judge(&list, "/things/1,2").is_ok());
    assert_eq!(told(judge(&list, "/things/1,x")), ["path /id/1 type"]);
    assert!(judge(&packed, "/things/x,1").is_ok());
    assert!(judge(&exploded, "/things/x=1,z=2").is_ok());
    assert_eq!(told(judge(&exploded, "/things/x,1")), ["path /id style"]);
}

#[test]
fn headers_are_checked_in_any_case_and_a_list_may_span_fields() {
    let parameters = json!([
        {"name": "X-Tenant", "in": "header", "required": true, "schema": {"type": "string", "pattern": "^[a-z]+$"}},
        {"name": "X-Tags", "in": "header", "schema": {"type": "array", "maxItems": 3, "items": {"type": "integer"}}},
    ]);
    let contract = compiled(document("get", json!({"parameters": parameters})));
    let request = || Request::get("/things/1").header("x-tenant", "acme");
    let judge = |request: Request| request.judge_head(&contract, false);

    assert!(judge(request()).is_ok());
    assert!(judge(request().header("x-tags", "1, 2").header("x-tags", "3")).is_ok());
    assert_eq!(
        told(judge(request().header("x-tags", "1, 2,3").header("x-tags", "4"))),
        ["header /X-Tags maxItems"]
    );
    assert_eq!(
        told(judge(request().header("x-tenant", "other"))),
        ["header /X-Tenant repeated"]
    );
    assert_eq!(
        told(judge(Request::get("/things/1"))),
        ["header /X-Tenant required"]
    );
    assert_eq!(
        told(judge(Request::get("/things/1").header("x-tenant", "caf\u{e9}"))),
        ["header /X-Tenant encoding"]
    );
}

#[test]
fn cookies_are_checked_and_a_repeated_one_is_refused() {
    let session = json!({"name": "n", "in": "cookie", "required": true, "schema": {"type": "integer"}});
    let contract = compiled(with_parameter(session));
    let judge = |cookie: &str| {
        Request::get("/things/1")
            .header("cookie", cookie)
            .judge_head(&contract, false)
    };

    assert!(judge("a=b; n=12").is_ok());
    assert_eq!(told(judge("n=x")), ["cookie /n type"]);
    assert_eq!(told(judge("n=1; n=2")), ["cookie /n repeated"]);
    assert_eq!(told(judge("a=b")), ["cookie /n required"]);
}

#[test]
fn a_cookie_that_is_not_text_hides_no_other() {
    let session = json!({"name": "n", "in": "cookie", "schema": {"type": "integer"}});
    let contract = compiled(with_parameter(session));
    let judge = |cookie: &str| {
        Request::get("/things/1")
            .header("cookie", cookie)
            .judge_head(&contract, false)
    };

    assert!(judge("a=caf\u{e9}; n=12").is_ok());
    assert_eq!(told(judge("a=caf\u{e9}; n=x")), ["cookie /n type"]);
    assert_eq!(told(judge("n=caf\u{e9}")), ["cookie /n encoding"]);
}

#[test]
fn every_violation_is_told_and_nothing_that_was_sent() {
    let parameters = json!([
        {"name": "a", "in": "query", "schema": {"type": "integer"}},
        {"name": "b", "in": "query", "schema": {"type": "boolean"}},
        {"name": "c", "in": "query", "required": true, "schema": {}},
    ]);
    let contract = compiled(document("get", json!({"parameters": parameters})));

    let rejection = Request::get("/things/1?a=hunter2&b=hunter2")
        .judge_head(&contract, false)
        .unwrap_err();

    assert!(!format!("{rejection:?}").contains("hunter2"));
    assert_eq!(
        told(Err(rejection)),
        ["query /a type", "query /b type", "query /c required"]
    );
}

#[test]
fn operations_are_found_below_every_base_path_and_nowhere_else() {
    let mut document = document("get", json!({}));
    document["servers"] = json!([{"url": "https://api.example.com/api/v1/"}, {"url": "/v1"}]);
    let contract = compiled(document);
    let find = |path: &str| contract.operation(&Method::GET, path);

    assert!(matches!(find("/api/v1/things/1"), Lookup::Found(_)));
    assert!(matches!(find("/v1/things/1"), Lookup::Found(_)));
    assert!(matches!(find("/things/1"), Lookup::Unknown));
    assert!(matches!(find("/api/v1/things"), Lookup::Unknown));
}

#[test]
fn head_is_get_without_a_body_and_other_methods_are_named() {
    let contract = compiled(document("get", json!({"operationId": "getThing"})));

    let Lookup::Found(found) = contract.operation(&Method::HEAD, "/things/1") else {
        panic!("HEAD is not found");
    };
    assert_eq!(found.operation.id(), "getThing");
    let Lookup::MethodNotAllowed(methods) = contract.operation(&Method::PUT, "/things/1") else {
        panic!("PUT is found");
    };
    assert_eq!(methods, [Method::GET, Method::HEAD]);
}

#[test]
fn a_path_s_parameters_hold_for_its_operations_unless_written_anew() {
    let limit = |maximum: u32| json!({"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": maximum}});
    let paths = json!({"/a": {"parameters": [limit(5)], "get": {}, "post": {"parameters": [limit(9)]}}});
    let contract = compiled(json!({"openapi": "3.1.0", "info": {}, "paths": paths}));

    assert_eq!(
        told(Request::get("/a?limit=7").judge_head(&contract, false)),
        ["query /limit maximum"]
    );
    assert!(
        Request::new(Method::POST, "/a?limit=7")
            .judge_head(&contract, false)
            .is_ok()
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the text is, a typed parameter is accepted exactly when JSON reads the text as that type.
        #[test]
        fn an_integer_parameter_accepts_exactly_the_integers_of_json(text in "[-+0-9a-f.]{0,20}") {
            let contract = compiled(with_parameter(json!({"name": "n", "in": "query", "schema": {"type": "integer"}})));

            let is_accepted = Request::get(&format!("/things/1?n={text}")).judge_head(&contract, false).is_ok();

            let parsed = serde_json::from_str::<i128>(&text).ok().filter(|_| text != "-0");
            let fits = parsed.is_some_and(|number| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number));
            prop_assert_eq!(is_accepted, fits && !text.contains('+'));
        }

        /// No target, header or cookie makes the check panic or say what was sent.
        #[test]
        fn no_head_is_too_strange(target in "/things/[!-~]{1,40}", header in "[ -~]{0,40}", cookie in "[ -~]{0,40}") {
            let contract = compiled(document("get", json!({"parameters": [
                {"name": "a", "in": "query", "style": "deepObject", "schema": {"type": "object", "properties": {}}},
                {"name": "b", "in": "query", "explode": false, "schema": {"type": "array", "items": {"type": "number"}}},
                {"name": "c", "in": "cookie", "explode": false, "schema": {"type": "object", "properties": {}}},
                {"name": "d", "in": "header", "explode": true, "schema": {"type": "object", "properties": {}}},
            ]})));
            let path = target.split('?').next().unwrap_or_default();
            if let Lookup::Found(found) = contract.operation(&Method::GET, path) {
                let request = Request::get(&target).header("d", &header).header("cookie", &cookie);
                let _ = found.operation.validate_head(&request.head(), &found.params, true);
            }
        }
    }
}
