//! Attacks on tokens and key sets by class, each beside what the same rule accepts; the seeds of the fuzz targets come
//! from here.

use portcullis_model::Reason::{
    self, TokenAlgorithm, TokenAudience, TokenClaims, TokenExpired, TokenIssuerUnknown, TokenKeyUnknown,
    TokenLifetime, TokenMalformed, TokenNotYetValid, TokenType,
};

/// The header of an honest token.
pub(crate) const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed"}"#;
/// Its claims, without the braces.
pub(crate) const CLAIMS: &str = r#""iss":"https://idp.example","sub":"alice","aud":"api","exp":1800000600"#;

/// Signed tokens under one rule. Each is a header and claims; where one of them is empty, it is the honest one.
pub(crate) struct Class {
    /// Names the seeds.
    pub name: &'static str,
    /// They break the rule; each with its reason.
    pub refused: &'static [(&'static str, &'static str, Reason)],
    /// They keep it.
    pub accepted: &'static [(&'static str, &'static str)],
}

/// Claims that are honest but for one member more.
macro_rules! and {
    ($more:expr) => {
        concat!(
            r#"{"iss":"https://idp.example","sub":"alice","aud":"api","exp":1800000600,"#,
            $more,
            "}"
        )
    };
}

/// Claims with these four members.
macro_rules! claims {
    ($iss:expr, $sub:expr, $aud:expr, $exp:expr) => {
        concat!(
            r#"{"iss":"#,
            $iss,
            r#","sub":"#,
            $sub,
            r#","aud":"#,
            $aud,
            r#","exp":"#,
            $exp,
            "}"
        )
    };
}

macro_rules! iss {
    ($value:expr) => {
        claims!($value, r#""alice""#, r#""api""#, "1800000600")
    };
}

macro_rules! sub {
    ($value:expr) => {
        claims!(r#""https://idp.example""#, $value, r#""api""#, "1800000600")
    };
}

macro_rules! aud {
    ($value:expr) => {
        claims!(r#""https://idp.example""#, r#""alice""#, $value, "1800000600")
    };
}

macro_rules! exp {
    ($value:expr) => {
        claims!(r#""https://idp.example""#, r#""alice""#, r#""api""#, $value)
    };
}

/// RFC 8725 sections 3.1 and 3.2, CVE-2015-9235, CVE-2022-23540, CVE-2018-1000531: the token does not choose.
pub(crate) const ALGORITHMS: Class = Class {
    name: "alg",
    refused: &[
        (r#"{"alg":"none","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"alg":"None"}"#, "", TokenAlgorithm),
        (r#"{"alg":"NONE"}"#, "", TokenAlgorithm),
        (r#"{"alg":"nOnE"}"#, "", TokenAlgorithm),
        (r#"{"alg":"none "}"#, "", TokenAlgorithm),
        (r#"{"alg":""}"#, "", TokenAlgorithm),
        (r#"{"alg":"HS256","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"alg":"HS256","kid":"rsa"}"#, "", TokenAlgorithm),
        (r#"{"alg":"HS384","kid":"ec"}"#, "", TokenAlgorithm),
        (r#"{"alg":"HS512"}"#, "", TokenAlgorithm),
        // One of ours, and another key's.
        (r#"{"alg":"RS256","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"alg":"ES256","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"alg":"ES384","kid":"ec"}"#, "", TokenAlgorithm),
        (r#"{"alg":"PS512","kid":"rsa"}"#, "", TokenAlgorithm),
        (r#"{"alg":"ES256K","kid":"ec"}"#, "", TokenAlgorithm),
        (r#"{"alg":"RSA-OAEP","kid":"rsa"}"#, "", TokenAlgorithm),
        (r#"{"alg":"eddsa","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"alg":"EdDSA\u0000","kid":"ed"}"#, "", TokenAlgorithm),
        (r#"{"kid":"ed"}"#, "", TokenMalformed),
        (r#"{"alg":null,"kid":"ed"}"#, "", TokenMalformed),
        (r#"{"alg":["EdDSA"],"kid":"ed"}"#, "", TokenMalformed),
        (r#"{"alg":{"EdDSA":1},"kid":"ed"}"#, "", TokenMalformed),
        (r#"{"alg":0,"kid":"ed"}"#, "", TokenMalformed),
        (r#"{"Alg":"EdDSA","kid":"ed"}"#, "", TokenMalformed),
    ],
    accepted: &[
        ("", ""),
        (r#"{"alg":"EdDSA"}"#, ""),
        (r#"{"\u0061lg":"EdDSA","kid":"ed"}"#, ""),
    ],
};

/// RFC 7515 section 4.1.4, CVE-2018-0114 and its like: a key id is compared, never opened, run or looked up anywhere.
pub(crate) const KEY_IDS: Class = Class {
    name: "kid",
    refused: &[
        (
            r#"{"alg":"EdDSA","kid":"../../../../dev/null"}"#,
            "",
            TokenKeyUnknown,
        ),
        (
            r#"{"alg":"EdDSA","kid":"/proc/self/environ"}"#,
            "",
            TokenKeyUnknown,
        ),
        (
            r#"{"alg":"EdDSA","kid":"ed' UNION SELECT 'secret'--"}"#,
            "",
            TokenKeyUnknown,
        ),
        (r#"{"alg":"EdDSA","kid":"ed' OR '1'='1"}"#, "", TokenKeyUnknown),
        (r#"{"alg":"EdDSA","kid":"ed|id"}"#, "", TokenKeyUnknown),
        (
            r#"{"alg":"EdDSA","kid":"${jndi:ldap://evil.example/a}"}"#,
            "",
            TokenKeyUnknown,
        ),
        (
            r#"{"alg":"EdDSA","kid":"https://evil.example/key"}"#,
            "",
            TokenKeyUnknown,
        ),
        (r#"{"alg":"EdDSA","kid":"ed\u0000"}"#, "", TokenKeyUnknown),
        (r#"{"alg":"EdDSA","kid":"ED"}"#, "", TokenKeyUnknown),
        (r#"{"alg":"EdDSA","kid":" ed"}"#, "", TokenKeyUnknown),
        (r#"{"alg":"EdDSA","kid":""}"#, "", TokenKeyUnknown),
        (r#"{"alg":"EdDSA","kid":1}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":null}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":["ed"]}"#, "", TokenMalformed),
    ],
    accepted: &[
        (r#"{"alg":"EdDSA"}"#, ""),
        (r#"{"alg":"EdDSA","kid":"\u0065d"}"#, ""),
    ],
};

/// RFC 8725 section 3.10, CVE-2018-0114: keys and places of keys in a header are not looked at.
pub(crate) const KEYS_IN_HEADERS: Class = Class {
    name: "header-keys",
    refused: &[(
        r#"{"alg":"EdDSA","kid":"evil","jku":"https://evil.example/jwks"}"#,
        "",
        TokenKeyUnknown,
    )],
    accepted: &[
        (
            r#"{"alg":"EdDSA","kid":"ed","jku":"http://169.254.169.254/"}"#,
            "",
        ),
        (r#"{"alg":"EdDSA","kid":"ed","x5u":"file:///etc/passwd"}"#, ""),
        (r#"{"alg":"EdDSA","kid":"ed","jwk":{"kty":"oct","k":""}}"#, ""),
        (r#"{"alg":"EdDSA","kid":"ed","x5c":["MIIB"],"x5t":1}"#, ""),
        (
            r#"{"alg":"EdDSA","kid":"ed","b64":false,"zip":"DEF","cty":"JWT"}"#,
            "",
        ),
    ],
};

/// RFC 7515 section 4.1.11: what must be understood is refused, since we understand none of it.
pub(crate) const CRITICAL: Class = Class {
    name: "crit",
    refused: &[
        (
            r#"{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}"#,
            "",
            TokenMalformed,
        ),
        (
            r#"{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}"#,
            "",
            TokenMalformed,
        ),
        (r#"{"alg":"EdDSA","kid":"ed","crit":[]}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":"ed","crit":["alg"]}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":"ed","crit":null}"#, "", TokenMalformed),
        (
            r#"{"alg":"EdDSA","kid":"ed","\u0063rit":["x"],"x":1}"#,
            "",
            TokenMalformed,
        ),
    ],
    accepted: &[(r#"{"alg":"EdDSA","kid":"ed","Crit":["b64"]}"#, "")],
};

/// RFC 8725 section 3.11: a token made for something else is none for us.
pub(crate) const TYPES: Class = Class {
    name: "typ",
    refused: &[
        (r#"{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}"#, "", TokenType),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#, "", TokenType),
        (
            r#"{"alg":"EdDSA","kid":"ed","typ":"secevent+jwt"}"#,
            "",
            TokenType,
        ),
        (
            r#"{"alg":"EdDSA","kid":"ed","typ":"application/jose"}"#,
            "",
            TokenType,
        ),
        (
            r#"{"alg":"EdDSA","kid":"ed","typ":"portcullis-identity+jwt"}"#,
            "",
            TokenType,
        ),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"JWT "}"#, "", TokenType),
        (r#"{"alg":"EdDSA","kid":"ed","typ":""}"#, "", TokenType),
        (r#"{"alg":"EdDSA","kid":"ed","typ":1}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":"ed","typ":null}"#, "", TokenMalformed),
    ],
    accepted: &[
        (r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, ""),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"jwt"}"#, ""),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#, ""),
        (r#"{"alg":"EdDSA","kid":"ed","typ":"application/AT+JWT"}"#, ""),
    ],
};

/// RFC 8725 section 3.7, RFC 8259 section 4: a document with two readings has none.
pub(crate) const JSON: Class = Class {
    name: "json",
    refused: &[
        (r#"{"alg":"none","alg":"EdDSA"}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","kid":"evil","kid":"ed"}"#, "", TokenMalformed),
        (r#"{"alg":"EdDSA","\u0061lg":"none"}"#, "", TokenMalformed),
        ("", and!(r#""sub":"admin""#), TokenMalformed),
        ("", and!(r#""\u0073ub":"admin""#), TokenMalformed),
        ("", and!(r#""roles":{"a":1,"a":2}"#), TokenMalformed),
        ("", and!(r#""a":[{"b":[{"c":1,"c":1}]}]"#), TokenMalformed),
        ("", "[]", TokenMalformed),
        ("", r#""alice""#, TokenMalformed),
        ("", "null", TokenMalformed),
        ("", r#"{"sub":"a",}"#, TokenMalformed),
        ("", r#"{'sub':'a'}"#, TokenMalformed),
        ("", "{} {}", TokenMalformed),
        ("", "\u{feff}{}", TokenMalformed),
        ("", "{/**/}", TokenMalformed),
        ("", r#"{"sub":NaN}"#, TokenMalformed),
        ("", r#"{"a":1e999}"#, TokenMalformed),
        ("", r#"{"a":"\ud800"}"#, TokenMalformed),
        ("[]", "", TokenMalformed),
        ("{}", "", TokenMalformed),
        // Deeper than anybody needs: seventeen of the sixteen levels that are read.
        (
            "",
            and!(r#""a":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"#),
            TokenMalformed,
        ),
    ],
    accepted: &[
        ("", and!(r#""a":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]"#)),
        ("", and!(r#""Sub":"admin""#)),
        (" {\t\"alg\":\"EdDSA\"} ", ""),
    ],
};

/// RFC 7519 sections 4.1.4 to 4.1.6, CVE-2026-25537: a time is a number, and one that is none is not skipped.
pub(crate) const TIMES: Class = Class {
    name: "times",
    refused: &[
        ("", exp!(r#""1800000600""#), TokenClaims),
        ("", exp!("null"), TokenClaims),
        ("", exp!("true"), TokenClaims),
        ("", exp!("[1800000600]"), TokenClaims),
        ("", exp!("{}"), TokenClaims),
        ("", exp!("-1"), TokenClaims),
        ("", exp!("1e300"), TokenClaims),
        ("", exp!("18446744073709551615"), TokenClaims),
        ("", exp!("18446744073709551616"), TokenClaims),
        (
            "",
            r#"{"iss":"https://idp.example","sub":"alice","aud":"api"}"#,
            TokenClaims,
        ),
        ("", exp!("0"), TokenExpired),
        ("", exp!("1799999970"), TokenExpired),
        // Longer than a day.
        ("", exp!("1800086431"), TokenLifetime),
        ("", exp!("9999999999"), TokenLifetime),
        ("", and!(r#""nbf":"1800000000""#), TokenClaims),
        ("", and!(r#""nbf":null"#), TokenClaims),
        ("", and!(r#""nbf":1800000031"#), TokenNotYetValid),
        ("", and!(r#""iat":"now""#), TokenClaims),
        ("", and!(r#""iat":-5"#), TokenClaims),
        ("", and!(r#""iat":1800000300"#), TokenNotYetValid),
    ],
    accepted: &[
        ("", exp!("1799999971")),
        ("", exp!("1800000600.5")),
        ("", exp!("1.8000006e9")),
        ("", and!(r#""nbf":1800000030"#)),
        ("", and!(r#""iat":1799999999.999"#)),
    ],
};

/// RFC 7519 section 4.1.3: one of ours is among them, whatever else is.
pub(crate) const AUDIENCES: Class = Class {
    name: "aud",
    refused: &[
        ("", aud!(r#""other""#), TokenAudience),
        ("", aud!("[]"), TokenAudience),
        ("", aud!(r#"["other"]"#), TokenAudience),
        ("", aud!(r#""API""#), TokenAudience),
        ("", aud!(r#""api ""#), TokenAudience),
        ("", aud!(r#""api,other""#), TokenAudience),
        ("", aud!(r#""""#), TokenAudience),
        ("", aud!(r#"["api",1]"#), TokenClaims),
        ("", aud!(r#"[["api"]]"#), TokenClaims),
        ("", aud!(r#"{"api":true}"#), TokenClaims),
        ("", aud!("1"), TokenClaims),
        ("", aud!("true"), TokenClaims),
        ("", aud!("null"), TokenClaims),
        (
            "",
            r#"{"iss":"https://idp.example","sub":"alice","exp":1800000600}"#,
            TokenAudience,
        ),
    ],
    accepted: &[
        ("", aud!(r#"["api"]"#)),
        ("", aud!(r#"["other","api"]"#)),
        ("", aud!(r#"["api","api"]"#)),
    ],
};

/// RFC 8725 section 3.8, CVE-2024-53861 and its like: the issuer is this one exactly, and the subject is named.
pub(crate) const NAMES: Class = Class {
    name: "names",
    refused: &[
        ("", iss!(r#""https://evil.example""#), TokenIssuerUnknown),
        ("", iss!(r#""https://idp.example/""#), TokenIssuerUnknown),
        ("", iss!(r#""https://IDP.example""#), TokenIssuerUnknown),
        (
            "",
            iss!(r#""https://idp.example.evil.example""#),
            TokenIssuerUnknown,
        ),
        ("", iss!(r#""idp""#), TokenIssuerUnknown),
        ("", iss!(r#""""#), TokenIssuerUnknown),
        ("", iss!(r#"["https://idp.example"]"#), TokenClaims),
        ("", iss!("null"), TokenClaims),
        ("", sub!(r#""""#), TokenClaims),
        ("", sub!("1"), TokenClaims),
        ("", sub!("null"), TokenClaims),
        ("", sub!(r#"["alice"]"#), TokenClaims),
        (
            "",
            r#"{"iss":"https://idp.example","aud":"api","exp":1800000600}"#,
            TokenClaims,
        ),
        ("", and!(r#""scope":7"#), TokenClaims),
        ("", and!(r#""scope":["a",1]"#), TokenClaims),
        ("", and!(r#""scp":{"a":1}"#), TokenClaims),
    ],
    accepted: &[
        ("", sub!(r#""al\u0000ice\r\n""#)),
        ("", and!(r#""scope":"a b","scp":7"#)),
        ("", and!(r#""scp":["a","b"]"#)),
    ],
};

/// All classes of signed tokens.
pub(crate) const TOKENS: &[&Class] = &[
    &ALGORITHMS,
    &KEY_IDS,
    &KEYS_IN_HEADERS,
    &CRITICAL,
    &TYPES,
    &JSON,
    &TIMES,
    &AUDIENCES,
    &NAMES,
];

/// A token's two texts as one seed: a header, a line break, claims.
pub(crate) fn seed(header: &str, claims: &str) -> Vec<u8> {
    let header = if header.is_empty() { HEADER } else { header };
    let honest = format!("{{{CLAIMS}}}");
    let claims = if claims.is_empty() { &honest } else { claims };
    format!("{header}\n{claims}").into_bytes()
}

/// RFC 7515 sections 2, 3.1 and 7.1: three parts in base64url, without padding and without bits that nobody reads.
pub(crate) const TEXTS: &[&str] = &[
    "a",
    ".",
    "..",
    "...",
    "....",
    "e30.e30",
    "e30.e30.",
    "e30.e30.e30.e30",
    "e30.e30.e30.e30.e30",
    "e30=.e30.c2ln",
    "e30.e30.c2ln=",
    "e31.e30.c2ln",
    "eyJhbGciOiJFZERTQSJ9.e30.c2l+",
    "eyJhbGciOiJFZERTQSJ9.e30.c2l/",
    "eyJhbGciOiJub25lIn0.e30.",
    // RFC 7515 appendix A.3, by a key that is not ours any more: expired, of another issuer.
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.e30.AAAA",
    "eyJlbmMiOiJBMTI4R0NNIiwiYWxnIjoiUlNBLU9BRVAifQ.AA.AA.AA.AA",
];
