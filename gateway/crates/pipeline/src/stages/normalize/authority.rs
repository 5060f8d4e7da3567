//! One canonical host, or a refusal (RFC 9110 section 7.2, RFC 9112 section 3.2).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::HOST;
use portcullis_model::Reason;

/// A DNS name has at most 253 octets.
const MAX_HOST: usize = 253;

/// The canonical host of a request: from `:authority` or the absolute-form target, and `Host`, which must agree.
///
/// # Errors
/// Returns a reason when the host is missing, repeated, contradictory or not a host.
pub fn canonical_host<'a>(
    authority: Option<&'a str>,
    headers: &'a HeaderMap,
) -> Result<Cow<'a, str>, Reason> {
    canonical_authority(authority, headers).map(|(host, _)| host)
}

/// The canonical host and the port that the client wrote with it.
pub(super) fn canonical_authority<'a>(
    authority: Option<&'a str>,
    headers: &'a HeaderMap,
) -> Result<(Cow<'a, str>, Option<u16>), Reason> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Reason::HostAmbiguous);
    }
    let field = match field {
        Some(value) => Some(value.to_str().map_err(|_| Reason::HostInvalid)?),
        None => None,
    };
    match (authority.filter(|text| !text.is_empty()), field) {
        (None, None) => Err(Reason::HostMissing),
        (None, Some("")) => Err(Reason::HostMissing),
        (Some(one), None) | (None, Some(one)) => parse(one),
        (Some(one), Some(other)) => {
            let one = parse(one)?;
            if one == parse(other)? {
                Ok(one)
            } else {
                Err(Reason::HostAmbiguous)
            }
        }
    }
}

/// Splits and canonicalises `host[:port]`.
pub(crate) fn parse(text: &str) -> Result<(Cow<'_, str>, Option<u16>), Reason> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Reason::HostInvalid)?;
        let address: Ipv6Addr = address.parse().map_err(|_| Reason::HostInvalid)?;
        return Ok((Cow::Owned(format!("[{address}]")), port(rest)?));
    }
    let (name, rest) = match text.find(':') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let port = port(rest)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > MAX_HOST || !is_name(name) {
        return Err(Reason::HostInvalid);
    }
    // A last label of digits is an address or nothing: `0x7f.1` and `127.1` mean different things to different parsers.
    let last = name.rsplit('.').next().unwrap_or_default();
    let looks_numeric =
        last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if looks_numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err(Reason::HostInvalid);
    }
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let name = if is_lower {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_ascii_lowercase())
    };
    Ok((name, port))
}

fn port(rest: &str) -> Result<Option<u16>, Reason> {
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(None),
        None => Err(Reason::HostInvalid),
        Some("") => Ok(None),
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| Reason::HostInvalid)
        }
        Some(_) => Err(Reason::HostInvalid),
    }
}

/// Labels of 1 to 63 letters, digits, underscores and hyphens, a hyphen neither first nor last, between dots.
fn is_name(name: &str) -> bool {
    let mut len = 0;
    let mut last = b'.';
    for byte in name.bytes() {
        match byte {
            b'.' if len == 0 || last == b'-' => return false,
            b'.' => len = 0,
            b'-' if len == 0 => return false,
            b'-' | b'_' => len += 1,
            byte if byte.is_ascii_alphanumeric() => len += 1,
            _ => return false,
        }
        if len > 63 {
            return false;
        }
        last = byte;
    }
    len > 0 && last != b'-'
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn host(authority: Option<&str>, fields: &[&str]) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(HOST, HeaderValue::from_str(field).unwrap());
        }
        canonical_host(authority, &headers).map(Cow::into_owned)
    }

    #[test]
    fn a_host_gets_one_form() {
        assert_eq!(host(None, &["API.Example.com:8443"]).unwrap(), "api.example.com");
        assert_eq!(host(None, &["api.example.com."]).unwrap(), "api.example.com");
        assert_eq!(host(Some("[0:0::1]:443"), &[]).unwrap(), "[::1]");
        assert_eq!(host(Some("a.example"), &["A.example"]).unwrap(), "a.example");
        assert_eq!(host(None, &["127.0.0.1:80"]).unwrap(), "127.0.0.1");
        assert_eq!(host(None, &["my-host_1.a"]).unwrap(), "my-host_1.a");
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(
            host(Some("a.example"), &["b.example"]),
            Err(Reason::HostAmbiguous)
        );
        assert_eq!(
            host(None, &["a.example", "a.example"]),
            Err(Reason::HostAmbiguous)
        );
        assert_eq!(
            host(Some("a.example:1"), &["a.example:2"]),
            Err(Reason::HostAmbiguous)
        );
        assert_eq!(host(None, &[]), Err(Reason::HostMissing));
        assert_eq!(host(None, &[""]), Err(Reason::HostMissing));
    }

    #[test]
    fn a_name_has_at_most_253_octets_and_a_label_63() {
        let long = |last: usize| format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(last));

        assert_eq!(host(None, &[&long(61)]).unwrap().len(), 253);
        assert_eq!(host(None, &[&long(62)]), Err(Reason::HostInvalid));
        assert!(host(None, &[&"a".repeat(63)]).is_ok());
        assert_eq!(host(None, &[&"a".repeat(64)]), Err(Reason::HostInvalid));
        assert!(host(None, &["xn--a--b"]).is_ok());
        assert_eq!(
            host(None, &[&format!("a{}b", "-".repeat(62))]),
            Err(Reason::HostInvalid)
        );
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for text in [
            "user@a.example",
            "a.example/x",
            "a b",
            "a..b",
            "-a.example",
            "a-",
            "a-.example",
            "a..",
            "a.example:99999",
            "a.example:+1",
            "a.example:1:2",
            "[::1",
            "[::1]x",
            "[zz]",
            "1.2.3",
            "0x7f.0x1",
            "a.example,b.example",
            "%61.example",
        ] {
            assert_eq!(host(None, &[text]), Err(Reason::HostInvalid), "{text}");
        }
    }
}
