//! Texts that mean something: names, addresses, files, fields, secrets.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use portcullis_model::{SpiffeId, TrustDomain};
use serde_json::{Value, json};
use url::Url;

use super::section::{Flaw, Scalar};

/// Refuses `${…}` where nothing would replace it.
fn refuse_substitution(text: &str) -> Result<(), Flaw> {
    if text.starts_with("${") {
        return Err(
            Flaw::new("bad-value", "`${…}` stands for a secret, and this key holds none").with_hint(
                "secrets are private keys and the values of `request_headers` and `response_headers`",
            ),
        );
    }
    Ok(())
}

impl Scalar for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        refuse_substitution(text)?;
        if text.is_empty() {
            return Err(Flaw::new("bad-value", "the text is empty"));
        }
        Ok(text.to_owned())
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A text that may be empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AnyText(pub(crate) String);

impl Scalar for AnyText {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        refuse_substitution(text)?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        match (text, plain) {
            ("true", true) => Ok(true),
            ("false", true) => Ok(false),
            _ => {
                let flaw = Flaw::new("wrong-type", format!("expected true or false, found {text:?}"));
                Err(match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" | "1" => flaw.with_hint("write true"),
                    "no" | "off" | "false" | "0" => flaw.with_hint("write false"),
                    _ => flaw,
                })
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

/// A file or folder, relative to the file that names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FilePath(pub(crate) String);

impl Scalar for FilePath {
    const EXPECTED: &'static str = "the path of a file";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        String::parse(text, plain).map(Self)
    }

    fn schema() -> Value {
        String::schema()
    }
}

/// Where a secret is: never the secret itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SecretSource {
    /// `${file:…}`.
    File(String),
    /// `${env:…}`.
    Env(String),
}

fn secret_source(text: &str) -> Option<Result<SecretSource, Flaw>> {
    let inner = text.strip_prefix("${")?;
    let bad = || {
        Flaw::new("bad-value", format!("{text:?} names no secret"))
            .with_hint("write `${file:/path}` or `${env:NAME}`, and nothing around it")
    };
    let Some(inner) = inner.strip_suffix('}') else {
        return Some(Err(bad()));
    };
    Some(match inner.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(SecretSource::File(path.to_owned())),
        Some(("env", name)) if !name.is_empty() => Ok(SecretSource::Env(name.to_owned())),
        Some(_) | None => Err(bad()),
    })
}

/// A private key: the path of its file, `${file:…}` or `${env:…}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeySource(pub(crate) SecretSource);

impl Scalar for KeySource {
    const EXPECTED: &'static str = "the path of a private key";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if text.contains("PRIVATE KEY") {
            return Err(Flaw::new("inline-secret", "a private key stands in the file")
                .with_hint("put it in a file of its own, or in the environment: `${env:NAME}`"));
        }
        match secret_source(text) {
            Some(source) => source.map(Self),
            None => Ok(Self(SecretSource::File(text.to_owned()))),
        }
    }

    fn schema() -> Value {
        String::schema()
    }
}

/// The value of a field: a text, or a secret by its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum FieldValue {
    /// As written.
    Text(HeaderValue),
    /// Read from elsewhere.
    Secret(SecretSource),
}

impl Scalar for FieldValue {
    const EXPECTED: &'static str = "the value of a field";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        match secret_source(text) {
            Some(source) => source.map(Self::Secret),
            None => HeaderValue::from_str(text)
                .map(Self::Text)
                .map_err(|_| Flaw::new("bad-value", "a field's value may hold visible characters only")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Scalar for SocketAddr {
    const EXPECTED: &'static str = "an address with a port like \"127.0.0.1:8080\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        text.parse().map_err(|_| {
            let flaw = Flaw::new("bad-value", format!("{text:?} is not an address with a port"));
            match text.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => match host {
                    "" => flaw.with_hint(format!("write \"0.0.0.0:{port}\" for every address")),
                    "localhost" => flaw.with_hint(format!("write \"127.0.0.1:{port}\"")),
                    _ => flaw.with_hint("a name is given as `dns:` in a pool; a listener needs an address"),
                },
                Some(_) | None => flaw.with_hint("write one like \"127.0.0.1:8080\" or \"[::1]:8080\""),
            }
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":[0-9]+$" })
    }
}

impl Scalar for IpNet {
    const EXPECTED: &'static str = "a network like \"10.0.0.0/8\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Self::from(address));
        }
        match text.parse::<Self>() {
            Ok(network) if network.addr() == network.network() => Ok(network),
            Ok(network) => Err(Flaw::new(
                "bad-value",
                format!("{text:?} has address bits beyond its prefix"),
            )
            .with_hint(format!("did you mean \"{}\"?", network.trunc()))),
            Err(_) => Err(Flaw::new("bad-value", format!("{text:?} is not a network"))
                .with_hint("write one like \"10.0.0.0/8\"")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 2 })
    }
}

impl Scalar for Method {
    const EXPECTED: &'static str = "a method like GET";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let upper = text.to_ascii_uppercase();
        if upper != text {
            return Err(Flaw::new("bad-value", format!("{text:?} is not a method"))
                .with_hint(format!("did you mean {upper:?}?")));
        }
        if text == "CONNECT" {
            return Err(Flaw::new("bad-value", "the method CONNECT is never served"));
        }
        Self::from_bytes(text.as_bytes())
            .map_err(|_| Flaw::new("bad-value", format!("{text:?} is not a method")))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Z][A-Z-]*$" })
    }
}

impl Scalar for HeaderName {
    const EXPECTED: &'static str = "the name of a field";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        Self::from_bytes(text.as_bytes())
            .map_err(|_| Flaw::new("bad-value", format!("{text:?} is not the name of a field")))
    }

    fn schema() -> Value {
        String::schema()
    }
}

/// An http or https URL, with its exact text: an `iss` claim is compared byte by byte.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HttpUrl {
    pub(crate) written: String,
    pub(crate) url: Url,
}

impl Scalar for HttpUrl {
    const EXPECTED: &'static str = "a URL";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        refuse_substitution(text)?;
        let bad = |why: &str| Flaw::new("bad-value", format!("{text:?} is not usable as a URL: {why}"));
        let url = Url::parse(text).map_err(|error| {
            bad(&error.to_string()).with_hint("write one like \"https://login.example.com\"")
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(bad("it needs https:// and a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it carries credentials"));
        }
        Ok(Self {
            written: text.to_owned(),
            url,
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://" })
    }
}

impl Scalar for SpiffeId {
    const EXPECTED: &'static str = "a SPIFFE ID like \"spiffe://corp.example/orders\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        Self::new(text)
            .map_err(|error| Flaw::new("bad-value", format!("{text:?} is not a SPIFFE ID: {error}")))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^spiffe://" })
    }
}

impl Scalar for TrustDomain {
    const EXPECTED: &'static str = "a trust domain like \"corp.example\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if let Some(domain) = text.strip_prefix("spiffe://") {
            return Err(Flaw::new("bad-value", format!("{text:?} is not a trust domain"))
                .with_hint(format!("write {domain:?}")));
        }
        Self::new(text)
            .map_err(|error| Flaw::new("bad-value", format!("{text:?} is not a trust domain: {error}")))
    }

    fn schema() -> Value {
        String::schema()
    }
}

impl Scalar for StatusCode {
    const EXPECTED: &'static str = "a status from 200 to 599";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        match text.parse::<u16>().ok().filter(|code| (200..600).contains(code)) {
            Some(code) => Self::from_u16(code).map_err(|_| Flaw::new("bad-value", "not a status")),
            None => Err(Flaw::new(
                "out-of-range",
                format!("{text:?} is not a status from 200 to 599"),
            )),
        }
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 200, "maximum": 599 })
    }
}
