use super::*;

fn thing() -> Contract {
    compiled(
        document(
            "post",
            json!({"requestBody": {"required": true, "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
                "application/merge-patch+json": {"schema": {"type": "object"}},
                "text/plain": {},
                "image/*": {"schema": {"type": "string", "format": "binary"}},
            }}}),
        )
        .pipe(|mut document| {
            document["components"] = json!({"schemas": {
                "Thing": {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": false,
                    "properties": {
                        "name": {"type": "string", "minLength": 1, "maxLength": 8},
                        "at": {"type": "string", "format": "date-time"},
                        "mail": {"type": "string", "format": "email"},
                        "id": {"type": "string", "format": "uuid"},
                        "count": {"type": "integer", "format": "int32"},
                        "data": {"type": "string", "format": "byte"},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    },
                },
            }});
            document
        }),
    )
}

/// Reads better than a nested call around a long document.
trait Pipe: Sized {
    fn pipe<T>(self, next: impl FnOnce(Self) -> T) -> T {
        next(self)
    }
}

impl Pipe for Value {}

fn judge(body: &str) -> Result<HeldBody, Rejection> {
    Request::post("application/json; charset=utf-8").judge(&thing(), body.as_bytes())
}

#[test]
fn a_body_that_fits_is_released_as_it_came_with_its_value() {
    let body = r#" {"name": "a", "at": "2026-11-21T10:00:00Z", "parts": [{"name": "b"}]} "#;

    let held = judge(body).unwrap();

    assert_eq!(held.bytes, body.as_bytes());
    assert_eq!(held.json.unwrap()["parts"][0]["name"], "b");
}

#[test]
fn a_body_that_does_not_fit_is_refused_with_pointers() {
    let rejection = judge(r#"{"name": "", "parts": [{"name": "toolongname"}], "secret": 1}"#).unwrap_err();

    assert_eq!(rejection.reason, Reason::BodyInvalid);
    assert!(!format!("{rejection:?}").contains("secret"));
    let mut told = told(Err(rejection));
    told.sort();
    assert_eq!(
        told,
        [
            "body  additionalProperties",
            "body /name minLength",
            "body /parts/0/name maxLength"
        ]
    );
}

#[test]
fn formats_are_asserted() {
    for (good, bad) in [
        (
            r#""at": "2026-02-28T10:00:00+01:00""#,
            r#""at": "2026-02-30T10:00:00Z""#,
        ),
        (r#""mail": "a@example.com""#, r#""mail": "example.com""#),
        (
            r#""id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301""#,
            r#""id": "3f2504e0""#,
        ),
        (r#""count": 2147483647"#, r#""count": 2147483648"#),
        (r#""data": "aGVsbG8=""#, r#""data": "aGVsbG8""#),
    ] {
        assert!(judge(&format!(r#"{{"name": "a", {good}}}"#)).is_ok(), "{good}");
        assert_eq!(
            reason(judge(&format!(r#"{{"name": "a", {bad}}}"#))),
            Reason::BodyInvalid,
            "{bad}"
        );
    }
}

#[test]
fn strictness_comes_before_the_schema() {
    assert_eq!(
        reason(judge(r#"{"name": "a", "name": "b"}"#)),
        Reason::BodyDuplicateKey
    );
    assert_eq!(reason(judge(r#"{"name": "a""#)), Reason::BodyMalformed);
    assert_eq!(reason(judge(&"[".repeat(65))), Reason::BodyTooDeep);
}

#[test]
fn media_types_that_the_contract_does_not_name_are_refused() {
    let contract = thing();
    let judge = |media: &str| Request::post(media).judge_head(&contract, true);

    assert!(judge("application/json").is_ok());
    assert!(judge("APPLICATION/JSON; charset=\"utf-8\"; v=1").is_ok());
    assert!(judge("application/merge-patch+json").is_ok());
    assert!(judge("image/png").is_ok());
    for media in [
        "application/xml",
        "text/html",
        "json",
        "",
        "application/json, text/plain",
        "application/problem+json",
    ] {
        assert_eq!(reason(judge(media)), Reason::MediaType, "{media}");
    }
    assert_eq!(
        reason(judge("application/json; charset=utf-16")),
        Reason::MediaType
    );
    assert_eq!(
        reason(Request::new(Method::POST, "/things/1").judge_head(&contract, true)),
        Reason::MediaType
    );
    let twice = Request::post("application/json").header("content-type", "text/plain");
    assert_eq!(reason(twice.judge_head(&contract, true)), Reason::MediaType);
}

#[test]
fn a_compressed_body_cannot_be_judged_and_is_refused() {
    let contract = thing();
    let coded = |coding: &str| {
        Request::post("application/json")
            .header("content-encoding", coding)
            .judge_head(&contract, true)
    };

    assert!(coded("identity").is_ok());
    assert_eq!(reason(coded("gzip")), Reason::MediaType);
    let image = Request::post("image/png").header("content-encoding", "gzip");
    assert!(image.judge_head(&contract, true).is_ok());
}

#[test]
fn a_required_body_must_be_there_even_when_its_framing_promised_one() {
    assert_eq!(
        reason(Request::post("application/json").judge_head(&thing(), false)),
        Reason::BodyMissing
    );
    assert_eq!(reason(judge("")), Reason::BodyMissing);
    let optional = compiled(with_body(json!({"type": "object"})));
    assert!(
        Request::post("application/json")
            .judge_head(&optional, false)
            .is_ok()
    );
    assert!(Request::post("application/json").judge(&optional, b"").is_ok());
}

#[test]
fn a_body_where_the_operation_takes_none_is_refused() {
    let contract = compiled(document("get", json!({})));

    assert!(Request::get("/things/1").judge_head(&contract, false).is_ok());
    assert_eq!(
        reason(Request::get("/things/1").judge_head(&contract, true)),
        Reason::MediaType
    );
    let Lookup::Found(found) = contract.operation(&Method::GET, "/things/1") else {
        panic!("no operation");
    };
    let mut gate = found
        .operation
        .body_gate(&Request::get("/things/1").head(), 10)
        .unwrap();
    assert!(gate.push(b"").is_ok());
    assert_eq!(reason(gate.push(b"x")), Reason::MediaType);
}

#[test]
fn a_named_media_type_streams_once_it_is_known_to_be_there() {
    let contract = thing();
    let Lookup::Found(found) = contract.operation(&Method::POST, "/things/1") else {
        panic!("no operation");
    };
    let sized = Request::post("text/plain").header("content-length", "5");
    let chunked = Request::post("text/plain");

    assert!(found.operation.body_gate(&sized.head(), 10).is_none());
    let mut gate = found.operation.body_gate(&chunked.head(), 10).unwrap();
    gate.push(b"hello").unwrap();
    assert_eq!(gate.finish().unwrap().bytes, "hello");
    let gate = found.operation.body_gate(&chunked.head(), 10).unwrap();
    assert_eq!(reason(gate.finish()), Reason::BodyMissing);
}

#[test]
fn the_gate_holds_up_to_its_limit_and_not_a_byte_more() {
    let contract = thing();
    let Lookup::Found(found) = contract.operation(&Method::POST, "/things/1") else {
        panic!("no operation");
    };
    let request = Request::post("application/json");
    let mut gate = found.operation.body_gate(&request.head(), 13).unwrap();

    gate.push(br#"{"name":"#).unwrap();
    gate.push(br#""ab"}"#).unwrap();
    assert_eq!(gate.held(), 13);
    assert_eq!(reason(gate.push(b" ")), Reason::BodyTooLarge);
    assert!(gate.finish().is_ok());
}

#[test]
fn the_more_precise_media_type_decides() {
    let contract = compiled(document(
        "post",
        json!({"requestBody": {"content": {
            "*/*": {},
            "application/json": {"schema": {"type": "object"}},
        }}}),
    ));

    assert_eq!(
        reason(Request::post("application/json").judge(&contract, b"[]")),
        Reason::BodyInvalid
    );
    assert!(
        Request::post("application/octet-stream")
            .judge_head(&contract, true)
            .is_ok()
    );
}

#[test]
fn a_form_is_read_by_its_schema() {
    let contract = compiled(document(
        "post",
        json!({"requestBody": {"content": {
            "application/x-www-form-urlencoded": {"schema": {
                "type": "object",
                "required": ["n"],
                "additionalProperties": false,
                "properties": {
                    "n": {"type": "integer"},
                    "tags": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
                },
            }},
        }}}),
    ));
    let judge = |body: &str| {
        Request::post("application/x-www-form-urlencoded")
            .judge(&contract, body.as_bytes())
            .map(|_| ())
    };

    assert!(judge("n=1&tags=a+b&tags=%C3%A9").is_ok());
    assert_eq!(told(judge("n=x")), ["body /n type"]);
    assert_eq!(told(judge("n=1&admin=1")), ["body  additionalProperties"]);
    assert_eq!(told(judge("n=1&tags=a&tags=b&tags=c")), ["body /tags maxItems"]);
    assert_eq!(reason(judge("n=1&n=1")), Reason::BodyDuplicateKey);
    assert_eq!(reason(judge("n=%zz")), Reason::BodyMalformed);
    assert_eq!(reason(judge("n=%ff")), Reason::BodyMalformed);
}
