//! The only view of a request that the rooms ever get: canonical, borrowed, framework-free.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// The scheme the client used toward the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrlScheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl UrlScheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A query string in its canonical form, with its decoded pairs in order of appearance.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// The canonical text without the `?`; empty when there was none.
    pub text: String,
    /// Decoded names and values; a name without `=` has an empty value. Every repeated name is here.
    pub pairs: Vec<(String, String)>,
}

impl Query {
    /// All values of a name, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A request as every guard sees it: what policy saw is byte for byte what the endpoint gets.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// How the client reached the gateway.
    pub scheme: UrlScheme,
    /// The canonical host: lower case, without port or trailing dot.
    pub host: &'a str,
    /// The canonical path (see [`crate::path`]); starts with `/`.
    pub path: &'a str,
    /// The canonical query.
    pub query: &'a Query,
    /// The header fields after `normalize`: no hop-by-hop fields, no spoofed identity fields.
    pub headers: &'a HeaderMap,
    /// The client's address, after `trusted_proxies` were applied.
    pub client: IpAddr,
}

impl<'a> RequestHead<'a> {
    /// The path's segments, still percent-encoded: `/a/b%20c` gives `a`, `b%20c`; `/` gives none.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        crate::path::segments(self.path)
    }

    /// The only value of a header as text, or `None` when it is absent, repeated or not visible ASCII.
    #[must_use]
    pub fn single_header(&self, name: &str) -> Option<&'a str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        first.to_str().ok()
    }
}
