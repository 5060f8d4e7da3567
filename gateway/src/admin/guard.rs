//! Who may talk to a port on loopback: whoever addresses it as loopback, and no web page.
//!
//! A page in a browser on this machine could reach the port by a name that was re-bound to 127.0.0.1, or blindly by
//! a cross-origin request. The first has a foreign `Host`, the second an `Origin` or a `Sec-Fetch-Site` that says so.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;

/// Why a request to a loopback port is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It was not addressed to this machine by a loopback name.
    ForeignHost,
    /// A web page sent it.
    WebPage,
}

impl Refusal {
    /// The sentence in the answer.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ForeignHost => "address this port as localhost or by its address",
            Self::WebPage => "web pages may not call this port",
        }
    }
}

/// Checks one request; `bound` is the address the port listens on.
///
/// # Errors
/// Says why it is refused.
pub fn check(head: &Parts, bound: IpAddr) -> Result<(), Refusal> {
    let from_a_page = head.headers.contains_key(ORIGIN)
        || head
            .headers
            .get("sec-fetch-site")
            .is_some_and(|site| site != "none" && site != "same-origin");
    if from_a_page {
        return Err(Refusal::WebPage);
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_ours(host, bound) => Ok(()),
        _ => Err(Refusal::ForeignHost),
    }
}

/// Reads `Host` as RFC 9110 section 7.2 and RFC 3986 section 3.2.2 write it, and no other way.
fn is_ours(host: &str, bound: IpAddr) -> bool {
    let (address, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            (address.parse().map(IpAddr::V6).ok(), port)
        }
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            if name.eq_ignore_ascii_case("localhost") {
                return is_port(port);
            }
            (name.parse().map(IpAddr::V4).ok(), port)
        }
    };
    let is_our_address =
        |address: IpAddr| address.is_loopback() || address == bound || bound.is_unspecified();
    is_port(port) && address.is_some_and(is_our_address)
}

/// True for nothing and for a colon with a port behind it.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn verdict(fields: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::builder().uri("/metrics");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(
            &request.body(()).unwrap().into_parts().0,
            "127.0.0.1".parse().unwrap(),
        )
    }

    #[test]
    fn loopback_names_and_addresses_are_answered() {
        for host in [
            "localhost:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "127.0.0.1",
            "LOCALHOST",
        ] {
            assert_eq!(verdict(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_was_rebound_to_loopback_is_refused() {
        for host in ["evil.example:9901", "localhost.evil.example", "10.0.0.1", ""] {
            assert_eq!(verdict(&[("host", host)]), Err(Refusal::ForeignHost), "{host}");
        }
        assert_eq!(verdict(&[]), Err(Refusal::ForeignHost));
        assert_eq!(
            verdict(&[("host", "localhost"), ("host", "evil")]),
            Err(Refusal::ForeignHost)
        );
    }

    /// Whoever reads a field more kindly than others is the one who is fooled by it (RFC 9110 section 7.2).
    #[test]
    fn a_host_that_is_not_written_as_one_is_refused() {
        for host in [
            "[[[::1]]]",
            "::1",
            "::1:9901",
            "[127.0.0.1]",
            "127.0.0.1]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[localhost]",
            "localhost:",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "user@localhost",
            " localhost",
            "127.1",
        ] {
            assert_eq!(verdict(&[("host", host)]), Err(Refusal::ForeignHost), "{host}");
        }
    }

    #[test]
    fn a_web_page_is_refused() {
        let page = [("host", "localhost:9901"), ("origin", "https://evil.example")];

        assert_eq!(verdict(&page), Err(Refusal::WebPage));
        assert_eq!(
            verdict(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]),
            Err(Refusal::WebPage)
        );
        assert_eq!(
            verdict(&[("host", "localhost"), ("sec-fetch-site", "none")]),
            Ok(())
        );
    }
}
