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

fn is_ours(host: &str, bound: IpAddr) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == bound || bound.is_unspecified(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    }
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
