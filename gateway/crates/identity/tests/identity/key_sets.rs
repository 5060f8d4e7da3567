//! Key sets that an issuer may publish, or somebody in its place, and how many of their keys are used.

/// A document and what becomes of it.
pub(crate) struct Case {
    pub name: &'static str,
    pub document: &'static str,
    /// `None` when the whole set is refused, or none of its keys is for us.
    pub usable: Option<usize>,
}

macro_rules! ed {
    ($more:expr) => {
        concat!(
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
            $more,
            "}"
        )
    };
}

macro_rules! ec {
    ($curve:expr, $x:expr, $y:expr) => {
        concat!(
            r#"{"kty":"EC","crv":""#,
            $curve,
            r#"","x":""#,
            $x,
            r#"","y":""#,
            $y,
            r#""}"#
        )
    };
}

macro_rules! rsa {
    ($e:expr, $n:expr) => {
        concat!(r#"{"kty":"RSA","e":""#, $e, r#"","n":""#, $n, r#""}"#)
    };
}

macro_rules! set {
    ($($key:expr),+) => {
        concat!(r#"{"keys":["#, set!(@ $($key),+), "]}")
    };
    (@ $one:expr) => { $one };
    (@ $one:expr, $($more:expr),+) => { concat!($one, ",", set!(@ $($more),+)) };
}

/// The modulus of RFC 7515 appendix A.2.
macro_rules! n {
    () => {
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    };
}

const fn case(name: &'static str, document: &'static str, usable: Option<usize>) -> Case {
    Case {
        name,
        document,
        usable,
    }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    case("one", set!(ed!("")), Some(1)),
    case(
        "two-names",
        set!(ed!(r#","kid":"a""#), ed!(r#","kid":"b""#)),
        Some(2),
    ),
    // RFC 7517 section 4.5: one id for two keys, tried one after the other.
    case(
        "one-name-twice",
        set!(
            ed!(r#","kid":"a""#),
            ec!(
                "P-256",
                "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
            )
        ),
        Some(2),
    ),
    // RFC 7517 section 4.2: a key for encryption stands beside one for signatures.
    case(
        "mixed-use",
        set!(ed!(r#","use":"enc","kid":"a""#), ed!(r#","use":"sig","kid":"b""#)),
        Some(1),
    ),
    case("use-null", set!(ed!(r#","use":null"#)), None),
    case("use-case", set!(ed!(r#","use":"SIG""#)), None),
    // RFC 7517 section 4.3.
    case("ops-verify", set!(ed!(r#","key_ops":["verify"]"#)), Some(1)),
    case("ops-sign", set!(ed!(r#","key_ops":["sign"]"#)), None),
    case(
        "ops-encrypt",
        set!(ed!(r#","key_ops":["encrypt","wrapKey"]"#)),
        None,
    ),
    case("ops-text", set!(ed!(r#","key_ops":"verify""#)), None),
    case("ops-none", set!(ed!(r#","key_ops":[]"#)), None),
    case(
        "use-and-ops",
        set!(ed!(r#","use":"sig","key_ops":["encrypt"]"#)),
        None,
    ),
    // RFC 7517 section 4.4, RFC 8725 section 3.1.
    case("alg-its-own", set!(ed!(r#","alg":"EdDSA""#)), Some(1)),
    case("alg-none", set!(ed!(r#","alg":"none""#)), None),
    case("alg-symmetric", set!(ed!(r#","alg":"HS256""#)), None),
    case("alg-of-another-family", set!(ed!(r#","alg":"RS256""#)), None),
    case("alg-number", set!(ed!(r#","alg":256"#)), None),
    case("kid-number", set!(ed!(r#","kid":1"#)), None),
    // RFC 7517 section 9.2: whoever publishes a private key has none.
    case(
        "private",
        set!(ed!(r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#)),
        None,
    ),
    case("private-empty", set!(ed!(r#","d":"""#)), None),
    case(
        "symmetric",
        set!(r#"{"kty":"oct","k":"c2VjcmV0","kid":"a"}"#),
        None,
    ),
    case("symmetric-empty", set!(r#"{"kty":"oct","k":""}"#), None),
    case("symmetric-in-disguise", set!(ed!(r#","k":"c2VjcmV0""#)), None),
    // Wrong curves and coordinates (RFC 7518 section 6.2.1: of full length, zeros included).
    case(
        "curve-p521",
        set!(ec!(
            "P-521",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        )),
        None,
    ),
    case(
        "curve-secp256k1",
        set!(ec!(
            "secp256k1",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        )),
        None,
    ),
    case(
        "curve-p384-with-coordinates-of-p256",
        set!(ec!(
            "P-384",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        )),
        None,
    ),
    case(
        "coordinate-short",
        set!(ec!(
            "P-256",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        )),
        None,
    ),
    case(
        "coordinate-padded",
        set!(ec!(
            "P-256",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        )),
        None,
    ),
    case(
        "coordinate-missing",
        set!(r#"{"kty":"EC","crv":"P-256","x":"f83O"}"#),
        None,
    ),
    case(
        "x25519",
        set!(r#"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#),
        None,
    ),
    case(
        "ed448",
        set!(r#"{"kty":"OKP","crv":"Ed448","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#),
        None,
    ),
    case(
        "ed25519-short",
        set!(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ"}"#),
        None,
    ),
    case(
        "kind-unknown",
        set!(r#"{"kty":"AKP","alg":"ML-DSA-65","pub":"AAAA"}"#),
        None,
    ),
    case(
        "kind-case",
        set!(r#"{"kty":"okp","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#),
        None,
    ),
    // RFC 7518 section 3.3: 2048 bits at least; an exponent that signs nothing (CVE-2017-11424's neighbours).
    case("rsa", set!(rsa!("AQAB", n!())), Some(1)),
    case("rsa-with-a-leading-zero", set!(rsa!("AAEAAQ", n!())), Some(1)),
    case("rsa-tiny", set!(rsa!("AQAB", "AQAB")), None),
    case("rsa-exponent-one", set!(rsa!("AQ", n!())), None),
    case("rsa-exponent-even", set!(rsa!("AQAC", n!())), None),
    case("rsa-exponent-huge", set!(rsa!("AQAAAAAB", n!())), None),
    case("rsa-exponent-empty", set!(rsa!("", n!())), None),
    // RFC 8259 section 4.
    case("duplicate-member", r#"{"keys":[],"keys":[]}"#, None),
    case("duplicate-member-of-a-key", set!(ed!(r#","kty":"oct""#)), None),
    case("no-keys", "{}", None),
    case("keys-empty", r#"{"keys":[]}"#, None),
    case("keys-object", r#"{"keys":{"a":{}}}"#, None),
    case("keys-of-text", r#"{"keys":["a"]}"#, None),
    case("key-alone", ed!(""), None),
    case("list-alone", "[]", None),
    case("text-behind", r#"{"keys":[]}x"#, None),
    case("page", "<html><body>502 Bad Gateway</body></html>", None),
    case("error-page", r#"{"error":"temporarily_unavailable"}"#, None),
    case("empty", "", None),
    case(
        "deep",
        r#"{"keys":[{"a":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}]}"#,
        None,
    ),
];
