//! A URL taken apart without touching it: `explain` must see `/a/..%2fb` as a client would send it.

use portcullis_model::UrlScheme;
use thiserror::Error;

/// The parts of an absolute URL, as typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TypedUrl {
    pub(super) scheme: UrlScheme,
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

/// Not an absolute URL.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is not an absolute http or https URL, as in https://api.example.com/orders/7")]
pub(super) struct UrlFault(String);

impl TypedUrl {
    pub(super) fn parse(text: &str) -> Result<Self, UrlFault> {
        let fault = || UrlFault(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(fault)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => UrlScheme::Http,
            "https" => UrlScheme::Https,
            _ => return Err(fault()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or_else(fault)?;
        if authority.is_empty() || authority.contains(char::is_whitespace) {
            return Err(fault());
        }
        // A fragment never leaves a client.
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            target,
        })
    }

    /// The host, without port and brackets, in lower case.
    pub(super) fn host(&self) -> String {
        let name = self
            .authority
            .rsplit_once('@')
            .map_or(self.authority.as_str(), |(_, host)| host);
        let bare = match name.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => name.split(':').next().unwrap_or_default(),
        };
        bare.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_path_is_tidied_up() {
        let url = TypedUrl::parse("https://API.example.com:8443/a/../b//..%2fc?x=1#top").unwrap();

        assert_eq!(url.target, "/a/../b//..%2fc?x=1");
        assert_eq!(
            (url.authority.as_str(), url.host().as_str()),
            ("API.example.com:8443", "api.example.com")
        );
    }

    #[test]
    fn a_url_without_a_path_asks_for_the_root() {
        assert_eq!(TypedUrl::parse("http://localhost").unwrap().target, "/");
        assert_eq!(
            TypedUrl::parse("http://[::1]:80?q").unwrap(),
            TypedUrl {
                scheme: UrlScheme::Http,
                authority: "[::1]:80".to_owned(),
                target: "/?q".to_owned(),
            }
        );
    }

    #[test]
    fn a_relative_or_foreign_url_is_refused() {
        for text in ["/orders/7", "ftp://a/b", "https://", "https:///a"] {
            assert!(TypedUrl::parse(text).is_err(), "{text}");
        }
    }
}
